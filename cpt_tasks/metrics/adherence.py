"""Statistics of `rubric_adherence`: how well what is judged follows what the system prompt asked for.

Every function takes `Judged` rows. A statistic that is not defined on its rows (no rows, one level only, scores all
tied) is nan, never a default value.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy import stats

from cpt_tasks.metrics.rows import NAN, Judged, Rows, Statistic
from rubrics import ScoreLevel


def macro_accuracy(rows: Rows) -> float:
    """Binned accuracy, 0-1: share of scores inside the band asked for, averaged over (rubric, level) cells.

    Source: arXiv 2506.11702, section 4; here every cell weighs the same however many of its samples were scored.
    """
    return _mean(_mean(ScoreLevel.of(row.score) is row.level for row in cell) for cell in _cells(rows).values())


def chance_accuracy(rows: Rows) -> float:
    """Macro accuracy, 0-1, of the best model that ignores the level: always the most rewarding band of each rubric.

    With all three levels present this is 1/3.
    """
    levels = defaultdict(set)
    for row in rows:
        levels[row.rubric].add(row.level)
    total = sum(len(found) for found in levels.values())
    return len(levels) / total if total else NAN


def weighted_kappa(rows: Rows) -> float:
    """Quadratic-weighted kappa, at most 1 and 0 at chance, of asked and judged level; within rubric, then averaged.

    nan for a rubric whose asked and judged levels are all one and the same. Source: Cohen 1968.
    """
    return _within_rubric(rows, _kappa)


def kendall_tau_b(rows: Rows) -> float:
    """Kendall's tau-b, -1 to 1, of asked level and score; within rubric, then averaged.

    tau-b corrects for the many ties of a three-level truth. nan if a rubric has one level or one score only.
    """
    return _within_rubric(rows, kendall_tau_b_pooled)


def spearman_rho(rows: Rows) -> float:
    """Spearman's rho, -1 to 1, of asked level and score (mean ranks for ties); within rubric, then averaged."""
    return _within_rubric(rows, spearman_rho_pooled)


def kendall_tau_b_pooled(rows: Rows) -> float:
    """Kendall's tau-b over all rows at once, as the paper reports it; mixes the rubrics."""
    return _correlation(stats.kendalltau, [row.level.rank for row in rows], [row.score for row in rows])


def spearman_rho_pooled(rows: Rows) -> float:
    """Spearman's rho over all rows at once, as the paper reports it; mixes the rubrics."""
    return _correlation(stats.spearmanr, [row.level.rank for row in rows], [row.score for row in rows])


def order_accuracy(rows: Rows) -> float:
    """Share, 0-1, of same-prompt pairs of different levels whose mean scores stand in the right order; ties count 1/2.

    Averaged within rubric, then over rubrics. nan if no prompt has two levels.
    """

    def within(rubric_rows: Rows) -> float:
        outcomes = []
        for means in _level_means_by_prompt(rubric_rows):
            levels = sorted(means, key=lambda level: level.rank)
            for position, lower in enumerate(levels):
                outcomes += [0.5 + 0.5 * float(np.sign(means[u] - means[lower])) for u in levels[position + 1 :]]
        return _mean(outcomes)

    return _within_rubric(rows, within)


def strict_monotone_rate(rows: Rows) -> float:
    """Share, 0-1, of prompts with score(low) < score(moderate) < score(extremely_high); within rubric, then averaged.

    Prompts that lack a level are left out; nan if none is complete.
    """

    def within(rubric_rows: Rows) -> float:
        complete = [means for means in _level_means_by_prompt(rubric_rows) if len(means) == len(ScoreLevel)]
        return _mean(
            means[ScoreLevel.LOW] < means[ScoreLevel.MODERATE] < means[ScoreLevel.EXTREMELY_HIGH] for means in complete
        )

    return _within_rubric(rows, within)


def gain(rows: Rows) -> float:
    """Least-squares slope of score on the midpoint of the band asked for, in score points per score point.

    1 is calibrated, 0 ignores the level. Fitted within each prompt, averaged within rubric, then over rubrics.
    """

    def within(rubric_rows: Rows) -> float:
        slopes = []
        for means in _level_means_by_prompt(rubric_rows):
            if len(means) > 1:
                targets = np.array([level.midpoint for level in means])
                offsets = targets - targets.mean()
                slopes.append(float(offsets @ np.array(list(means.values())) / (offsets @ offsets)))
        return _mean(slopes)

    return _within_rubric(rows, within)


def dynamic_range(rows: Rows) -> float:
    """Mean score at extremely_high minus mean score at low, in score points (-100 to 100); averaged over rubrics."""

    def within(rubric_rows: Rows) -> float:
        by_level = {level: [row.score for row in rubric_rows if row.level is level] for level in ScoreLevel}
        return _mean(by_level[ScoreLevel.EXTREMELY_HIGH]) - _mean(by_level[ScoreLevel.LOW])

    return _within_rubric(rows, within)


def band_error(rows: Rows) -> float:
    """Mean distance in score points from the score to the band asked for (0 inside it); averaged over cells."""
    return _mean(_mean(abs(signed_band_error(row)) for row in cell) for cell in _cells(rows).values())


def signed_band_error(row: Judged) -> float:
    """Score points above (+) or below (-) the nearer edge of the band asked for; 0 inside it."""
    low, high = row.level.band
    return max(0.0, row.score - high) - max(0.0, low - row.score)


def length_rho(rows: Rows) -> float:
    """Spearman's rho, -1 to 1, of asked level and length in words; within rubric, then averaged.

    Far from 0, a judge that likes length would confound length and adherence.
    """

    def within(rubric_rows: Rows) -> float:
        levels, lengths = [row.level.rank for row in rubric_rows], [float(row.words) for row in rubric_rows]
        return _correlation(stats.spearmanr, levels, lengths)

    return _within_rubric(rows, within)


def mean_score(rows: Rows) -> float:
    """Mean score, 0-100, over all rows."""
    return _mean(row.score for row in rows)


STATISTICS: dict[str, Statistic] = {
    statistic.__name__: statistic
    for statistic in (
        macro_accuracy,
        chance_accuracy,
        weighted_kappa,
        kendall_tau_b,
        spearman_rho,
        kendall_tau_b_pooled,
        spearman_rho_pooled,
        order_accuracy,
        strict_monotone_rate,
        gain,
        dynamic_range,
        band_error,
        length_rho,
    )
}


def _cells(rows: Rows) -> dict[tuple[str, ScoreLevel], list[Judged]]:
    cells: dict[tuple[str, ScoreLevel], list[Judged]] = defaultdict(list)
    for row in rows:
        cells[row.rubric, row.level].append(row)
    return cells


def _within_rubric(rows: Rows, statistic: Statistic) -> float:
    by_rubric: dict[str, list[Judged]] = defaultdict(list)
    for row in rows:
        by_rubric[row.rubric].append(row)
    return _mean(statistic(rubric_rows) for rubric_rows in by_rubric.values())


def _level_means_by_prompt(rows: Rows) -> list[dict[ScoreLevel, float]]:
    scores: dict[str, dict[ScoreLevel, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        scores[row.user_prompt][row.level].append(row.score)
    return [{level: _mean(values) for level, values in by_level.items()} for by_level in scores.values()]


def _kappa(rows: Rows) -> float:
    size = len(ScoreLevel)
    observed = np.zeros((size, size))
    for row in rows:
        observed[row.level.rank, ScoreLevel.of(row.score).rank] += 1
    ranks = np.arange(size)
    weights = (ranks[:, None] - ranks[None, :]) ** 2
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / max(1.0, observed.sum())
    disagreement = float((weights * expected).sum())
    return 1.0 - float((weights * observed).sum()) / disagreement if disagreement else NAN


def _correlation(correlate: Callable[..., object], levels: Sequence[int], values: Sequence[float]) -> float:
    if len(set(levels)) < 2 or len(set(values)) < 2:
        return NAN  # scipy would warn and return nan as well
    return float(correlate(levels, values).statistic)  # type: ignore[attr-defined]  # scipy result object


def _mean(values: Iterable[float]) -> float:
    collected = [float(value) for value in values]
    return sum(collected) / len(collected) if collected else NAN
