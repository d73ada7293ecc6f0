"""`rubric_adherence` on inspect: the grid, the scorer, the metrics, and what a user without a key is told."""

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from command_runs import inspect
from inspect_ai import Task
from inspect_ai import score as inspect_score
from inspect_ai.log import EvalLog, read_eval_log
from students import CALM, SHOUT, asked, evaluated, follows, ignores, in_turn, shown_metrics, verdict

from cpt_tasks import samples as samples_module
from cpt_tasks.benchmarks.best_of_n.task import best_of_n
from cpt_tasks.benchmarks.composition.task import composition
from cpt_tasks.benchmarks.dose_response.task import dose_response
from cpt_tasks.benchmarks.drift.task import drift
from cpt_tasks.benchmarks.judge_robustness.task import judge_robustness
from cpt_tasks.benchmarks.paraphrase_robustness.task import paraphrase_robustness
from cpt_tasks.benchmarks.rubric_adherence.task import PRESETS, adherence_grid, rubric_adherence
from cpt_tasks.options import OptionError
from cpt_tasks.report.logs import read_run
from cpt_tasks.samples import adherence_samples
from cpt_tasks.scorer import rubric_judge
from rubrics import Rubric, ScoreLevel, load_rubric, load_rubrics, load_user_prompts

ROOT = Path(__file__).parents[2]


def run(model: Any, **parameters: Any) -> EvalLog:
    settings = {"rubrics": "broadcast", "judge": "measured", "limit_per_cell": 1} | parameters
    return evaluated(rubric_adherence(**settings), model)


def judged(student: Any, graders: Any, tmp_path: Path, limit_per_cell: int = 1, **parameters: Any) -> EvalLog:
    """The log of a student that models judge."""
    task = rubric_adherence("broadcast", limit_per_cell=limit_per_cell, judge="measured")
    task.scorer = [rubric_judge("model", call_store=str(tmp_path / "calls.sqlite"), **parameters)]
    return evaluated(task, student, model_roles={"grader": graders})


def test_a_model_that_follows_gets_full_marks_and_one_that_ignores_chance(log_of: Callable[..., str]) -> None:
    names = ("n_scored", "macro_accuracy", "somers_d", "chance_accuracy")
    for student, values in (
        (("tuned", follows), [12, 1, 1, 1 / 3]),
        (("base", ignores), [12, 1 / 3, 0, 1 / 3]),
    ):
        shown = shown_metrics(read_eval_log(log_of(*student)))
        assert [shown[name] for name in names] == pytest.approx(values)
    assert math.isnan(shown["kendall_tau_b"])


def test_statistics_see_every_epoch_on_its_own(mock_model: Callable[..., Any]) -> None:
    # one epoch at 0, one at 100: their mean, 50, would be moderate, but neither response is
    task = rubric_adherence("broadcast", judge="measured", limit_per_cell=1, levels="moderate,moderate")
    shown = shown_metrics(evaluated(task, mock_model(in_turn(CALM, SHOUT)), epochs=2))
    assert (shown["n_scored"], shown["macro_accuracy"]) == (2, 0)


def test_the_system_prompt_is_a_system_turn_and_the_judgment_with_its_provenance_is_in_the_log(
    mock_model: Callable[..., Any],
) -> None:
    model = mock_model(lambda _: SHOUT)
    [sample, *_] = run(model).samples or []
    assert [[message.role for message in messages] for messages in model.seen] == [["system", "user"]] * 3
    assert [asked(messages) for messages in model.seen] == [[("broadcast", level.value)] for level in ScoreLevel]
    metadata = (sample.scores or {})["rubric_judge"].metadata or {}
    expected = {"judge": "measured", "rubric_hash": load_rubric("broadcast").hash, "words": len(SHOUT.split())}
    assert {name: metadata[name] for name in expected} == expected
    assert [criterion["id"] for criterion in metadata["criteria"]] == ["excitement", "address", "brevity"]


def test_a_failing_judge_leaves_samples_unscored_and_never_a_number(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    replies = iter(["no verdict"] * 3 + [verdict(55)] * 100)
    numbers = itertools.count()
    student = mock_model(lambda _: f"{CALM} Text {next(numbers)}.")
    log = judged(student, mock_model(lambda _: next(replies), name="grader"), tmp_path, limit_per_cell=2)
    assert shown_metrics(log)["n_scored"] == 5
    scores = [sample.scores["rubric_judge"] for sample in log.samples or [] if sample.scores]
    [unscored] = [score for score in scores if math.isnan(score.as_float())]
    assert (unscored.metadata or {})["failure_mode"] == "malformed_json"
    scored = [score for score in scores if score is not unscored]
    assert {score.as_float() for score in scored} == {55.0}
    assert (scored[0].metadata or {})["usage"] == {"input_tokens": 10, "output_tokens": 5}
    assert not any("You grade texts" in message.text for messages in student.seen for message in messages)


def test_repeats_ask_the_judge_again_and_never_the_student(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    scores = itertools.cycle([40, 60])
    grader = mock_model(lambda _: verdict(next(scores)), name="grader")
    student = mock_model(ignores)
    log = judged(student, grader, tmp_path, limit_per_cell=2, judge_repeats=2)
    # two user prompts, asked twice: the same text at another level is the same question
    assert (len(student.seen), len(grader.seen)) == (6, 4)
    run = read_run(log.location)
    assert (set(run.asked["score"]), run.protocol["judge_repeats"]) == ({50}, "2")
    # two ratings 20 apart: within-item variance 200, SD 14.1, and 10.0 for the mean of the two
    assert any("test-retest SD 14.1 points" in line for line in run.judging.noise)
    # moderate is 40 to 92.5: a mean at its middle with SD 10 stays inside with probability 0.9913; the ends of the
    # scale: low 1 - Phi(-4) = 1, extremely high Phi(0.75) = 0.7734
    assert shown_metrics(log)["attainable_accuracy"] == pytest.approx(0.9216, abs=1e-4)
    assert run.judging.attainable_accuracy == pytest.approx(0.9216, abs=1e-4)


def test_every_model_of_the_role_judges_and_the_panel_takes_their_median(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    graders = [mock_model(lambda _, x=x: verdict(x), name=f"grader{x}") for x in (10, 50, 95)]
    log = judged(mock_model(ignores), graders, tmp_path, panel="median")
    score = (log.samples or [])[0].scores["rubric_judge"]  # type: ignore[index]
    assert score.as_float() == pytest.approx(50)
    assert (score.metadata or {})["judge"] == "median(mockllm/grader10, mockllm/grader50, mockllm/grader95)"
    # squared deviations of three scores 3616.7: SD sqrt(3616.7 / 2) = 42.5
    [line] = read_run(log.location).judging.noise
    assert line.endswith("SD between judges 42.5 points")
    with pytest.raises(AssertionError, match="ask one judge several times with judge_repeats"):
        judged(mock_model(ignores), graders[:1] * 2, tmp_path)


def test_a_short_answer_does_not_split_a_log_judged_by_the_holistic_score(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    answers = itertools.chain(["Three short words."], itertools.repeat(CALM))
    grader = mock_model(lambda _: verdict(10), name="grader")
    run = read_run(judged(mock_model(lambda _: next(answers)), grader, tmp_path, protocol="holistic").location)
    assert (run.protocol["judge_protocol"], sorted(run.asked["score"])) == ("holistic", [0, 50, 50])


def test_without_a_judge_responses_are_written_for_later(mock_model: Callable[..., Any]) -> None:
    log = run(mock_model(ignores), judge="none")
    assert [(sample.output.completion, sample.scores or {}) for sample in log.samples or []] == [(CALM, {})] * 3


def test_ids_are_unique_stable_and_follow_the_content() -> None:
    prompts, rubrics = load_user_prompts("test"), load_rubrics("measured")

    def ids_of(rubrics: list[Rubric], prompts: dict[str, str]) -> list[Any]:
        by_rubric = {rubric.id: prompts for rubric in rubrics}
        return [sample.id for sample in adherence_samples(rubrics, list(ScoreLevel), by_rubric)]

    ids = ids_of(rubrics, prompts)
    assert len(set(ids)) == len(ids) == 4 * 3 * 24
    others = ids_of(rubrics, prompts | {"river_flood": "Describe a river after a flood."})
    assert sum(a != b for a, b in zip(ids, others, strict=True)) == 4 * 3
    heavier = rubrics[0].model_copy(update={"objective": "Another one."})
    assert not set(ids) & set(ids_of([heavier], prompts))


def test_wordings_of_a_split_take_turns_and_two_of_them_ask_each_prompt_twice() -> None:
    grid = {"rubrics": "reverie", "levels": "low", "limit_per_cell": 4}
    one, two = (adherence_grid(**grid, wordings=wordings) for wordings in (1, 2))  # type: ignore[arg-type]
    assert [(sample.metadata or {})["wording"] for sample in one] == [f"heldout-{n}" for n in (0, 1, 2, 0)]
    assert [(sample.metadata or {})["wording"] for sample in two] == [f"heldout-{n}" for n in (0, 1, 1, 2, 2, 0, 0, 1)]
    assert [sample.id for sample in two][::2] == [sample.id for sample in one]  # the first one keeps its id
    assert len({sample.id for sample in two}) == 8
    heldout = load_rubric("reverie").system_prompts[ScoreLevel.LOW].heldout
    assert [sample.input[0].text for sample in one] == [heldout[n] for n in (0, 1, 2, 0)]  # type: ignore[union-attr]


COMMITTED = ROOT / "results" / "smollm2-135m" / "logs"


@pytest.mark.parametrize(
    ("log", "task"),
    [
        ("base.eval", lambda: rubric_adherence("measured", judge="measured", limit_per_cell=24)),
        ("best_of_n/base.eval", lambda: best_of_n(4, "measured", judge="measured", limit_per_cell=4)),
        ("dose_response/base.eval", lambda: dose_response("measured", judge="measured", limit_per_cell=4)),
    ],
)
def test_ids_are_what_they_were_when_logs_were_first_written(log: str, task: Callable[[], Task]) -> None:
    header = read_eval_log(str(COMMITTED / log), header_only=True)
    assert set(header.eval.dataset.sample_ids or []) == {sample.id for sample in task().dataset}


@pytest.mark.parametrize(
    ("parameters", "n", "n_rubrics"),
    [
        ({"preset": "core"}, 432, 18),
        ({"preset": "full"}, 3888, 18),
        ({"preset": "paper"}, 288, 4),
        ({"preset": "measured"}, 864, 12),
        # what is given wins over the preset
        ({"preset": "full", "rubrics": "reverie", "levels": "low", "limit_per_cell": 2}, 2 * 3, 1),
        ({"preset": "full", "rubrics": "reverie", "levels": "low", "wordings": 1}, 24, 1),
    ],
)
def test_presets(parameters: dict[str, Any], n: int, n_rubrics: int) -> None:
    samples = adherence_grid(**parameters)
    assert len(samples) == len({sample.id for sample in samples}) == n
    assert len({(sample.metadata or {})["rubric"] for sample in samples}) == n_rubrics
    assert [PRESETS[name].protocol for name in ("core", "full", "paper")] == ["criteria", "criteria", "holistic"]


def test_the_measured_preset_brings_its_judge_and_needs_no_key(
    mock_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    log = evaluated(rubric_adherence(preset="measured", rubrics="broadcast", limit_per_cell=1), mock_model(ignores))
    judges = [score.metadata["judge"] for sample in log.samples or [] for score in (sample.scores or {}).values()]
    assert judges == ["measured"] * 3


# the first six samples: two rubrics at three levels, one user prompt
TWO_RUBRICS = [(rubric, level) for rubric in ("broadcast", "reverie") for level in ScoreLevel]


@pytest.mark.parametrize(
    ("task", "parameters", "limit", "cells"),
    [
        (rubric_adherence, {}, 6, TWO_RUBRICS),
        (rubric_adherence, {"wordings": 3}, 6, TWO_RUBRICS),
        (best_of_n, {}, 6, TWO_RUBRICS),
        (paraphrase_robustness, {}, 6, TWO_RUBRICS),
        (dose_response, {"targets": "10,90"}, 4, [(r, t) for r in ("broadcast", "reverie") for t in ("10", "90")]),
        # two pairs of two levels, and what they are paired with
        (composition, {"pairs": "broadcast+reverie", "levels": "low"}, 4)
        + ([("broadcast", "low+low"), ("broadcast", "low"), ("reverie", "low"), ("broadcast", "none")],),
    ],
)
def test_a_limit_takes_all_levels_of_several_rubrics(
    task: Callable[..., Task], parameters: dict[str, Any], limit: int, cells: list[tuple[str, str]]
) -> None:
    samples = list(
        task(**({"rubrics": "broadcast,reverie", "judge": "none", "limit_per_cell": 2} | parameters)).dataset
    )
    first = samples[:limit]
    assert [((sample.metadata or {})["rubric"], sample.target) for sample in first] == cells
    assert len({(sample.metadata or {})["user_prompt_id"] for sample in first}) == 1


def test_a_limit_takes_every_family_of_attacks_and_every_family_of_user_prompts() -> None:
    attacks = [sample.metadata or {} for sample in judge_robustness().dataset][:18]
    assert len({attack["rubric"] for attack in attacks}) == 2
    assert len({attack["family"] for attack in attacks}) == 9  # eight families, and the clean text
    assert {attack["base_text"] for attack in attacks if attack["family"] == "clean"} == {
        attack["base_text"] for attack in attacks
    }
    asked = [(sample.metadata or {})["user_prompt_id"] for sample in drift("core", judge="none").dataset]
    families = {rubric.family: list(load_user_prompts("test", rubric.family)) for rubric in load_rubrics("core")}
    assert asked[: len(families)] == list(dict.fromkeys(prompts[0] for prompts in families.values()))


def test_the_full_rubric_baseline_shows_the_whole_rubric_and_the_level() -> None:
    samples = adherence_samples(
        [load_rubric("reverie")], list(ScoreLevel), {"reverie": load_user_prompts("test")}, prompting="full_rubric"
    )
    for sample in samples:
        system = sample.input[0].text  # type: ignore[union-attr]
        assert load_rubric("reverie").render() in system
        assert samples_module._TARGETS[ScoreLevel(str(sample.target))] in system


def test_a_parameter_given_by_place_is_the_one_of_that_name(mock_model: Callable[..., Any]) -> None:
    task = rubric_adherence("reverie", "all", "test", "train", judge="measured", limit_per_cell=1)
    assert [(sample.metadata or {})["wording"] for sample in task.dataset] == ["train-0"] * 3
    assert read_run(evaluated(task, mock_model(ignores)).location).protocol["wording_split"] == "train"


@pytest.mark.parametrize(
    ("task", "parameters", "message"),
    [
        (rubric_adherence, {"levels": "low,huge"}, "levels: got 'huge', expected one of"),
        (rubric_adherence, {"rubrics": "nope"}, "rubric 'nope' not found"),
        (rubric_adherence, {"judge": "oracle"}, "judge: got 'oracle', expected one of"),
        (rubric_adherence, {"wording_split": "all"}, "wording_split: got 'all'"),
        (rubric_adherence, {"user_prompts": "dev"}, "no split 'dev'"),
        (rubric_adherence, {"prompting": "cot"}, "prompting: got 'cot'"),
        (rubric_adherence, {"limit_per_cell": 0}, "limit_per_cell: got 0, expected 1 or more"),
        (rubric_adherence, {"wordings": 9}, "wordings: got 9, expected 1 to 3, the heldout wordings that rubric"),
        (rubric_adherence, {"protocol": "vibes"}, "protocol: got 'vibes', expected one of"),
        (rubric_adherence, {"protocol": "vibes", "judge": "none"}, "protocol: got 'vibes', expected one of"),
        (rubric_adherence, {"also": "tpyo", "judge": "none"}, "rubric 'tpyo' not found"),
        (rubric_adherence, {"also": "reverie", "levels": "low"}, "also: got levels 'low', expected low and extremely"),
        (rubric_adherence, {"preset": "huge"}, "preset: got 'huge', expected one of"),
        (
            rubric_adherence,
            {"judge": "measured", "rubrics": "reverie", "also": "pictures"},
            "got a user prompt without one",
        ),
        (drift, {"judge": "measured", "rubrics": "reverie,pictures"}, "got a user prompt without one"),
        (composition, {"judge": "measured", "rubrics": "reverie,pictures"}, "got a user prompt without one"),
        (best_of_n, {"n": 1}, "n: got 1, expected 2 or more"),
        (dose_response, {"targets": "10,110"}, "targets: got 110, expected a number from 0 to 100"),
        (dose_response, {"targets": "ten"}, "targets: got 'ten', expected numbers from 0 to 100"),
        (dose_response, {"targets": "10,10"}, "targets: got '10,10', expected at least one number, each once"),
        (dose_response, {"targets": "nan"}, "targets: got nan, expected a number from 0 to 100"),
        (dose_response, {"targets": "20", "style": "adjective"}, "targets: got 20 with style=adjective, expected some"),
        (dose_response, {"style": "song"}, "style: got 'song', expected one of"),
        (composition, {"pairs": "broadcast+broadcast"}, "expected two different rubrics joined by + out of"),
        (composition, {"rubrics": "broadcast"}, "expected at least two"),
        (paraphrase_robustness, {"position": "top"}, "position: got 'top', expected one of"),
        (paraphrase_robustness, {"max_wordings": -1}, "max_wordings: got -1"),
        (judge_robustness, {"families": "bribery"}, "families: got 'bribery', expected one of"),
        (judge_robustness, {"limit_per_family": 0}, "limit_per_family: got 0, expected 1 or more"),
        (judge_robustness, {"rubrics": "tone_irony"}, "'tone_irony' has no base texts to attack, expected some of"),
    ],
)
def test_a_wrong_parameter_is_named(task: Callable[..., Task], parameters: dict[str, Any], message: str) -> None:
    judge = {} if task is judge_robustness else {"judge": "measured", "rubrics": "measured"}
    with pytest.raises(OptionError, match=re.escape(message)):
        task(**(judge | parameters))


def test_the_task_is_found_by_name_and_by_path(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    # a wrong parameter shows that our task was reached
    message = "levels: got 'nowhere', expected one of"
    with pytest.raises(ValueError, match=message):
        evaluated("cpt_tasks/rubric_adherence", mock_model(ignores), task_args={"levels": "nowhere"})
    path = "cpt_tasks/benchmarks/rubric_adherence/task.py"
    options = ["--model", "mockllm/model", "-T", "levels=nowhere", "--log-dir", str(tmp_path)]
    output = inspect("eval", path, *options, cwd=ROOT, code=1)
    assert message in output and "Traceback" not in output


@pytest.mark.slow
def test_paths_are_those_of_the_folder_of_the_command_where_task_and_scorer_are_files(
    log_of: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    for source in ("benchmarks/rubric_adherence/task.py", "scorer.py"):
        copy(ROOT / "cpt_tasks" / source, tmp_path / "files")
    text = (ROOT / "rubrics" / "library" / "broadcast.yaml").read_text(encoding="utf-8")
    (tmp_path / "newscast.yaml").write_text(text.replace("id: broadcast", "id: newscast", 1), encoding="utf-8")
    # a store is opened when the rubrics were found, before a model is asked
    models = ["--model", "none", "--model-role", "grader=none"]
    outputs = inspect("eval", "files/task.py", "-T", "rubrics=newscast.yaml", *models, cwd=tmp_path)
    options = ["-S", "rubrics=newscast.yaml", "-S", "call_store=other.sqlite", "--output-file", "scored.eval", *models]
    scored = ["--scorer", "files/scorer.py@rubric_judge", "--action", "overwrite", *options]
    outputs += inspect("score", log_of("tuned", follows), *scored, cwd=tmp_path, code=1)
    stores = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.sqlite")}
    assert stores == {"calls/judge.sqlite", "other.sqlite"}, outputs


def test_the_scorer_is_found_by_the_name_that_inspect_score_takes(log_of: Callable[..., str]) -> None:
    from inspect_ai._eval.loader import scorer_from_spec
    from inspect_ai.scorer._scorer import ScorerSpec

    log = read_eval_log(log_of("tuned", follows))
    judge = scorer_from_spec(ScorerSpec(scorer="cpt_tasks/rubric_judge"), None, judge="measured")
    again = inspect_score(log, judge, action="overwrite", display="none")
    assert shown_metrics(again) == pytest.approx(shown_metrics(log), nan_ok=True)
