"""Two models on the same cells: values by hand, agreement with scipy and statsmodels, and honest error rates."""

import math

import numpy as np
import pandas as pd
import pytest
from frames import frame
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from cpt_tasks.benchmarks.rubric_adherence.statistics import (
    calibration_slope,
    kendall_tau_b,
    macro_accuracy,
    mean_score,
)
from cpt_tasks.statistics.paired import holm, paired_differences, prompts_needed, swaps_of
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


def follows(n_prompts: int, shift: float = 0.0, seed: int = 0, noise: float = 15.0) -> pd.DataFrame:
    errors = RNG(seed).normal(shift, noise, (len(LEVELS), n_prompts))
    scores = np.clip(errors + [[level.midpoint] for level in LEVELS], 0, 100)
    return pd.concat([one_each(row, level) for level, row in zip(LEVELS, scores, strict=True)])


def test_differences_and_the_exact_p_value_by_hand() -> None:
    # differences 10, 20, 30: mean 20. Of the 2^3 swaps only none and all of them are that far from 0: p = 2/8
    [result] = paired_differences(one_each([10, 20, 30]), one_each([20, 40, 60]), [mean_score], RNG(0))
    assert (result.first, result.second, result.difference.value) == pytest.approx((20, 40, 20))
    assert result.p == 2 / 8


def test_swapping_a_prompt_swaps_all_its_levels() -> None:
    # the slope of one prompt is 1 against 0: swapping it gives -1, so with two such prompts p = 2/4
    ignoring = judged([(prompt, level, 70) for level in LEVELS for prompt in "ab"])
    perfect = judged([(prompt, level, level.midpoint) for level in LEVELS for prompt in "ab"])
    [result] = paired_differences(ignoring, perfect, [calibration_slope], RNG(0))
    assert (result.first, result.second, result.p) == pytest.approx((0, 1, 0.5))


def test_the_p_value_of_a_mean_is_scipys() -> None:
    first, second = RNG(1).uniform(20, 60, 10), RNG(2).uniform(30, 70, 10)
    [result] = paired_differences(one_each(first), one_each(second), [mean_score], RNG(0))
    theirs = stats.permutation_test(
        (first, second), lambda x, y: np.mean(y) - np.mean(x), permutation_type="samples", n_resamples=np.inf
    )
    assert result.p == pytest.approx(theirs.pvalue)


def test_random_swaps_come_close_to_all_of_them() -> None:
    first, second = one_each(RNG(3).uniform(20, 60, 12)), one_each(RNG(4).uniform(25, 65, 12))
    [exact] = paired_differences(first, second, [mean_score], RNG(0))
    [drawn] = paired_differences(first, second, [mean_score], RNG(0), n_permutations=4000)
    assert exact.p != drawn.p == pytest.approx(exact.p, abs=0.02)
    swaps, exact_swaps = swaps_of(3, 8, RNG(0))
    assert (exact_swaps, len({tuple(row) for row in swaps.tolist()})) == (True, 8)


def test_the_interval_of_a_mean_is_that_of_the_paired_t_test_and_is_not_clipped_at_0() -> None:
    first, second = RNG(5).uniform(20, 40, 20), RNG(6).uniform(50, 80, 20)
    # in the second case no score falls, two of twelve prompts rise: the interval holds negative values all the same
    for before, after in ((first, second), (first[:12], first[:12] + 20 * (np.arange(12) < 2))):
        [result] = paired_differences(one_each(before), one_each(after), [mean_score], RNG(7), 10)
        theirs = stats.ttest_rel(after, before).confidence_interval()
        assert (result.difference.ci_low, result.difference.ci_high) == pytest.approx((theirs.low, theirs.high))
    assert result.difference.ci_low < 0 < result.difference.value


def test_models_that_do_not_differ_are_seldom_called_different() -> None:
    # 200 comparisons of a model with itself on other draws: 5% of them, give or take two standard errors of 1.5%
    p_values = [
        paired_differences(follows(10, seed=2 * n), follows(10, seed=2 * n + 1), [calibration_slope], RNG(n), 1024)[0].p
        for n in range(200)
    ]
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.08


def test_an_undefined_difference_has_no_p_value() -> None:
    constant = judged([(prompt, level, 50) for level in LEVELS for prompt in "ab"])
    [result] = paired_differences(constant, constant, [kendall_tau_b], RNG(0))
    assert math.isnan(result.p)
    assert math.isnan(result.difference.value)


def test_rows_of_other_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the same cells"):
        paired_differences(one_each([1, 2]), one_each([1, 2], ScoreLevel.MODERATE), [mean_score], RNG(0))


def test_holm_by_hand_and_as_statsmodels() -> None:
    # sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04, and never less than the one before
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.03, float("nan"), 0.01]) == pytest.approx([0.03, float("nan"), 0.02], nan_ok=True)
    p_values = RNG(0).random(20) ** 3
    assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_prompts_needed_by_hand_and_as_statsmodels() -> None:
    # low and moderate on 4 prompts; the second model is right where the first is wrong in 2, 1, 0, 0 of the 2 cells:
    # differences 1, .5, 0, 0 with mean .375 and SD sqrt(.6875 / 3) = .4787; (1.95996 + .84162)^2 = 7.8489, so
    # 7.8489 * .22917 / .05^2 = 719.5
    wrong, low, moderate = 95.0, ScoreLevel.LOW, ScoreLevel.MODERATE
    first = pd.concat([one_each([wrong, wrong, 10, 10], low), one_each([wrong, 50, 50, 50], moderate)])
    second = pd.concat([one_each([10, 10, 10, 10], low), one_each([50, 50, 50, 50], moderate)])
    sd, n_prompts = prompts_needed(first, second)
    assert (sd, n_prompts) == (pytest.approx(math.sqrt(0.6875 / 3)), 720)
    assert macro_accuracy(second) - macro_accuracy(first) == pytest.approx(0.375)
    # with Student's t instead of the normal distribution it is two more
    assert TTestPower().solve_power(0.05 / sd, alpha=0.05, power=0.8) == pytest.approx(719.5 + 1.96, abs=0.5)


def test_prompts_needed_has_no_answer_without_a_difference_or_with_one_prompt() -> None:
    assert math.isnan(prompts_needed(one_each([10, 20]), one_each([10, 20]))[1])
    assert math.isnan(prompts_needed(one_each([10]), one_each([90]))[1])
