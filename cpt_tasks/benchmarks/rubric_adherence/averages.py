"""How the statistics of `rubric_adherence` average: within cells, rubrics or user prompts, then over those.

All take a `Table` and weightings of its user prompts, see `statistics.table`, and give nan for what has no rows.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpt_tasks.statistics.ranks import ratio
from cpt_tasks.statistics.table import Table
from judges.interval import Floats
from rubrics import ScoreLevel

N_LEVELS = len(ScoreLevel)


def cell_means(table: Table, weights: Floats, values: NDArray[Any]) -> Floats:
    """Means of the (rubric, level) cells, shape (n_weightings, n_rubrics, n_levels), nan for cells without rows."""
    cells, n_cells = table.rubric * N_LEVELS + table.level, table.n_rubrics * N_LEVELS
    sums, counts = (table.totals(weights, part, cells, n_cells) for part in (values, np.ones(len(values))))
    return ratio(sums, counts).reshape(len(weights), table.n_rubrics, N_LEVELS)


def over_cells(table: Table, weights: Floats, values: NDArray[Any]) -> Floats:
    """Mean of the rows within (rubric, level), then over those that have rows."""
    means = cell_means(table, weights, values)
    return ratio(np.nansum(means, axis=(1, 2)), (~np.isnan(means)).sum(axis=(1, 2)))


def over_rubrics(table: Table, weights: Floats, values: Floats) -> Floats:
    """Mean over the rubrics that a weighting has rows of; nan if it is undefined for one of them."""
    present = table.totals(weights, np.ones(len(table.rubric)), table.rubric, table.n_rubrics) > 0
    return ratio(np.where(present, values, 0).sum(axis=1), present.sum(axis=1))


def within_rubrics(table: Table, weights: Floats, statistic: Callable[[Table], Floats]) -> Floats:
    """A statistic on the rows of each rubric, then the mean over rubrics."""
    values = [statistic(table.only(table.rubric == rubric)) for rubric in range(table.n_rubrics)]
    return over_rubrics(table, weights, np.array(values).reshape(-1, len(weights)).T)


def prompt_means(table: Table) -> Floats:
    """Mean score of each user prompt, rubric and level, shape (n_clusters, n_rubrics, n_levels), nan if it has none."""
    answered = table.only(table.answered)
    return cell_means(answered, np.eye(table.n_clusters), answered.score)


def answered_shares(table: Table) -> Floats:
    """Share of the rows that hold a response, of the same shape, nan if there are no rows."""
    return cell_means(table, np.eye(table.n_clusters), table.answered)


def over_prompts(table: Table, weights: Floats, values: Floats) -> Floats:
    """Mean within rubric of values of user prompts, (n_clusters, n_rubrics), nan left out; then over rubrics."""
    return over_rubrics(table, weights, ratio(weights @ np.nan_to_num(values), weights @ ~np.isnan(values)))
