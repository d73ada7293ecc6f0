"""How far a judge can be trusted: repeated ratings of the same responses, and the best accuracy that noise leaves.

Ratings are arrays of shape (n_items, n_ratings), in score points from 0 to 100, nan where a rating is missing. Column
by column they are one judge asked again, or different judges or people. A statistic that is not defined on its ratings
(no item rated twice, everything constant) is nan, never a default value.

ICC and alpha are a formula each and are tested against published tables and inspect: pingouin brings seaborn and
statsmodels along, and the libraries for alpha make a matrix of all pairs of values, which for thousands of continuous
scores does not fit into memory.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import scipy  # its parts are imported when first used: `scipy.stats` takes a second
from numpy.typing import ArrayLike, NDArray

from judges.interval import NAN, ROUNDING, Floats
from judges.judgment import JudgeFailureRecord, Judgment
from rubrics import LOW_MAX, MODERATE_MAX, ScoreLevel

Judgments = Iterable[Judgment | JudgeFailureRecord]


def noise(ratings: ArrayLike) -> dict[str, float]:
    """What repeated judgments of the same responses say about a judge; with one rating per response nan.

    Returns:
        `n_items` rated at least once, `n_ratings` asked for of each, `n_missing` of all; test-retest `sd` in score
        points, and by the level of the mean score `sd_low`, `sd_moderate`, `sd_extremely_high`, that of all in a band
        without an item rated twice; `icc` of the responses with all ratings, `alpha`; and what a perfect student could
        get from a judge this noisy, `attainable` from one rating and `attainable_of_mean` from the mean of all, whose
        noise is smaller by the root of their number.
    """
    table = np.asarray(ratings, dtype=float)
    repeated, sd = _repeated(table), test_retest_sd(table)
    levels = level_ranks(np.nanmean(repeated, axis=1))
    in_bands = {level: test_retest_sd(repeated[levels == level.rank]) for level in ScoreLevel}
    by_level = {level: sd if np.isnan(in_band) else in_band for level, in_band in in_bands.items()}
    return {
        "n_items": int((~np.isnan(table)).any(axis=1).sum()),
        "n_ratings": table.shape[1],
        "n_missing": int(np.isnan(table).sum()),
        "sd": sd,
        **{f"sd_{level}": in_band for level, in_band in by_level.items()},
        "icc": icc_2_1(table),
        "alpha": krippendorff_alpha(table),
        "attainable": attainable_accuracy(by_level),
        "attainable_of_mean": attainable_accuracy(
            {level: in_band / np.sqrt(table.shape[1]) for level, in_band in by_level.items()}
        ),
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
        panel = noise(_means(seats))
        return {"panel_icc": panel["icc"], "panel_alpha": panel["alpha"]}
    for table in seats.values():
        if table.shape[1] > 1:
            values = noise(table)
            return {"judge_test_retest_sd": values["sd"], "attainable_accuracy": values["attainable_of_mean"]}
    return {}


def test_retest_sd(ratings: ArrayLike) -> float:
    """Pooled within-item standard deviation, score points: the noise of one judgment.

    Items with missing ratings weigh by what they have. 0 when every item is rated alike; nan when none has two ratings.
    """
    variances, counts = _within_items(_repeated(ratings))
    return float(np.sqrt(np.average(variances, weights=counts - 1))) if len(counts) else NAN


def icc_2_1(ratings: ArrayLike) -> float:
    """ICC(2,1): two-way random effects, absolute agreement, single rating; at most 1, below 0 when worse than chance.

    Items with a missing rating are left out. nan with fewer than two items or ratings, or when the ratings leave no
    variance between items and raters to divide by, such as where all are equal.

    Source: Shrout and Fleiss 1979, Psychological Bulletin 86(2), 420-428.
    """
    table = np.asarray(ratings, dtype=float)
    table = table[~np.isnan(table).any(axis=1)]
    n, k = table.shape
    if n < 2 or k < 2 or np.ptp(table) == 0:
        return NAN
    items, raters = table.mean(axis=1), table.mean(axis=0)
    between_items, between_raters = k * items.var(ddof=1), n * raters.var(ddof=1)
    residual = ((table - items[:, None] - raters[None, :] + table.mean()) ** 2).sum() / ((n - 1) * (k - 1))
    total = between_items + (k - 1) * residual + k * (between_raters - residual) / n
    return float((between_items - residual) / total) if abs(total) > ROUNDING else NAN


def krippendorff_alpha(ratings: ArrayLike) -> float:
    """Krippendorff's alpha for interval data: 1 is perfect, 0 is chance, below 0 is systematic disagreement.

    Items with fewer than two ratings are left out. nan when none is left or all ratings are equal (inspect's metric of
    that name says 1 there; we do not call a judge reliable that never varied).

    Source: Krippendorff 2011, Computing Krippendorff's alpha-reliability. With the squared difference as metric, the
    observed disagreement is twice the variance within items, weighted by their ratings, the expected one twice that of
    all ratings.
    """
    table = _repeated(ratings)
    values = table[~np.isnan(table)]
    if not len(values) or np.ptp(values) == 0:
        return NAN
    variances, counts = _within_items(table)
    return float(1 - np.average(variances, weights=counts) / values.var(ddof=1))


def attainable_accuracy(sd_by_level: Mapping[ScoreLevel, float]) -> float:
    """Best macro accuracy, 0-1, that a perfect student could get from a judge with this noise: 1 without noise.

    The model: the judged score is the true score plus normal noise, clipped to 0-100; the noise has one SD within a
    band; the student hits any true score it likes and so picks, in each band, the one that is judged to lie in the
    band most often: 0, the middle of moderate, 100. The result is the mean over the three levels.

    Limits: an upper bound. Real responses do not sit at the best true score; a judge's bias is not in it; noise that
    was clipped at 0 or 100 when it was measured looks smaller than it is.

    `sd_by_level` has the test-retest SD in score points, at least 0, for each of the three levels; nan gives nan.
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


def _repeated(ratings: ArrayLike) -> Floats:
    table = np.asarray(ratings, dtype=float)
    repeated: Floats = table[(~np.isnan(table)).sum(axis=1) > 1]
    return repeated


def _within_items(repeated: Floats) -> tuple[Floats, Floats]:
    """Variance and number of the ratings of every item."""
    return np.nanvar(repeated, axis=1, ddof=1), (~np.isnan(repeated)).sum(axis=1).astype(float)


def _reliability(noise: Mapping[str, float]) -> str:
    return f"ICC(2,1) {noise['icc']:.3f}, Krippendorff's alpha {noise['alpha']:.3f}"


def _seats(judgments: Judgments) -> dict[str, pd.DataFrame]:
    """Scores by every judge of a panel, by its name and seat: a row per response, a column per asking."""
    ratings = [(number, rating) for number, judgment in enumerate(judgments) for rating in judgment.ratings]
    # a judge that failed every asking of a response has no name there
    names = {rating.seat: rating.judge for _, rating in ratings if rating.score is not None}
    rows = [(number, rating.seat, rating.repeat, rating.score) for number, rating in ratings]
    table = pd.DataFrame(rows, columns=["response", "seat", "repeat", "score"]).astype({"score": float})
    seats = {}
    for seat in sorted({rating.seat for _, rating in ratings}):
        of_seat = table[table["seat"] == seat].pivot(index="response", columns="repeat", values="score")
        seats[f"{names.get(seat, 'judge')} (seat {seat + 1})"] = of_seat
    return seats


def _means(seats: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.DataFrame({name: table.mean(axis=1) for name, table in seats.items()})
