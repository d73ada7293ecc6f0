"""`cpt judge agreement`: the judge of a log against another judge and against people."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_runs import fails, strict_json, succeeds
from frames import frame
from inspect_ai.log import ProvenanceData, edit_score, invalidate_samples, read_eval_log, write_eval_log
from inspect_ai.scorer import ScoreEdit
from students import CALM, SHOUT, evaluated, verdict

from cpt_tasks.benchmarks.drift.task import drift
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.judge_logs.commands import agreement_command
from cpt_tasks.judge_logs.compare import write_people
from cpt_tasks.judge_logs.logs import read_judged_logs, read_labels
from cpt_tasks.report.run import Run
from cpt_tasks.scorer import rubric_judge
from rubrics import ScoreLevel, load_rubric

NAN = float("nan")
MIXED = f"{CALM} {SHOUT}"


def student(high: str, moderate: str, low: str) -> Callable[[list[Any]], str]:
    """Writes one text per level, whatever the prompt."""
    prompts = load_rubric("broadcast").system_prompts
    replies = dict(zip(ScoreLevel, (low, moderate, high), strict=True))
    wordings = {wording: reply for level, reply in replies.items() for wording in prompts[level].heldout}
    return lambda messages: wordings[messages[0].text]


def grader(score_of: dict[str, float]) -> Callable[[list[Any]], str]:
    """Scores a text by the first of its known marks."""
    return lambda messages: verdict(next(score for mark, score in score_of.items() if mark in messages[-1].text))


@pytest.fixture
def judged_log(mock_model: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """Makes a log of some prompts x 3 levels of one student, judged by the measured judge or by a fake grader."""

    def make(folder: str, name: str, write: Callable[[list[Any]], str], grade: Any = None, limit: int = 4) -> str:
        task = rubric_adherence("broadcast", judge="measured", limit_per_cell=limit)
        options: dict[str, Any] = {"log_dir": str(tmp_path / folder)}
        if grade:
            task.scorer = [rubric_judge("model", call_store=str(tmp_path / folder / "calls.sqlite"))]
            options["model_roles"] = {"grader": mock_model(grade, name="grader")}
        return evaluated(task, mock_model(write, name=name), **options).location

    return make


def judged_run(*samples: tuple[str, str, float]) -> Run:
    """A run of samples with id, level and score."""
    rows = frame({"level": level, "score": score} for _, level, score in samples)
    rows = rows.assign(sample_id=[sample[0] for sample in samples])
    protocol = {"judge": "measured", "judge_protocol": "criteria", "prompt_version": "1"}
    return Run("t", "student", "m/student", "student", None, "", protocol, rows, details={"log": "x.eval"})


def test_what_no_judge_read_is_in_no_agreement_and_a_miss_of_its_model(
    judged_log: Callable[..., str], tmp_path: Path
) -> None:
    logs = [judged_log(one, "student", student(SHOUT, MIXED, ""), grader(of)) for one, of in JUDGES.items()]
    output = succeeds(agreement_command, *logs, "--out", tmp_path / "out")
    written = strict_json(tmp_path / "out" / "agreement.json")
    assert written["comparison"]["n_judgments"] == 8  # of 12 responses, 4 of them empty
    assert "4 responses that a judge had nothing to read of count in the table of models alone" in output
    assert written["comparison"]["bias"]["all"]["value"] == pytest.approx(-5)  # of 95 and 60 to 85 and 60
    assert [judge["value"] for judge in written["models"]["student"]] == pytest.approx([2 / 3, 1 / 3])


def test_one_model_name_from_two_providers_is_two_models(judged_log: Callable[..., str], tmp_path: Path) -> None:
    log = read_eval_log(judged_log("a", "student", student(SHOUT, CALM, CALM)))
    log.eval.model = "openai/student"
    write_eval_log(log, str(tmp_path / "a" / "o.eval"))
    assert {run.name for run in read_judged_logs(str(tmp_path / "a"))} == {"mockllm/student", "openai/student"}


JUDGES = {"a": {MIXED: 60.0, SHOUT: 95.0}, "b": {MIXED: 60.0, SHOUT: 85.0}}


def write_labels(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def biases(written: Any) -> dict[str, float]:
    return {name: bias["value"] for name, bias in written["comparison"]["bias"].items()}


def test_people_are_the_reference_and_show_the_bias(judged_log: Callable[..., str], tmp_path: Path) -> None:
    # the judge says 70, 60, 30, two people 90, 70, 10 on average (human = 2 * judge - 50), of 2 responses of each level
    path = judged_log("logs", "student", student(SHOUT, MIXED, CALM), grader({MIXED: 60, CALM: 30, SHOUT: 70}))
    [judged] = read_judged_logs(path)
    lines = ["sample_id,score,rater"]
    for _, of_level in judged.frame.groupby("level"):
        for sample, wobble in zip(of_level.head(2).itertuples(), (-1, 1), strict=True):
            score = 2 * sample.score - 50 + wobble
            lines += [f"{sample.sample_id},{score + by},{rater}" for rater, by in (("ada", 2), ("bob", -2))]
    labels = write_labels(tmp_path / "l.csv", *lines)
    output = succeeds(agreement_command, path, "--labels", labels, "--out", tmp_path / "out")
    written = strict_json(tmp_path / "out" / "agreement.json")
    expected = {"all": -10 / 3, "low": 20, "moderate": -10, "extremely_high": -20, "broadcast": -10 / 3}
    assert biases(written) == pytest.approx(expected)
    assert (written["reference"], written["raters"]) == ("people", 2)
    # squares within: 6 x (2^2 + 2^2); between the six means 9 11 69 71 89 91 about 170 / 3
    means = [9, 11, 69, 71, 89, 91]
    within, total = 8, (sum(2 * (mean - 340 / 6) ** 2 + 8 for mean in means)) / 11
    assert written["raters_alpha"] == pytest.approx(1 - within / total)
    assert "2 raters of 6 responses (Krippendorff's alpha between raters: 0.99" in output
    assert [judge["value"] for judge in written["models"]["student"]] == pytest.approx([2 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "l.csv: No columns"),
        (["sample,score", "a,1"], "l.csv:1: got columns ['sample', 'score'], expected sample_id and score"),
        (["sample_id,score"], "l.csv: got no label"),
        (["sample_id,score", "ID,abc"], "'score': 'abc'}, expected a score from 0 to 100"),
        (["sample_id,score", "ID,5", "ID2,101"], "l.csv:3: got {'sample_id': 'ID2', 'score': '101'}, expected a score"),
        (["sample_id,score,epoch", "ID,5,2"], "its sample and epoch are none of the 2 in x.eval"),
        (["sample_id,score", "ID,5", "ID,6"], "l.csv:3: got {'sample_id': 'ID', 'score': '6'}, a second label"),
        (["sample_id,score", "ID,5", "ID,5,6"], "l.csv: "),
    ],
)
def test_bad_labels_are_named(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        read_labels(write_labels(tmp_path / "l.csv", *lines), judged_run(("ID", "low", 20), ("ID2", "low", 20)))
    assert message in str(caught.value)


def test_labels_of_unscored_responses_are_counted_and_in_no_number(tmp_path: Path) -> None:
    judged = judged_run(*((f"s{i}", "low", score) for i, score in enumerate((12, 17, NAN, 44))))
    labels = write_labels(tmp_path / "l.csv", "sample_id,epoch,score", *(f"s{i},1,{10 * i}" for i in range(3)))
    page = write_people(tmp_path, judged, read_labels(labels, judged))
    assert "2 judgments of 3 texts, 1 unscored (unscored by one of the judges 1)" in page
    assert biases(strict_json(tmp_path / "agreement.json"))["all"] == pytest.approx((12 + 7) / 2)


def test_invalidated_samples_are_left_out_of_both_sides_and_of_the_labels(
    judged_log: Callable[..., str], tmp_path: Path
) -> None:
    path = judged_log("logs", "student", student(SHOUT, MIXED, CALM))
    log = read_eval_log(path)
    samples, by_ada = log.samples or [], ProvenanceData(author="Ada")
    edit_score(log, samples[2].id, "rubric_judge", ScoreEdit(value=50, provenance=by_ada), recompute_metrics=False)
    other = str(tmp_path / "other.eval")
    write_eval_log(invalidate_samples(log, [str(samples[0].uuid)], by_ada), other)
    printed = succeeds(agreement_command, path, other, "--out", tmp_path / "out")
    assert "11 judgments of 11 texts, 0 unscored" in printed
    assert "on student: 1 sample invalidated by a person and left out. " in printed
    assert "on student: 1 score edited by a person. " in printed
    labels = write_labels(
        tmp_path / "l.csv", "sample_id,score", *(f"{sample.id},{n}" for n, sample in enumerate(samples))
    )
    assert "11 judgments of 11 texts" in succeeds(
        agreement_command, other, "--labels", labels, "--out", tmp_path / "out"
    )


def test_agreement_compares_two_judges_and_ranks_the_models(judged_log: Callable[..., str], tmp_path: Path) -> None:
    # the measured judge puts `tuned` (right at low and high) before `base`; the grader gives calm 95 and loud 20
    writers = {"tuned": student(SHOUT, CALM, CALM), "base": student(CALM, CALM, CALM)}
    for name, write in writers.items():
        judged_log("measured", name, write)
        judged_log("model", name, write, grader({CALM: 95, SHOUT: 20}))
    sides = (tmp_path / "measured", tmp_path / "model")
    output = succeeds(agreement_command, *sides, "--out", tmp_path / "out")
    written = strict_json(tmp_path / "out" / "agreement.json")
    assert (written["reference"], written["judge"]) == ("measured", "mockllm/grader")
    accuracy = {model: tuple(judge["value"] for judge in by_both) for model, by_both in written["models"].items()}
    # by the measured judge low and high of `tuned` and low of `base`; by the grader only high of `base`
    assert accuracy == {"tuned": pytest.approx((2 / 3, 0)), "base": pytest.approx((1 / 3, 1 / 3))}
    assert "2 of 2 models change rank" in output
    assert written["comparison"]["statistics"]["slope"]["value"] < 0
    assert biases(written)["low"] == pytest.approx(95, abs=10)
    assert (tmp_path / "out" / "against_reference.png").read_bytes()[:4] == b"\x89PNG"


def test_agreement_refuses_what_cannot_be_compared(
    judged_log: Callable[..., str], mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    one = judged_log("a", "student", student(SHOUT, CALM, CALM), limit=1)
    judged_log("b", "student", student(SHOUT, SHOUT, CALM), limit=1)
    judged_log("c", "other", student(SHOUT, CALM, CALM), limit=1)
    judged_log("d", "student", student(SHOUT, CALM, CALM), limit=1)
    judged_log("d", "third", student(SHOUT, CALM, CALM), grader({CALM: 95, SHOUT: 20}), limit=1)
    task = drift(rubrics="broadcast", judge="measured", limit_per_family=1)
    no_level = evaluated(task, mock_model(lambda _: CALM), log_dir=str(tmp_path / "e")).location
    labels = write_labels(tmp_path / "l.csv", "sample_id,score", "s,1")
    for arguments, message in (
        ((one, tmp_path / "b"), "has two different responses"),
        ((one, tmp_path / "c"), "expected the same models on both sides"),
        ((one, tmp_path / "d"), "differ in judge: "),
        ((no_level, no_level), "asks for level 'none', expected a log of a benchmark that asks for low, moderate,"),
        ((tmp_path / "d", "--labels", labels), "got 2 logs, expected one, since labels belong to one log"),
        ((one,), "expected either a SECOND log or --labels FILE"),
    ):
        assert message in fails(agreement_command, *arguments)
