"""Two models on the same cells: values by hand, agreement with scipy and statsmodels, and honest error rates."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from frames import frame
from scipy import stats
from statsmodels.stats.multitest import multipletests

from cpt_tasks.benchmarks.rubric_adherence.statistics import calibration_slope, kendall_tau_b, mean_score
from cpt_tasks.statistics.paired import (
    PairedDifference,
    flipped_means,
    holm,
    least_p_note,
    paired_differences,
    swaps_of,
)
from cpt_tasks.statistics.table import Statistic
from rubrics import ScoreLevel

RNG = np.random.default_rng
LEVELS = list(ScoreLevel)


def judged(rows: list[tuple[str, ScoreLevel, float]]) -> pd.DataFrame:
    """A frame of (user prompt, level, score)."""
    names = ("user_prompt_id", "level", "score")
    return frame(dict(zip(names, row, strict=True)) for row in rows)


def one_each(scores: "np.ndarray | list[float]", level: ScoreLevel = ScoreLevel.LOW) -> pd.DataFrame:
    """One response to each user prompt."""
    return judged([(f"p{number:02}", level, float(score)) for number, score in enumerate(scores)])


def draws(n_prompts: int, seed: int) -> pd.DataFrame:
    """A model that follows the levels with noise."""
    scores = RNG(seed).normal([[level.midpoint] for level in LEVELS], 15, (len(LEVELS), n_prompts)).clip(0, 100)
    return pd.concat([one_each(row, level) for level, row in zip(LEVELS, scores, strict=True)])


def differ(
    first: pd.DataFrame, second: pd.DataFrame, statistic: Statistic = mean_score, **options: Any
) -> PairedDifference:
    return paired_differences(first, second, {"it": statistic}, RNG(0), **options)["it"]


def test_differences_and_the_exact_p_value_by_hand() -> None:
    # differences 10, 20, 30: mean 20. Of the 2^3 swaps only none and all of them are that far from 0: p = 2/8
    result = differ(one_each([10, 20, 30]), one_each([20, 40, 60]))
    assert (result.first, result.second, result.difference.value) == pytest.approx((20, 40, 20))
    assert result.p == 2 / 8


def test_swapping_a_prompt_swaps_all_its_levels() -> None:
    # the slope of one prompt is 1 against 0: swapping it gives -1, so with two such prompts p = 2/4
    ignoring = judged([(prompt, level, 70) for level in LEVELS for prompt in "ab"])
    perfect = judged([(prompt, level, level.midpoint) for level in LEVELS for prompt in "ab"])
    result = differ(ignoring, perfect, calibration_slope)
    assert (result.first, result.second, result.p) == pytest.approx((0, 1, 0.5))
    undefined = differ(ignoring, ignoring, kendall_tau_b)
    assert math.isnan(undefined.p)
    assert math.isnan(undefined.difference.value)


def test_the_p_value_of_a_mean_is_scipys_and_random_swaps_come_close_to_all() -> None:
    first, second = RNG(3).uniform(20, 60, 12), RNG(4).uniform(25, 65, 12)
    exact = differ(one_each(first), one_each(second))
    theirs = stats.permutation_test(
        (first, second), lambda x, y: np.mean(y) - np.mean(x), permutation_type="samples", n_resamples=np.inf
    )
    assert exact.p == pytest.approx(theirs.pvalue)
    drawn = differ(one_each(first), one_each(second), n_permutations=4000)
    assert exact.p != drawn.p == pytest.approx(exact.p, abs=0.02)
    swaps, all_of_them = swaps_of(3, 8, RNG(0))
    assert (all_of_them, len({tuple(row) for row in swaps.tolist()})) == (True, 8)


def test_the_interval_of_a_mean_is_that_of_the_paired_t_test_and_is_not_clipped_at_0() -> None:
    first, second = RNG(5).uniform(20, 40, 20), RNG(6).uniform(50, 80, 20)
    # in the second case no score falls, two of twelve prompts rise: the interval holds negative values all the same
    for before, after in ((first, second), (first[:12], first[:12] + 20 * (np.arange(12) < 2))):
        difference = differ(one_each(before), one_each(after), n_permutations=10).difference
        theirs = stats.ttest_rel(after, before).confidence_interval()
        assert (difference.ci_low, difference.ci_high) == pytest.approx((theirs.low, theirs.high))
    assert difference.ci_low < 0 < difference.value
    # user prompts that nobody answered are none
    unanswered = one_each([0, 0]).assign(user_prompt_id=["q", "r"], reason="no_response")
    sides = [pd.concat([one_each(scores), unanswered]) for scores in (first[:6], second[:6])]
    theirs = stats.ttest_rel(second[:6], first[:6]).confidence_interval()
    found = differ(*sides, n_permutations=10)
    assert (found.difference.ci_low, found.difference.ci_high) == pytest.approx((theirs.low, theirs.high))
    assert found.user_prompts == 6


@pytest.mark.slow
def test_models_that_do_not_differ_are_seldom_called_different() -> None:
    # 200 comparisons of a model with itself on other draws: 5% of them, give or take two standard errors of 1.5%
    p_values = np.array([differ(draws(8, 2 * n), draws(8, 2 * n + 1), calibration_slope).p for n in range(200)])
    assert 0.02 <= np.mean(p_values <= 0.05) <= 0.08


def test_rows_of_other_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the same cells"):
        differ(one_each([1, 2]), one_each([1, 2], ScoreLevel.MODERATE))


def test_holm_by_hand_and_as_statsmodels() -> None:
    # sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04, and never less than the one before
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.03, float("nan"), 0.01]) == pytest.approx([0.06, float("nan"), 0.03], nan_ok=True)
    p_values = RNG(0).random(20) ** 3
    assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1])


@pytest.mark.parametrize(
    ("n_clusters", "n_tests", "expected"),
    [
        (4, 3, "4 user prompts: no p can be below 0.125"),  # 2 / 2^4
        (5, 3, "5 user prompts: no p can be below 0.0625"),
        (6, 3, "6 user prompts: no p (Holm, 3 tests) can be below 0.0938"),  # 3 * 2 / 2^6
        (7, 6, "7 user prompts: no p (Holm, 6 tests) can be below 0.0938"),
        (7, 3, ""),
        (24, 3, ""),  # 1 / 10,001
    ],
)
def test_a_table_says_where_no_p_value_can_be_significant(n_clusters: int, n_tests: int, expected: str) -> None:
    note = least_p_note(n_clusters, n_tests, 10_000)
    assert note == (expected and f"{expected}, however far apart the models are")


def test_tossed_means_have_the_spread_of_a_mean_whatever_the_mean() -> None:
    noise = pd.DataFrame({"a": RNG(0).normal(0, 10, 12), "b": RNG(1).normal(0, 10, 12)})
    noise.loc[0, "b"] = math.nan
    spread = np.sqrt((flipped_means(noise, seed=0) ** 2).mean(axis=0))
    assert spread == pytest.approx(noise.sem().to_numpy(), rel=0.15)
    assert flipped_means(noise + 50, seed=0) == pytest.approx(flipped_means(noise, seed=0))
