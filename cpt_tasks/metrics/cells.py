"""Averages over user prompts for many bootstrap resamples at once, of cells that may be missing.

Cells stand in arrays (groups, user prompts, ...), nan where nothing was scored. Weights say how often each resample
draws each user prompt; `all_and_resampled` puts the data as they are into row 0, so that one pass of a statistic gives
its value and all its draws.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cpt_tasks.metrics.bootstrap import estimate, resample_weights
from judges.agreement import Estimate

Floats = NDArray[np.float64]


def all_and_resampled(n_prompts: int, n_resamples: int, seed: int) -> Floats:
    """Weights, shape (1 + n_resamples, n_prompts): ones, then a resample of the user prompts a row.

    Two calls with the same arguments draw the same prompts: that is what pairs the resamples of two models. With fewer
    than two prompts there are no resamples.
    """
    drawn = resample_weights(n_prompts, n_resamples, np.random.default_rng(seed))
    return np.vstack([np.ones((1, n_prompts)), drawn.astype(np.float64)])


def prompt_means(cells: Floats, weights: Floats) -> Floats:
    """Weighted mean of each group over its user prompts, shape (rows of weights, groups, ...).

    Args:
        cells: Shape (groups, user prompts, ...); nan is left out.
        weights: Shape (rows, user prompts).

    Returns:
        nan where a row draws no prompt with a value.
    """
    known = ~np.isnan(cells)
    sums = np.tensordot(weights, np.where(known, cells, 0.0), axes=(1, 1))
    counts = np.tensordot(weights, known.astype(np.float64), axes=(1, 1))
    return _ratio(sums, counts)


def mean_of_known(values: Floats, axis: int | tuple[int, ...]) -> Floats:
    """Mean along one or more axes, nan left out; nan where there is nothing else."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=axis), known.sum(axis=axis).astype(np.float64))


def first_and_rest(found: Sequence[float] | Floats) -> Estimate:
    """The estimate whose value is the first number and whose draws are the others."""
    return estimate(float(found[0]), np.asarray(found[1:], dtype=np.float64))


def _ratio(sums: Floats, counts: Floats) -> Floats:
    result: Floats = np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0)
    return result
