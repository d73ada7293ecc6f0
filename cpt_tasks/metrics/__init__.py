"""Statistics of configurability. Pure numpy and scipy; no harness, no model, no file.

`adherence` is what `rubric_adherence` reports; every other benchmark has a module of its own.
"""

from cpt_tasks.metrics.adherence import STATISTICS
from cpt_tasks.metrics.bootstrap import (
    bootstrap_estimate,
    bootstrap_weights,
    clustered_bootstrap,
    estimate,
    resample_weights,
)
from cpt_tasks.metrics.rows import NAN, Judged, Rows, Statistic

__all__ = [
    "NAN",
    "STATISTICS",
    "Judged",
    "Rows",
    "Statistic",
    "bootstrap_estimate",
    "bootstrap_weights",
    "clustered_bootstrap",
    "estimate",
    "resample_weights",
]
