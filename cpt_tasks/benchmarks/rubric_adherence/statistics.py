"""Statistics of `rubric_adherence`: how well what is judged follows what the system prompt asked for.

Every statistic here is called on a frame and gives a float, or takes a `Table` and many weightings of its user prompts
(see `statistics.table`). One that is not defined on its rows (no rows, one level only, scores all tied) is nan, never a
default value.

A row without a response is a miss where hits or right orders are counted (`misses`); elsewhere it is left out, because
its score of 0 is none.
"""

import numpy as np
import pandas as pd

from cpt_tasks.benchmarks.rubric_adherence.averages import (
    N_LEVELS,
    answered_shares,
    cell_means,
    over_cells,
    over_prompts,
    over_rubrics,
    prompt_means,
    within_rubrics,
)
from cpt_tasks.statistics import ranks
from cpt_tasks.statistics.frame import in_band
from cpt_tasks.statistics.ranks import ratio
from cpt_tasks.statistics.table import Statistic, Table, statistic
from judges.interval import Floats
from judges.reliability import level_ranks
from rubrics import ScoreLevel

MIDPOINTS = np.array([level.midpoint for level in ScoreLevel])
CELL = ["rubric", "level"]


@statistic((0, 1), misses=True)
def macro_accuracy(table: Table, weights: Floats) -> Floats:
    """Binned accuracy, 0-1: share of scores inside the band asked for, averaged over (rubric, level) cells.

    Source: arXiv 2506.11702, section 4; here every cell weighs the same however many of its samples were scored.
    """
    return over_cells(table, weights, (level_ranks(table.score) == table.level) & table.answered)


@statistic((0, 1), has_interval=False, misses=True)
def chance_accuracy(table: Table, weights: Floats) -> Floats:
    """Macro accuracy, 0-1, of the best model that ignores the level: always the most rewarding band of each rubric.

    With all three levels present this is 1/3, which is also what any model that ignores the level and always answers
    gets on average; a sample of it can lie above.
    """
    present = ~np.isnan(cell_means(table, weights, table.score))
    return ratio(present.any(axis=2).sum(axis=1), present.sum(axis=(1, 2)))


@statistic((-1, 1))
def weighted_kappa(table: Table, weights: Floats) -> Floats:
    """Quadratic-weighted kappa, at most 1 and 0 at chance, of asked and judged level; within rubric, then averaged.

    nan for a rubric whose asked and judged levels are all one and the same. Source: Cohen 1968.
    """
    groups = (table.rubric * N_LEVELS + table.level) * N_LEVELS + level_ranks(table.score)
    counts = table.totals(weights, np.ones(len(groups)), groups, table.n_rubrics * N_LEVELS**2)
    observed = counts.reshape(len(weights), table.n_rubrics, N_LEVELS, N_LEVELS)
    levels = np.arange(N_LEVELS)
    distances = (levels[:, None] - levels) ** 2
    asked, judged = observed.sum(axis=3), observed.sum(axis=2)
    expected = ratio(asked[..., :, None] * judged[..., None, :], asked.sum(axis=2)[..., None, None])
    disagreement = ratio((distances * observed).sum(axis=(2, 3)), (distances * expected).sum(axis=(2, 3)))
    return over_rubrics(table, weights, 1 - disagreement)


@statistic((-1, 1), misses=True)
def somers_d(table: Table, weights: Floats) -> Floats:
    """Order: Somers' d, -1 to 1, of score given the asked level; within rubric, then averaged.

    Of the pairs of responses to different user prompts and at different levels, the share in the right order minus that
    in the wrong one. 1 is perfect however many responses a level has, 0 ignores the level. A pair is in the wrong order
    where one of the two has no response. nan if a rubric has one level or one user prompt only.
    """
    return within_rubrics(table, weights, lambda part: ranks.somers_d(part, weights))


@statistic((-1, 1), has_interval=False, misses=True)
def kendall_tau_b_ceiling(table: Table, weights: Floats) -> Floats:
    """The highest `kendall_tau_b` that the ties of these levels and scores allow; within rubric, then averaged.

    sqrt(2/3) = .816 with three equally large levels and no scores tied; ties of scores raise it, to 1 where each level
    has one score. nan where `kendall_tau_b` is.
    """
    return within_rubrics(table, weights, lambda part: ranks.tau_b_ceiling(part, weights))


@statistic((-1, 1), misses=True, ceiling=kendall_tau_b_ceiling)
def kendall_tau_b(table: Table, weights: Floats) -> Floats:
    """Kendall's tau-b, -1 to 1, of asked level and score; within rubric, then averaged.

    Over the pairs of responses to different user prompts, so that it does not depend on their number. Ties of the level
    alone count against it, so it does not reach 1 unless all scores of a level are tied, see `kendall_tau_b_ceiling`.
    nan if a rubric has one level, one score or one user prompt only. A pair of levels is in the wrong order where one
    of the two has no response.
    """
    return within_rubrics(table, weights, lambda part: ranks.tau_b(part, weights))


@statistic((-1, 1))
def kendall_tau_b_given_length(table: Table, weights: Floats) -> Floats:
    """Kendall's partial tau-b, -1 to 1, of asked level and score given length; within rubric, then averaged.

    What is left of `kendall_tau_b` once the order by length in words (or by its logarithm, which is the same order) is
    held fixed. Small beside `kendall_tau_b` if only length follows the level and is judged, though seldom 0: a partial
    tau is not 0 for variables that are independent given the third (Korn 1984). nan if a rubric has responses of one
    length only, or if length follows level or score without exception, because then the two cannot be told apart.
    """
    return within_rubrics(table, weights, lambda part: ranks.partial_tau(part, weights))


@statistic((-1, 1), has_interval=False)
def spearman_rho_ceiling(table: Table, weights: Floats) -> Floats:
    """The highest `spearman_rho` that the same levels and scores can have: these scores, the highest at the top level.

    Within rubric, then averaged. About sqrt(8/9) = .943 with three equally large levels and no scores tied.
    """

    def of_sorted(part: Table) -> Floats:
        copies = weights[:, part.cluster].astype(int)
        pairs = ([np.sort(np.repeat(values, times)) for values in (part.level, part.score)] for times in copies)
        return np.array([pd.Series(level).rank().corr(pd.Series(score).rank()) for level, score in pairs])

    return within_rubrics(table, weights, of_sorted)


@statistic((-1, 1), ceiling=spearman_rho_ceiling)
def spearman_rho(table: Table, weights: Floats) -> Floats:
    """Spearman's rho, -1 to 1, of asked level and score (mean ranks for ties); within rubric, then averaged.

    It does not reach 1, see `spearman_rho_ceiling`, unless all scores of a level are tied.
    """
    return within_rubrics(table, weights, lambda part: ranks.spearman(part, weights, part.score))


@statistic((-1, 1), misses=True)
def kendall_tau_b_pooled(table: Table, weights: Floats) -> Floats:
    """Kendall's tau-b over all pairs of rows, as the paper reports it; mixes the rubrics."""
    return ranks.tau_b(table, weights, same_prompt=True)


@statistic((-1, 1))
def spearman_rho_pooled(table: Table, weights: Floats) -> Floats:
    """Spearman's rho over all rows at once, as the paper reports it; mixes the rubrics."""
    return ranks.spearman(table, weights, table.score)


@statistic((0, 1), misses=True)
def strict_monotone_rate(table: Table, weights: Floats) -> Floats:
    """Share, 0-1, of prompts with score(low) < score(moderate) < score(extremely_high); within rubric, then averaged.

    Prompts that lack a level are left out, not those without a response at one; nan if none is complete.
    """
    rises = (np.diff(prompt_means(table), axis=2) > 0).all(axis=2) * answered_shares(table).prod(axis=2)
    return over_prompts(table, weights, rises)


@statistic()
def calibration_slope(table: Table, weights: Floats) -> Floats:
    """Least-squares slope of score on the midpoint of the band asked for, in score points per score point.

    0 ignores the level. 1 is the scale of the bands, but not yet calibrated: an offset of 20 points at every level has
    slope 1 as well, and `calibration_intercept` 20. Fitted within each prompt, averaged within rubric, then over
    rubrics.
    """
    return over_prompts(table, weights, _lines(table)[0])


@statistic()
def calibration_intercept(table: Table, weights: Floats) -> Floats:
    """Score, in points, that the line of `calibration_slope` has where 0 is asked for: 0 if slope 1 is calibrated."""
    return over_prompts(table, weights, _lines(table)[1])


@statistic()
def dynamic_range(table: Table, weights: Floats) -> Floats:
    """Mean score at extremely_high minus mean score at low, in score points (-100 to 100); averaged over rubrics."""
    means = cell_means(table, weights, table.score)
    return over_rubrics(table, weights, means[..., ScoreLevel.EXTREMELY_HIGH.rank] - means[..., ScoreLevel.LOW.rank])


@statistic((0, 100))
def band_error(table: Table, weights: Floats) -> Floats:
    """Calibration: mean distance in score points from the score to the band asked for (0 inside); averaged over cells.

    0 is best. The sum of `overshoot` and `undershoot`.
    """
    return over_cells(table, weights, np.abs(_distances(table)))


@statistic((0, 100))
def overshoot(table: Table, weights: Floats) -> Floats:
    """Mean of the score points above the band asked for (0 inside or below it); averaged over cells."""
    return over_cells(table, weights, np.maximum(0.0, _distances(table)))


@statistic((0, 100))
def undershoot(table: Table, weights: Floats) -> Floats:
    """Mean of the score points below the band asked for (0 inside or above it); averaged over cells."""
    return over_cells(table, weights, np.maximum(0.0, -_distances(table)))


@statistic()  # for intervals without bounds: its best value, 0, is no end of its range
def signed_error(table: Table, weights: Floats) -> Floats:
    """Mean of the score points above the band asked for (+) or below it (-), 0 inside; averaged over cells."""
    return over_cells(table, weights, _distances(table))


@statistic((-1, 1))
def length_rho(table: Table, weights: Floats) -> Floats:
    """Spearman's rho, -1 to 1, of asked level and length in words; within rubric, then averaged.

    Far from 0, a judge that likes length would confound length and adherence.
    """
    return within_rubrics(table, weights, lambda part: ranks.spearman(part, weights, part.words))


@statistic((0, 100))
def mean_score(table: Table, weights: Floats) -> Floats:
    """Mean score, 0-100, over all rows."""
    of_row = weights[:, table.cluster]
    return ratio(of_row @ table.score, of_row.sum(axis=1))


_ALL = [macro_accuracy, somers_d, band_error, chance_accuracy, kendall_tau_b, kendall_tau_b_ceiling, spearman_rho]
_ALL += [spearman_rho_ceiling, weighted_kappa, kendall_tau_b_pooled, spearman_rho_pooled, strict_monotone_rate]
_ALL += [calibration_slope, calibration_intercept, dynamic_range, overshoot, undershoot, length_rho]
_ALL += [kendall_tau_b_given_length]
STATISTICS: dict[str, Statistic] = {one.function.__name__: one for one in _ALL}


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


def _distances(table: Table) -> Floats:
    """From the band asked for to the score, in score points; below 0 under the band."""
    lowest, highest = np.array([level.band for level in ScoreLevel])[table.level].T
    return np.asarray(table.score - table.score.clip(lowest, highest))


def _lines(table: Table) -> tuple[Floats, Floats]:
    """Slope and intercept of mean score on midpoint, (n_clusters, n_rubrics), nan for under two levels."""
    means = prompt_means(table)
    present = ~np.isnan(means)
    counts = present.sum(axis=2)
    centre = ratio((present * MIDPOINTS).sum(axis=2), counts)
    offsets = np.where(present, MIDPOINTS - centre[..., None], 0)
    slopes = ratio(np.nansum(offsets * means, axis=2), (offsets**2).sum(axis=2))
    return slopes, ratio(np.nansum(means, axis=2), counts) - slopes * centre
