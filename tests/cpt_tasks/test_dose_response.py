"""Dose response: what simulated students get, and values by hand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from students import CALM, CALM_SCORE, LIVELY, SHOUT, evaluated, score_by, shown_metrics, unscore

from cpt_tasks.benchmarks.dose_response.report import over_rubrics
from cpt_tasks.benchmarks.dose_response.statistics import (
    STATISTICS,
    by_prompt,
    by_rubric,
    dead_stretch,
    means_by_rubric,
)
from cpt_tasks.benchmarks.dose_response.task import ADVERBS, dose_prompt, dose_response, dose_samples, parse_targets
from cpt_tasks.report.logs import read_run
from cpt_tasks.report.report import summarise
from cpt_tasks.report.run import Run
from judges.interval import estimates
from rubrics import ScoreLevel, load_rubric, load_user_prompts

NAN = math.nan
TARGETS = (10.0, 30.0, 50.0, 70.0, 90.0)


def dosed(*rows: tuple[str, str, float, float]) -> pd.DataFrame:
    """A frame of (rubric, user prompt, target, score)."""
    return pd.DataFrame(rows, columns=["rubric", "user_prompt_id", "target", "score"])


def student(answer: Callable[[float], float], rubric: str = "r", prompts: str = "ab") -> pd.DataFrame:
    return dosed(*((rubric, prompt, target, answer(target)) for prompt in prompts for target in TARGETS))


def value(name: str, rows: pd.DataFrame) -> float:
    return over_rubrics(by_rubric(by_prompt(rows)))[name]


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
    result = tuple(value(name, student(answer)) for name in STATISTICS)
    # slope, range, mean absolute error, dead zone, saturation point, monotone share, strict monotone share
    assert result == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.lists(st.floats(0, 100), min_size=5, max_size=5), min_size=1, max_size=4))
def test_the_slope_is_the_mean_of_least_squares_slopes(scores: list[list[float]]) -> None:
    lines = {f"p{number}": line for number, line in enumerate(scores)}
    rows = dosed(*(("r", p, t, score) for p, line in lines.items() for t, score in zip(TARGETS, line, strict=True)))
    expected = np.mean([stats.linregress(TARGETS, line).slope for line in scores])
    assert value("calibration_slope", rows) == pytest.approx(expected, abs=1e-9)


def test_the_slope_of_a_prompt_with_a_missing_target_uses_the_others() -> None:
    rows = student(lambda t: t / 2, prompts="a")
    rows = pd.concat([rows[rows["target"] != 50], dosed(("r", "lonely", 50, 50))])
    assert value("calibration_slope", rows) == pytest.approx(0.5)


def test_epochs_are_averaged_for_the_curve_but_not_for_the_error_and_one_target_has_no_more() -> None:
    # 0 and 100 at target 50: mean 50, but each is off by 50
    rows = dosed(("r", "a", 50, 0), ("r", "a", 50, 100))
    assert by_prompt(rows)["score@50"].tolist() == [50]
    values = {name: value(name, rows) for name in STATISTICS}
    assert values == pytest.approx(dict.fromkeys(STATISTICS, NAN) | {"mean_absolute_error": 50}, nan_ok=True)


def test_monotone_shares_count_complete_prompts_only() -> None:
    tied = {10: 0.0, 30: 10.0, 50: 10.0, 70: 20.0, 90: 30.0}
    answers = {"a": lambda t: t, "b": tied.__getitem__, "c": (tied | {90: 5.0}).__getitem__}
    rows = pd.concat([student(answer, prompts=name) for name, answer in answers.items()] + [dosed(("r", "d", 10, 50))])
    # a and b never fall, a alone rises throughout, d is not complete
    assert [value(name, rows) for name in ("monotone_share", "strict_monotone_share")] == pytest.approx([2 / 3, 1 / 3])


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
    # in targets: steps of 5 and 60; the second moves by 15 of 60, just a quarter
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
    rows = pd.concat([student(lambda t: t, prompts="abcdef"), student(lambda t: 70, rubric="q", prompts="a")])
    assert value("calibration_slope", rows) == pytest.approx(0.5)
    assert value("dead_zone", rows) == pytest.approx(40)
    assert value("saturation_point", rows) == 90  # q never moves


def test_a_rubric_that_lacks_a_target_of_the_others_has_no_zone() -> None:
    lacking = student(lambda t: t, rubric="q")
    rows = pd.concat([student(lambda t: t), lacking[lacking["target"] != 50]])
    result = by_rubric(by_prompt(rows)).loc["q"]
    assert result[["dead_zone", "saturation_point", "mean_absolute_error"]].isna().all()
    assert result["dynamic_range"] == 80


def test_intervals_are_those_of_the_mean_over_prompts() -> None:
    # the slope is 1 for half of the prompts and 0 for the others: Student's t over eight slopes
    rows = pd.concat([student(lambda t: t, prompts="abcd"), student(lambda t: 70, prompts="efgh")])
    result = estimates(by_prompt(rows), lambda part: over_rubrics(means_by_rubric(part)), {})["calibration_slope"]
    slopes = [1.0] * 4 + [0.0] * 4
    assert (result.ci_low, result.ci_high) == pytest.approx(stats.t.interval(0.95, 7, 0.5, stats.sem(slopes)))


def summaries(*runs: Run) -> list[dict[str, Any]]:
    return [model["tasks"]["dose_response"] for model in summarise(runs)["models"]]


def dose_student(messages: list[Any]) -> str:
    """Follows a numeric target in three steps: calm, lively, shouting."""
    target = float(messages[0].text.rsplit("intensity of ", 1)[1].split(",")[0])
    return CALM if target < 40 else LIVELY if target < 80 else SHOUT


def test_dose_response_end_to_end(mock_model: Callable[..., Any]) -> None:
    log = evaluated(dose_response("broadcast", judge="measured", limit_per_cell=3), mock_model(dose_student))
    [result] = summaries(read_run(log.location))
    lively = score_by("broadcast", LIVELY)
    means = [(p["target"], p["mean"], p["trained"]) for p in result["curve"]]
    expected = [CALM_SCORE, CALM_SCORE, lively, lively, 100]
    assert means == [
        (target, pytest.approx(mean, abs=1e-6), False) for target, mean in zip(TARGETS, expected, strict=True)
    ]
    values = {"dead_zone": 20, "saturation_point": 90, "monotone_share": 1, "strict_monotone_share": 0}
    values["dynamic_range"] = 100 - CALM_SCORE
    metrics = {name: result["metrics"][name]["value"] for name in values}
    assert metrics == pytest.approx(values, abs=1e-6)
    assert result["by_rubric"]["broadcast"]["dead_zone_targets"] == [10, 30]
    assert (result["n"], result["unscored"], result["style"]) == (15, 0, "number")
    # the log's own headline reads the level that the target lies in
    assert shown_metrics(log)["n_scored"] == 15
    unscore(log.location, lambda _, sample: sample.metadata["target"] == 50)
    [result] = summaries(read_run(log.location))
    assert (result["n"], result["unscored"]) == (12, 3)
    assert [p["target"] for p in result["curve"]] == [10, 30, 70, 90]


def test_a_dose_is_asked_after_the_extremely_high_prompt() -> None:
    rubric = load_rubric("broadcast")
    prompts = dict(list(load_user_prompts("test").items())[:4])
    samples = list(dose_samples([rubric], [10, 55], {"broadcast": prompts}))
    assert len({sample.id for sample in samples}) == len(samples) == 8
    wordings = rubric.wordings(ScoreLevel.EXTREMELY_HIGH, "heldout")
    for number, sample in enumerate(samples):
        target = 10 if number < 4 else 55  # a user prompt has the same wording at every target
        end = f"Do all of this at an intensity of {target}, on a scale from 0 (not at all) to 100 (fully)."
        system = sample.input[0].text  # type: ignore[union-attr]
        assert system.startswith(wordings[number % 4 % len(wordings)]) and system.endswith(end)
    metadata = samples[-1].metadata or {}
    names = ("level", "target", "style", "rubric_hash", "dose_version")
    assert [metadata[name] for name in names] == ["moderate", 55, "number", rubric.hash, "1"]


def test_adverbs_stand_for_the_default_targets_in_ascending_order() -> None:
    assert parse_targets("10,30,50,70,90", "adjective") == sorted(ADVERBS) == list(ADVERBS)
    prompt = dose_prompt("Be loud.", 30, "adjective")
    assert prompt.startswith("Be loud.\n\nDo all of this slightly. The degrees are")
    # the scale in the prompt names the same words in the same order
    places = [prompt.rindex(word) for word in ADVERBS.values()]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("targets", "parsed"), [("90,10", [10, 90]), (50, [50]), ([10, "30"], [10, 30]), ("12.5", [12.5])]
)
def test_targets_as_the_command_line_may_give_them(targets: Any, parsed: list[float]) -> None:
    assert parse_targets(targets, "number") == parsed
