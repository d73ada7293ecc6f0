"""Audits a judge without people: its judgments of texts whose score is known, because it was measured.

Every statistic is over single judgments, since one judgment is what a benchmark uses; a text that was judged more often
counts more often. Intervals are 95% percentile intervals of `scipy.stats.bootstrap` over user prompts: all texts of one
prompt are drawn together; resamples on which a statistic is undefined are left out. A statistic that is not defined on
its rows is nan.
"""

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import scipy  # its parts are imported when first used: `scipy.stats` takes a second

from judges.agreement import NAN, Agreement, Estimate, Floats, NoiseReport, agree, noise_report
from rubrics import MAX_SCORE, MIN_SCORE, ScoreLevel

N_RESAMPLES = 2000
_TINY = 1e-9


@dataclass(frozen=True)
class AuditRow:
    """One text with its known score and what the judge made of it.

    Attributes:
        rubric: Rubric id.
        level: Level that the text was written for.
        prompt_id: Id of the user prompt: the cluster of the bootstrap, and what order accuracy compares within.
        words: Length of the text in words, at least 1.
        measured: The known score, 0-100.
        judged: The judge's scores, 0-100, one per repeat that worked; empty when none did.
        failures: Failure modes of the repeats that did not work.
        writer: Who wrote the text; levels are put in order among the texts of one writer.
    """

    rubric: str
    level: ScoreLevel
    prompt_id: str
    words: int
    measured: float
    judged: tuple[float, ...]
    failures: tuple[str, ...] = ()
    writer: str = ""


@dataclass(frozen=True)
class LengthBias:
    """What length does to a judge beyond what it does to the known score.

    Attributes:
        slope: Score points that judged - measured gains per doubling of the words. Least squares within (rubric,
            level), given the measured score, so that neither a length that rises with the level nor a compressed scale
            passes for a taste for length. nan when the texts of a cell are equally long. Its interval holds the means
            of the cells fixed.
        partial_rho: Spearman's rho of judged score and words given the measured score, -1 to 1, of ranks within
            (rubric, level); nan when the measured score explains all ranks, or a column has one value per cell.
    """

    slope: Estimate
    partial_rho: float


@dataclass(frozen=True)
class Saturation:
    """How much of the scale is used: shares, 0-1, of exact 0 and exact 100, and the number of distinct scores."""

    share_0: float
    share_100: float
    distinct: int


@dataclass(frozen=True)
class Audit:
    """Everything an audit finds; `judged_*` and `measured_*` are the same statistic of the judge and of the truth.

    Attributes:
        n_texts: Texts audited.
        n_judgments: Judgments that worked.
        unscored: Judgments that did not, by failure mode.
        agreement: Of measured and judged scores, and of their levels.
        within_level_pearson: Linear correlation, -1 to 1, of measured and judged score within (rubric, level): does the
            judge see more than the level? nan when one of them has one value in every cell.
        bias: Mean of judged - measured, score points.
        bias_by_level: The same for the texts written for each level.
        bias_by_rubric: The same for each rubric.
        length: Length bias.
        judged_saturation: Use of the scale by the judge.
        measured_saturation: Use of the scale by the measured scores of the same texts.
        judged_tau_b: Kendall's tau-b of level and judged score, within rubric and writer, then averaged.
        measured_tau_b: The same for the measured score: the value to reach, below 1 since a level holds many scores.
        judged_order_accuracy: Share of pairs of texts of one prompt and two levels that the judge puts in the right
            order, ties 1/2; within rubric and writer, then averaged.
        measured_order_accuracy: The same for the measured score.
        noise: Self-consistency over repeats, or None when texts were judged once.
    """

    n_texts: int
    n_judgments: int
    unscored: Mapping[str, int]
    agreement: Agreement
    within_level_pearson: float
    bias: Estimate
    bias_by_level: Mapping[ScoreLevel, Estimate]
    bias_by_rubric: Mapping[str, Estimate]
    length: LengthBias
    judged_saturation: Saturation
    measured_saturation: Saturation
    judged_tau_b: float
    measured_tau_b: float
    judged_order_accuracy: float
    measured_order_accuracy: float
    noise: NoiseReport | None


@dataclass(frozen=True)
class _Judgment:
    rubric: str
    writer: str
    level: ScoreLevel
    prompt_id: str
    words: int
    measured: float
    judged: float


_Judgments = Sequence[_Judgment]
_Score = Callable[[_Judgment], float]
_JUDGED: _Score = attrgetter("judged")
_MEASURED: _Score = attrgetter("measured")


def audit(rows: Sequence[AuditRow], seed: int = 0) -> Audit:
    """The audit of the rows.

    Raises:
        ValueError: If no row was judged, or a score is outside 0-100.
    """
    judgments = [
        _Judgment(row.rubric, row.writer, row.level, row.prompt_id, row.words, row.measured, score)
        for row in rows
        for score in row.judged
    ]
    if not judgments:
        modes = ", ".join(f"{mode} {count}" for mode, count in Counter(m for row in rows for m in row.failures).items())
        raise ValueError(f"audit: got no judgment of {len(rows)} texts ({modes}), expected at least one")
    return Audit(
        n_texts=len(rows),
        n_judgments=len(judgments),
        unscored=dict(Counter(mode for row in rows for mode in row.failures)),
        agreement=agree([found.measured for found in judgments], [found.judged for found in judgments]),
        within_level_pearson=_within_level_pearson(judgments),
        bias=_bias(judgments, seed),
        bias_by_level={
            level: _bias([found for found in judgments if found.level is level], seed) for level in ScoreLevel
        },
        bias_by_rubric={
            rubric: _bias([found for found in judgments if found.rubric == rubric], seed)
            for rubric in sorted({found.rubric for found in judgments})
        },
        length=LengthBias(_length_slope(judgments, seed), _partial_rho(judgments)),
        judged_saturation=_saturation([found.judged for found in judgments]),
        measured_saturation=_saturation([row.measured for row in rows if row.judged]),
        judged_tau_b=_within_writer(judgments, lambda found: _tau_b(found, _JUDGED)),
        measured_tau_b=_within_writer(judgments, lambda found: _tau_b(found, _MEASURED)),
        judged_order_accuracy=_within_writer(judgments, lambda found: _order_accuracy(found, _JUDGED)),
        measured_order_accuracy=_within_writer(judgments, lambda found: _order_accuracy(found, _MEASURED)),
        noise=_noise(rows),
    )


def _within_level_pearson(judgments: _Judgments) -> float:
    cells = [np.array([(found.measured, found.judged) for found in cell]) for cell in _cells(judgments)]
    squares = _products([cell - cell.mean(axis=0) for cell in cells])
    scale = math.sqrt(squares[0, 0] * squares[1, 1])
    return float(squares[0, 1] / scale) if scale > _TINY else NAN


def _bias(judgments: _Judgments, seed: int) -> Estimate:
    # per prompt: how many, and the sum of their errors
    sums: dict[str, Floats] = defaultdict(lambda: np.zeros(2))
    for found in judgments:
        sums[found.prompt_id] += (1, found.judged - found.measured)
    return _clustered(sums, _ratio, seed)


def _ratio(count: Floats, total: Floats, axis: int = -1) -> Floats:
    return np.asarray(total.sum(axis=axis) / count.sum(axis=axis))


def _length_slope(judgments: _Judgments, seed: int) -> Estimate:
    # least squares of the error on log2 words and measured score, all less their cell means, from sums per prompt
    sums: dict[str, Floats] = defaultdict(lambda: np.zeros(5))
    for cell in _cells(judgments):
        columns = [(np.log2(found.words), found.measured, found.judged - found.measured) for found in cell]
        for found, (x, m, e) in zip(cell, np.array(columns) - np.mean(columns, axis=0), strict=True):
            sums[found.prompt_id] += (x * x, m * m, x * m, x * e, m * e)
    total = sum(sums.values(), np.zeros(5))
    if total[0] < _TINY or total[0] * (total[1] + _TINY) - total[2] ** 2 < _TINY * total[0]:
        return Estimate(NAN, NAN, NAN)  # equally long, or as long as the measured score says
    return _clustered(sums, _slope, seed)


def _slope(xx: Floats, mm: Floats, xm: Floats, xe: Floats, me: Floats, axis: int = -1) -> Floats:
    xx, mm, xm, xe, me = (column.sum(axis=axis) for column in (xx, mm, xm, xe, me))
    mm = mm + _TINY  # a measured score that is constant in every cell drops out
    return (xe * mm - me * xm) / (xx * mm - xm**2)


def _clustered(sums: Mapping[str, Floats], statistic: Callable[..., Floats], seed: int) -> Estimate:
    if not sums:
        return Estimate(NAN, NAN, NAN)
    columns = tuple(np.array(list(sums.values())).T)
    value = float(statistic(*columns))
    if len(sums) < 2:
        return Estimate(value, NAN, NAN)
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        found = scipy.stats.bootstrap(
            columns, statistic, paired=True, vectorized=True, method="percentile", n_resamples=N_RESAMPLES, rng=seed
        )
    # scipy gives no interval at all when the statistic is undefined on a single resample
    draws = found.bootstrap_distribution[np.isfinite(found.bootstrap_distribution)]
    low, high = np.quantile(draws, [0.025, 0.975]) if len(draws) else (NAN, NAN)
    return Estimate(value, float(low), float(high))


def _partial_rho(judgments: _Judgments) -> float:
    cells = [[(found.judged, found.words, found.measured) for found in cell] for cell in _cells(judgments)]
    ranks = [scipy.stats.rankdata(cell, axis=0) for cell in cells]
    squares = _products([table - table.mean(axis=0) for table in ranks])
    scale = np.sqrt(np.diag(squares))
    if (scale < _TINY).any():
        return NAN
    (_, words, truth), (_, _, both), _ = squares / np.outer(scale, scale)
    left = (1 - truth**2) * (1 - both**2)
    return float((words - truth * both) / np.sqrt(left)) if left > _TINY else NAN


def _products(tables: Sequence[Floats]) -> Floats:
    together = np.concatenate(tables)
    return np.asarray(together.T @ together)


def _saturation(scores: Sequence[float]) -> Saturation:
    values = np.array(scores)
    return Saturation(
        float((values == MIN_SCORE).mean()), float((values == MAX_SCORE).mean()), len(np.unique(values.round(6)))
    )


def _tau_b(judgments: _Judgments, score: _Score) -> float:
    levels, scores = [found.level.rank for found in judgments], [score(found) for found in judgments]
    defined = len(set(levels)) > 1 and len(set(scores)) > 1
    return float(scipy.stats.kendalltau(levels, scores).statistic) if defined else NAN


def _order_accuracy(judgments: _Judgments, score: _Score) -> float:
    prompts: dict[str, dict[ScoreLevel, list[float]]] = defaultdict(lambda: defaultdict(list))
    for found in judgments:
        prompts[found.prompt_id][found.level].append(score(found))
    return _mean(
        0.5 + 0.5 * float(np.sign(high - low))
        for by_level in prompts.values()
        for lower in by_level
        for upper in by_level
        if lower.rank < upper.rank
        for low in by_level[lower]
        for high in by_level[upper]
    )


def _noise(rows: Sequence[AuditRow]) -> NoiseReport | None:
    asked = max(len(row.judged) + len(row.failures) for row in rows)
    ratings = [[*row.judged, *[NAN] * (asked - len(row.judged))] for row in rows]
    return noise_report(ratings) if asked > 1 else None


def _cells(judgments: _Judgments) -> list[list[_Judgment]]:
    return _grouped(judgments, lambda found: (found.rubric, found.level))


def _within_writer(judgments: _Judgments, statistic: Callable[[_Judgments], float]) -> float:
    return _mean(statistic(group) for group in _grouped(judgments, lambda found: (found.rubric, found.writer)))


def _grouped(judgments: _Judgments, key: Callable[[_Judgment], tuple[str, str]]) -> list[list[_Judgment]]:
    groups: dict[tuple[str, str], list[_Judgment]] = defaultdict(list)
    for found in judgments:
        groups[key(found)].append(found)
    return list(groups.values())


def _mean(values: Iterable[float]) -> float:
    collected = list(values)
    return sum(collected) / len(collected) if collected else NAN
