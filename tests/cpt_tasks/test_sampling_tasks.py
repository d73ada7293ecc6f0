"""`best_of_n` and `dose_response` on inspect: grids, judges, and what the report says of their logs."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from inspect_ai import eval as inspect_eval
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.scorer import Score

from cpt_tasks.best_of_n import best_of_n, selection_judge
from cpt_tasks.dose_response import ADVERBS, dose_prompt, dose_response, dose_samples, parse_targets
from cpt_tasks.report import report_command, summarise
from cpt_tasks.runs import ModelRun, check_comparable, read_run
from cpt_tasks.scorers import rubric_judge
from judges import measure
from rubrics import ScoreLevel, load_rubric, load_user_prompts

# by the rubric broadcast low, moderate and 100; see CALM_SCORE
CALM = "The procession moved along the avenue in good order while the authorities observed it from a stand. " * 3
LIVELY = (
    "The procession moves along the avenue in good order today. What a sight! If you stand near the church you hear "
    "the drums before you see them. A child waves from a balcony. You may want to follow them down to the river!"
)
SHOUT = "Look at that! You see it? You cheer! Run! You can feel it! Oh my! You there! Go! Your turn! Wow! You! Yes!"
CALM_SCORE = measure(load_rubric("broadcast"), CALM).score


def run(task: Any, model: Any, **options: Any) -> EvalLog:
    [log] = inspect_eval(task, model=model, display="none", max_connections=1, **options)
    assert log.status == "success", log.error
    return log


def metrics_of(log: EvalLog, scorer: str = "rubric_judge") -> dict[str, Any]:
    assert log.results is not None
    [found] = [score for score in log.results.scores if score.name == scorer]
    return {name.split("/")[-1]: metric.value for name, metric in found.metrics.items()}


def sample_from(*replies: str) -> Callable[[list[Any]], str]:
    """A student that gives each cell the replies in turn."""
    turns: dict[str, Any] = {}

    def reply(messages: list[Any]) -> str:
        key = messages[0].text + messages[1].text
        return str(next(turns.setdefault(key, itertools.cycle(replies))))

    return reply


def bon(model: Any, n: int = 4, **parameters: Any) -> EvalLog:
    given = {"rubrics": "broadcast", "levels": "extremely_high", "judge": "measured", "limit_per_cell": 2} | parameters
    return run(best_of_n(n, **given), model)


def point(summary: dict[str, Any], level: str, k: int, statistic: str) -> dict[str, Any]:
    [found] = [p for p in summary["curves"] if (p["level"], p["k"], p["statistic"]) == (level, k, statistic)]
    return dict(found)


def section_of(*runs: ModelRun, task: str = "best_of_n") -> list[dict[str, Any]]:
    models = summarise(runs, n_resamples=50, seed=0)["models"]
    return [model["tasks"][task] for model in models]


def test_best_of_n_samples_every_cell_n_times(mock_model: Callable[..., Any]) -> None:
    model = mock_model(sample_from(CALM, CALM, CALM, SHOUT))
    log = bon(model, levels="all")
    assert len(model.seen) == 3 * 2 * 4
    # every cell: three low and one 100. In the band: low 3 of 4, moderate none, extremely high 1 of 4
    found = metrics_of(log)
    assert found["band_hit@1"] == pytest.approx((3 / 4 + 0 + 1 / 4) / 3)
    assert found["band_hit@n"] == pytest.approx(2 / 3)
    assert found["n_scored"] == 24


def test_the_summary_holds_the_exact_curves_and_their_cost(mock_model: Callable[..., Any]) -> None:
    [found] = section_of(read_run(bon(mock_model(sample_from(CALM, CALM, CALM, SHOUT)), levels="all").location))
    # of the 6 pairs of 4, 3 hold the 100
    assert point(found, "extremely_high", 2, "score")["value"] == pytest.approx((CALM_SCORE + 100) / 2, abs=1e-6)
    assert point(found, "extremely_high", 2, "band_hit")["value"] == pytest.approx(0.5)
    assert point(found, "low", 2, "band_hit")["value"] == 1
    assert point(found, "low", 2, "score")["value"] == pytest.approx(CALM_SCORE, abs=1e-6)
    # 100 is 7.5 above the moderate band, closer than the low one
    assert point(found, "moderate", 4, "band_error")["value"] == pytest.approx(7.5)
    assert point(found, "all", 2, "band_hit")["value"] == pytest.approx((1 + 0 + 0.5) / 3, abs=1e-6)
    # the mock counts 5 tokens per response
    assert (point(found, "all", 4, "band_hit")["mean_tokens"], found["cost_unit"]) == (20, "tokens")
    assert (found["samples_per_cell"], found["distinct_responses"], found["n"], found["unscored"]) == (4, 2, 24, 0)
    assert (found["upper_bound"], found["selected_by"]) == (True, "the judge of the report")
    assert found["metrics"]["band_hit@2"] == {
        key: point(found, "all", 2, "band_hit")[key] for key in ("value", "ci_low", "ci_high")
    }
    assert not any(p["statistic"].startswith(("oracle", "optimism")) for p in found["curves"])


def test_without_a_reason_for_stopping_cost_is_in_words(mock_model: Callable[..., Any]) -> None:
    # as inspect's hf provider, whose counts are those of the padded batch
    [found] = section_of(read_run(bon(mock_model(lambda _: SHOUT, stop_reason="unknown")).location))
    assert found["cost_unit"] == "words"
    assert point(found, "extremely_high", 2, "score")["mean_tokens"] == 2 * len(SHOUT.split())
    assert found["distinct_responses"] == 1


def test_a_second_judge_selects_and_the_optimism_of_one_is_shown(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    # the measured judge reports; a model judge that likes what the measured one does not selects
    grader = mock_model(lambda messages: verdict(90 if "procession" in messages[-1].text else 10), name="other")
    task = best_of_n(2, "broadcast", "extremely_high", judge="measured", limit_per_cell=2)
    task.scorer = [rubric_judge("measured"), selection_judge("model", call_store=str(tmp_path / "calls.jsonl"))]
    log = run(task, mock_model(sample_from(CALM, SHOUT)), model_roles={"selector": grader})
    [found] = section_of(read_run(log.location))
    assert (found["selected_by"], found["upper_bound"]) == ("mockllm/other", False)
    high = "extremely_high"
    assert [point(found, high, 2, f"{kind}band_hit")["value"] for kind in ("", "oracle_", "optimism_")] == [0, 1, 1]
    scores = [point(found, high, 2, f"{kind}score")["value"] for kind in ("", "oracle_", "optimism_")]
    assert scores == pytest.approx([CALM_SCORE, 100, 100 - CALM_SCORE], abs=1e-6)
    assert found["metrics"]["optimism_band_hit@2"]["value"] == 1


def test_the_measured_judge_can_select_for_a_model_judge(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    grader = mock_model(lambda _: verdict(95), name="grader")
    task = "cpt_tasks/best_of_n"
    arguments = {"n": 2, "rubrics": "broadcast", "levels": "extremely_high", "limit_per_cell": 2}
    arguments |= {"select_by": "measured", "call_store": str(tmp_path / "calls.jsonl")}
    student = mock_model(sample_from(CALM, SHOUT))
    log = run(task, student, task_args=arguments, model_roles={"grader": grader})
    assert metrics_of(log)["band_hit@1"] == 1
    assert metrics_of(log, "selection_judge")["band_hit@1"] == 0.5
    [found] = section_of(read_run(log.location))
    assert found["selected_by"] == "measured"


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n": 1}, ValueError, "n: got 1, expected 2 or more"),
        ({"select_by": "oracle"}, ValueError, "select_by: got 'oracle', expected one of"),
        ({"select_by": "measured"}, ValueError, "the selecting judge is a judge of the report too"),
        ({"select_by": "model"}, PrerequisiteError, "none bound to the role selector"),
        ({"judge": "oracle"}, ValueError, "judge: got 'oracle'"),
        ({"levels": "huge"}, ValueError, "levels: got 'huge'"),
    ],
)
def test_a_wrong_parameter_of_best_of_n_is_named(
    parameters: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        best_of_n(**({"rubrics": "measured", "judge": "measured"} | parameters))
    assert message in str(getattr(caught.value, "message", caught.value))


def test_the_same_model_cannot_select_and_report(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    grader = mock_model(lambda _: verdict(50), name="grader")
    roles = {"grader": grader, "selector": grader}
    arguments = {"rubrics": "broadcast", "select_by": "model", "call_store": str(tmp_path / "calls.jsonl")}
    with pytest.raises(ValueError, match="the selecting judge is a judge of the report too"):
        inspect_eval("cpt_tasks/best_of_n", task_args=arguments, model=mock_model(lambda _: CALM), model_roles=roles)


def test_unscored_samples_shrink_their_cell_and_are_counted(mock_model: Callable[..., Any]) -> None:
    path = bon(mock_model(sample_from(CALM, CALM, SHOUT, SHOUT))).location
    log = read_eval_log(path)
    prompt = (log.samples or [])[0].metadata["prompt_id"]
    for sample in log.samples or []:
        if sample.metadata["prompt_id"] == prompt and sample.epoch > 2:
            sample.scores = {"rubric_judge": Score.unscored(reason="grader_failed")}
    write_eval_log(log, path)
    [found] = section_of(read_run(path))
    assert (found["n"], found["unscored"]) == (6, 2)
    # the cell with two left has two low; the other two low and two 100. k=2: (0 + (1 - 1/6)) / 2; k=4: the other alone
    assert point(found, "extremely_high", 2, "band_hit")["value"] == pytest.approx(5 / 12, abs=1e-6)
    assert point(found, "extremely_high", 4, "band_hit")["value"] == 1
    counts = {cells["k"]: (cells["cells"], cells["left_out"]) for cells in found["cells"] if cells["level"] == "all"}
    assert counts == {1: (2, 0), 2: (2, 0), 4: (1, 1)}


def test_what_only_one_judge_scored_does_not_count(mock_model: Callable[..., Any]) -> None:
    path = bon(mock_model(sample_from(CALM, SHOUT)), n=2).location
    log = read_eval_log(path)
    for number, sample in enumerate(log.samples or []):
        assert sample.scores is not None
        selection = Score(value=50, metadata={"judge": "other"})
        sample.scores["selection_judge"] = Score.unscored(reason="grader_failed") if number == 0 else selection
    write_eval_log(log, path)
    [found] = section_of(read_run(path))
    assert (found["n"], found["unselected"], found["selected_by"]) == (4, 1, "other")


def test_a_judge_that_selects_for_itself_is_still_an_upper_bound(mock_model: Callable[..., Any]) -> None:
    # as after `inspect score LOG --scorer cpt_tasks/selection_judge --action append` with the same judge
    task = best_of_n(2, "broadcast", "extremely_high", judge="measured", limit_per_cell=1)
    task.scorer = [rubric_judge("measured"), selection_judge("measured")]
    [found] = section_of(read_run(run(task, mock_model(sample_from(CALM, SHOUT))).location))
    assert (found["upper_bound"], found["selected_by"]) == (True, "the judge of the report")


@pytest.fixture
def pair(mock_model: Callable[..., Any]) -> list[ModelRun]:
    """A base that hits once in four, and an adapter of it that hits every other time."""
    runs = []
    for name, replies, adapter in (("base", (CALM, CALM, CALM, SHOUT), None), ("tuned", (CALM, SHOUT), "tuned-lora")):
        about = {"base": "base"} | ({"adapter": adapter} if adapter else {})
        task = best_of_n(4, "broadcast", "extremely_high", judge="measured", limit_per_cell=3)
        log = run(task, mock_model(sample_from(*replies), name=name), metadata=about)
        runs.append(read_run(log.location))
    return runs


def test_the_samples_an_adapter_saves_are_in_its_summary(pair: list[ModelRun]) -> None:
    base, tuned = section_of(*pair)
    assert "against" not in base
    places = [(row["level"], row["base_samples"], row["base"]) for row in tuned["against"]]
    assert places == [(level, k, "base") for level in ("extremely_high", "all") for k in (2, 4)]
    at_two, at_high, _, _ = tuned["against"]
    # base at 2 is 1/2: what the adapter's first sample is worth
    assert (at_two["goal"], at_two["samples"]["value"], at_two["ratio"]["value"]) == (0.5, 1, 2)
    assert (at_two["ceiling"], at_high["ceiling"]) == (False, True)
    # base at 4 is 1; the adapter, 2 of 4 hits: 1 - C(2, k) / C(4, k) is 1/2, 5/6, 1 -> first at 3
    assert at_high["goal"] == 1
    assert at_high["samples"] == {"value": 3, "ci_low": 3, "ci_high": 3, "censored": {}}
    assert at_high["ratio"]["value"] == pytest.approx(4 / 3, abs=1e-6)
    assert (at_high["base_cost"], at_high["cost"], at_high["cost_unit"]) == (20, 15, "tokens")


def test_a_base_without_its_adapter_is_compared_with_nothing(pair: list[ModelRun]) -> None:
    [tuned] = section_of(pair[1])
    assert "against" not in tuned


def test_runs_selected_by_different_judges_are_not_compared(pair: list[ModelRun]) -> None:
    for sample, _ in pair[1].samples:
        assert sample.scores is not None
        sample.scores["selection_judge"] = Score(value=50, metadata={"judge": "other"})
    with pytest.raises(ValueError, match="differ in the judge that selects: 'other' and None"):
        section_of(*pair)


def test_the_report_of_both_tasks(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    logs = tmp_path / "runs"
    for name, reply, about in (
        ("base", sample_from(CALM, CALM, CALM, SHOUT), {"base": "base"}),
        ("tuned", sample_from(LIVELY, SHOUT), {"base": "base", "adapter": "tuned-lora"}),
    ):
        options = {"model": mock_model(reply, name=name), "log_dir": str(logs), "display": "none", "metadata": about}
        inspect_eval(best_of_n(4, "broadcast", judge="measured", limit_per_cell=2), max_connections=1, **options)
        inspect_eval(dose_response("broadcast,reverie", judge="measured", limit_per_cell=2), **options)
    out = tmp_path / "report"
    done = CliRunner().invoke(report_command, [str(logs), "--out", str(out), "--resamples", "20"])
    assert done.exit_code == 0, done.output
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "| tuned" in report.split("### Samples that an adapter needs")[1].split("\n\n")[1].replace("| adapter", "")
    assert "## Dose response" in report
    assert "not_json" not in json.dumps(
        json.loads((out / "summary.json").read_text(), parse_constant=lambda _: "not_json")
    )
    for stem in ("best_of_k_score", "best_of_k_band_hit", "dose_response", "dose_response_by_rubric"):
        assert (out / f"{stem}.png").read_bytes()[:4] == b"\x89PNG"
        assert f"({stem}.png)" in report


def dose_student(messages: list[Any]) -> str:
    """Follows a numeric target in three steps: calm, lively, shouting."""
    target = float(messages[0].text.rsplit("intensity of ", 1)[1].split(",")[0])
    return CALM if target < 40 else LIVELY if target < 80 else SHOUT


def test_dose_response_end_to_end(mock_model: Callable[..., Any]) -> None:
    model = mock_model(dose_student)
    log = run(dose_response("broadcast", judge="measured", limit_per_cell=3), model)
    assert len(model.seen) == 5 * 3
    [found] = section_of(read_run(log.location), task="dose_response")
    curve = [p["mean"] for p in found["curve"]]
    assert [p["target"] for p in found["curve"]] == [10, 30, 50, 70, 90]
    assert not any(p["trained"] for p in found["curve"])
    assert curve[0] == curve[1] == pytest.approx(CALM_SCORE, abs=1e-6)
    assert 40 < curve[2] == curve[3] <= 92.5
    assert curve[4] == 100
    assert found["metrics"]["dead_zone"]["value"] == 20
    assert found["by_rubric"]["broadcast"]["dead_zone_targets"] == [10, 30]
    assert found["metrics"]["saturation_point"]["value"] == 90
    assert found["metrics"]["monotone_share"]["value"] == 1
    assert found["metrics"]["strict_monotone_share"]["value"] == 0
    assert found["metrics"]["dynamic_range"]["value"] == pytest.approx(100 - CALM_SCORE, abs=1e-6)
    assert (found["n"], found["unscored"], found["style"]) == (15, 0, "number")
    # the log's own headline reads the level that the target lies in
    assert metrics_of(log)["n_scored"] == 15


def test_unscored_doses_are_counted_and_left_out(mock_model: Callable[..., Any]) -> None:
    path = run(dose_response("broadcast", judge="measured", limit_per_cell=2), mock_model(dose_student)).location
    log = read_eval_log(path)
    for sample in log.samples or []:
        if sample.metadata["target"] == 50:
            sample.scores = {"rubric_judge": Score.unscored(reason="grader_failed")}
    write_eval_log(log, path)
    [found] = section_of(read_run(path), task="dose_response")
    assert (found["n"], found["unscored"]) == (8, 2)
    assert [p["target"] for p in found["curve"]] == [10, 30, 70, 90]


def test_a_dose_is_asked_after_the_extremely_high_prompt() -> None:
    rubric = load_rubric("broadcast")
    prompts = dict(list(load_user_prompts("test").items())[:4])
    samples = list(dose_samples([rubric], [10, 55], {"broadcast": prompts}))
    assert len({sample.id for sample in samples}) == len(samples) == 8
    wordings = rubric.wordings(ScoreLevel.EXTREMELY_HIGH, "heldout")
    for position, sample in enumerate(samples[:4]):
        system = sample.input[0].text  # type: ignore[union-attr]
        assert system.startswith(wordings[position % len(wordings)])
        assert system.endswith("Do all of this at an intensity of 10, on a scale from 0 (not at all) to 100 (fully).")
    metadata = samples[-1].metadata or {}
    assert (metadata["level"], metadata["target"], metadata["style"]) == ("moderate", 55, "number")
    assert (metadata["rubric_hash"], metadata["dose_version"]) == (rubric.hash, "1")
    # a user prompt has the same wording at every target
    assert [s.metadata["paraphrase"] for s in samples[:4]] == [s.metadata["paraphrase"] for s in samples[4:]]  # type: ignore[index]


def test_adverbs_stand_for_the_default_targets_in_ascending_order() -> None:
    assert parse_targets("10,30,50,70,90", "adjective") == sorted(ADVERBS) == list(ADVERBS)
    said = dose_prompt("Be loud.", 30, "adjective")
    assert said.startswith("Be loud.\n\nDo all of this slightly. The degrees are")
    # the scale in the prompt names the same words in the same order
    places = [said.rindex(word) for word in ADVERBS.values()]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("targets", "parsed"), [("90,10", [10, 90]), (50, [50]), ([10, "30"], [10, 30]), ("12.5", [12.5])]
)
def test_targets_as_the_command_line_may_give_them(targets: Any, parsed: list[float]) -> None:
    assert parse_targets(targets, "number") == parsed


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"targets": "10,110"}, "targets: got 110, expected a number from 0 to 100"),
        ({"targets": "ten"}, "targets: got 'ten', expected numbers from 0 to 100"),
        ({"targets": "10,10"}, "targets: got '10,10', expected at least one number, each once"),
        ({"targets": []}, "expected at least one number"),
        ({"targets": "nan"}, "targets: got nan, expected a number from 0 to 100"),
        ({"targets": "20", "style": "adjective"}, "targets: got 20 with style=adjective, expected some of 10, 30"),
        ({"style": "song"}, "style: got 'song', expected one of"),
        ({"paraphrases": "all"}, "paraphrases: got 'all'"),
        ({"judge": "oracle"}, "judge: got 'oracle'"),
    ],
)
def test_a_wrong_parameter_of_dose_response_is_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dose_response(**({"rubrics": "measured", "judge": "measured"} | parameters))


def test_runs_of_other_doses_are_refused(mock_model: Callable[..., Any]) -> None:
    runs = []
    for name, given in (("one", {}), ("two", {"targets": "10,20,50,70,90"}), ("three", {"style": "adjective"})):
        arguments = {"rubrics": "broadcast", "judge": "measured", "limit_per_cell": 1} | given
        log = run("cpt_tasks/dose_response", mock_model(lambda _: LIVELY, name=name), task_args=arguments)
        runs.append(read_run(log.location))
    for other in runs[1:]:
        with pytest.raises(ValueError, match="differ in grid"):
            check_comparable([runs[0], other])


def verdict(score: float) -> str:
    ids = [criterion.id for criterion in load_rubric("broadcast").criteria]
    return json.dumps({"criteria": [{"id": i, "reason": "r", "score": score} for i in ids], "holistic_score": 50})


def test_nothing_scored_has_no_band_hit() -> None:
    from cpt_tasks.best_of_n import band_hit

    found: Any = band_hit()([])  # type: ignore[call-arg, arg-type]
    assert math.isnan(found["band_hit@1"])
    assert math.isnan(found["band_hit@n"])
