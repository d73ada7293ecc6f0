"""Statistics of `rubric_adherence`: how well what is judged follows what the system prompt asked for.

Every statistic here is called on a frame and gives a float, or takes a `Table` and many weightings of its user prompts
(see `statistics.table`). One that is not defined on its rows (no rows, one level only, scores all tied) is nan, never a
default value.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpt_tasks.statistics.ranks import partial_tau, ratio, spearman, tau_b
from cpt_tasks.statistics.table import Indices, Statistic, Table, statistic
from judges.interval import NAN, Floats
from rubrics import ScoreLevel

N_LEVELS = len(ScoreLevel)
MIDPOINTS = np.array([level.midpoint for level in ScoreLevel])


@statistic((0, 1))
def macro_accuracy(table: Table, weights: Floats) -> Floats:
    """Binned accuracy, 0-1: share of scores inside the band asked for, averaged over (rubric, level) cells.

    Source: arXiv 2506.11702, section 4; here every cell weighs the same however many of its samples were scored.
    """
    return _over_cells(table, weights, _judged_levels(table) == table.level)


@statistic((0, 1), has_interval=False)
def chance_accuracy(table: Table, weights: Floats) -> Floats:
    """Macro accuracy, 0-1, of the best model that ignores the level: always the most rewarding band of each rubric.

    With all three levels present this is 1/3.
    """
    cells = _cell_totals(table, weights, np.ones(len(table.score))) > 0
    present = cells.any(axis=2).sum(axis=1).astype(np.float64)
    return ratio(present, cells.sum(axis=(1, 2)).astype(np.float64))


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


@statistic((-1, 1))
def kendall_tau_b(table: Table, weights: Floats) -> Floats:
    """Kendall's tau-b, -1 to 1, of asked level and score; within rubric, then averaged.

    tau-b corrects for the many ties of a three-level truth. nan if a rubric has one level or one score only.
    """
    return _within_rubrics(table, weights, lambda part: tau_b(part, weights, part.level, part.score))


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


@statistic((-1, 1))
def kendall_tau_b_pooled(table: Table, weights: Floats) -> Floats:
    """Kendall's tau-b over all rows at once, as the paper reports it; mixes the rubrics."""
    return tau_b(table, weights, table.level, table.score)


@statistic((-1, 1))
def spearman_rho_pooled(table: Table, weights: Floats) -> Floats:
    """Spearman's rho over all rows at once, as the paper reports it; mixes the rubrics."""
    return spearman(table, weights, table.level, table.score, N_LEVELS)


@statistic((0, 1))
def order_accuracy(table: Table, weights: Floats) -> Floats:
    """Share, 0-1, of same-prompt pairs of different levels whose mean scores stand in the right order; ties count 1/2.

    Averaged within rubric, then over rubrics. nan if no prompt has two levels.
    """
    means = _prompt_means(table)
    pairs = [(low, high) for high in range(N_LEVELS) for low in range(high)]
    outcomes = np.stack([0.5 + 0.5 * np.sign(means[..., high] - means[..., low]) for low, high in pairs], axis=-1)
    return _over_prompts(table, weights, np.nansum(outcomes, axis=-1), (~np.isnan(outcomes)).sum(axis=-1))


@statistic((0, 1))
def strict_monotone_rate(table: Table, weights: Floats) -> Floats:
    """Share, 0-1, of prompts with score(low) < score(moderate) < score(extremely_high); within rubric, then averaged.

    Prompts that lack a level are left out; nan if none is complete.
    """
    means = _prompt_means(table)
    rises = np.all(np.diff(means, axis=-1) > 0, axis=-1)
    return _over_prompts(table, weights, np.asarray(rises), np.asarray(np.all(~np.isnan(means), axis=-1)))


@statistic()
def calibration_slope(table: Table, weights: Floats) -> Floats:
    """Least-squares slope of score on the midpoint of the band asked for, in score points per score point.

    1 is calibrated, 0 ignores the level. Fitted within each prompt, averaged within rubric, then over rubrics.
    """
    means = _prompt_means(table)
    present = ~np.isnan(means)
    n_levels = present.sum(axis=-1)
    centre = ratio((present * MIDPOINTS).sum(axis=-1), n_levels.astype(np.float64))
    offsets = np.where(present, MIDPOINTS - centre[..., None], 0.0)
    slopes = ratio((offsets * np.where(present, means, 0.0)).sum(axis=-1), (offsets**2).sum(axis=-1))
    return _over_prompts(table, weights, np.where(n_levels > 1, slopes, 0.0), n_levels > 1)


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
    everything = np.zeros(len(table.score), dtype=np.int64)
    totals = [table.totals(weights, values, everything, 1)[:, 0] for values in (table.score, np.ones(len(everything)))]
    return ratio(*totals)


STATISTICS: dict[str, Statistic] = {
    one.__name__: one
    for one in (
        macro_accuracy,
        chance_accuracy,
        weighted_kappa,
        kendall_tau_b,
        spearman_rho,
        kendall_tau_b_pooled,
        spearman_rho_pooled,
        order_accuracy,
        strict_monotone_rate,
        calibration_slope,
        dynamic_range,
        band_error,
        overshoot,
        undershoot,
        length_rho,
        kendall_tau_b_given_length,
    )
}


def worst_wording_accuracy(frame: pd.DataFrame) -> float:
    """Accuracy, 0-1, under the wording of the system prompt that works worst, averaged over (rubric, level) cells.

    The lowest of several shares of few responses would be low by chance alone. So one half of the user prompts chooses
    the wording of each cell that is worst (tied ones count equally), the other half says how well it works, and the
    mean over both ways is taken: what to expect of a wording that was the worst once. User prompts in the order of
    their ids belong to the halves by turns. Wordings of a cell that one half lacks do not take part, cells with fewer
    than two wordings are left out, and without any it is nan. No interval: a minimum has no normal limit.

    Source: sample splitting against the bias of selection, Cox 1975.
    """
    if frame.empty:
        return NAN
    half = pd.factorize(frame["user_prompt_id"], sort=True)[0] % 2
    hits = frame["score"].map(lambda score: ScoreLevel.of(score).value) == frame["level"]
    shares = hits.groupby([frame["rubric"], frame["level"], frame["wording"], half]).mean().unstack().dropna()
    if shares.shape[1] < 2:
        return NAN
    cells = []
    for _, cell in shares.groupby(level=["rubric", "level"]):
        if len(cell) > 1:
            ways = [cell.loc[cell[chosen] == cell[chosen].min(), 1 - chosen].mean() for chosen in (0, 1)]
            cells.append(float(np.mean(ways)))
    return float(np.mean(cells)) if cells else NAN


def _judged_levels(table: Table) -> Indices:
    return np.array([ScoreLevel.of(score).rank for score in table.score.tolist()], dtype=np.int64)


def _distances(table: Table) -> Floats:
    levels = list(ScoreLevel)
    distances = [levels[rank].distance(score) for rank, score in zip(table.level, table.score.tolist(), strict=True)]
    return np.array(distances, dtype=np.float64)


def _within_rubrics(table: Table, weights: Floats, statistic: Callable[[Table], Floats]) -> Floats:
    """A statistic on the rows of each rubric, then the mean over rubrics."""
    values = [statistic(table.of_rubric(rubric)) for rubric in range(table.n_rubrics)]
    return _over_rubrics(table, weights, np.column_stack(values) if values else np.zeros((len(weights), 0)))


def _cell_totals(table: Table, weights: Floats, values: NDArray[Any]) -> Floats:
    cells = table.rubric * N_LEVELS + table.level
    totals = table.totals(weights, values, cells, table.n_rubrics * N_LEVELS)
    return totals.reshape(len(weights), table.n_rubrics, N_LEVELS)


def _cell_means(table: Table, weights: Floats, values: NDArray[Any]) -> Floats:
    """Means of the (rubric, level) cells, shape (n_weightings, n_rubrics, n_levels), nan for cells without rows."""
    return ratio(_cell_totals(table, weights, values), _cell_totals(table, weights, np.ones(len(values))))


def _over_cells(table: Table, weights: Floats, values: NDArray[Any]) -> Floats:
    means = _cell_means(table, weights, values).reshape(len(weights), table.n_rubrics * N_LEVELS)
    return _mean_where(means, ~np.isnan(means))


def _over_rubrics(table: Table, weights: Floats, values: Floats) -> Floats:
    """Mean over the rubrics that a weighting has rows of; nan if it is undefined for one of them."""
    present = table.totals(weights, np.ones(len(table.rubric)), table.rubric, table.n_rubrics) > 0
    return _mean_where(values, present)


def _mean_where(values: Floats, kept: NDArray[np.bool_]) -> Floats:
    return ratio(np.where(kept, values, 0.0).sum(axis=1), kept.sum(axis=1).astype(np.float64))


def _prompt_means(table: Table) -> Floats:
    """Mean score of each user prompt, rubric and level, shape (n_clusters, n_rubrics, n_levels), nan if it has none."""
    return _cell_means(table, np.eye(table.n_clusters), table.score)


def _over_prompts(table: Table, weights: Floats, sums: NDArray[Any], counts: NDArray[Any]) -> Floats:
    """Sum over count within rubric, both of shape (n_clusters, n_rubrics), then the mean over rubrics."""
    return _over_rubrics(table, weights, ratio(weights @ sums.astype(np.float64), weights @ counts.astype(np.float64)))
