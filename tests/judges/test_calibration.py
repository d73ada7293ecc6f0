"""The mean corrected by human labels: by hand, the published estimator, coverage in simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from judges.calibration import powered_mean

HUMAN = np.array([12.0, 35, 48, 60, 71, 95, 88, 30])
JUDGE = np.array([20.0, 40, 45, 75, 80, 99, 97, 25])
UNLABELLED = np.array([10.0, 22, 38, 41, 55, 63, 77, 84, 90, 96, 99, 100])


def test_corrected_mean_and_interval_are_those_of_the_published_package_but_for_quantile_and_ddof() -> None:
    found = powered_mean(HUMAN, JUDGE, UNLABELLED)
    # ppi-python 0.2.3: ppi_mean_pointestimate(HUMAN, JUDGE, UNLABELLED)
    assert found.corrected.value == pytest.approx(57.11339662)
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


@given(st.floats(-30, 30), st.lists(st.floats(20, 70), min_size=4, max_size=12, unique=True))
def test_a_constant_bias_of_the_judge_does_not_move_the_corrected_mean(bias: float, scores: list[float]) -> None:
    human, judge, rest = np.array(scores), np.array(scores) ** 0.9, np.linspace(20, 60, 9)
    plain, biased = powered_mean(human, judge, rest), powered_mean(human, judge + bias, rest + bias)
    assert biased.corrected.value == pytest.approx(plain.corrected.value, abs=1e-6)
    assert biased.judge_only == pytest.approx(plain.judge_only + bias)
