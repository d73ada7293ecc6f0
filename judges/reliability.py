"""How far a judge can be trusted: repeated ratings of the same responses, and the best accuracy that noise leaves.

Ratings are arrays of shape (n_items, n_ratings), in score points from 0 to 100, nan where a rating is missing. Column
by column they are one judge asked again, or different judges or people. A statistic that is not defined on its ratings
(no item rated twice, everything constant) is nan, never a default value.

ICC, alpha and kappa are a formula each and are tested against published tables, scikit-learn and inspect: pingouin
brings seaborn, statsmodels and scikit-learn along, and the libraries for alpha make a matrix of all pairs of values,
which for thousands of continuous scores does not fit into memory.
"""

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
import pandas as pd
import scipy  # its parts are imported when first used: `scipy.stats` takes a second
from numpy.typing import ArrayLike, NDArray

from judges.interval import NAN, Floats
from judges.judgment import JudgeFailureRecord, Judgment
from rubrics import LOW_MAX, MAX_SCORE, MIN_SCORE, MODERATE_MAX, ScoreLevel

Judgments = Iterable[Judgment | JudgeFailureRecord]
_ROUNDING = 1e-9


def noise(ratings: ArrayLike) -> dict[str, float]:
    """What repeated judgments of the same responses say about a judge; with one rating per response nan.

    Returns:
        `n_items` rated at least once, `n_ratings` asked for of each, `n_missing` of all; test-retest `sd` in score
        points, and by the level of the mean score `sd_low`, `sd_moderate`, `sd_extremely_high`; `icc` of the responses
        with all ratings, `alpha`, `level_kappa`; and what a perfect student could get from a judge this noisy,
        `attainable` from one rating and `attainable_of_mean` from the mean of all, whose noise is smaller by the root
        of their number.

    Raises:
        ValueError: If the array does not have two dimensions or a rating is outside 0-100.
    """
    table = _ratings(ratings)
    sd_by_level = test_retest_sd_by_level(table)
    of_mean = {level: sd / np.sqrt(table.shape[1]) for level, sd in sd_by_level.items()}
    return {
        "n_items": int((~np.isnan(table)).any(axis=1).sum()),
        "n_ratings": table.shape[1],
        "n_missing": int(np.isnan(table).sum()),
        "sd": test_retest_sd(table),
        **{f"sd_{level}": sd for level, sd in sd_by_level.items()},
        "icc": icc_2_1(table),
        "alpha": krippendorff_alpha(table),
        "level_kappa": level_kappa(table),
        "attainable": attainable_accuracy(sd_by_level),
        "attainable_of_mean": attainable_accuracy(of_mean),
    }


def noise_text(noise: Mapping[str, float]) -> str:
    """The statistics of `noise` in a sentence."""
    by_level = ", ".join(f"{level} {noise[f'sd_{level}']:.1f}" for level in ScoreLevel)
    return (
        f"{noise['n_ratings']} ratings of {noise['n_items']} responses, {noise['n_missing']} missing; test-retest SD "
        f"{noise['sd']:.1f} points ({by_level}); {_reliability(noise)}; attainable accuracy "
        f"{noise['attainable_of_mean']:.3f} by the mean of {noise['n_ratings']} ratings, {noise['attainable']:.3f} by "
        "one: what a perfect student could get from a judge this noisy"
    )


def noise_lines(judgments: Judgments) -> list[str]:
    """What repeats and panels say about the judges, a statement per line; [] where each response was judged once."""
    seats = _seats(judgments)
    lines = [f"{name}: {noise_text(noise(table))}" for name, table in seats.items() if table.shape[1] > 1]
    if len(seats) > 1:
        between = noise(_means(seats))
        lines.append(
            f"{between['n_ratings']} judges of {between['n_items']} responses: {_reliability(between)}, SD between "
            f"judges {between['sd']:.1f} points"
        )
    return lines


def noise_values(judgments: Judgments) -> dict[str, float]:
    """The same for inspect: test-retest SD and attainable accuracy of a single judge, ICC and alpha of a panel."""
    seats = _seats(judgments)
    if len(seats) > 1:
        panel = _means(seats)
        return {"panel_icc": icc_2_1(panel), "panel_alpha": krippendorff_alpha(panel)}
    for table in seats.values():
        if table.shape[1] > 1:
            values = noise(table)
            return {"judge_test_retest_sd": values["sd"], "attainable_accuracy": values["attainable_of_mean"]}
    return {}


def test_retest_sd(ratings: ArrayLike) -> float:
    """Pooled within-item standard deviation, score points: the noise of one judgment.

    Items with missing ratings weigh by what they have. 0 when every item is rated alike; nan when none has two ratings.
    """
    squares, freedom = _within_items(_ratings(ratings))
    return float(np.sqrt(squares.sum() / freedom.sum())) if freedom.sum() else NAN


def test_retest_sd_by_level(ratings: ArrayLike) -> dict[ScoreLevel, float]:
    """Test-retest SD, score points, of the items whose mean rating lies in the band of each level.

    A band without an item rated twice gets the SD over all items; nan for all when there is no such item.
    """
    table = _repeated(_ratings(ratings))
    levels = level_ranks(table.mean(axis=1, where=~np.isnan(table))) if len(table) else np.empty(0)
    pooled = test_retest_sd(table)
    by_level = {level: test_retest_sd(table[levels == level.rank]) for level in ScoreLevel}
    return {level: pooled if np.isnan(sd) else sd for level, sd in by_level.items()}


def icc_2_1(ratings: ArrayLike) -> float:
    """ICC(2,1): two-way random effects, absolute agreement, single rating; at most 1, below 0 when worse than chance.

    Items with a missing rating are left out. nan with fewer than two items or ratings, or when the ratings leave no
    variance between items and raters to divide by, such as where all are equal.

    Source: Shrout and Fleiss 1979, Psychological Bulletin 86(2), 420-428.
    """
    table = _ratings(ratings)
    table = table[~np.isnan(table).any(axis=1)]
    n, k = table.shape
    if n < 2 or k < 2 or np.ptp(table) == 0:
        return NAN
    grand, items, raters = table.mean(), table.mean(axis=1), table.mean(axis=0)
    between_items = k * ((items - grand) ** 2).sum() / (n - 1)
    between_raters = n * ((raters - grand) ** 2).sum() / (k - 1)
    residual = ((table - items[:, None] - raters[None, :] + grand) ** 2).sum() / ((n - 1) * (k - 1))
    total = between_items + (k - 1) * residual + k * (between_raters - residual) / n
    return float((between_items - residual) / total) if abs(total) > _ROUNDING else NAN


def krippendorff_alpha(ratings: ArrayLike) -> float:
    """Krippendorff's alpha for interval data: 1 is perfect, 0 is chance, below 0 is systematic disagreement.

    Items with fewer than two ratings are left out. nan when none is left or all ratings are equal (inspect's metric of
    that name says 1 there; we do not call a judge reliable that never varied).

    Source: Krippendorff 2011, Computing Krippendorff's alpha-reliability, with the squared difference as metric.
    """
    table = _repeated(_ratings(ratings))
    values = table[~np.isnan(table)]
    if not len(values) or np.ptp(values) == 0:
        return NAN
    squares, freedom = _within_items(table)
    # over ordered pairs of m values, the squared differences sum to 2 m (sum of squared deviations)
    observed = (2 * (freedom + 1) * squares / freedom).sum() / len(values)
    expected = 2 * ((values - values.mean()) ** 2).sum() / (len(values) - 1)
    return float(1 - observed / expected)


def level_kappa(ratings: ArrayLike) -> float:
    """Quadratic-weighted kappa of score levels, averaged over the pairs of ratings (columns); at most 1, 0 at chance.

    A pair is compared on the items that have both ratings. Pairs where all those fall into one level have no kappa and
    are left out; nan when no pair has one.

    Source: Cohen 1968. With squared weights the table of counts is not needed: the expected disagreement of two
    independent raters is the sum of their variances and of the squared difference of their means.
    """
    kappas = []
    for pair in combinations(_ratings(ratings).T, 2):
        first, second = level_ranks(np.array(pair)[:, ~np.isnan(pair).any(axis=0)])
        expected = first.var() + second.var() + (first.mean() - second.mean()) ** 2 if len(first) else 0
        kappas.append(1 - ((first - second) ** 2).mean() / expected if expected else NAN)
    return float(np.nanmean(kappas)) if not np.isnan(kappas).all() else NAN


def attainable_accuracy(sd_by_level: Mapping[ScoreLevel, float]) -> float:
    """Best macro accuracy, 0-1, that a perfect student could get from a judge with this noise: 1 without noise.

    The model: the judged score is the true score plus normal noise, clipped to 0-100; the noise has one SD within a
    band; the student hits any true score it likes and so picks, in each band, the one that is judged to lie in the
    band most often: 0, the middle of moderate, 100. The result is the mean over the three levels.

    Limits: an upper bound. Real responses do not sit at the best true score; a judge's bias is not in it; noise that
    was clipped at 0 or 100 when it was measured looks smaller than it is.

    Args:
        sd_by_level: Test-retest SD in score points, at least 0, for each of the three levels; nan gives nan.
    """
    half_moderate = (MODERATE_MAX - LOW_MAX) / 2
    room = {ScoreLevel.LOW: LOW_MAX, ScoreLevel.MODERATE: half_moderate, ScoreLevel.EXTREMELY_HIGH: 100 - MODERATE_MAX}
    hits = []
    for level, sd in sd_by_level.items():
        beyond = scipy.special.ndtr(-room[level] / sd) if sd else 0.0
        # clipping keeps in the outer bands whatever noise carries beyond the end of the scale
        hits.append(1 - beyond * (2 if level is ScoreLevel.MODERATE else 1))
    return float(np.mean(hits))


def level_ranks(scores: Floats) -> NDArray[np.int_]:
    """Rank of the level, 0 to 2, of scores from 0 to 100."""
    return np.searchsorted([LOW_MAX, MODERATE_MAX], scores)


def _ratings(ratings: ArrayLike) -> Floats:
    table = np.asarray(ratings, dtype=float)
    if table.ndim != 2:
        raise ValueError(f"ratings: got an array of {table.ndim} dimensions, expected (n_items, n_ratings)")
    outside = table[(table < MIN_SCORE) | (table > MAX_SCORE)]
    if len(outside):
        raise ValueError(f"ratings: got {outside[0]:g}, expected a number from 0 to 100")
    return table


def _repeated(table: Floats) -> Floats:
    repeated: Floats = table[(~np.isnan(table)).sum(axis=1) > 1]
    return repeated


def _within_items(table: Floats) -> tuple[Floats, Floats]:
    """Sum of squared deviations from the item mean, and degrees of freedom, of every item rated twice or more."""
    table = _repeated(table)
    rated = ~np.isnan(table)
    means = table.mean(axis=1, where=rated, keepdims=True)
    return ((table - means) ** 2).sum(axis=1, where=rated), (rated.sum(axis=1) - 1).astype(float)


def _reliability(noise: Mapping[str, float]) -> str:
    return (
        f"ICC(2,1) {noise['icc']:.3f}, Krippendorff's alpha {noise['alpha']:.3f}, level kappa "
        f"{noise['level_kappa']:.3f}"
    )


def _seats(judgments: Judgments) -> dict[str, pd.DataFrame]:
    """Scores by every judge of a panel, by its name and seat: a row per response, a column per asking."""
    ratings = [(number, rating) for number, judgment in enumerate(judgments) for rating in judgment.ratings]
    # a judge that failed every asking of a response has no name there
    names = {rating.seat: rating.judge for _, rating in ratings if rating.score is not None}
    rows = [(number, rating.seat, rating.repeat, rating.score) for number, rating in ratings]
    table = pd.DataFrame(rows, columns=["response", "seat", "repeat", "score"]).astype({"score": float})
    table = table.pivot(index="response", columns=["seat", "repeat"], values="score")
    seats = sorted({rating.seat for _, rating in ratings})
    return {f"{names.get(seat, 'judge')} (seat {seat + 1})": pd.DataFrame(table.xs(seat, axis=1)) for seat in seats}


def _means(seats: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.DataFrame({name: table.mean(axis=1) for name, table in seats.items()})
