"""Dose response: what simulated students get, and values by hand."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from students import CALM, CALM_SCORE, LIVELY, SHOUT, evaluated, score_by, shown_metrics, unscore

from cpt_tasks.benchmarks.dose_response import report
from cpt_tasks.benchmarks.dose_response.statistics import STATISTICS, by_prompt, by_rubric, dead_zone, over_rubrics
from cpt_tasks.benchmarks.dose_response.task import ADVERBS, dose_response, parse_targets
from cpt_tasks.report.logs import read_run
from cpt_tasks.report.report import summarise
from rubrics import ScoreLevel, load_rubric

NAN = math.nan
TARGETS = (10.0, 30.0, 50.0, 70.0, 90.0)


def dosed(*rows: tuple[str, str, float, float]) -> pd.DataFrame:
    """A frame of (rubric, user prompt, target, score)."""
    return pd.DataFrame(rows, columns=["rubric", "user_prompt_id", "target", "score"]).assign(reason="")


def student(answer: Callable[[float], float], rubric: str = "r", prompts: str = "ab") -> pd.DataFrame:
    return dosed(*((rubric, prompt, target, answer(target)) for prompt in prompts for target in TARGETS))


def value(name: str, rows: pd.DataFrame) -> float:
    return over_rubrics(by_prompt(rows))[name]


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


def test_the_slope_of_a_prompt_with_a_missing_target_uses_the_others() -> None:
    rows = student(lambda t: t / 2, prompts="a")
    # one with a single target has no slope
    rows = pd.concat([rows[rows["target"] != 50], dosed(("r", "lonely", 50, 50))])
    assert value("calibration_slope", rows) == pytest.approx(0.5)


def test_epochs_are_averaged_for_the_curve_but_not_for_the_error_and_one_target_has_no_more() -> None:
    # 0 and 100 at target 50: mean 50, but each is off by 50
    rows = dosed(("r", "a", 50, 0), ("r", "a", 50, 100))
    assert by_prompt(rows)["score@50"].tolist() == [50]
    values = {name: value(name, rows) for name in STATISTICS}
    assert values == pytest.approx(dict.fromkeys(STATISTICS, NAN) | {"mean_absolute_error": 50}, nan_ok=True)


def test_there_is_no_interval_over_rubrics_one_of_which_has_a_single_user_prompt() -> None:
    rows = pd.concat([student(lambda t: t / 2, "p", "abcdefg"), student(lambda t: t, "r", "a")]).assign(style="words")
    run: Any = SimpleNamespace(scored=rows, frame=rows)
    said = report.summarise(run, seed=0)
    error = said["metrics"]["mean_absolute_error"]
    assert (error["value"], error["ci_low"]) == (12.5, None)
    assert said["by_rubric"]["p"]["metrics"]["mean_absolute_error"]["ci_low"] is not None


def test_monotone_shares_count_complete_prompts_only() -> None:
    tied = {10: 0.0, 30: 10.0, 50: 10.0, 70: 20.0, 90: 30.0}
    answers = {"a": lambda t: t, "b": tied.__getitem__, "c": (tied | {90: 5.0}).__getitem__}
    rows = pd.concat([student(answer, prompts=name) for name, answer in answers.items()] + [dosed(("r", "d", 10, 50))])
    # a and b never fall, a alone rises throughout, d is not complete
    assert [value(name, rows) for name in ("monotone_share", "strict_monotone_share")] == pytest.approx([2 / 3, 1 / 3])


def test_a_target_without_a_response_breaks_the_order_and_is_left_out_of_the_rest() -> None:
    rows = student(lambda t: t)
    silent = rows.assign(score=rows["score"].where(rows["target"] > 10, 0))
    silent.loc[(silent["user_prompt_id"] == "a") & (silent["target"] == 10), "reason"] = "no_response"
    silent.loc[silent["user_prompt_id"] == "b", "score"] = rows["score"]
    values = {name: value(name, silent) for name in STATISTICS}
    expected = {"calibration_slope": 1, "dynamic_range": 80, "mean_absolute_error": 0, "dead_zone": 0}
    expected |= {"saturation_point": 90, "monotone_share": 0.5, "strict_monotone_share": 0.5}
    assert values == pytest.approx(expected)
    nothing = {name: value(name, rows.assign(score=0, reason="no_response")) for name in STATISTICS}
    shares = {"monotone_share": 0, "strict_monotone_share": 0}
    assert nothing == pytest.approx(dict.fromkeys(STATISTICS, NAN) | shares, nan_ok=True)


@pytest.mark.parametrize(
    ("curve", "width", "point"),
    [
        ([0, 5, 10, 15, 20], 80, NAN),  # 5 of 20 is just the share, and 20 of the span of 80: never moves
        ([0, 5.1, 10.2, 15.3, 20.4], 0, 90),
        ([50, 48, 50, 90, 95], 40, 90),  # up and down by a little is no movement; 90% of the range is 90.3
        ([0, 0, 50, 50, 50], 40, 50),  # the widest
        ([0, 0, 50, 100, 100], 20, 70),
        ([0, 30, 60, 90, 100], 0, 70),
        ([0, 95, 60, 95, 100], 20, 70),  # from which it stays
        ([0, 50, 100, 100, 50], 20, NAN),  # comes down again
    ],
)
def test_dead_zone_and_saturation_point_by_hand(curve: list[float], width: float, point: float) -> None:
    assert dead_zone(np.array(TARGETS), np.array(curve, dtype=float)) == width
    by_target = dict(zip(TARGETS, curve, strict=True))
    assert value("saturation_point", student(by_target.__getitem__)) == pytest.approx(point, nan_ok=True)
    # in targets: steps of 5 and 60; the second moves by 15 of 60, just a quarter
    assert dead_zone(np.array([10.0, 15, 75]), np.array([0.0, 50, 65])) == 60


def test_rubrics_weigh_the_same_and_undefined_ones_are_left_out() -> None:
    rows = pd.concat([student(lambda t: t, prompts="abcdef"), student(lambda t: 70, rubric="q", prompts="a")])
    # q never moves
    names = ("calibration_slope", "dead_zone", "saturation_point")
    assert [value(name, rows) for name in names] == pytest.approx([0.5, 40, 90])
    # a rubric that lacks a target of the others has no zone
    result = by_rubric(by_prompt(rows[(rows["rubric"] == "r") | (rows["target"] != 50)])).loc["q"]
    assert result[["dead_zone", "saturation_point", "mean_absolute_error"]].isna().all()
    assert result["dynamic_range"] == 0


def dose_student(messages: list[Any]) -> str:
    """Follows a numeric target in three steps: calm, lively, shouting."""
    target = float(messages[0].text.rsplit("intensity of ", 1)[1].split(",")[0])
    return CALM if target < 40 else LIVELY if target < 80 else SHOUT


def test_dose_response_end_to_end(mock_model: Callable[..., Any]) -> None:
    log = evaluated(dose_response("broadcast", judge="measured", limit_per_cell=3), mock_model(dose_student))

    def summary() -> dict[str, Any]:
        return dict(summarise([read_run(log.location)])["models"][0]["tasks"]["dose_response"])

    result = summary()
    lively = score_by("broadcast", LIVELY)
    means = [(point["target"], point["mean"]) for point in result["curve"]]
    scores = [CALM_SCORE, CALM_SCORE, lively, lively, 100]
    assert means == [(target, pytest.approx(mean, abs=1e-6)) for target, mean in zip(TARGETS, scores, strict=True)]
    values = {"dead_zone": 20, "saturation_point": 90, "monotone_share": 1, "strict_monotone_share": 0}
    values["dynamic_range"] = 100 - CALM_SCORE
    assert {name: result["metrics"][name]["value"] for name in values} == pytest.approx(values, abs=1e-6)
    assert (result["n"], result["unscored"], result["style"]) == (15, 0, "number")
    # the log's own headline reads the level that the target lies in
    assert shown_metrics(log)["n_scored"] == 15
    unscore(log.location, lambda _, sample: sample.metadata["target"] == 50)
    result = summary()
    assert (result["n"], result["unscored"]) == (12, 3)
    assert [point["target"] for point in result["curve"]] == [10, 30, 70, 90]


def test_a_dose_is_asked_after_the_extremely_high_prompt() -> None:
    rubric = load_rubric("broadcast")
    samples = list(dose_response("broadcast", "10,55", judge="none", limit_per_cell=4).dataset)
    assert len({sample.id for sample in samples}) == len(samples) == 8
    wordings = rubric.wordings(ScoreLevel.EXTREMELY_HIGH, "heldout")
    for number, sample in enumerate(samples):
        target = (10, 55)[number % 2]  # a user prompt has the same wording at every target
        end = f"Do all of this at an intensity of {target}, on a scale from 0 (not at all) to 100 (fully)."
        assert sample.input[0].text == f"{wordings[number // 2 % len(wordings)]}\n\n{end}"  # type: ignore[union-attr]
    metadata = samples[-1].metadata or {}
    names = ("level", "target", "style", "rubric_hash")
    assert [metadata[name] for name in names] == ["moderate", 55, "number", rubric.hash]


def test_adverbs_stand_for_the_default_targets_in_ascending_order() -> None:
    samples = list(dose_response("broadcast", style="adjective", judge="none", limit_per_cell=1).dataset)
    for sample, adverb in zip(samples, ADVERBS.values(), strict=True):
        _, _, dose = sample.input[0].text.partition("\n\n")  # type: ignore[union-attr]
        assert dose.startswith(f"Do all of this {adverb}. The degrees are")
        assert dose.endswith(f"from least to most: {', '.join(ADVERBS.values())}.")
    assert [(sample.metadata or {})["target"] for sample in samples] == sorted(ADVERBS)


@pytest.mark.parametrize(
    ("targets", "parsed"), [("90,10", [10, 90]), (50, [50]), ([10, "30"], [10, 30]), ("12.5", [12.5])]
)
def test_targets_as_the_command_line_may_give_them(targets: Any, parsed: list[float]) -> None:
    assert parse_targets(targets, "number") == parsed
