"""Dose response: what simulated students get, and values by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cpt_tasks.metrics import dose
from cpt_tasks.metrics.bootstrap import bootstrap_estimate
from cpt_tasks.metrics.cells import mean_of_known, seeded_weights
from cpt_tasks.metrics.dose import STATISTICS, Dosed, Doses, dead_stretch, doses

TARGETS = (10.0, 30.0, 50.0, 70.0, 90.0)


def student(answer: Callable[[float], float], rubric: str = "r", prompts: str = "ab") -> list[Dosed]:
    return [Dosed(rubric, prompt, target, answer(target)) for prompt in prompts for target in TARGETS]


def value(name: str, rows: list[Dosed] | Doses) -> float:
    data = rows if isinstance(rows, Doses) else doses(rows)
    per_rubric = STATISTICS[name](data, np.ones((1, len(data.user_prompts))))
    return float(mean_of_known(per_rubric, axis=1)[0])


NAN = math.nan


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        # perfect: the curve is the diagonal; 90% of 80 is 72, and 10 + 72 = 82 is reached at 90 only
        (lambda t: t, (1, 80, 0, 0, 90, 1, 1)),
        # ignores the dose at 70: off by 60 40 20 0 20; never moves, so the dead zone is all of the span
        (lambda t: 70, (0, 0, 28, 80, NAN, 1, 0)),
        # saturates at 50: slope (40*40 + 20*20 + 0 + 0 + 0) / 4000 with centred targets -40 -20 0 20 40 on scores
        # 10 30 50 50 50: (-400 - 600 + 1000 + 2000) / 4000; off by 0 0 0 20 40; flat from 50 to 90
        (lambda t: min(t, 50), (0.5, 40, 12, 40, 50, 1, 0)),
        # reversed: off by 80 40 0 40 80; every step moves, the wrong way; its top is at the lowest target
        (lambda t: 100 - t, (-1, -80, 48, 0, NAN, 0, 0)),
        # three levels by heart: 20 20 66 66 96, moving at 50 and at 90: two dead stretches of 20. slope
        # (-800 - 400 + 1320 + 3840) / 4000; off by 10 10 16 4 6; 90% of 76 is 68.4 + 20 = 88.4, reached at 90
        (lambda t: {10: 20, 30: 20, 50: 66, 70: 66, 90: 96}[t], (0.99, 76, 9.2, 20, 90, 1, 0)),
    ],
    ids=["perfect", "ignores", "saturates", "reversed", "three levels"],
)
def test_simulated_students(answer: Callable[[float], float], expected: tuple[float, ...]) -> None:
    found = tuple(value(name, student(answer)) for name in STATISTICS)
    assert list(STATISTICS) == [
        "gain",
        "dynamic_range",
        "mean_absolute_error",
        "dead_zone",
        "saturation_point",
        "monotone_share",
        "strict_monotone_share",
    ]
    assert found == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.lists(st.floats(0, 100), min_size=5, max_size=5), min_size=1, max_size=4))
def test_gain_is_the_mean_of_least_squares_slopes(scores: list[list[float]]) -> None:
    rows = [
        Dosed("r", f"p{number}", target, score)
        for number, line in enumerate(scores)
        for target, score in zip(TARGETS, line, strict=True)
    ]
    expected = np.mean([stats.linregress(TARGETS, line).slope for line in scores])
    assert value("gain", rows) == pytest.approx(expected, abs=1e-9)


def test_gain_of_a_prompt_with_a_missing_target_uses_the_others() -> None:
    rows = [row for row in student(lambda t: t / 2, prompts="a") if row.target != 50]
    rows += [Dosed("r", "lonely", 50, 50)]
    assert value("gain", rows) == pytest.approx(0.5)


def test_epochs_are_averaged_for_the_curve_but_not_for_the_error() -> None:
    # 0 and 100 at target 50: mean 50, but each is off by 50
    rows = [Dosed("r", "a", 50, 0), Dosed("r", "a", 50, 100)]
    assert doses(rows).scores.tolist() == [[[50]]]
    assert value("mean_absolute_error", rows) == 50


def test_monotone_shares_count_complete_prompts_only() -> None:
    tied = {10: 0.0, 30: 10.0, 50: 10.0, 70: 20.0, 90: 30.0}
    falling = tied | {90: 5.0}
    rows = student(lambda t: t, prompts="a") + student(tied.__getitem__, prompts="b")  # type: ignore[arg-type]
    rows += student(falling.__getitem__, prompts="c") + [Dosed("r", "d", 10, 50)]  # type: ignore[arg-type]
    # a and b never fall, a alone rises throughout, d is not complete
    assert value("monotone_share", rows) == pytest.approx(2 / 3)
    assert value("strict_monotone_share", rows) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("curve", "stretch"),
    [
        ([0, 5, 10, 15, 20], (10, 90)),  # 5 of 20 is just the share: never moves
        ([0, 5.1, 10.2, 15.3, 20.4], None),
        ([50, 48, 50, 90, 95], (10, 50)),  # up and down by a little is no movement
        ([0, 0, 50, 50, 50], (50, 90)),  # the widest
        ([0, 0, 50, 100, 100], (10, 30)),  # the lowest of equal width
    ],
)
def test_dead_stretch_by_hand(curve: list[float], stretch: tuple[float, float] | None) -> None:
    assert dead_stretch(np.array(TARGETS), np.array(curve, dtype=float)) == stretch


def test_dead_stretch_of_uneven_targets_is_measured_in_targets() -> None:
    # steps of 5 and 60 in the target; the second moves by 15 of 60, just a quarter
    assert dead_stretch(np.array([10.0, 15, 75]), np.array([0.0, 50, 65])) == (15, 75)


@pytest.mark.parametrize(
    ("curve", "point"),
    [
        ([0, 30, 60, 89, 100], 90),  # 89 is under 90% of the range
        ([0, 30, 60, 90, 100], 70),
        ([0, 95, 60, 95, 100], 70),  # from which it stays
        ([0, 50, 100, 100, 50], NAN),  # comes down again
        ([0, 20, 20, 20, 20], NAN),  # a quarter of the span of 80: never moves
        ([0, 21, 21, 21, 21], 30),
    ],
)
def test_saturation_point_by_hand(curve: list[float], point: float) -> None:
    by_target = dict(zip(TARGETS, curve, strict=True))
    assert value("saturation_point", student(by_target.__getitem__)) == pytest.approx(point, nan_ok=True)


def test_rubrics_weigh_the_same_and_undefined_ones_are_left_out() -> None:
    rows = student(lambda t: t, prompts="abcdef") + student(lambda t: 70, rubric="q", prompts="a")
    assert value("gain", rows) == pytest.approx(0.5)
    assert value("dead_zone", rows) == pytest.approx(40)
    assert value("saturation_point", rows) == 90  # q never moves


def test_one_target_has_no_slope_no_range_and_no_zone() -> None:
    rows = [Dosed("r", "a", 50, 40)]
    undefined = {name for name in STATISTICS if math.isnan(value(name, rows))}
    assert undefined == set(STATISTICS) - {"mean_absolute_error"}


def test_a_missing_target_leaves_the_curve_statistics_undefined() -> None:
    scores = doses(student(lambda t: t))
    scores.scores[:, :, 2] = NAN
    assert math.isnan(value("dead_zone", scores))
    assert math.isnan(value("saturation_point", scores))
    assert value("dynamic_range", scores) == 80


def test_intervals_come_from_prompts() -> None:
    # half of the prompts follow, half ignore: the gain of a resample is the share of followers drawn
    rows = student(lambda t: t, prompts="abcd") + student(lambda t: 70, prompts="efgh")
    data = doses(rows)
    gains = dose.gain(data, seeded_weights(8, 2000, seed=0))[:, 0]
    # each prompt left out: 3 or 4 of 7 follow
    assert sorted(gains[1:9]) == pytest.approx([3 / 7] * 4 + [4 / 7] * 4)
    # binomial(8, 1/2) / 8. The tails for 8 prompts, Phi(-sqrt(8/7) t) = 0.6%, lie over P(0 of 8) = 0.4%: 1/8 and 7/8
    found = bootstrap_estimate(gains, 8)
    assert (found.value, found.ci_low, found.ci_high) == pytest.approx((0.5, 1 / 8, 7 / 8), abs=1e-3)


def test_one_prompt_has_no_interval() -> None:
    data = doses(student(lambda t: t, prompts="a"))
    found = bootstrap_estimate(dose.gain(data, seeded_weights(1, 100, seed=0))[:, 0], 1)
    assert (found.value, math.isnan(found.ci_low)) == (pytest.approx(1), True)
