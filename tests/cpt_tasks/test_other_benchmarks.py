"""`also`, `composition`, `paraphrase_robustness`, `drift` on inspect with simulated students, and in the report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from inspect_ai import Task, task
from inspect_ai import eval as inspect_eval
from inspect_ai import score as inspect_score
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState
from measured_texts import asked, texts

from cpt_tasks.benchmarks.composition.statistics import joint_responses
from cpt_tasks.benchmarks.composition.task import composition, composition_samples, rubric_pairs
from cpt_tasks.benchmarks.drift.task import drift
from cpt_tasks.benchmarks.paraphrase_robustness.task import paraphrase_robustness, worded_samples
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.report.logs import read_run
from cpt_tasks.report.report import report_command, summarise
from cpt_tasks.report.run import check_comparable
from cpt_tasks.scorer import rubric_judge
from cpt_tasks.statistics.frame import frame_of
from judges import measure
from rubrics import ScoreLevel, joint_system_prompt, load_rubric, load_rubrics, load_user_prompts

TWO = "broadcast,labyrinth"
BROADCAST_HIGH, LABYRINTH_HIGH = texts()["broadcast", "extremely_high"], texts()["labyrinth", "extremely_high"]
PLAIN = texts()["reverie", "low"]


def obeys(messages: list[Any]) -> str:
    """Writes what the first wording in the chat asks for; plain without any."""
    requests = asked(messages)
    return texts()[requests[0]] if requests else PLAIN


def run(task_: Task | str, model: Any, **more: Any) -> EvalLog:
    [log] = inspect_eval(task_, model=model, display="none", **more)
    assert log.status == "success", log.error
    return log


def metrics_of(log: EvalLog) -> dict[str, Any]:
    assert log.results is not None
    return {name: metric.value for name, metric in log.results.scores[0].metrics.items()}


def report(logs: list[EvalLog], out: Path) -> tuple[dict[str, Any], str]:
    done = CliRunner().invoke(report_command, [*(log.location for log in logs), "--out", str(out)])
    assert done.exit_code == 0, done.output

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads((out / "summary.json").read_text(), parse_constant=refuse), (out / "report.md").read_text()


def score_by(rubric: str, text: str) -> float:
    return measure(load_rubric(rubric), text).score


def test_further_judgments_give_the_matrix_of_side_effects(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    task_ = rubric_adherence(TWO, judge="measured", limit_per_cell=2, also="measured")
    log = run(task_, mock_model(obeys))
    summary, markdown = report([log], tmp_path / "report")
    entry = summary["models"][0]["tasks"]["rubric_adherence"]
    shifts = {(cell["steered"], cell["scored"]): cell["shift"] for cell in entry["side_effects"]}
    assert set(shifts) == {(r, q) for r in TWO.split(",") for q in ("broadcast", "field_notes", "labyrinth", "reverie")}
    for (steered, scored), shift in shifts.items():
        expected = [score_by(scored, texts()[steered, level]) for level in ("extremely_high", "low")]
        assert shift == pytest.approx(expected[0] - expected[1], abs=1e-5)
    diagonal = (shifts["broadcast", "broadcast"] + shifts["labyrinth", "labyrinth"]) / 2
    assert entry["metrics"]["dynamic_range"]["value"] == pytest.approx(diagonal, abs=1e-5)
    assert entry["metrics"]["sensibility"]["value"] == 1
    assert entry["metrics"]["macro_accuracy"]["value"] == 1
    assert "### Side effects" in markdown


def test_a_log_without_further_rubrics_reads_as_before(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    logs = [
        run(rubric_adherence("broadcast", judge="measured", limit_per_cell=2, also=also), mock_model(obeys))
        for also in ("", "labyrinth")
    ]
    plain, judged_twice = (summarise([read_run(log.location)], seed=0) for log in logs)
    assert not any("also" in (sample.scores or {})["rubric_judge"].metadata for sample in logs[0].samples or [])
    assert plain["tasks"] == judged_twice["tasks"]
    one, two = (summary["models"][0]["tasks"]["rubric_adherence"] for summary in (plain, judged_twice))
    assert "side_effects" not in one
    assert {name: two["metrics"][name] for name in one["metrics"]} == one["metrics"]
    assert (one["by_rubric"], one["by_level"]) == (two["by_rubric"], two["by_level"])


def test_a_further_judgment_that_fails_is_counted_and_no_number(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    def verdict(messages: list[Any]) -> str:
        rubric = "labyrinth" if load_rubric("labyrinth").title in messages[0].text else "broadcast"
        if rubric == "labyrinth" and messages[0].text.count(BROADCAST_HIGH[:40]):
            return "no verdict"
        ids = [criterion.id for criterion in load_rubric(rubric).criteria]
        return json.dumps({"criteria": [{"id": i, "reason": "r", "score": 55} for i in ids], "holistic_score": 50})

    task_ = rubric_adherence("broadcast", judge="measured", limit_per_cell=1)
    task_.scorer = [rubric_judge("model", "broadcast", call_store=str(tmp_path / "calls.jsonl"), also=TWO)]
    log = run(task_, mock_model(obeys), model_roles={"grader": mock_model(verdict, name="grader")})
    also = {
        str(sample.target): (sample.scores or {})["rubric_judge"].metadata["also"]  # type: ignore[index]
        for sample in log.samples or []
    }
    assert all(set(entries) == {"labyrinth"} for entries in also.values())  # never its own rubric again
    failed = also["extremely_high"]["labyrinth"]
    assert (failed["score"], failed["failure_mode"]) == (None, "malformed_json")
    assert failed["rubric_hash"] == load_rubric("labyrinth").hash
    assert also["low"]["labyrinth"]["score"] == 55
    read = read_run(log.location)
    assert (len(read.asked), read.unscored.total()) == (3, 0)
    assert read.judging.further_failures == {("malformed_json", "labyrinth"): 1}
    # three own replies, two further ones, and the three attempts of the one that failed
    assert read.judging.attempts == 3 + 2 + failed["attempts"]
    assert read.judging.usage["input_tokens"] == 10 * read.judging.attempts
    summary, markdown = report([log], tmp_path / "report")
    # extremely_high by labyrinth is missing, so that cell is, and no shift is made of a failure
    assert "side_effects" not in summary["models"][0]["tasks"]["rubric_adherence"]
    assert "malformed_json by labyrinth 1" in markdown


def test_a_further_rubric_that_has_changed_is_refused(mock_model: Callable[..., Any]) -> None:
    task_ = rubric_adherence("broadcast", "low", judge="measured", limit_per_cell=1, also="labyrinth")
    logs = [run(task_, mock_model(obeys, name=name)) for name in ("one", "two")]
    check_comparable([read_run(log.location) for log in logs])
    for sample in logs[1].samples or []:
        (sample.scores or {})["rubric_judge"].metadata["also"]["labyrinth"]["rubric_hash"] = "other"  # type: ignore[index]
    write_eval_log(logs[1], logs[1].location)
    with pytest.raises(ValueError, match="differ in the rubric 'labyrinth' that judged responses of others"):
        check_comparable([read_run(log.location) for log in logs])


@pytest.fixture
def joint_log(mock_model: Callable[..., Any]) -> EvalLog:
    return run(composition(TWO, judge="measured", limit_per_cell=2), mock_model(obeys))


def test_a_student_that_follows_the_first_wording_only(joint_log: EvalLog, tmp_path: Path) -> None:
    # 2 x 2 levels x 2 prompts together, 2 rubrics x 2 levels x 2 prompts alone, 2 prompts without
    assert joint_log.samples is not None
    assert len(joint_log.samples) == 8 + 8 + 2
    together = [sample for sample in joint_log.samples if "with_rubric" in sample.metadata]
    for sample in together:
        assert isinstance(sample.input, list)
        wordings = sample.input[0].text.split("\n\n")
        assert [request[0] for request in asked(sample.input)] in (TWO.split(","), TWO.split(",")[::-1])
        assert sample.input[0].text == joint_system_prompt(wordings)
    # each rubric's wording stands first as often as the other's
    assert sum(asked(sample.input)[0][0] == "broadcast" for sample in together) == 4  # type: ignore[arg-type]

    # together and alone are judged by both, and so is what is asked without a system prompt
    assert sum(1 + len(also) for also in frame_of(joint_log)["also"]) == 2 * 18
    joints = joint_responses(frame_of(joint_log))
    assert len(joints) == 8
    for joint in joints.to_dict("records"):
        rubrics, levels = joint["rubrics"].split("+"), joint["levels"].split("+")
        for place, (rubric, level) in enumerate(zip(rubrics, levels, strict=True)):
            assert joint[f"alone_{place}"] == score_by(rubric, texts()[rubric, level])
            assert joint[f"base_{place}"] == score_by(rubric, PLAIN)
    metrics = metrics_of(joint_log)
    assert (metrics["n_joint"], metrics["accuracy_alone"], metrics["both_right_alone"]) == (8, 1, 1)
    assert metrics["interference"] < 0

    summary, markdown = report([joint_log], tmp_path / "report")
    entry = summary["models"][0]["tasks"]["composition"]
    assert entry["n"] == 18
    assert entry["metrics"]["accuracy_together"]["value"] == pytest.approx(metrics["accuracy_together"], abs=1e-6)
    assert {key: value["n"] for key, value in entry["by_request"].items()} == {
        "all": 8,
        "same_levels": 4,
        "different_levels": 4,
    }
    assert set(entry["by_pair"]) == {"broadcast+labyrinth"}
    assert {(cell["steered"], cell["scored"]) for cell in entry["side_effects"]} == {
        (r, q) for r in TWO.split(",") for q in TWO.split(",")
    }
    assert "Composition" in markdown


def test_responses_written_without_a_judge_are_judged_by_both_rubrics_later(mock_model: Callable[..., Any]) -> None:
    log = run(composition(TWO, judge="none", limit_per_cell=1), mock_model(obeys))
    scored = inspect_score(log, rubric_judge("measured", TWO), display="none")
    joints = joint_responses(frame_of(scored))
    assert len(joints) == 4
    assert joints.notna().all(axis=None)
    # the scorer's own metrics are of what asks for a level: all but the one response without a system prompt
    assert metrics_of(scored)["n_scored"] == len(scored.samples or []) - 1


def test_pairs_are_all_or_named_or_drawn() -> None:
    measured = load_rubrics("measured")

    def names(pairs: str, most: int = 99, seed: int = 0) -> list[str]:
        return ["+".join(rubric.id for rubric in pair) for pair in rubric_pairs(measured, pairs, most, seed)]

    assert len(names("all")) == 6
    assert names("reverie+broadcast, labyrinth+reverie") == ["reverie+broadcast", "labyrinth+reverie"]
    assert len(names("all", 3)) == 3
    assert names("all", 3) == names("all", 3)
    assert len({tuple(names("all", 3, seed)) for seed in range(9)}) > 1
    assert set(names("all", 3)) < set(names("all"))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pairs": "broadcast"}, "pairs: got 'broadcast', expected two different rubrics joined by \\+ out of"),
        ({"pairs": "broadcast+reverie"}, "pairs: got 'broadcast\\+reverie'"),
        ({"pairs": "broadcast+broadcast"}, "pairs: got 'broadcast\\+broadcast'"),
        ({"max_pairs": 0}, "max_pairs: got 0, expected 1 or more"),
        ({"rubrics": "broadcast"}, "expected at least two"),
        ({"wording_split": "all"}, "wording_split: got 'all'"),
    ],
)
def test_a_wrong_parameter_of_composition_is_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        composition(**({"rubrics": TWO, "judge": "measured"} | parameters))


def test_pairs_that_share_a_rubric_share_what_is_asked_alone_and_all_ids_differ() -> None:
    a, b, c = load_rubrics("broadcast,labyrinth,reverie")
    prompts = dict(list(load_user_prompts("test").items())[:2])
    samples = composition_samples([(a, b), (a, c)], [ScoreLevel.LOW], {"broadcast": prompts})
    # together 2 pairs x 2, alone 3 rubrics x 2, unprompted 2
    assert len(samples) == 4 + 6 + 2
    assert len({sample.id for sample in samples}) == len(samples)
    by_id = {str(sample.id): sample.metadata or {} for sample in samples}
    alone = [metadata for metadata in by_id.values() if metadata["cell"] == "alone" and metadata["rubric"] == a.id]
    assert [metadata["also"] for metadata in alone] == [[b.id, c.id]] * 2
    unprompted = [metadata for metadata in by_id.values() if metadata["cell"] == "unprompted"]
    assert [[metadata["rubric"], *metadata["also"]] for metadata in unprompted] == [[a.id, b.id, c.id]] * 2


def test_the_defaults_of_the_grids_stay_under_500_responses() -> None:
    for made in (composition(judge="none"), paraphrase_robustness(judge="none"), drift(judge="none")):
        assert 0 < len(made.dataset) < 500


def test_a_student_that_hears_the_system_turn_only(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    judged: list[str] = []

    def deaf(messages: list[Any]) -> str:
        judged.append(messages[-1].text)
        return obeys(messages) if messages[0].role == "system" else PLAIN

    task_ = paraphrase_robustness("broadcast", judge="measured", limit_per_cell=2, position="both", style="both")
    log = run(task_, mock_model(deaf, name="deaf"))
    # 3 levels x 3 heldout wordings x 2 prompts x 2 positions x 2 styles
    assert len(log.samples or []) == 72
    assert len({sample.id for sample in log.samples or []}) == 72
    summary, markdown = report([log], tmp_path / "report")
    entry = summary["models"][0]["tasks"]["paraphrase_robustness"]
    low = score_by("broadcast", PLAIN) <= 40
    # from the user turn it is right at the level that the plain text happens to have
    assert low
    assert entry["metrics"]["position_accuracy"]["value"] == pytest.approx(-2 / 3, abs=1e-6)
    assert entry["metrics"]["style_accuracy"]["value"] == 0
    assert entry["by_condition"]["system, number"]["worst_accuracy"]["value"] == 1
    assert entry["by_condition"]["system, descriptive"]["wording_sd"]["value"] == 0
    assert len(entry["cells"]) == 3 * 4
    assert entry["cells"][0]["accuracy"] == {"heldout-0": 1, "heldout-1": 1, "heldout-2": 1}
    assert "Position and style" in markdown
    assert metrics_of(log)["n_scored"] == 72


def test_the_judge_reads_the_user_prompt_without_the_request(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    grader = mock_model(lambda _: "no verdict", name="grader")
    task_ = paraphrase_robustness(
        "broadcast", "low", judge="measured", limit_per_cell=1, max_wordings=1, position="user"
    )
    task_.scorer = [rubric_judge("model", call_store=str(tmp_path / "calls.jsonl"))]
    student = mock_model(lambda _: PLAIN)
    run(task_, student, model_roles={"grader": grader})
    [[turn]] = student.seen
    request = load_rubric("broadcast").wordings(ScoreLevel.LOW, "heldout")[0]
    user_prompt = next(iter(load_user_prompts("test").values()))
    assert (turn.role, turn.text) == ("user", f"{request}\n\n{user_prompt}")
    assert user_prompt in grader.seen[0][0].text
    assert request not in grader.seen[0][0].text


def test_a_number_is_the_middle_of_the_band() -> None:
    prompts = {"broadcast": dict(list(load_user_prompts("test").items())[:1])}
    samples = worded_samples([load_rubric("broadcast")], list(ScoreLevel), prompts, max_wordings=1, styles=["number"])
    ends = [sample.input[0].text[-len("Aim for 20 out of 100.") :] for sample in samples]  # type: ignore[union-attr]
    assert ends == ["Aim for 20 out of 100.", "Aim for 66 out of 100.", "Aim for 96 out of 100."]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"position": "top"}, "position: got 'top', expected one of"),
        ({"style": "loud"}, "style: got 'loud', expected one of"),
        ({"max_wordings": -1}, "max_wordings: got -1"),
        ({"limit_per_cell": 0}, "limit_per_cell: got 0"),
    ],
)
def test_a_wrong_parameter_of_paraphrase_robustness_is_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paraphrase_robustness(**({"rubrics": "broadcast", "judge": "measured"} | parameters))


def drift_logs(mock_model: Callable[..., Any]) -> list[EvalLog]:
    replies = {"base": PLAIN, "tuned": BROADCAST_HIGH}
    return [
        run(
            "cpt_tasks/drift",  # by name, through the entry point
            mock_model(lambda _, text=text: text, name=name),
            task_args={"rubrics": "measured", "judge": "measured", "limit_per_family": 3},
            metadata={"base": "base"} | ({"adapter": "tuned"} if name == "tuned" else {}),
        )
        for name, text in replies.items()
    ]


def test_an_adapter_is_paired_with_its_base_without_a_system_prompt(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    logs = drift_logs(mock_model)
    for sample in logs[0].samples or []:
        assert [message.role for message in sample.messages] == ["user", "assistant"]
    assert metrics_of(logs[1])["broadcast"] == pytest.approx(score_by("broadcast", BROADCAST_HIGH))
    summary, markdown = report(logs, tmp_path / "report")
    base, tuned = (model["tasks"]["drift"] for model in summary["models"])
    assert "drift" not in base
    assert tuned["compared_with"] == "base"
    shifts = {rubric: score_by(rubric, BROADCAST_HIGH) - score_by(rubric, PLAIN) for rubric in tuned["by_rubric"]}
    assert len(shifts) == 4
    for rubric, shift in shifts.items():
        assert tuned["drift"]["by_rubric"][rubric]["value"] == pytest.approx(shift, abs=1e-5)
    total = (sum(shift**2 for shift in shifts.values()) / 4) ** 0.5
    assert tuned["drift"]["metrics"]["total_drift"]["value"] == pytest.approx(total, abs=1e-5)
    assert (
        tuned["drift"]["metrics"]["words_change"]["value"]
        == tuned["metrics"]["mean_words"]["value"] - base["metrics"]["mean_words"]["value"]
    )
    assert "difference from base" in markdown


def test_unscored_responses_without_a_level_are_counted_and_printed(mock_model: Callable[..., Any]) -> None:
    log = run(drift(TWO, judge="measured", limit_per_family=3), mock_model(lambda _: PLAIN))
    assert log.samples is not None
    log.samples[0].scores = {"rubric_judge": Score.unscored(reason="grader_failed")}
    write_eval_log(log, log.location)
    done = CliRunner().invoke(report_command, [log.location, "--out", log.location + ".report"])
    assert done.exit_code == 0, done.output
    assert "unscored none 1" in done.output
    entry = json.loads(Path(log.location + ".report/summary.json").read_text())["models"][0]["tasks"]["drift"]
    assert (entry["n"], entry["unscored"]) == (2, 1)


def test_logs_that_differ_in_the_wordings_or_the_pairs_are_refused(mock_model: Callable[..., Any]) -> None:
    made = [
        paraphrase_robustness("broadcast", "low", judge="measured", limit_per_cell=1, max_wordings=most)
        for most in (1, 2)
    ]
    runs = [read_run(run(task_, mock_model(obeys, name=f"m{number}")).location) for number, task_ in enumerate(made)]
    with pytest.raises(ValueError, match="differ in grid"):
        check_comparable(runs)


@metric
def if_metric() -> Metric:
    def compute(scores: list[SampleScore]) -> Value:
        value = scores[0].score.as_float()
        return {"prompt_strict_acc": value, "prompt_strict_stderr": 0.02, "final_acc": value, "final_stderr": 0.03}

    return compute


@scorer(metrics=[if_metric()])
def instruction_following() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=float(state.output.completion))

    return score


@task
def ifeval() -> Task:
    """As `inspect_evals/ifeval` is to a report: its name and the names of its metrics."""
    return Task(dataset=[Sample(input="Say 1.", id="one")], scorer=instruction_following())


def test_a_log_of_ifeval_stands_beside_drift(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    logs = [
        run(
            ifeval(),
            mock_model(lambda _, text=text: text, name=name),
            metadata={"base": "base"} | ({"adapter": "tuned"} if name == "tuned" else {}),
        )
        for name, text in {"base": "0.5", "tuned": "0.4"}.items()
    ]
    summary, markdown = report(logs, tmp_path / "report")
    base, tuned = (model["tasks"]["ifeval"] for model in summary["models"])
    assert base["n"] == 1
    assert base["metrics"]["final_acc"] == {
        "value": 0.5,
        "ci_low": pytest.approx(0.5 - 1.96 * 0.03),
        "ci_high": pytest.approx(0.5 + 1.96 * 0.03),
    }
    # sqrt(2) * 0.03 is the standard error of the difference
    assert tuned["drift"]["metrics"]["final_acc"]["value"] == pytest.approx(-0.1)
    assert tuned["drift"]["metrics"]["final_acc"]["ci_low"] == pytest.approx(-0.1 - 1.96 * 2**0.5 * 0.03, abs=1e-6)
    assert "Instruction following (IFEval)" in markdown


def test_an_ifeval_log_without_its_metric_is_refused(mock_model: Callable[..., Any]) -> None:
    log = run(ifeval(), mock_model(lambda _: "0.5", name="base"))
    assert log.results is not None
    log.results.scores[0].metrics.pop("final_acc")
    write_eval_log(log, log.location)
    assert read_eval_log(log.location).status == "success"
    with pytest.raises(ValueError, match="no metric 'final_acc' in it"):
        read_run(log.location)
