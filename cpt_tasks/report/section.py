"""A section of a report: what a benchmark adds to its summary, tables and charts; listed in `report.py`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pandas as pd

from cpt_tasks.report.run import Run

if TYPE_CHECKING:
    from altair.typing import ChartType

# altair charts by file stem
Charts = dict[str, "ChartType"]
# a benchmark's part of summary.json, by the name of the model
ModelSummaries = Mapping[str, dict[str, Any]]


def can_draw() -> bool:
    """Whether the extra `report` is installed."""
    return all(find_spec(name) for name in ("altair", "vl_convert"))


@dataclass(frozen=True)
class Section:
    """What a report says of one benchmark.

    Attributes:
        title: Heading.
        intro: What the numbers mean, as Markdown; or a function of the runs of the benchmark that says it.
        summarise: From a run and a seed to what summary.json holds of it: JSON values only, None for what is
            undefined, estimates as `{value, ci_low, ci_high}`.
        tables: From the summaries to tables by caption, the most telling one first.
        charts: From the summaries and the runs to altair charts by file stem, which need the extra `report`; each is a
            PNG beside report.md and stands on the page. None for no charts.
        compare: From all runs of the benchmark and a seed to what comparing them adds to the summaries, by the name of
            the model.
    """

    title: str
    intro: str | Callable[[Sequence[Run]], str]
    summarise: Callable[[Run, int], dict[str, Any]]
    tables: Callable[[ModelSummaries], dict[str, pd.DataFrame]]
    charts: Callable[[ModelSummaries, Sequence[Run]], Charts] | None = None
    compare: Callable[[Sequence[Run], int], dict[str, dict[str, Any]]] = lambda runs, seed: {}
