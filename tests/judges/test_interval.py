"""The interval: against scipy, Wilson's form by hand, invariants under shift and scale, and when there is none."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from judges.interval import NAN, NO_INTERVAL, Bounds, Estimate, cluster_note, estimates, jackknife, leave_one_out

scores = st.lists(st.integers(0, 100).map(float), min_size=6, max_size=24)


def mean_of(values: list[float], bounds: Bounds | None = None, per_prompt: int = 1) -> Estimate:
    """The mean of a value per user prompt."""
    rows = [(f"p{prompt}", value) for prompt, value in enumerate(values) for _ in range(per_prompt)]
    frame = pd.DataFrame(rows, columns=["user_prompt_id", "score"])
    means = estimates(frame, lambda part: {"mean": float(part["score"].mean())}, {"mean": bounds} if bounds else {})
    return means["mean"]


def ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.ci_low, estimate.ci_high


def test_the_jackknife_of_a_mean_is_student_t_of_the_cluster_means() -> None:
    means = [12.0, 30, 31, 55, 60, 70, 87, 90, 105]  # 60 is the mean, and counts; a prompt without a value does not
    estimate = mean_of([NAN, *means, NAN], per_prompt=3)
    expected = stats.ttest_1samp(means, 0).confidence_interval()
    assert estimate.value == pytest.approx(np.mean(means))
    assert ends(estimate) == pytest.approx((expected.low, expected.high))


def test_a_correlation_of_one_counts_its_prompts_though_none_has_a_value_alone() -> None:
    frame = pd.DataFrame({"user_prompt_id": list("abcdefgh"), "score": range(8)})
    rho = estimates(frame, lambda part: {"rho": part["score"].corr(part["score"])}, {"rho": (-1, 1)})["rho"]
    assert ends(rho) == pytest.approx((1 - 2 / (1 + 8 / 2.364624**2), 1))  # Wilson of 8 of 8, t on 7


def test_there_is_none_over_strata_of_which_one_has_a_single_cluster() -> None:
    frame = pd.DataFrame({"rubric": list("pppppppr"), "user_prompt_id": list("abcdefgg"), "score": range(8)})

    def macro(part: pd.DataFrame) -> dict[str, float]:
        return {"macro": float(part.groupby("rubric")["score"].mean().mean())}

    assert not math.isnan(estimates(frame, macro, {})["macro"].ci_low)  # without g it is the mean of p alone
    assert estimates(frame, macro, {}, stratum="rubric")["macro"].text() == "5.00"
    two = pd.concat([frame, pd.DataFrame({"rubric": ["r"], "user_prompt_id": ["a"], "score": [7]})])
    assert estimates(two, macro, {}, stratum="rubric") == estimates(two, macro, {})


def test_weights_leave_out_one_cluster_at_a_time() -> None:
    weights = leave_one_out(3)
    assert (weights @ np.array([1.0, 2, 6]) / weights.sum(axis=1)).tolist() == [3, 4, 3.5, 1.5]


def test_a_bounded_statistic_has_wilsons_form_by_hand() -> None:
    # 6 of 8 prompts right: p = .75, SE = sqrt(p q / 7), so the effective size is 7; t(7) = 2.364624
    t, size = 2.364624, 7.0
    centre = (0.75 + t**2 / (2 * size)) / (1 + t**2 / size)
    half = t * math.sqrt(0.1875 / size + t**2 / (4 * size**2)) / (1 + t**2 / size)
    estimate = mean_of([1.0] * 6 + [0.0] * 2, (0, 1))
    assert ends(estimate) == pytest.approx((centre - half, centre + half))
    # the same on another scale: -1 to 1
    doubled = mean_of([1.0] * 6 + [-1.0] * 2, (-1, 1))
    assert ends(doubled) == pytest.approx(tuple(2 * end - 1 for end in ends(estimate)))
    # all 10 right: p = 1, size 10, t(9) = 2.262157; the interval has a width and ends at the bound
    assert ends(mean_of([1.0] * 10, (0, 1))) == pytest.approx((1 / (1 + 2.262157**2 / 10), 1))


@given(scores, st.integers(-50, 50), st.integers(2, 9))
def test_an_interval_moves_and_scales_with_the_data_and_a_bounded_one_stays_in_range(
    values: list[float], shift: int, factor: int
) -> None:
    plain, moved = mean_of(values), mean_of([factor * value + shift for value in values])
    expected = [factor * end + shift for end in (plain.value, *ends(plain))]
    assert [moved.value, *ends(moved)] == pytest.approx(expected, nan_ok=True)
    bounded = mean_of(values, (0, 100))
    assert 0 <= bounded.ci_low <= bounded.value + 1e-9
    assert bounded.value - 1e-9 <= bounded.ci_high <= 100


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
    estimate = jackknife(values)
    assert jackknife([5.0, 5, 4, 6, 5, 4, 6], NO_INTERVAL) == Estimate(5.0)
    assert all(math.isnan(end) for end in ends(estimate))
    assert estimate.value == pytest.approx(values[0], nan_ok=True)


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


@pytest.mark.parametrize(
    ("clusters", "note"), [(1, "1 user prompt: too few"), (5, "5 user prompts: too few"), (11, "11 user"), (12, "")]
)
def test_few_user_prompts_are_said(clusters: int, note: str) -> None:
    assert cluster_note(clusters).startswith(note) and bool(cluster_note(clusters)) == bool(note)
