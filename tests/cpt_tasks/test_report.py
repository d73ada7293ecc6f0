"""The report recomputes everything from logs, and refuses logs that are not comparable."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from inspect_ai.log import EvalError, EvalSample, read_eval_log, write_eval_log
from inspect_ai.scorer import Score
from students import evaluated, follows, ignores, reported

from cpt_tasks.benchmarks.dose_response.task import dose_response
from cpt_tasks.benchmarks.rubric_adherence import statistics
from cpt_tasks.report.logs import find_logs, read_run
from cpt_tasks.report.report import summarise
from cpt_tasks.report.run import check_comparable, tell_apart
from rubrics import load_rubric


@pytest.fixture(scope="module")
def logs(log_of: Callable[..., str]) -> list[str]:
    return [log_of("base", ignores), log_of("tuned", follows)]


def test_the_command_writes_what_the_logs_hold_as_json_tables_and_figures(logs: list[str], tmp_path: Path) -> None:
    out = tmp_path / "report"
    summary, report, printed = reported(out, *logs)
    protocol = summary["tasks"]["rubric_adherence"]
    assert (summary["schema"], protocol["judge"], protocol["split"]) == (2, "measured", "test")
    assert protocol["rubrics"] == {"broadcast": load_rubric("broadcast").hash}
    base, tuned = (model["tasks"]["rubric_adherence"] for model in summary["models"])
    # base: low right, moderate and high wrong; tuned: all right. Four user prompts are too few for an interval
    for entry, accuracy in ((base, 1 / 3), (tuned, 1)):
        expected = {"value": pytest.approx(accuracy, abs=1e-6), "ci_low": None, "ci_high": None}
        assert entry["metrics"]["macro_accuracy"] == expected
        assert (entry["n"], entry["unscored"], entry["by_rubric"]["broadcast"]["n"]) == (12, 0, 12)
    assert set(tuned["metrics"]) == {*statistics.STATISTICS, "worst_wording_accuracy"}
    assert [entry["metrics"]["accuracy"]["value"] for entry in base["by_level"].values()] == [1, 0, 0]
    assert "4 user prompts: too few for an interval" in report
    assert "| tuned" in printed
    for name in ("score_by_level.png", "levels_by_model.png"):
        assert (out / name).read_bytes()[:4] == b"\x89PNG"
    assert (out / "table.csv").read_text().startswith("model,n,unscored,macro_accuracy")
    assert str(tmp_path) not in (out / "summary.json").read_text() + report


@pytest.mark.parametrize(
    ("parameters", "key"),
    [
        ({"user_prompts": "train"}, "split"),
        ({"wording_split": "train"}, "wording_split"),
        ({"wordings": 2}, "wordings_per_cell"),
        ({"rubrics": "reverie"}, "rubrics"),
        ({"limit_per_cell": 2}, "user_prompts"),
        ({"levels": "low,moderate"}, "grid"),
    ],
)
def test_logs_that_differ_in_the_protocol_are_refused(
    parameters: dict[str, Any], key: str, log_of: Callable[..., str]
) -> None:
    first, other = log_of("first", limit_per_cell=1), log_of("other", **({"limit_per_cell": 1} | parameters))
    with pytest.raises(ValueError, match=f"other and first differ in {key}: "):
        check_comparable([read_run(first), read_run(other)])


def test_runs_of_other_doses_are_refused(mock_model: Callable[..., Any]) -> None:
    runs = [
        read_run(evaluated(dose_response("broadcast", targets, judge="measured", limit_per_cell=1), model).location)
        for targets, model in (("10,50", mock_model(ignores)), ("10,20", mock_model(ignores, name="other")))
    ]
    with pytest.raises(ValueError, match="differ in grid"):
        check_comparable(runs)


def test_every_key_of_the_protocol_is_compared(logs: list[str]) -> None:
    run = read_run(logs[0])
    # an edit of the judge's prompt that kept its version is another judge_prompt_hash
    assert {"judge", "judge_prompt_hash", "judge_repeats", "split", "rubrics", "grid"} <= set(run.protocol)
    for key in run.protocol:
        other = replace(run, name="two", protocol=run.protocol | {key: "edited"})
        with pytest.raises(ValueError, match=f"two and base differ in {key}: 'edited' and "):
            check_comparable([run, other])


def edited(path: str, tmp_path: Path, edit: Callable[[list[EvalSample]], None]) -> str:
    """A copy of a log with changed samples."""
    copied = copy(path, tmp_path)
    log = read_eval_log(copied)
    edit(log.samples or [])
    write_eval_log(log, copied)
    return copied


def test_unscored_and_errored_samples_are_counted_and_a_persons_edit_of_a_score_counts(
    logs: list[str], tmp_path: Path
) -> None:
    def edit(samples: list[EvalSample]) -> None:
        samples[0].scores, samples[0].error = {}, EvalError(message="boom", traceback="", traceback_ansi="")
        samples[1].scores = {"rubric_judge": Score.unscored(reason="grader_failed")}
        for sample, value in zip(samples[2:4], (77.0, math.nan), strict=True):
            (sample.scores or {})["rubric_judge"].value = value

    run = read_run(edited(logs[0], tmp_path, edit))
    assert (len(run.asked), run.unscored.total()) == (9, 3)
    assert list(run.frame["score"][:4]) == pytest.approx([math.nan, math.nan, 77, math.nan], nan_ok=True)
    # the others are what they were
    assert list(run.frame["score"][4:]) == list(read_run(logs[0]).frame["score"][4:])


def test_a_log_that_was_judged_twice_is_refused(logs: list[str], tmp_path: Path) -> None:
    def edit(samples: list[EvalSample]) -> None:
        for sample in samples:
            sample.scores = {f"rubric_judge{n}": score for score in (sample.scores or {}).values() for n in ("", 1)}

    with pytest.raises(ValueError, match="judged more than once"):
        read_run(edited(logs[0], tmp_path, edit))


def test_runs_of_one_model_name_from_two_providers_stand_in_one_report(logs: list[str]) -> None:
    run = read_run(logs[0])
    other = replace(run, model="openai/base")
    with pytest.raises(ValueError, match="model 'base' has more than one log"):
        check_comparable([run, other])
    named = tell_apart([run, other, replace(run, model="mockllm/n", name="n")])
    check_comparable(named)
    assert [model["name"] for model in summarise(named)["models"]] == ["mockllm/base", "openai/base", "n"]
    # one model at one provider is not told apart from itself
    assert [one.name for one in tell_apart([run, run])] == ["base", "base"]


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "nowhere", "not found, expected an .eval log"), (tmp_path, "no finished log")):
        with pytest.raises(ValueError, match=message):
            find_logs([str(path)])
