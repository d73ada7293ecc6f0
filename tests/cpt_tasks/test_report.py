"""The report recomputes everything from logs, and refuses logs that are not comparable."""

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copy
from typing import Any

import fsspec
import pandas as pd
import pytest
from command_runs import fails, succeeds
from inspect_ai import score as inspect_score
from inspect_ai.log import (
    EvalError,
    EvalSample,
    ProvenanceData,
    edit_score,
    invalidate_samples,
    read_eval_log,
    write_eval_log,
)
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score, ScoreEdit
from students import evaluated, follows, ignores, reported

from cpt_tasks.benchmarks.dose_response.task import dose_response
from cpt_tasks.benchmarks.rubric_adherence import statistics
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.judge_logs.commands import agreement_command
from cpt_tasks.judge_logs.spend import score_commands
from cpt_tasks.options import decoding_of
from cpt_tasks.report.compare import compare, compare_command, text
from cpt_tasks.report.logs import find_logs, on_shared, read_run
from cpt_tasks.report.page.samples import samples_of
from cpt_tasks.report.report import report_command, summarise, write_report
from cpt_tasks.report.run import base_of, check_comparable, tell_apart
from cpt_tasks.report.text import runs_notes
from cpt_tasks.scorer import rubric_judge
from cpt_tasks.statistics.table import table_of
from judges import JudgeSettings
from rubrics import load_rubric

CURVE = Path(__file__).parents[2] / "results" / "smollm2-135m" / "logs" / "curve"


@pytest.fixture(scope="module")
def logs(log_of: Callable[..., str]) -> list[str]:
    return [log_of("base", ignores), log_of("tuned", follows)]


def test_the_command_writes_what_the_logs_hold_as_json_tables_and_figures(logs: list[str], tmp_path: Path) -> None:
    out = tmp_path / "report"
    summary, report, printed = reported(out, *logs, draw=True)
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
    assert (out / "table.csv").read_text().startswith("model,n,unscored,accuracy,order,calibration,")
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
        for targets, model in (("10,50", mock_model(ignores)), ("10,60", mock_model(ignores, name="other")))
    ]
    with pytest.raises(ValueError, match="differ in grid"):
        check_comparable(runs)


def test_on_request_a_report_has_only_the_samples_that_all_logs_share(
    log_of: Callable[..., str], tmp_path: Path
) -> None:
    paths = [log_of("one", follows, limit_per_cell=1), log_of("two", follows, limit_per_cell=2, wordings=2)]
    paths.append(log_of("full", follows, limit_per_cell=2, prompting="full_rubric"))
    refused = fails(report_command, *paths, "--out", tmp_path)
    assert "so report them apart, or what all were asked by `cpt report --shared`" in refused
    summary, report, _ = reported(tmp_path, "--shared", *paths)
    one, two, full = (model["tasks"]["rubric_adherence"] for model in summary["models"])
    counts = [(part["n"], part["left_out"], part["user_prompts"]) for part in (one, two, full)]
    assert counts == [(3, 0, 1), (3, 9, 1), (3, 3, 1)]  # of 2 user prompts in 2 wordings, or in none
    assert two["by_level"] == one["by_level"]
    assert "two: 9 of 12 samples left out, which not all models have\n- full [full_rubric]: 3 of 6 samples" in report
    with pytest.raises(
        ValueError, match=r"one: no sample of rubric_adherence is in all logs judged by measured \(vers"
    ):
        on_shared([read_run(paths[0]), read_run(log_of("other", rubrics="reverie", limit_per_cell=1))])


def test_what_another_judge_judged_stands_in_tables_and_figures_of_its_own(logs: list[str], tmp_path: Path) -> None:
    base, tuned = map(read_run, logs)
    other = {"judge": "m/judge", "prompt_version": "3", "judge_protocol": "holistic", "grid": "another"}
    again = replace(tuned, protocol=tuned.protocol | other)
    write_report([base, again, tuned], tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    [apart] = summary["apart"]
    assert [[model["name"] for model in part["models"]] for part in (summary, apart)] == [["base", "tuned"], ["tuned"]]
    assert [part["tasks"]["rubric_adherence"]["judge"] for part in (summary, apart)] == ["measured", "m/judge"]
    first, second = (tmp_path / "report.md").read_text().split("## Rubric adherence, judge: ")[1:]
    assert (first.split("\n")[0], second.split("\n")[0]) == (
        f"measured (version {base.protocol['prompt_version']})",
        "m/judge (version 3, headline holistic)",
    )
    assert ("| base" in first, "| base" in second) == (True, False)
    assert "(levels_by_model.png)" in first and "(levels_by_model-2.png)" in second
    assert (tmp_path / "score_by_level-2.png").exists()
    assert "tuned" in (tmp_path / "table.csv").read_text().splitlines()[2]
    with pytest.raises(ValueError, match="tuned and base differ in judge_hash"):  # of one name, with other settings
        write_report([base, replace(tuned, protocol=tuned.protocol | {"judge_hash": "another"})], tmp_path)
    with pytest.raises(ValueError, match="^two runs of tuned differ in split"):
        write_report([tuned, replace(tuned, protocol=tuned.protocol | {"split": "train"})], tmp_path)


def test_where_recorded_replies_come_from_is_said(logs: list[str], tmp_path: Path) -> None:
    path = copy(logs[0], tmp_path)
    log = read_eval_log(path)
    log.eval.metadata = {"provenance": "recorded - no API run"}
    write_eval_log(log, path)
    summary, report, printed = reported(tmp_path / "out", path, logs[1], draw=True)
    for shown in (report, printed):
        assert "base: recorded - no API run" in shown
    assert summary["models"][0]["tasks"]["rubric_adherence"]["details"]["provenance"] == "recorded - no API run"
    # under the name, under the table, and with the command
    assert (tmp_path / "out" / "report.html").read_text().count("recorded - no API run") == 3


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
        samples[0].output = ModelOutput()
        samples[1].scores = {"rubric_judge": Score.unscored(reason="grader_failed")}
        for sample, value in zip(samples[2:4], (77.0, math.nan), strict=True):
            (sample.scores or {})["rubric_judge"].value = value

    path = edited(logs[0], tmp_path, edit)
    run = read_run(path)
    assert (len(run.asked), run.unscored.total()) == (9, 3)
    assert list(run.frame["score"][:4]) == pytest.approx([math.nan, math.nan, 77, math.nan], nan_ok=True)
    # the others are what they were
    assert list(run.frame["score"][4:]) == list(read_run(logs[0]).frame["score"][4:])
    again = inspect_score(read_eval_log(path), rubric_judge("measured"), action="overwrite", display="none")
    values = [(one.scores or {})["rubric_judge"].as_float() for one in again.samples or []]
    assert [math.isnan(value) for value in values] == [True, *[False] * 11]


def test_a_log_may_hold_questions_with_and_without_a_picture(logs: list[str], tmp_path: Path) -> None:
    def edit(samples: list[EvalSample]) -> None:
        ((samples[0].scores or {})["rubric_judge"].metadata or {})["prompt_hash"] = "abc"

    assert read_run(edited(logs[0], tmp_path, edit)).protocol["judge_prompt_hash"] == ",abc"


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
    # one model at one provider is not told apart from itself, but from itself with an adapter
    assert [one.name for one in tell_apart([run, run, replace(run, adapter="out/a")])] == [
        "base",
        "base",
        "base (out/a)",
    ]
    tuned = replace(run, task="drift", adapter="out/a")
    assert [one.name for one in tell_apart([run, tuned])] == ["base", "base (out/a)"]


def test_an_adapter_asked_in_another_way_has_the_only_base(logs: list[str]) -> None:
    run = read_run(logs[0])
    tuned = replace(run, name="tuned [full_rubric]", model="mockllm/tuned", base="tuned", adapter="a")
    assert base_of(tuned, [run, tuned]) is run
    assert base_of(replace(tuned, base="other"), [run, tuned]) is None


def test_an_interval_of_one_rubric_has_the_note_of_its_own_user_prompts(logs: list[str]) -> None:
    run = read_run(logs[0])
    rows = pd.concat([run.frame.assign(rubric=one, user_prompt_id=run.frame["user_prompt_id"] + one) for one in "ab"])
    prompts = run.frame["user_prompt_id"].nunique()
    assert prompts < 6
    [note] = [note for note in runs_notes([replace(run, frame=rows)]) if note.startswith("by rubric, ")]
    assert note == f"by rubric, {prompts} user prompts: too few for an interval"
    lone = pd.concat([run.frame.head(1).assign(rubric=one, user_prompt_id=one) for one in "abcdefg"])
    assert math.isnan(
        statistics.macro_accuracy.estimate(table_of(lone)).ci_low
    )  # without the prompt the rubric would be gone


BY_ADA = ProvenanceData(author="Ada", reason="misread")


def test_invalidated_samples_are_left_out_and_scores_by_people_count_and_both_are_said(
    logs: list[str], tmp_path: Path
) -> None:
    def edit(samples: list[EvalSample]) -> None:
        for sample, mode in (
            (samples[3], {"failure_mode": "refusal", "rubric_hash": "0", "words": 51}),
            (samples[4], {}),
        ):
            sample.scores = {"rubric_judge": Score.unscored(metadata=mode)}
        samples[5].scores = {}

    path = edited(logs[0], tmp_path, edit)
    log = read_eval_log(path)
    samples = log.samples or []
    for number, changes in (
        (2, ScoreEdit(value=61, provenance=BY_ADA)),
        (3, ScoreEdit(value=62, metadata={"seen": "twice"}, provenance=BY_ADA)),  # the judge failed on these two
        (4, ScoreEdit(value="63", provenance=BY_ADA)),
        (5, ScoreEdit(value=64, provenance=BY_ADA)),  # and was never asked about this one
        (6, ScoreEdit(explanation="A fine text.", provenance=BY_ADA)),
    ):
        edit_score(log, samples[number].id, "rubric_judge", changes)
    write_eval_log(invalidate_samples(log, [str(sample.uuid) for sample in samples[:2]], BY_ADA), path)
    run, before = read_run(path), read_run(logs[0])
    assert (len(run.frame), len(run.asked), run.unscored.total(), run.judging.failures) == (10, 10, 0, {})
    assert list(run.frame["score"][:5]) == [61, 62, 63, 64, before.frame["score"][6]]
    assert set(run.frame["words"]) == set(before.frame["words"])
    assert set(samples_of(run)["wording"]) == {"heldout-0", "heldout-1", "heldout-2"}  # and no turn beside it
    assert run.protocol == before.protocol  # it may stand beside logs without invalidated samples
    summary, report, printed = reported(tmp_path / "out", path, logs[1], draw=True)
    entries = [model["tasks"]["rubric_adherence"] for model in summary["models"]]
    assert [(entry["n"], entry["invalidated"], entry["edited"]) for entry in entries] == [(10, 2, 4), (12, 0, 0)]
    for note in ("base: 2 samples invalidated by a person and left out", "base: 4 scores edited by a person"):
        assert note in report
        assert note in printed
        assert note in text(compare(run, read_run(logs[1])))
        assert note in (tmp_path / "out" / "report.html").read_text()
    assert sum(note == "scored by a person" for note in samples_of(run)["note"]) == 4


@pytest.mark.parametrize("value", [101, -0.5, "fine", [1]])
def test_an_edit_to_what_is_no_score_is_named(value: Any, logs: list[str], tmp_path: Path) -> None:
    def edit(samples: list[EvalSample]) -> None:
        (samples[3].scores or {})["rubric_judge"].value = value

    with pytest.raises(ValueError, match=r"sample '.*': got a score edited to .*, expected a number from 0 to 100"):
        read_run(edited(logs[0], tmp_path, edit))


@pytest.fixture
def in_memory(logs: list[str]) -> str:
    """A folder with the logs that is in no file system of this machine."""
    folder = "memory://judged/logs"
    for path in logs:
        fsspec.filesystem("memory").pipe(f"{folder}/{Path(path).name}", Path(path).read_bytes())
    return folder


def test_the_logs_of_a_folder_stand_by_when_they_were_made_not_by_the_time_of_the_files(tmp_path: Path) -> None:
    made = ["base", "sft", "checkpoint-80", "checkpoint-160", "final"]
    for name in reversed(made):
        copy(CURVE / f"{name}.eval", tmp_path)
        os.utime(tmp_path / f"{name}.eval", (0, 1e9 - made.index(name)))
    assert [Path(path).stem for path in find_logs([str(tmp_path)])] == made


def test_logs_elsewhere_are_reported_and_compared(
    in_memory: str, logs: list[str], log_of: Callable[..., str], tmp_path: Path
) -> None:
    logs = sorted(logs, key=lambda path: read_eval_log(path, header_only=True).eval.created)
    elsewhere = [f"{in_memory}/{Path(path).name}" for path in logs]
    assert find_logs([in_memory]) == find_logs(elsewhere) == [f"memory:///judged/logs/{Path(p).name}" for p in logs]
    assert reported(tmp_path / "there", in_memory)[0] == reported(tmp_path / "here", *logs)[0]
    compared = succeeds(compare_command, *elsewhere)
    assert compared == succeeds(compare_command, *logs)
    output = succeeds(agreement_command, elsewhere[0], elsewhere[0], "--out", tmp_path / "agreement")
    assert "12 judgments of 12 texts" in output
    paper = log_of("paper", preset="paper", limit_per_cell=1)
    command, _, holistic = score_commands([in_memory, paper], JudgeSettings("m/m", store="calls.sqlite"))
    assert " -S rubrics=broadcast -S protocol=holistic --model" in holistic
    assert command.endswith(elsewhere[0].replace("memory://", "memory:///").replace(".eval", ".judged.eval"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "nowhere: not found, or no log in it"),
        ("empty", "empty: not found, or no log in it"),
        ("begun", "begun: 1 logs in it, none of them finished"),
        ("nowhere.eval", "nowhere.eval: not found, expected an .eval log"),
        ("torn.eval", r"torn.eval: not readable \(.*\), expected an .eval log"),
        ("memory://nowhere/x.eval", "memory://nowhere/x.eval: not found, expected an .eval log"),
        ("nofs://bucket/logs", r"nofs://bucket/logs: not readable \(ValueError: Protocol not known: nofs\)"),
    ],
)
def test_logs_that_cannot_be_read_are_named(path: str, message: str, logs: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (log := read_eval_log(logs[0])).status = "started"
    write_eval_log(log, str(tmp_path / "begun" / "x.eval"))
    (tmp_path / "torn.eval").write_bytes(b"PK torn")
    where = path if "://" in path else str(tmp_path / path)
    with pytest.raises(ValueError, match=message):
        [read_run(log) for log in find_logs([where])]


def test_other_decoding_is_said_and_that_of_a_run_recorded(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    task = rubric_adherence("broadcast", judge="measured", limit_per_cell=1)
    ways: dict[str, dict[str, Any]] = {
        "plain": {},
        "warm": {"temperature": 0.7, "max_tokens": 99},
        "cold": {"temperature": 0},
    }
    paths = {name: evaluated(task, mock_model(ignores, name=name), **way).location for name, way in ways.items()}
    decoding = {
        "plain": "sampling left to the provider",
        "warm": "temperature 0.7, at most 99 tokens",
        "cold": "greedy",
    }
    summary, report, printed = reported(tmp_path / "differs", *paths.values())
    entries = {model["name"]: model["tasks"]["rubric_adherence"]["decoding"] for model in summary["models"]}
    assert entries == decoding
    note = "decoding differs, so not all that differs is the models'"
    assert note in report
    assert note in printed
    assert note in text(compare(read_run(paths["plain"]), read_run(paths["cold"])))
    _, report, _ = reported(tmp_path / "same", paths["warm"])
    assert "decoding: temperature 0.7, at most 99 tokens" in report
    committed = Path(__file__).parents[2] / "results" / "smollm2-135m" / "logs" / "base.eval"
    assert read_run(str(committed)).decoding == "temperature 0.7, at most 224 tokens"


@pytest.mark.parametrize(
    ("settings", "decoding"),
    [
        ({"do_sample": False, "temperature": 0.0, "max_gen_toks": 1024, "until": ["x"]}, "greedy, at most 1024 tokens"),
        # which of the two wins differs by harness and model
        ({"do_sample": False, "temperature": 0.7}, "do_sample False, temperature 0.7"),
        ({"temperature": 0, "reasoning_effort": "low", "seed": 3}, "greedy, reasoning_effort low"),
        ({"reasoning_tokens": 99}, "sampling left to the provider, reasoning_tokens 99"),
    ],
)
def test_decoding_in_words(settings: dict[str, Any], decoding: str) -> None:
    assert decoding_of(settings) == decoding


def test_settings_of_sampling_that_inspect_does_not_send_are_not_said_to_hold() -> None:
    given = {"temperature": 0, "max_tokens": 9}
    said = [
        decoding_of(given, model)
        for model in ("anthropic/claude-haiku-5-5", "openai/azure/gpt-5-mini", "openai/gpt-5.2")
    ]
    assert said == [*["sampling left to the provider, at most 9 tokens"] * 2, "greedy, at most 9 tokens"]
    efforts = (("gpt-5.2", "low"), ("gpt-5.10", None), ("gpt-6-sol", None), ("gpt-5.5", "none"))
    said = [decoding_of(given | {"reasoning_effort": effort}, f"openai/{name}") for name, effort in efforts]
    assert [one.split(",")[0] for one in said] == [*["sampling left to the provider"] * 3, "greedy"]
