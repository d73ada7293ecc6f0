"""The interval: against scipy, Wilson's form by hand, invariants under shift and scale, and when there is none."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from judges.interval import NAN, Estimate, cluster_note, estimates, jackknife, leave_one_out

scores = st.lists(st.integers(0, 100).map(float), min_size=6, max_size=24)


def mean_frame(values: list[float], per_prompt: int = 1) -> pd.DataFrame:
    rows = [(f"p{prompt}", value) for prompt, value in enumerate(values) for _ in range(per_prompt)]
    return pd.DataFrame(rows, columns=["user_prompt_id", "score"])


def mean_of(frame: pd.DataFrame) -> dict[str, float]:
    return {"mean": float(frame["score"].mean())}


def ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.ci_low, estimate.ci_high


def test_the_jackknife_of_a_mean_is_student_t_of_the_cluster_means() -> None:
    means = [12.0, 30, 31, 55, 70, 88, 90, 95]
    found = estimates(mean_frame(means, per_prompt=3), mean_of, {})["mean"]
    expected = stats.ttest_1samp(means, 0).confidence_interval()
    assert found.value == pytest.approx(np.mean(means))
    assert ends(found) == pytest.approx((expected.low, expected.high))


def test_weights_leave_out_one_cluster_at_a_time() -> None:
    values = np.array([1.0, 2, 6])
    weights = leave_one_out(3)
    assert (weights @ values / weights.sum(axis=1)).tolist() == [3, 4, 3.5, 1.5]


def test_a_bounded_statistic_has_wilsons_form_by_hand() -> None:
    # 6 of 8 prompts right: p = .75, SE = sqrt(p q / 7), so the effective size is 7; t(7) = 2.364624
    t, size = 2.364624, 7.0
    centre = (0.75 + t**2 / (2 * size)) / (1 + t**2 / size)
    half = t * math.sqrt(0.1875 / size + t**2 / (4 * size**2)) / (1 + t**2 / size)
    found = estimates(mean_frame([1.0] * 6 + [0.0] * 2), mean_of, {"mean": (0, 1)})["mean"]
    assert ends(found) == pytest.approx((centre - half, centre + half))
    # the same on another scale: -1 to 1
    doubled = estimates(mean_frame([1.0] * 6 + [-1.0] * 2), mean_of, {"mean": (-1, 1)})["mean"]
    assert ends(doubled) == pytest.approx(tuple(2 * end - 1 for end in ends(found)))


def test_a_perfect_bounded_statistic_has_an_interval_of_width_and_ends_at_its_bound() -> None:
    # all 10 right: p = 1, size 10; low = (1 + t^2/20 - t^2/20) / (1 + t^2/10) with t(9) = 2.262157
    found = estimates(mean_frame([1.0] * 10), mean_of, {"mean": (0, 1)})["mean"]
    assert ends(found) == pytest.approx((1 / (1 + 2.262157**2 / 10), 1))


@given(scores, st.integers(-50, 50), st.integers(2, 9))
def test_shifting_the_data_shifts_the_interval_and_scaling_scales_it(
    values: list[float], shift: int, factor: int
) -> None:
    plain = estimates(mean_frame(values), mean_of, {})["mean"]
    moved = estimates(mean_frame([factor * value + shift for value in values]), mean_of, {})["mean"]
    expected = [factor * end + shift for end in (plain.value, *ends(plain))]
    assert [moved.value, *ends(moved)] == pytest.approx(expected, nan_ok=True)


@given(scores)
def test_a_bounded_interval_holds_its_value_and_stays_in_range(values: list[float]) -> None:
    found = estimates(mean_frame(values), mean_of, {"mean": (0, 100)})["mean"]
    assert 0 <= found.ci_low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.ci_high <= 100


def test_a_difference_is_not_clipped_at_0() -> None:
    found = jackknife([0.2, 0.1, 0.3, 0.0, 0.4, 0.2, 0.2])
    assert found.ci_low < 0 < found.ci_high


@pytest.mark.parametrize(
    "values",
    [
        [5.0, 4, 6, 5, 4, 6],  # five clusters
        [NAN, 1, 2, 3, 1, 2, 3],  # undefined on the data
        [5.0, NAN, 4, 6, 5, 4, 6],  # undefined without one cluster
        [5.0] * 7,  # no cluster moves an unbounded statistic
    ],
)
def test_there_is_no_interval_where_none_can_be_had(values: list[float]) -> None:
    found = jackknife(values)
    assert all(math.isnan(end) for end in ends(found))
    assert found.value == pytest.approx(values[0], nan_ok=True)


@pytest.mark.parametrize(
    ("estimate", "options", "text"),
    [
        (Estimate(1 / 3, 0.314, 0.349), {}, "0.33 [0.31, 0.35]"),
        (Estimate(0.5), {}, "0.50"),
        (Estimate(NAN), {}, "undefined"),
        (Estimate(-0.001, -1.25, 0.5), {"digits": 1, "sign": True}, "+0.0 [-1.2, +0.5]"),
    ],
)
def test_an_estimate_as_text(estimate: Estimate, options: dict[str, int], text: str) -> None:
    assert estimate.text(**options) == text


def test_json_rounds_writes_null_for_nan_and_is_read_back() -> None:
    estimate = Estimate(1 / 3)
    assert estimate.to_json() == {"value": 0.333333, "ci_low": None, "ci_high": None}
    again = Estimate.from_json(estimate.to_json())
    assert again.value == 0.333333 and math.isnan(again.ci_high)


def test_few_user_prompts_are_said() -> None:
    assert cluster_note(5) == "5 user prompts: too few for an interval"
    assert cluster_note(1).startswith("1 user prompt:")
    assert "70 to 90%" in cluster_note(11)
    assert cluster_note(12) == ""
