"""`cpt judge calibrate` and `agreement`: a judge of a log against people and against another judge."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from frames import frame
from inspect_ai import eval as inspect_eval

from cpt_tasks.benchmarks.drift.task import drift
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.judge_logs.commands import agreement_command, calibrate_command
from cpt_tasks.judge_logs.compare import write_calibration
from cpt_tasks.judge_logs.logs import read_judged_logs, read_labels
from cpt_tasks.report.run import Run
from cpt_tasks.scorer import rubric_judge
from rubrics import ScoreLevel, load_rubric

NAN = float("nan")
CALM = "The procession moved along the avenue in good order while the authorities observed it from a stand. " * 3
SHOUT = "Look at that! You see it? You cheer! Run! You can feel it! Oh my! You there! Go! Your turn! Wow! You! Yes!"
MIXED = f"{CALM} {SHOUT}"


def run(command: Any, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def numbers(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def check_figures(folder: Path) -> None:
    for stem in ("against_reference", "bias"):
        assert (folder / f"{stem}.png").read_bytes()[:4] == b"\x89PNG"


def student(high: str, moderate: str, low: str) -> Callable[[list[Any]], str]:
    """Writes one text per level, whatever the prompt."""
    prompts = load_rubric("broadcast").system_prompts
    replies = {ScoreLevel.EXTREMELY_HIGH: high, ScoreLevel.MODERATE: moderate, ScoreLevel.LOW: low}
    wordings = {wording: reply for level, reply in replies.items() for wording in prompts[level].heldout}
    return lambda messages: wordings[messages[0].text]


def grader(score_of: dict[str, float]) -> Callable[[list[Any]], str]:
    """Scores a text by the first of its known marks."""

    def grade(messages: list[Any]) -> str:
        score = next(score for mark, score in score_of.items() if mark in messages[-1].text)
        criteria = [{"id": name, "reason": "r", "score": score} for name in ("excitement", "address", "brevity")]
        return json.dumps({"criteria": criteria, "holistic_score": score})

    return grade


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # the default call store lies in the working folder


@pytest.fixture
def judged_log(mock_model: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """Makes a log of 4 prompts x 3 levels of one student, judged by the measured judge or by a fake grader."""

    def make(folder: str, name: str, write: Callable[[list[Any]], str], grade: Any = None) -> str:
        task = rubric_adherence("broadcast", judge="measured", limit_per_cell=4)
        roles = {}
        if grade:
            task.scorer = [rubric_judge("model", call_store=str(tmp_path / folder / "calls.jsonl"))]
            roles = {"grader": mock_model(grade, name="grader")}
        model = mock_model(write, name=name)
        [log] = inspect_eval(task, model=model, model_roles=roles, log_dir=str(tmp_path / folder), display="none")
        assert log.status == "success", log.error
        return str(log.location)

    return make


def judged_run(*samples: tuple[str, str, float]) -> Run:
    """A run of samples with id, level and score."""
    rows = frame({"level": level, "score": score} for _, level, score in samples)
    rows = rows.assign(sample_id=[sample[0] for sample in samples])
    protocol = {"judge": "measured", "judge_protocol": "criteria", "prompt_version": "1"}
    return Run("t", "student", "m/student", "student", None, "", protocol, rows, details={"log": "x.eval"})


def write_labels(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_calibration_shows_the_bias_and_corrects_the_mean(judged_log: Callable[..., str], tmp_path: Path) -> None:
    # the judge says 70, 60, 30, people 90, 70, 10 (human = 2 * judge - 50) and label 2 responses of each level
    path = judged_log("logs", "student", student(SHOUT, MIXED, CALM), grader({MIXED: 60, CALM: 30, SHOUT: 70}))
    [judged] = read_judged_logs(path)
    lines = ["sample_id,score,rater"]
    for _, of_level in judged.frame.groupby("level"):
        for sample, wobble in zip(of_level.head(2).itertuples(), (-1, 1), strict=True):
            score = 2 * sample.score - 50 + wobble
            lines += [f"{sample.sample_id},{score + by},{rater}" for rater, by in (("ada", 2), ("bob", -2))]
    labels = write_labels(tmp_path / "l.csv", *lines)
    done = run(calibrate_command, labels, "--log", path, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    written = numbers(tmp_path / "out" / "calibration.json")
    comparison, mean = written["comparison"], written["mean"]
    biases = {name: bias["value"] for name, bias in comparison["bias"].items()}
    assert biases == pytest.approx(
        {"all": -10 / 3, "low": 20, "moderate": -10, "extremely_high": -20, "broadcast": -10 / 3}
    )
    assert (mean["n_labelled"], mean["n_unlabelled"]) == (6, 6)
    assert mean["judge_only"] == pytest.approx((70 + 60 + 30) / 3)
    assert mean["corrected"]["value"] == pytest.approx((90 + 70 + 10) / 3)
    assert written["raters"] == 2
    assert written["human_alpha"] > 0.99
    assert "corrected (prediction-powered)" in done.output
    check_figures(tmp_path / "out")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["sample,score", "a,1"], "l.csv:1: got columns ['sample', 'score'], expected sample_id and score"),
        (["sample_id,score"], "l.csv: got no label"),
        (["sample_id,score", "ID,abc"], "'score': 'abc'}, expected a score from 0 to 100"),
        (["sample_id,score", "ID,5", "ID2,101"], "l.csv:3: got {'sample_id': 'ID2', 'score': '101'}, expected a score"),
        (["sample_id,score,epoch", "ID,5,one"], "its sample and epoch are none of the 2 in x.eval"),
        (["sample_id,score,epoch", "ID,5,2"], "its sample and epoch are none of the 2 in x.eval"),
        (["sample_id,score", "nobody,5"], "l.csv:2: got {'sample_id': 'nobody', 'score': '5'}, its sample and epoch"),
        (["sample_id,score", "ID,5", "ID,6"], "l.csv:3: got {'sample_id': 'ID', 'score': '6'}, a second label"),
        (["sample_id,score", "ID,5,6"], "fields beyond the header"),
    ],
)
def test_bad_labels_are_named(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        read_labels(write_labels(tmp_path / "l.csv", *lines), judged_run(("ID", "low", 20), ("ID2", "low", 20)))
    assert message in str(caught.value)


def test_labels_of_unscored_responses_are_left_out_and_counted(tmp_path: Path) -> None:
    scores = {"s1": 12, "s2": 17, "s3": NAN, "s4": 44, "s5": 30}
    judged = judged_run(*((name, "low", score) for name, score in scores.items()))
    lines = ["sample_id,epoch,score", *(f"s{i},1,{10 * i}" for i in range(1, 5))]
    page = write_calibration(tmp_path, judged, read_labels(write_labels(tmp_path / "l.csv", *lines), judged))
    assert "3 responses labelled by 1 raters" in page
    assert "1 without a label; 1 labelled responses left out" in page
    with pytest.raises(ValueError, match="got 2 labelled responses, expected at least 3"):
        write_calibration(tmp_path, judged, read_labels(write_labels(tmp_path / "l.csv", *lines[:3]), judged))


def test_labels_of_one_level_only_are_warned_of(tmp_path: Path) -> None:
    judged = judged_run(*((f"s{i}", list(ScoreLevel)[i % 3].value, 10.0 + i) for i in range(60)))
    labels = judged.frame[["sample_id", "epoch"]].assign(rater="", score=judged.frame["score"] + 2)
    assert "no random sample" not in write_calibration(tmp_path, judged, labels[:21])
    assert "no random sample" in write_calibration(tmp_path, judged, labels[::3])


def test_agreement_compares_two_judges_and_ranks_the_models(judged_log: Callable[..., str], tmp_path: Path) -> None:
    # the measured judge puts `tuned` (right at low and high) before `base`; the grader gives calm 95 and loud 20
    writers = {"tuned": student(SHOUT, CALM, CALM), "base": student(CALM, CALM, CALM)}
    for name, write in writers.items():
        judged_log("measured", name, write)
        judged_log("model", name, write, grader({CALM: 95, SHOUT: 20}))
    sides = (tmp_path / "measured", tmp_path / "model")
    done = run(agreement_command, *sides, "--seed", 3, "--out", tmp_path / "out")  # --seed is a flag of version 0.1
    assert done.exit_code == 0, done.output
    written = numbers(tmp_path / "out" / "agreement.json")
    assert (written["reference"], written["judge"]) == ("measured", "mockllm/grader")
    accuracy = {model: tuple(judge["value"] for judge in by_both) for model, by_both in written["models"].items()}
    # by the measured judge low and high of `tuned` and low of `base`; by the grader only high of `base`
    assert accuracy == {"tuned": pytest.approx((2 / 3, 0)), "base": pytest.approx((1 / 3, 1 / 3))}
    assert "2 of 2 models change rank" in done.output
    assert written["comparison"]["statistics"]["slope"]["value"] < 0
    assert written["comparison"]["bias"]["low"]["value"] == pytest.approx(95, abs=10)
    check_figures(tmp_path / "out")


def test_agreement_refuses_other_responses_other_models_and_mixed_judges(
    judged_log: Callable[..., str], tmp_path: Path
) -> None:
    one = judged_log("a", "student", student(SHOUT, CALM, CALM))
    judged_log("b", "student", student(SHOUT, SHOUT, CALM))
    judged_log("c", "other", student(SHOUT, CALM, CALM))
    judged_log("d", "student", student(SHOUT, CALM, CALM))
    judged_log("d", "third", student(SHOUT, CALM, CALM), grader({CALM: 95, SHOUT: 20}))
    for folder, message in {
        "b": "has two different responses",
        "c": "expected the same models on both sides",
        "d": "differ in judge: ",
    }.items():
        done = run(agreement_command, one, tmp_path / folder, "--out", tmp_path / "out")
        assert done.exit_code == 1
        assert message in done.output.replace("\n", " "), done.output


def test_a_log_without_levels_is_refused_in_one_sentence(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    task = drift(rubrics="broadcast", judge="measured", limit_per_family=1)
    [log] = inspect_eval(task, model=mock_model(lambda _: CALM), log_dir=str(tmp_path / "logs"), display="none")
    done = run(agreement_command, log.location, log.location)
    assert done.exit_code == 1
    message = "asks for level 'none', expected a log of a benchmark that asks for low, moderate, extremely_high"
    assert message in done.output


def test_help_needs_no_harness() -> None:
    script = "import sys\nimport cpt_tasks.judge_logs.commands\n"
    script += "print([name for name in ('inspect_ai', 'scipy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
