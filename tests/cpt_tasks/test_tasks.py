"""`rubric_adherence` on inspect: the grid, the scorer, the metrics, and what a user without a key is told."""

import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, read_eval_log

from cpt_tasks import samples as samples_module
from cpt_tasks.benchmarks.rubric_adherence.task import PRESETS, adherence_grid, rubric_adherence
from cpt_tasks.report.logs import read_run
from cpt_tasks.samples import adherence_samples
from cpt_tasks.scorer import rubric_judge
from rubrics import Rubric, ScoreLevel, load_rubric, load_rubrics, load_user_prompts

ROOT = Path(__file__).parents[2]
CALM = "The procession moved along the avenue in good order while the authorities observed it from a stand. " * 3
SHOUT = "Look at that! You see it? You cheer! Run! You can feel it! Oh my! You there! Go! Your turn! Wow! You! Yes!"
LIVELY = (
    "The procession moves along the avenue in good order today. What a sight! If you stand near the church you hear "
    "the drums before you see them. A child waves from a balcony. You may want to follow them down to the river!"
)
BY_LEVEL = {"low": CALM, "moderate": LIVELY, "extremely_high": SHOUT}


def level_of(messages: list[Any]) -> str:
    prompts = load_rubric("broadcast").system_prompts
    for level, wordings in prompts.items():
        if messages[0].text in (*wordings.train, *wordings.heldout):
            return level.value
    raise AssertionError(f"not a system prompt of the rubric: {messages[0].text!r}")


def run(model: Any, **parameters: Any) -> EvalLog:
    task = rubric_adherence(**({"rubrics": "broadcast", "judge": "measured", "limit_per_cell": 3} | parameters))
    [log] = inspect_eval(task, model=model, display="none")
    assert log.status == "success", log.error
    return log


def metrics_of(log: EvalLog) -> dict[str, Any]:
    assert log.results is not None
    return {name: metric.value for name, metric in log.results.scores[0].metrics.items()}


def test_a_model_that_follows_the_system_prompt_gets_full_marks(mock_model: Callable[..., Any]) -> None:
    log = run(mock_model(lambda messages: BY_LEVEL[level_of(messages)]))
    found = metrics_of(log)
    assert found["n_scored"] == 9
    assert found["macro_accuracy"] == 1
    assert found["order_accuracy"] == 1
    assert found["chance_accuracy"] == pytest.approx(1 / 3)


def test_statistics_see_every_epoch_on_its_own(mock_model: Callable[..., Any]) -> None:
    # one epoch at 0, one at 100: their mean, 50, would be moderate, but neither response is
    replies = iter([CALM, SHOUT] * 3)
    task = rubric_adherence("broadcast", judge="measured", limit_per_cell=1, levels="moderate")
    [log] = inspect_eval(task, model=mock_model(lambda _: next(replies)), epochs=2, display="none")
    assert metrics_of(log)["n_scored"] == 2
    assert metrics_of(log)["macro_accuracy"] == 0


def test_a_rubric_of_ones_own_is_judged_from_its_file(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    own = tmp_path / "newscast.yaml"
    text = (ROOT / "rubrics" / "library" / "broadcast.yaml").read_text(encoding="utf-8")
    own.write_text(text.replace("id: broadcast", "id: newscast", 1), encoding="utf-8")
    found = metrics_of(run(mock_model(lambda _: CALM), rubrics=str(own), limit_per_cell=1))
    assert found["n_scored"] == 3


def test_a_model_that_ignores_it_gets_chance(mock_model: Callable[..., Any]) -> None:
    found = metrics_of(run(mock_model(lambda _: CALM)))
    assert found["macro_accuracy"] == pytest.approx(1 / 3)
    assert found["order_accuracy"] == 0.5
    assert math.isnan(found["kendall_tau_b"])


def test_the_system_prompt_reaches_the_model_as_a_system_turn(mock_model: Callable[..., Any]) -> None:
    model = mock_model(lambda _: CALM)
    run(model, limit_per_cell=1)
    assert [[message.role for message in messages] for messages in model.seen] == [["system", "user"]] * 3
    assert {level_of(messages) for messages in model.seen} == {level.value for level in ScoreLevel}


def test_the_judgment_and_its_provenance_are_in_the_log(mock_model: Callable[..., Any]) -> None:
    [sample, *_] = run(mock_model(lambda _: SHOUT), limit_per_cell=1).samples or []
    assert sample.scores is not None
    metadata = sample.scores["rubric_judge"].metadata or {}
    assert metadata["judge"] == "measured"
    assert metadata["rubric_hash"] == load_rubric("broadcast").hash
    assert [criterion["id"] for criterion in metadata["criteria"]] == ["excitement", "address", "brevity"]
    assert metadata["words"] == len(SHOUT.split())


def test_a_failing_judge_leaves_samples_unscored_and_never_a_number(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    replies = iter(["no verdict"] * 3 + [_verdict()] * 100)
    grader = mock_model(lambda _: next(replies), name="grader")
    task = rubric_adherence("broadcast", limit_per_cell=2, judge="measured")
    task.scorer = [rubric_judge("model", call_store=str(tmp_path / "calls.jsonl"))]
    numbers = itertools.count()
    student = mock_model(lambda _: f"{CALM} Text {next(numbers)}.")
    [log] = inspect_eval(task, model=student, model_roles={"grader": grader}, max_connections=1, display="none")
    assert log.status == "success", log.error
    assert metrics_of(log)["n_scored"] == 5
    scores = [sample.scores["rubric_judge"] for sample in log.samples or [] if sample.scores]
    [unscored] = [score for score in scores if math.isnan(score.as_float())]
    assert (unscored.metadata or {})["failure_mode"] == "malformed_json"
    scored = [score for score in scores if score is not unscored]
    assert {score.as_float() for score in scored} == {55.0}
    assert scored[0].metadata["usage"] == {"input_tokens": 10, "output_tokens": 5}  # type: ignore[index]
    assert not any("You grade texts" in message.text for messages in student.seen for message in messages)


def test_repeats_ask_the_judge_again_and_never_the_student(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    scores = itertools.cycle([40, 60])
    grader = mock_model(lambda _: _verdict(next(scores)), name="grader")
    student = mock_model(lambda _: CALM)
    task = rubric_adherence("broadcast", limit_per_cell=2, judge="measured")
    task.scorer = [rubric_judge("model", judge_repeats=2, call_store=str(tmp_path / "calls.jsonl"))]
    [log] = inspect_eval(task, model=student, model_roles={"grader": grader}, max_connections=1, display="none")
    assert log.status == "success", log.error
    assert len(student.seen) == 6
    assert len(grader.seen) == 4  # two user prompts, asked twice: the same text at another level is the same question
    run = read_run(log.location)
    assert set(run.asked["score"]) == {50}
    lines = run.judging.noise
    # two ratings 20 apart: within-item variance 200, SD 14.1, and 10.0 for the mean of the two
    assert any("test-retest SD 14.1 points" in line for line in lines)
    # moderate is 40 to 92.5: a mean at its middle with SD 10 stays inside with probability 0.9913; the ends of the
    # scale: low 1 - Phi(-4) = 1, extremely high Phi(0.75) = 0.7734
    assert "attainable accuracy 0.922 by the mean of 2 ratings" in lines[-1]
    assert run.protocol["judge_repeats"] == "2"
    assert metrics_of(log)["attainable_accuracy"] == pytest.approx(0.9216, abs=1e-4)


def test_every_model_of_the_role_judges_and_the_panel_takes_their_median(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    graders = [mock_model(lambda _, x=x: _verdict(x), name=f"grader{x}") for x in (10, 50, 95)]
    task = rubric_adherence("broadcast", limit_per_cell=1, judge="measured")
    task.scorer = [rubric_judge("model", panel="median", call_store=str(tmp_path / "calls.jsonl"))]
    student = mock_model(lambda _: CALM)
    [log] = inspect_eval(task, model=student, model_roles={"grader": graders}, display="none")
    assert log.status == "success", log.error
    score = (log.samples or [])[0].scores["rubric_judge"]  # type: ignore[index]
    assert score.as_float() == pytest.approx(50)
    assert (score.metadata or {})["judge"] == "median(mockllm/grader10, mockllm/grader50, mockllm/grader95)"
    # the same three scores for every response. Squared deviations 3616.7 each: SD sqrt(3616.7 / 2) = 42.5; alpha
    # 1 - observed / expected = 1 - (3616.7) / (3 x 3616.7 x 2 / 8); levels apart by a constant: kappa 1 - d^2 / d^2
    assert read_run(log.location).judging.noise == [
        "3 judges of 3 responses: ICC(2,1) 0.000, Krippendorff's alpha -0.333, level kappa 0.000, SD between judges "
        "42.5 points"
    ]


def test_the_same_judge_twice_in_a_panel_is_refused(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    grader = mock_model(lambda _: _verdict(10), name="grader")
    task = rubric_adherence("broadcast", limit_per_cell=1, judge="measured")
    task.scorer = [rubric_judge("model", call_store=str(tmp_path / "calls.jsonl"))]
    student = mock_model(lambda _: CALM)
    [log] = inspect_eval(task, model=student, model_roles={"grader": [grader, grader]}, display="none")
    assert log.status == "error"
    assert log.error is not None
    assert "ask one judge several times with judge_repeats" in log.error.message


def test_a_short_answer_does_not_split_a_log_judged_by_the_holistic_score(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    grader = mock_model(lambda _: _verdict(10), name="grader")
    answers = itertools.chain(["Three short words."], itertools.repeat(CALM))
    task = rubric_adherence("broadcast", limit_per_cell=1, judge="measured")
    task.scorer = [rubric_judge("model", protocol="holistic", call_store=str(tmp_path / "calls.jsonl"))]
    student = mock_model(lambda _: next(answers))
    [log] = inspect_eval(task, model=student, model_roles={"grader": grader}, max_connections=1, display="none")
    run = read_run(log.location)
    assert (run.protocol["judge_protocol"], sorted(run.asked["score"])) == ("holistic", [0, 50, 50])


def test_without_a_judge_responses_are_written_for_later(mock_model: Callable[..., Any]) -> None:
    log = run(mock_model(lambda _: CALM), judge="none", limit_per_cell=1)
    assert not any(sample.scores for sample in log.samples or [])
    assert all(sample.output.completion == CALM for sample in log.samples or [])


def _verdict(score: float = 55) -> str:
    ids = [criterion.id for criterion in load_rubric("broadcast").criteria]
    return json.dumps({"criteria": [{"id": i, "reason": "r", "score": score} for i in ids], "holistic_score": 50})


def test_ids_are_unique_stable_and_follow_the_content() -> None:
    prompts = load_user_prompts("test")
    rubrics = load_rubrics("measured")

    def ids_of(rubrics: list[Rubric], prompts: dict[str, str]) -> list[Any]:
        by_rubric = {rubric.id: prompts for rubric in rubrics}
        return [sample.id for sample in adherence_samples(rubrics, list(ScoreLevel), by_rubric)]

    ids = ids_of(rubrics, prompts)
    assert len(set(ids)) == len(ids) == 4 * 3 * 24
    assert ids == ids_of(rubrics, prompts)
    changed = prompts | {"river_flood": "Describe a river after a flood."}
    others = ids_of(rubrics, changed)
    assert sum(a != b for a, b in zip(ids, others, strict=True)) == 4 * 3
    heavier = rubrics[0].model_copy(update={"objective": "Another one."})
    assert not set(ids) & set(ids_of([heavier], prompts))


def test_heldout_wordings_are_used_equally_often() -> None:
    samples = adherence_samples([load_rubric("reverie")], [ScoreLevel.LOW], {"reverie": load_user_prompts("test")})
    counts: dict[str, int] = {}
    for sample in samples:
        system = sample.input[0].text  # type: ignore[union-attr]
        assert system in load_rubric("reverie").system_prompts[ScoreLevel.LOW].heldout
        counts[system] = counts.get(system, 0) + 1
    assert sorted(counts.values()) == [8, 8, 8]


def test_with_two_wordings_each_prompt_is_asked_under_two() -> None:
    grid = {"rubrics": "reverie", "levels": "low", "limit_per_cell": 4}
    one, two = (adherence_grid(**grid, wordings=wordings) for wordings in (1, 2))  # type: ignore[arg-type]
    assert [(sample.metadata or {})["wording"] for sample in one] == [f"heldout-{n}" for n in (0, 1, 2, 0)]
    assert [(sample.metadata or {})["wording"] for sample in two] == [f"heldout-{n}" for n in (0, 1, 1, 2, 2, 0, 0, 1)]
    assert [sample.id for sample in two][::2] == [sample.id for sample in one]  # the first one keeps its id
    assert len({sample.id for sample in two}) == 8


def test_ids_of_the_default_grid_are_what_they_were_when_logs_were_first_written() -> None:
    log = read_eval_log(str(ROOT / "results" / "smollm2-135m" / "logs" / "base.eval"), header_only=True)
    assert log.eval.dataset.sample_ids == [sample.id for sample in adherence_grid("measured", limit_per_cell=24)]


@pytest.mark.parametrize(
    ("preset", "n", "n_rubrics", "protocol"),
    [("core", 432, 18, "criteria"), ("full", 3888, 18, "criteria"), ("paper", 288, 4, "holistic")],
)
def test_presets(preset: str, n: int, n_rubrics: int, protocol: str) -> None:
    samples = adherence_grid(preset=preset)  # type: ignore[arg-type]
    assert len(samples) == len({sample.id for sample in samples}) == n
    assert len({(sample.metadata or {})["rubric"] for sample in samples}) == n_rubrics
    assert PRESETS[preset].protocol == protocol


def test_parameters_that_are_given_win_over_the_preset(mock_model: Callable[..., Any]) -> None:
    assert len(adherence_grid("reverie", levels="low", preset="full", limit_per_cell=2)) == 2 * 3
    assert len(adherence_grid("reverie", levels="low", preset="full", wordings=1)) == 24
    log = run(mock_model(lambda _: CALM), preset="paper", rubrics="broadcast", limit_per_cell=1)
    assert log.eval.task_args["preset"] == "paper"
    assert metrics_of(log)["n_scored"] == 3
    assert read_run(log.location).protocol["split"] == "test"


def test_the_full_rubric_baseline_shows_the_whole_rubric_and_the_level() -> None:
    samples = adherence_samples(
        [load_rubric("reverie")], list(ScoreLevel), {"reverie": load_user_prompts("test")}, prompting="full_rubric"
    )
    for sample in samples:
        system = sample.input[0].text  # type: ignore[union-attr]
        assert load_rubric("reverie").render() in system
        assert samples_module._TARGETS[ScoreLevel(str(sample.target))] in system


def test_the_old_name_of_a_parameter_is_still_understood(caplog: pytest.LogCaptureFixture) -> None:
    task = rubric_adherence("reverie", judge="measured", limit_per_cell=1, paraphrases="train")
    assert [(sample.metadata or {})["wording"] for sample in task.dataset] == ["train-0"] * 3
    assert "paraphrases is called wording_split" in caplog.text


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"levels": "low,huge"}, "levels: got 'huge', expected one of"),
        ({"rubrics": "nope"}, "rubric 'nope' not found"),
        ({"judge": "oracle"}, "judge: got 'oracle', expected one of"),
        ({"wording_split": "all"}, "wording_split: got 'all'"),
        ({"paraphrases": "all"}, "wording_split: got 'all'"),
        ({"user_prompts": "dev"}, "no split 'dev'"),
        ({"prompting": "cot"}, "prompting: got 'cot'"),
        ({"limit_per_cell": 0}, "limit_per_cell: got 0, expected 1 or more"),
        ({"wordings": 9}, "wordings: got 9, expected 1 to 3, the heldout wordings that rubric"),
        ({"wordings": 0}, "wordings: got 0, expected 1 to 3"),
        ({"preset": "huge"}, "preset: got 'huge', expected one of"),
    ],
)
def test_a_wrong_parameter_is_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rubric_adherence(**({"judge": "measured"} | parameters))


def inspect_command(*arguments: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).parent / "inspect"), "eval", *arguments, "--display", "plain"]
    return subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_without_a_key_one_sentence_names_the_variable_and_the_keyless_way(tmp_path: Path) -> None:
    done = inspect_command("cpt_tasks/rubric_adherence", "--model", "mockllm/model", cwd=tmp_path)
    output = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert "ANTHROPIC_API_KEY is not set" in output
    assert "-T judge=measured -T rubrics=measured" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("where", ["cpt_tasks/rubric_adherence", "cpt_tasks/benchmarks/rubric_adherence/task.py"])
def test_the_task_is_found_by_name_and_by_path(where: str, tmp_path: Path) -> None:
    # by name from anywhere, by path from the checkout; a wrong parameter shows that our task was reached
    arguments = ("--model", "mockllm/model", "-T", "judge=measured", "-T", "levels=nowhere", "--log-dir", str(tmp_path))
    done = inspect_command(where, *arguments, cwd=ROOT if where.endswith(".py") else tmp_path)
    assert "levels: got 'nowhere', expected one of" in " ".join((done.stdout + done.stderr).split())


def test_a_log_can_be_scored_again_by_name_without_loading_the_student(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    log = run(mock_model(lambda _: SHOUT), limit_per_cell=1)
    command = [
        str(Path(sys.executable).parent / "inspect"),
        "score",
        log.location,
        "--scorer",
        "cpt_tasks/rubric_judge",
    ]
    command += ["-S", "judge=measured", "--model", "none", "--action", "overwrite"]
    command += ["--output-file", str(tmp_path / "again.eval")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert metrics_of(read_eval_log(str(tmp_path / "again.eval"))) == pytest.approx(metrics_of(log), nan_ok=True)
