"""The link to human labels and the corrected mean: by hand, the published estimator, coverage in simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from judges.calibration import linear_link, powered_mean

HUMAN = np.array([12.0, 35, 48, 60, 71, 95, 88, 30])
JUDGE = np.array([20.0, 40, 45, 75, 80, 99, 97, 25])
UNLABELLED = np.array([10.0, 22, 38, 41, 55, 63, 77, 84, 90, 96, 99, 100])


def test_corrected_mean_is_that_of_the_published_package() -> None:
    # ppi-python 0.2.3: ppi_mean_pointestimate(HUMAN, JUDGE, UNLABELLED)
    assert powered_mean(HUMAN, JUDGE, UNLABELLED).corrected.value == pytest.approx(57.11339662)


def test_corrected_mean_interval_is_that_of_the_published_package_but_for_quantile_and_ddof() -> None:
    found = powered_mean(HUMAN, JUDGE, UNLABELLED)
    rectifier = HUMAN - found.weight * JUDGE
    variance = found.weight**2 * UNLABELLED.var() / 12 + rectifier.var() / 8
    # ppi-python 0.2.3: ppi_mean_ci(..., alpha=0.05) gives 44.73902785, 69.48776539, with 1.96 and ddof 0
    assert found.corrected.value + 1.959964 * math.sqrt(variance) == pytest.approx(69.48776539)
    ours = found.weight**2 * UNLABELLED.var(ddof=1) / 12 + rectifier.var(ddof=1) / 8
    half_width = stats.t.ppf(0.975, 7) * math.sqrt(ours)
    assert found.corrected.ci_high == pytest.approx(found.corrected.value + half_width)
    assert found.corrected.ci_low == pytest.approx(found.corrected.value - half_width)


def test_corrected_mean_by_hand() -> None:
    # cov(y, f) = 2/3 (1/n), n/N = 1, pooled var of 1 2 3 5 6 7 = 5.6: lambda = (2/3) / (2 * 5.6) = 0.059524
    # mean(F) = 6, mean(y) - lambda * mean(f) = 3 - 2 lambda -> 3 + 4 lambda
    found = powered_mean([2, 3, 4], [1, 2, 3], [5, 6, 7])
    assert found.weight == pytest.approx(1 / 16.8)
    assert found.corrected.value == pytest.approx(3 + 4 / 16.8)
    assert (found.labels_only.value, found.judge_only) == (3, 4)


def test_a_perfect_judge_with_many_unlabelled_responses_is_believed() -> None:
    scores = np.random.default_rng(0).uniform(0, 100, 4030)
    found = powered_mean(scores[:30], scores[:30], scores[30:])
    assert found.weight > 0.9
    assert found.corrected.value == pytest.approx(scores.mean(), abs=2)
    width = found.corrected.ci_high - found.corrected.ci_low
    assert width < 0.25 * (found.labels_only.ci_high - found.labels_only.ci_low)


@pytest.mark.parametrize(
    ("judge", "unlabelled"),
    [(np.full(8, 70.0), np.full(12, 70.0)), (JUDGE, np.empty(0)), (100 - JUDGE, UNLABELLED)],
    ids=["constant judge", "everything labelled", "judge that turns the scale round"],
)
def test_a_judge_that_cannot_help_leaves_the_labels_alone(judge: np.ndarray, unlabelled: np.ndarray) -> None:
    found = powered_mean(HUMAN, judge, unlabelled)
    assert found.weight == 0
    assert found.corrected == found.labels_only
    interval = stats.ttest_1samp(HUMAN, 0).confidence_interval()
    assert (found.corrected.ci_low, found.corrected.ci_high) == pytest.approx((interval.low, interval.high))


def test_the_interval_covers_the_truth_where_the_judge_alone_is_far_off() -> None:
    # levels 15, 65, 95; people see them with SD 8, the judge compresses the scale: 10 + .8 t
    rng = np.random.default_rng(0)
    covered, narrower, judge_only = 0, 0, []
    for _ in range(600):
        true = rng.choice([15.0, 65, 95], 220)
        human = true + rng.normal(0, 8, 220)
        judge = 10 + 0.8 * true + rng.normal(0, 8, 220)
        found = powered_mean(human[:20], judge[:20], judge[20:])
        covered += found.corrected.ci_low <= 175 / 3 <= found.corrected.ci_high
        narrower += found.corrected.ci_high < found.labels_only.ci_high
        judge_only.append(found.judge_only)
    assert 0.92 <= covered / 600 <= 0.98
    assert np.mean(judge_only) == pytest.approx(10 + 0.8 * 175 / 3, abs=0.5)
    assert narrower > 300


@settings(deadline=None)
@given(st.floats(-30, 30), st.lists(st.floats(20, 70), min_size=4, max_size=12, unique=True))
def test_a_constant_bias_of_the_judge_does_not_move_the_corrected_mean(bias: float, scores: list[float]) -> None:
    human, judge, rest = np.array(scores), np.array(scores) ** 0.9, np.linspace(20, 60, 9)
    plain, biased = powered_mean(human, judge, rest), powered_mean(human, judge + bias, rest + bias)
    assert biased.corrected.value == pytest.approx(plain.corrected.value, abs=1e-6)
    assert biased.judge_only == pytest.approx(plain.judge_only + bias)


def test_link_by_hand_with_errors_of_left_out_responses() -> None:
    # human = 2 * judge but for 4 points more on the last; the errors are those of four refits without one response
    judge, human = np.array([10.0, 20, 30, 40]), np.array([20.0, 40, 60, 84])
    link = linear_link(human, judge)
    assert link.slope.value == pytest.approx(2.12)  # sum (x-25)(y-51) / 500 = 1060 / 500
    assert link.intercept.value == pytest.approx(51 - 2.12 * 25)
    errors = []
    for out in range(4):
        rest = np.arange(4) != out
        refit = stats.linregress(judge[rest], human[rest])
        errors.append(human[out] - refit.intercept - refit.slope * judge[out])
    assert link.rmse == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert link.mae == pytest.approx(np.mean(np.abs(errors)))
    assert link.raw_mae == pytest.approx((10 + 20 + 30 + 44) / 4)
    # residuals .8 -.4 -1.6 1.2: s^2 = 4.8 / 2, SE = sqrt(2.4 / 500) = .069282, t(2) = 4.302653
    assert (link.slope.ci_low, link.slope.ci_high) == pytest.approx((2.12 - 0.298096, 2.12 + 0.298096), abs=1e-5)


def test_a_constant_judge_has_no_link() -> None:
    link = linear_link([10, 50, 90], [70, 70, 70])
    assert math.isnan(link.slope.value)
    assert math.isnan(link.rmse)
    assert link.raw_mae == pytest.approx((60 + 20 + 20) / 3)


def test_a_response_that_decides_the_slope_alone_has_no_left_out_error() -> None:
    assert math.isnan(linear_link([10, 12, 90], [20, 20, 80]).rmse)
