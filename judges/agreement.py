"""How far a judge can be trusted: repeated ratings of the same responses, and the best accuracy that noise leaves.

Ratings are arrays of shape (n_items, n_ratings), in score points from 0 to 100, nan where a rating is missing. Column
by column they are one judge asked again, or different judges or people. A statistic that is not defined on its ratings
(no item rated twice, everything constant) is nan, never a default value.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import scipy  # its parts are imported when first used: `scipy.stats` takes a second
from numpy.typing import ArrayLike, NDArray

from rubrics import MAX_SCORE, MIN_SCORE, ScoreLevel

Floats = NDArray[np.float64]
NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A statistic with the bounds of its 95% confidence interval; bounds are nan where there is none to be had."""

    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Agreement:
    """How two vectors of scores of the same responses agree: a reference (measured or human) and a judge.

    Attributes:
        n: Pairs compared.
        pearson: Linear correlation, -1 to 1.
        spearman: Rank correlation, -1 to 1, mean ranks for ties.
        icc: ICC(2,1), 1 when the scores are equal; unlike the correlations it sees a constant bias.
        mae: Mean absolute difference, score points.
        level_kappa: Quadratic-weighted kappa of the two score levels, at most 1 and 0 at chance.
        level_accuracy: Share, 0-1, of pairs with the same score level.
    """

    n: int
    pearson: float
    spearman: float
    icc: float
    mae: float
    level_kappa: float
    level_accuracy: float


@dataclass(frozen=True)
class NoiseReport:
    """What repeated judgments of the same responses say about a judge: the lines under a headline.

    Attributes:
        n_items: Responses rated at least once.
        n_ratings: Ratings per response asked for.
        n_missing: Ratings that are missing, over all responses.
        sd: Test-retest SD, score points.
        sd_by_level: The same within each band that the mean score of a response lies in.
        icc: ICC(2,1), of the responses with all their ratings.
        alpha: Krippendorff's alpha (interval).
        level_kappa: Quadratic-weighted kappa of levels, mean over pairs of ratings.
        attainable: Best macro accuracy, 0-1, that a perfect student could get from one rating of a judge this noisy.
        attainable_of_mean: The same from the mean of `n_ratings` ratings, whose noise is smaller by their square root.
    """

    n_items: int
    n_ratings: int
    n_missing: int
    sd: float
    sd_by_level: Mapping[ScoreLevel, float]
    icc: float
    alpha: float
    level_kappa: float
    attainable: float
    attainable_of_mean: float

    def lines(self) -> list[str]:
        """The report in words, a line each: repeats, agreement, ceiling."""
        by_level = ", ".join(f"{level.value} {sd:.1f}" for level, sd in self.sd_by_level.items())
        return [
            f"{self.n_ratings} ratings of {self.n_items} responses, {self.n_missing} missing; test-retest SD "
            f"{self.sd:.1f} points ({by_level})",
            f"ICC(2,1) {self.icc:.3f}, Krippendorff's alpha {self.alpha:.3f}, level kappa {self.level_kappa:.3f}",
            f"attainable accuracy {self.attainable_of_mean:.3f} by the mean of {self.n_ratings} ratings, "
            f"{self.attainable:.3f} by one: what a perfect student could get from a judge this noisy",
        ]


def noise_report(ratings: ArrayLike) -> NoiseReport:
    """Every statistic of this file on repeated judgments, shape (n_items, n_ratings), nan where unscored.

    Responses without any rating are left out of `n_items`. With one rating per response all statistics are nan.

    Raises:
        ValueError: If the array does not have two dimensions or a rating is outside 0-100.
    """
    table = _ratings(ratings)
    rated = table[~np.isnan(table).all(axis=1)]
    sd_by_level = test_retest_sd_by_level(rated)
    return NoiseReport(
        n_items=len(rated),
        n_ratings=table.shape[1],
        n_missing=int(np.isnan(table).sum()),
        sd=test_retest_sd(rated),
        sd_by_level=sd_by_level,
        icc=icc_2_1(rated),
        alpha=krippendorff_alpha(rated),
        level_kappa=level_kappa(rated),
        attainable=attainable_accuracy(sd_by_level),
        attainable_of_mean=attainable_accuracy(
            {level: sd / np.sqrt(table.shape[1]) for level, sd in sd_by_level.items()}
        ),
    )


def agree(reference: ArrayLike, judged: ArrayLike) -> Agreement:
    """Agreement of two vectors of scores, 0-100, of the same responses in the same order, none missing.

    Empty vectors give n = 0 and nan; a constant vector has no correlation, and nan there.

    Raises:
        ValueError: If the lengths differ, or a score is missing or outside 0-100.
    """
    pairs = _ratings(np.stack([np.asarray(reference, dtype=float), np.asarray(judged, dtype=float)], axis=1))
    if np.isnan(pairs).any():
        raise ValueError("scores: got nan, expected a pair of numbers from 0 to 100 for every response")
    a, b = pairs.T
    levels = _level_ranks(pairs)
    return Agreement(
        n=len(pairs),
        pearson=_correlation(scipy.stats.pearsonr, a, b),
        spearman=_correlation(scipy.stats.spearmanr, a, b),
        icc=icc_2_1(pairs),
        mae=float(np.abs(a - b).mean()) if len(pairs) else NAN,
        level_kappa=quadratic_kappa(levels[:, 0], levels[:, 1]),
        level_accuracy=float((levels[:, 0] == levels[:, 1]).mean()) if len(pairs) else NAN,
    )


def test_retest_sd(ratings: ArrayLike) -> float:
    """Pooled within-item standard deviation, score points: the noise of one judgment.

    The root of the summed squared deviations from the item means over the summed degrees of freedom (ratings - 1), so
    that items with missing ratings weigh by what they have. 0 when every item is rated alike; nan when no item has two
    ratings.
    """
    table = _ratings(ratings)
    squares, freedom = _within_items(table)
    return float(np.sqrt(squares.sum() / freedom.sum())) if freedom.sum() else NAN


def test_retest_sd_by_level(ratings: ArrayLike) -> dict[ScoreLevel, float]:
    """Test-retest SD, score points, of the items whose mean rating lies in the band of each level.

    A band without an item rated twice gets the SD over all items; nan for all when there is no such item.
    """
    table = _ratings(ratings)
    table = table[(~np.isnan(table)).sum(axis=1) > 1]
    levels = _level_ranks(table.mean(axis=1, where=~np.isnan(table))) if len(table) else np.empty(0)
    pooled = test_retest_sd(table)
    found = {level: test_retest_sd(table[levels == level.rank]) for level in ScoreLevel}
    return {level: pooled if np.isnan(sd) else sd for level, sd in found.items()}


def icc_2_1(ratings: ArrayLike) -> float:
    """ICC(2,1): two-way random effects, absolute agreement, single rating; at most 1, below 0 when worse than chance.

    Items with a missing rating are left out. nan with fewer than two items or ratings, or when all ratings are equal;
    0 when the items do not differ but the ratings do.

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
    return float(
        (between_items - residual) / (between_items + (k - 1) * residual + k * (between_raters - residual) / n)
    )


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
    table = _ratings(ratings)
    found = []
    for first, second in combinations(table.T, 2):
        both = ~np.isnan(first) & ~np.isnan(second)
        found.append(quadratic_kappa(_level_ranks(first[both]), _level_ranks(second[both])))
    defined = [kappa for kappa in found if not np.isnan(kappa)]
    return float(np.mean(defined)) if defined else NAN


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
    rated = ~np.isnan(table)
    counts = rated.sum(axis=1)
    repeated = counts > 1
    table, rated, counts = table[repeated], rated[repeated], counts[repeated]
    means = table.mean(axis=1, where=rated, keepdims=True)
    return ((table - means) ** 2).sum(axis=1, where=rated), (counts - 1).astype(float)


def _level_ranks(scores: Floats) -> NDArray[np.int_]:
    ranks = [ScoreLevel.of(score).rank for score in scores.ravel()]
    return np.array(ranks, dtype=int).reshape(scores.shape)


def _correlation(correlate: Callable[..., Any], first: Floats, second: Floats) -> float:
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return NAN  # scipy would warn and return nan as well
    return float(correlate(first, second).statistic)
