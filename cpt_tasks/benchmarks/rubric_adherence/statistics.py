"""Statistics of `rubric_adherence`: how well what is judged follows what the system prompt asked for.

Every statistic here is called on a frame and gives a float, or takes a `Table` and many weightings of its user prompts
(see `statistics.table`). One that is not defined on its rows (no rows, one level only, scores all tied) is nan, never a
default value.

A row without a response is a miss where hits or right orders are counted (`misses`); elsewhere it is left out, because
its score of 0 is none.
"""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpt_tasks.statistics.frame import in_band
from cpt_tasks.statistics.ranks import partial_tau, ratio, spearman, tau_b
from cpt_tasks.statistics.table import Indices, Statistic, Table, statistic
from judges.interval import Floats
from rubrics import LOW_MAX, MODERATE_MAX, ScoreLevel

N_LEVELS = len(ScoreLevel)
MIDPOINTS = np.array([level.midpoint for level in ScoreLevel])
CELL = ["rubric", "level"]


@statistic((0, 1), misses=True)
def macro_accuracy(table: Table, weights: Floats) -> Floats:
    """Binned accuracy, 0-1: share of scores inside the band asked for, averaged over (rubric, level) cells.

    Source: arXiv 2506.11702, section 4; here every cell weighs the same however many of its samples were scored.
    """
    return _over_cells(table, weights, (_judged_levels(table) == table.level) & table.answered)


@statistic((0, 1), has_interval=False, misses=True)
def chance_accuracy(table: Table, weights: Floats) -> Floats:
    """Macro accuracy, 0-1, of the best model that ignores the level: always the most rewarding band of each rubric.

    With all three levels present this is 1/3.
    """
    present = ~np.isnan(_cell_means(table, weights, table.score))
    return ratio(present.any(axis=2).sum(axis=1), present.sum(axis=(1, 2)))


@statistic((-1, 1))
def weighted_kappa(table: Table, weights: Floats) -> Floats:
    """Quadratic-weighted kappa, at most 1 and 0 at chance, of asked and judged level; within rubric, then averaged.

    nan for a rubric whose asked and judged levels are all one and the same. Source: Cohen 1968.
    """
    groups = (table.rubric * N_LEVELS + table.level) * N_LEVELS + _judged_levels(table)
    counts = table.totals(weights, np.ones(len(groups)), groups, table.n_rubrics * N_LEVELS**2)
    observed = counts.reshape(len(weights), table.n_rubrics, N_LEVELS, N_LEVELS)
    ranks = np.arange(N_LEVELS)
    distances = (ranks[:, None] - ranks) ** 2
    asked, judged = observed.sum(axis=3), observed.sum(axis=2)
    expected = ratio(asked[..., :, None] * judged[..., None, :], asked.sum(axis=2)[..., None, None])
    disagreement = ratio((distances * observed).sum(axis=(2, 3)), (distances * expected).sum(axis=(2, 3)))
    return _over_rubrics(table, weights, 1 - disagreement)


@statistic((-1, 1), misses=True)
def kendall_tau_b(table: Table, weights: Floats) -> Floats:
    """Kendall's tau-b, -1 to 1, of asked level and score; within rubric, then averaged.

    It cannot reach 1: with three equally frequent levels and scores without ties its ceiling is sqrt(2/3) = .816, since
    tau-b does not leave out pairs that are tied in one variable only. nan if a rubric has one level or one score only.
    A pair of levels is discordant where one of the two has no response.
    """
    return _within_rubrics(table, weights, lambda part: tau_b(part, weights))


@statistic((-1, 1))
def kendall_tau_b_given_length(table: Table, weights: Floats) -> Floats:
    """Kendall's partial tau-b, -1 to 1, of asked level and score given length; within rubric, then averaged.

    What is left of `kendall_tau_b` once the order by length in words (or by its logarithm, which is the same order) is
    held fixed. Small beside `kendall_tau_b` if only length follows the level and is judged, though seldom 0: a partial
    tau is not 0 for variables that are independent given the third (Korn 1984). nan if a rubric has responses of one
    length only, or if length follows level or score without exception, because then the two cannot be told apart.
    """
    return _within_rubrics(table, weights, lambda part: partial_tau(part, weights, part.level, part.score, part.words))


@statistic((-1, 1))
def spearman_rho(table: Table, weights: Floats) -> Floats:
    """Spearman's rho, -1 to 1, of asked level and score (mean ranks for ties); within rubric, then averaged."""
    return _within_rubrics(table, weights, lambda part: spearman(part, weights, part.level, part.score, N_LEVELS))


@statistic((-1, 1), misses=True)
def kendall_tau_b_pooled(table: Table, weights: Floats) -> Floats:
    """Kendall's tau-b over all rows at once, as the paper reports it; mixes the rubrics."""
    return tau_b(table, weights)


@statistic((-1, 1))
def spearman_rho_pooled(table: Table, weights: Floats) -> Floats:
    """Spearman's rho over all rows at once, as the paper reports it; mixes the rubrics."""
    return spearman(table, weights, table.level, table.score, N_LEVELS)


@statistic((0, 1), misses=True)
def order_accuracy(table: Table, weights: Floats) -> Floats:
    """Share, 0-1, of same-prompt pairs of different levels whose mean scores stand in the right order; ties count 1/2.

    Averaged within rubric, then over rubrics. nan if no prompt has two levels. A level without a response is in the
    wrong order to the others; with some of several, so is that share of the pair.
    """
    means, shares = _prompt_means(table), _answered_shares(table)
    pairs = list(combinations(range(N_LEVELS), 2))
    right = [0.5 + 0.5 * np.sign(means[..., high] - means[..., low]) for low, high in pairs]
    answered = [shares[..., low] * shares[..., high] for low, high in pairs]
    return _over_prompts(table, weights, np.nan_to_num(np.stack(right, axis=2)) * np.stack(answered, axis=2))


@statistic((0, 1), misses=True)
def strict_monotone_rate(table: Table, weights: Floats) -> Floats:
    """Share, 0-1, of prompts with score(low) < score(moderate) < score(extremely_high); within rubric, then averaged.

    Prompts that lack a level are left out, not those without a response at one; nan if none is complete.
    """
    rises = (np.diff(_prompt_means(table), axis=2) > 0).all(axis=2) * _answered_shares(table).prod(axis=2)
    return _over_prompts(table, weights, rises[..., None])


@statistic()
def calibration_slope(table: Table, weights: Floats) -> Floats:
    """Least-squares slope of score on the midpoint of the band asked for, in score points per score point.

    1 is calibrated, 0 ignores the level. Fitted within each prompt, averaged within rubric, then over rubrics.
    """
    means = _prompt_means(table)
    present = ~np.isnan(means)
    centre = ratio((present * MIDPOINTS).sum(axis=2), present.sum(axis=2))
    offsets = np.where(present, MIDPOINTS - centre[..., None], 0)
    slopes = ratio(np.nansum(offsets * means, axis=2), (offsets**2).sum(axis=2))
    return _over_prompts(table, weights, slopes[..., None])


@statistic((-100, 100))
def dynamic_range(table: Table, weights: Floats) -> Floats:
    """Mean score at extremely_high minus mean score at low, in score points (-100 to 100); averaged over rubrics."""
    means = _cell_means(table, weights, table.score)
    return _over_rubrics(table, weights, means[..., ScoreLevel.EXTREMELY_HIGH.rank] - means[..., ScoreLevel.LOW.rank])


@statistic((0, 100))
def band_error(table: Table, weights: Floats) -> Floats:
    """Mean distance in score points from the score to the band asked for (0 inside it); averaged over cells.

    The sum of `overshoot` and `undershoot`.
    """
    return _over_cells(table, weights, np.abs(_distances(table)))


@statistic((0, 100))
def overshoot(table: Table, weights: Floats) -> Floats:
    """Mean of the score points above the band asked for (0 inside or below it); averaged over cells."""
    return _over_cells(table, weights, np.maximum(0.0, _distances(table)))


@statistic((0, 100))
def undershoot(table: Table, weights: Floats) -> Floats:
    """Mean of the score points below the band asked for (0 inside or above it); averaged over cells."""
    return _over_cells(table, weights, np.maximum(0.0, -_distances(table)))


@statistic((-1, 1))
def length_rho(table: Table, weights: Floats) -> Floats:
    """Spearman's rho, -1 to 1, of asked level and length in words; within rubric, then averaged.

    Far from 0, a judge that likes length would confound length and adherence.
    """
    return _within_rubrics(table, weights, lambda part: spearman(part, weights, part.level, part.words, N_LEVELS))


@statistic((0, 100))
def mean_score(table: Table, weights: Floats) -> Floats:
    """Mean score, 0-100, over all rows."""
    of_row = weights[:, table.cluster]
    return ratio(of_row @ table.score, of_row.sum(axis=1))


_ALL = [macro_accuracy, chance_accuracy, weighted_kappa, kendall_tau_b, spearman_rho]
_ALL += [kendall_tau_b_pooled, spearman_rho_pooled, order_accuracy, strict_monotone_rate, calibration_slope]
_ALL += [dynamic_range, band_error, overshoot, undershoot, length_rho, kendall_tau_b_given_length]
STATISTICS: dict[str, Statistic] = {one.__name__: one for one in _ALL}


def worst_wording_accuracy(frame: pd.DataFrame) -> float:
    """Accuracy, 0-1, under the wording of the system prompt that works worst, averaged over (rubric, level) cells.

    The lowest of several shares of few responses would be low by chance alone. So one half of the user prompts chooses
    the wording of each cell that is worst (tied ones count equally), the other half says how well it works, and the
    mean over both ways is taken: what to expect of a wording that was the worst once. User prompts in the order of
    their ids belong to the halves by turns. Wordings of a cell that one half lacks do not take part, cells with fewer
    than two wordings are left out, and without any it is nan. No interval: a minimum has no normal limit.

    Source: sample splitting against the bias of selection, Cox 1975.
    """
    rows = frame.assign(
        half=pd.factorize(frame["user_prompt_id"], sort=True)[0] % 2,
        hit=in_band(frame),
    )
    shares = rows.groupby([*CELL, "wording", "half"])["hit"].mean().unstack().reindex(columns=[0, 1]).dropna()
    worst = shares == shares.groupby(CELL).transform("min")
    by_other_half = shares.where(worst[[1, 0]].set_axis([0, 1], axis=1)).groupby(CELL).mean().mean(axis=1)
    return float(by_other_half[shares.groupby(CELL).size() > 1].mean())


def _judged_levels(table: Table) -> Indices:
    return np.digitize(table.score, [LOW_MAX, MODERATE_MAX], right=True)


def _distances(table: Table) -> Floats:
    """From the band asked for to the score, in score points; below 0 under the band."""
    lowest, highest = np.array([level.band for level in ScoreLevel])[table.level].T
    return np.asarray(table.score - table.score.clip(lowest, highest))


def _cell_means(table: Table, weights: Floats, values: NDArray[Any]) -> Floats:
    """Means of the (rubric, level) cells, shape (n_weightings, n_rubrics, n_levels), nan for cells without rows."""
    cells, n_cells = table.rubric * N_LEVELS + table.level, table.n_rubrics * N_LEVELS
    sums, counts = (table.totals(weights, part, cells, n_cells) for part in (values, np.ones(len(values))))
    return ratio(sums, counts).reshape(len(weights), table.n_rubrics, N_LEVELS)


def _over_cells(table: Table, weights: Floats, values: NDArray[Any]) -> Floats:
    """Mean of the rows within (rubric, level), then over those that have rows."""
    means = _cell_means(table, weights, values)
    return ratio(np.nansum(means, axis=(1, 2)), (~np.isnan(means)).sum(axis=(1, 2)))


def _over_rubrics(table: Table, weights: Floats, values: Floats) -> Floats:
    """Mean over the rubrics that a weighting has rows of; nan if it is undefined for one of them."""
    present = table.totals(weights, np.ones(len(table.rubric)), table.rubric, table.n_rubrics) > 0
    return ratio(np.where(present, values, 0).sum(axis=1), present.sum(axis=1))


def _within_rubrics(table: Table, weights: Floats, statistic: Callable[[Table], Floats]) -> Floats:
    """A statistic on the rows of each rubric, then the mean over rubrics."""
    values = [statistic(table.only(table.rubric == rubric)) for rubric in range(table.n_rubrics)]
    return _over_rubrics(table, weights, np.array(values).reshape(-1, len(weights)).T)


def _prompt_means(table: Table) -> Floats:
    """Mean score of each user prompt, rubric and level, shape (n_clusters, n_rubrics, n_levels), nan if it has none."""
    answered = table.only(table.answered)
    return _cell_means(answered, np.eye(table.n_clusters), answered.score)


def _answered_shares(table: Table) -> Floats:
    """Share of the rows that hold a response, of the same shape, nan if there are no rows."""
    return _cell_means(table, np.eye(table.n_clusters), table.answered)


def _over_prompts(table: Table, weights: Floats, values: Floats) -> Floats:
    """Mean within rubric of values of user prompts, (n_clusters, n_rubrics, any), nan left out; then over rubrics."""
    sums, counts = np.nansum(values, axis=2), (~np.isnan(values)).sum(axis=2)
    return _over_rubrics(table, weights, ratio(weights @ sums, weights @ counts))
