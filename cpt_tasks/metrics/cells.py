"""Averages over user prompts for many bootstrap resamples at once, of cells that may be missing.

Cells stand in arrays (groups, user prompts, ...), nan where nothing was scored. Weights are those of
`bootstrap_weights`, so that one pass of a statistic gives all that `bootstrap_estimate` needs.
"""

import numpy as np

from cpt_tasks.metrics.bootstrap import bootstrap_weights
from cpt_tasks.metrics.rows import Floats


def seeded_weights(n_prompts: int, n_resamples: int, seed: int) -> Floats:
    """As `bootstrap_weights`. Two calls with the same arguments pair the resamples of two models."""
    return bootstrap_weights(n_prompts, n_resamples, np.random.default_rng(seed))


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
    return ratio(sums, counts)


def mean_of_known(values: Floats, axis: int | tuple[int, ...] = -1) -> Floats:
    """Mean along one or more axes (default: the last), nan left out; nan where there is nothing else."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=axis), known.sum(axis=axis).astype(np.float64))


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotients, nan where the denominator is 0."""
    quotients: Floats = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=quotients, where=denominator != 0)
    return quotients
