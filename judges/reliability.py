"""How far a judge can be trusted: repeated ratings of the same responses, and the best accuracy that noise leaves.

Ratings are arrays of shape (n_items, n_ratings), in score points from 0 to 100, nan where a rating is missing. Column
by column they are one judge asked again, or different judges or people. A statistic that is not defined on its ratings
(no item rated twice, everything constant) is nan, never a default value.

ICC, alpha and kappa are a formula each and are tested against published tables, scikit-learn and inspect: pingouin
brings seaborn, statsmodels and scikit-learn along, and the libraries for alpha make a matrix of all pairs of values,
which for thousands of continuous scores does not fit into memory.
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import scipy  # its parts are imported when first used: `scipy.stats` takes a second
from numpy.typing import ArrayLike, NDArray

from judges.interval import NAN, Floats
from rubrics import MAX_SCORE, MIN_SCORE, ScoreLevel

_ROUNDING = 1e-9


def agreement(reference: ArrayLike, judged: ArrayLike) -> dict[str, float]:
    """How two vectors of scores of the same responses agree, 0-100, in the same order, none missing.

    Empty vectors give nan for everything; a constant vector has no correlation, and nan there.

    Returns:
        `pearson` and `spearman` (mean ranks for ties), -1 to 1; `icc`, ICC(2,1), at most 1, which unlike the
        correlations sees a constant bias; `mae`, mean absolute difference in score points; `level_kappa`, quadratic
        weights, at most 1 and 0 at chance; `level_accuracy`, share of pairs with the same score level, 0-1.

    Raises:
        ValueError: If the lengths differ, or a score is missing or outside 0-100.
    """
    pairs = _ratings(np.stack([np.asarray(reference, dtype=float), np.asarray(judged, dtype=float)], axis=1))
    if np.isnan(pairs).any():
        raise ValueError("scores: got nan, expected a pair of numbers from 0 to 100 for every response")
    a, b = pairs.T
    levels = _level_ranks(pairs)
    varies = len(pairs) > 1 and np.ptp(a) > 0 and np.ptp(b) > 0
    return {
        "pearson": float(scipy.stats.pearsonr(a, b).statistic) if varies else NAN,
        "spearman": float(scipy.stats.spearmanr(a, b).statistic) if varies else NAN,
        "icc": icc_2_1(pairs),
        "mae": float(np.abs(a - b).mean()) if len(pairs) else NAN,
        "level_kappa": quadratic_kappa(levels[:, 0], levels[:, 1]),
        "level_accuracy": float((levels[:, 0] == levels[:, 1]).mean()) if len(pairs) else NAN,
    }


def test_retest_sd(ratings: ArrayLike) -> float:
    """Pooled within-item standard deviation, score points: the noise of one judgment.

    The root of the summed squared deviations from the item means over the summed degrees of freedom (ratings - 1), so
    that items with missing ratings weigh by what they have. 0 when every item is rated alike; nan when no item has two
    ratings.
    """
    squares, freedom = _within_items(_ratings(ratings))
    return float(np.sqrt(squares.sum() / freedom.sum())) if freedom.sum() else NAN


def test_retest_sd_by_level(ratings: ArrayLike) -> dict[ScoreLevel, float]:
    """Test-retest SD, score points, of the items whose mean rating lies in the band of each level.

    A band without an item rated twice gets the SD over all items; nan for all when there is no such item.
    """
    table = _ratings(ratings)
    table = table[(~np.isnan(table)).sum(axis=1) > 1]
    levels = _level_ranks(table.mean(axis=1, where=~np.isnan(table))) if len(table) else np.empty(0)
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
    table = _ratings(ratings)
    table = table[(~np.isnan(table)).sum(axis=1) > 1]
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
    """
    kappas = []
    for first, second in combinations(_ratings(ratings).T, 2):
        both = ~np.isnan(first) & ~np.isnan(second)
        kappas.append(quadratic_kappa(_level_ranks(first[both]), _level_ranks(second[both])))
    return float(np.nanmean(kappas)) if not np.isnan(kappas).all() else NAN


def quadratic_kappa(first: NDArray[np.int_], second: NDArray[np.int_]) -> float:
    """Quadratic-weighted kappa of two vectors of ranks; nan when empty or when both hold one and the same rank.

    Source: Cohen 1968. With squared weights the table of counts is not needed: the expected disagreement of two
    independent raters is the sum of their variances and of the squared difference of their means.
    """
    if not len(first):
        return NAN
    expected = first.var() + second.var() + (first.mean() - second.mean()) ** 2
    return float(1 - ((first - second) ** 2).mean() / expected) if expected else NAN


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
    return float(np.mean([hit_probability(level, sd_by_level[level]) for level in ScoreLevel]))


def hit_probability(level: ScoreLevel, sd: float) -> float:
    """Largest probability, 0-1, over true scores in the band that a judged score falls into it; see the model above.

    Raises:
        ValueError: If the SD is negative.
    """
    if sd < 0:
        raise ValueError(f"SD: got {sd!r}, expected 0 or more")
    if sd == 0 or np.isnan(sd):
        return 1.0 if sd == 0 else NAN
    low, high = level.band
    # clipping keeps in the band whatever noise carries beyond the end of the scale
    best = MIN_SCORE if low == MIN_SCORE else MAX_SCORE if high == MAX_SCORE else level.midpoint
    below = 0.0 if low == MIN_SCORE else scipy.special.ndtr((low - best) / sd)
    above = 0.0 if high == MAX_SCORE else scipy.special.ndtr((best - high) / sd)
    return float(1 - below - above)


def _ratings(ratings: ArrayLike) -> Floats:
    table = np.asarray(ratings, dtype=float)
    if table.ndim != 2:
        raise ValueError(f"ratings: got an array of {table.ndim} dimensions, expected (n_items, n_ratings)")
    return table


def _within_items(table: Floats) -> tuple[Floats, Floats]:
    """Sum of squared deviations from the item mean, and degrees of freedom, of every item rated twice or more."""
    rated = ~np.isnan(table)
    counts = rated.sum(axis=1)
    repeated = counts > 1
    table, rated, counts = table[repeated], rated[repeated], counts[repeated]
    means = table.mean(axis=1, where=rated, keepdims=True)
    return ((table - means) ** 2).sum(axis=1, where=rated), (counts - 1).astype(float)


def _level_ranks(scores: Floats) -> NDArray[np.int_]:
    ranks = [ScoreLevel.of(score).rank for score in scores.ravel()]
    return np.array(ranks, dtype=int).reshape(scores.shape)
