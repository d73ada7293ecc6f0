"""`also`, `composition`, `paraphrase_robustness`, `drift` on inspect with simulated students, and in the report."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import score as inspect_score
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from students import PLAIN, asked, deaf, evaluated, follows, reported, score_by, shown_metrics, texts, unscore, verdict

from cpt_tasks.benchmarks.composition.statistics import joint_responses
from cpt_tasks.benchmarks.composition.task import composition, composition_samples, composition_scores, rubric_pairs
from cpt_tasks.benchmarks.paraphrase_robustness.task import paraphrase_robustness
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.report.logs import read_run
from cpt_tasks.report.report import judging_table, summarise
from cpt_tasks.report.run import check_comparable
from cpt_tasks.scorer import rubric_judge
from cpt_tasks.statistics.frame import frame_of
from rubrics import ScoreLevel, joint_system_prompt, load_rubric, load_rubrics, load_user_prompts

TWO = "broadcast,labyrinth"
BROADCAST_HIGH = texts()["broadcast", "extremely_high"]


def run(task_: Task | str, model: Any, **more: Any) -> EvalLog:
    return evaluated(task_, model, max_connections=10, **more)


def values_of(entry: dict[str, Any], *names: str) -> list[float]:
    return [entry["metrics"][name]["value"] for name in names]


def test_further_judgments_give_the_matrix_of_side_effects_and_change_no_other_number(
    mock_model: Callable[..., Any],
) -> None:
    def entry_of(also: str) -> dict[str, Any]:
        log = run(rubric_adherence(TWO, judge="measured", limit_per_cell=2, also=also), mock_model(follows))
        return dict(summarise([read_run(log.location)])["models"][0]["tasks"]["rubric_adherence"])

    entry, plain = entry_of("measured"), entry_of("")
    shifts = {(cell["steered"], cell["scored"]): cell["shift"] for cell in entry["side_effects"]}
    assert set(shifts) == {(r, q) for r in TWO.split(",") for q in ("broadcast", "field_notes", "labyrinth", "reverie")}
    for (steered, scored), shift in shifts.items():
        high, low = (score_by(scored, texts()[steered, level]) for level in ("extremely_high", "low"))
        assert shift == pytest.approx(high - low, abs=1e-5)
    diagonal = (shifts["broadcast", "broadcast"] + shifts["labyrinth", "labyrinth"]) / 2
    names = ("dynamic_range", "sensibility", "macro_accuracy")
    assert values_of(entry, *names) == pytest.approx([diagonal, 1, 1], abs=1e-5)
    # without further rubrics: no matrix, and the rest as it is
    assert "side_effects" not in plain
    assert {name: entry["metrics"][name] for name in plain["metrics"]} == plain["metrics"]
    assert (entry["by_rubric"], entry["by_level"]) == (plain["by_rubric"], plain["by_level"])


def test_a_further_judgment_that_fails_is_counted_and_no_number(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    def judge(messages: list[Any]) -> str:
        rubric = "labyrinth" if load_rubric("labyrinth").title in messages[0].text else "broadcast"
        fails = rubric == "labyrinth" and BROADCAST_HIGH[:40] in messages[0].text
        return "no verdict" if fails else verdict(55, rubric)

    task_ = rubric_adherence("broadcast", judge="measured", limit_per_cell=1)
    task_.scorer = [rubric_judge("model", "broadcast", call_store=str(tmp_path / "calls.sqlite"), also=TWO)]
    log = run(task_, mock_model(follows), model_roles={"grader": mock_model(judge, name="grader")})
    read = read_run(log.location)
    also = {row["level"]: row["record"].also for row in read.frame.to_dict("records")}
    assert all(set(entries) == {"labyrinth"} for entries in also.values())  # never its own rubric again
    failed = also["extremely_high"]["labyrinth"]
    assert (failed.score, failed.failure_mode, also["low"]["labyrinth"].score) == (None, "malformed_json", 55)
    assert (len(read.asked), read.unscored.total()) == (3, 0)
    assert read.judging.further_failures == {"malformed_json by labyrinth": 1}
    # three own replies, two further ones, and the three attempts of the one that failed
    assert read.judging.attempts == 3 + 2 + failed.attempts
    clean = replace(read, name="b", judging=replace(read.judging, further_failures={}))
    assert not judging_table([read, clean]).isna().any(axis=None)
    summary, markdown, _ = reported(tmp_path / "report", log.location)
    # extremely_high by labyrinth is missing, so that cell is, and no shift is made of a failure
    assert "side_effects" not in summary["models"][0]["tasks"]["rubric_adherence"]
    assert "malformed_json by labyrinth 1" in markdown
    # another text of the further rubric is another rubric
    other = replace(read, name="other", further_rubrics={"labyrinth": "other"})
    with pytest.raises(ValueError, match="differ in the rubric 'labyrinth' that judged responses of others"):
        check_comparable([read, other])


def test_a_student_that_follows_the_first_wording_only(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    # responses written without a judge are judged by both rubrics later
    written = run(composition(TWO, judge="none", limit_per_cell=2), mock_model(follows))
    log = inspect_score(written, rubric_judge("measured", TWO), display="none")
    write_eval_log(log, str(tmp_path / "scored.eval"))
    # 2 x 2 levels x 2 prompts together, 2 rubrics x 2 levels x 2 prompts alone, 2 prompts without
    frame = frame_of(log)
    assert len(frame) == 8 + 8 + 2
    assert shown_metrics(log)["n_scored"] == 16  # what asks for a level
    for system in frame[frame["with_rubric"] != ""]["system_prompt"]:
        assert system == joint_system_prompt(system.split("\n\n"))
    # each rubric's wording stands first as often as the other's
    together = [asked(sample.input) for sample in log.samples or [] if "with_rubric" in sample.metadata]  # type: ignore[arg-type]
    order = Counter(tuple(rubric for rubric, _ in requests) for requests in together)
    assert order == {("broadcast", "labyrinth"): 4, ("labyrinth", "broadcast"): 4}
    # together and alone are judged by both, and so is what is asked without a system prompt
    assert {len(also) for also in frame["also"]} == {1}
    assert composition_scores()([]) == {"n_joint": 0}
    for joint in joint_responses(frame).to_dict("records"):
        for place, request in enumerate(zip(joint["rubrics"].split("+"), joint["levels"].split("+"), strict=True)):
            assert (joint[f"hit_alone_{place}"], joint[f"base_{place}"]) == (1, score_by(request[0], PLAIN))

    summary, markdown, _ = reported(tmp_path / "report", str(tmp_path / "scored.eval"), draw=True)
    entry = summary["models"][0]["tasks"]["composition"]
    assert (entry["n"], entry["n_joint"], values_of(entry, "accuracy_alone", "both_right_alone")) == (18, 8, [1, 1])
    assert values_of(entry, "interference")[0] < 0
    n_requests = {key: value["n"] for key, value in entry["by_request"].items()}
    assert n_requests == {"all": 8, "same_levels": 4, "different_levels": 4}
    assert set(entry["by_pair"]) == {"broadcast+labyrinth"}
    cells = {(cell["steered"], cell["scored"]) for cell in entry["side_effects"]}
    assert cells == {(r, q) for r in TWO.split(",") for q in TWO.split(",")}
    assert "### Side effects" in markdown
    # without a judgment of what is asked together the accuracies have no number, and there is no figure of them
    unscore(str(tmp_path / "scored.eval"), lambda _, sample: "with_rubric" in sample.metadata)
    _, without, _ = reported(tmp_path / "without", str(tmp_path / "scored.eval"), draw=True)
    assert ("(composition.png)" in markdown, "(composition.png)" in without) == (True, False)
    # judged in the run, inspect shows the same
    shown = shown_metrics(run(composition(TWO, judge="measured", limit_per_cell=2), mock_model(follows)))
    assert (shown["n_joint"], [shown["interference"]]) == (8, pytest.approx(values_of(entry, "interference"), abs=1e-6))


def test_pairs_are_all_or_named_or_drawn() -> None:
    def names(pairs: str, most: int = 99, seed: int = 0) -> list[str]:
        chosen = rubric_pairs(load_rubrics("measured"), pairs, most, seed)
        return ["+".join(rubric.id for rubric in pair) for pair in chosen]

    assert names("reverie+broadcast, labyrinth+reverie", 1) == ["reverie+broadcast", "labyrinth+reverie"]
    assert (len(names("all")), names("all", 3)) == (6, names("all", 3))
    assert set(names("all", 3)) < set(names("all"))
    assert len({tuple(names("all", 3, seed)) for seed in range(9)}) > 1


def test_pairs_that_share_a_rubric_share_what_is_asked_alone_and_all_ids_differ() -> None:
    a, b, c = load_rubrics("broadcast,labyrinth,reverie")
    prompts = dict(list(load_user_prompts("test").items())[:2])
    samples = composition_samples([(a, b), (a, c)], [ScoreLevel.LOW], {"broadcast": prompts}, "heldout")
    # together 2 pairs x 2, alone 3 rubrics x 2, unprompted 2
    assert len(samples) == len({sample.id for sample in samples}) == 4 + 6 + 2
    judged = [(facts["cell"], facts["rubric"], facts["also"]) for sample in samples if (facts := sample.metadata)]
    assert judged.count(("alone", a.id, [b.id, c.id])) == 2
    assert judged.count(("unprompted", a.id, [b.id, c.id])) == 2


def test_a_student_that_hears_the_system_turn_only(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    task_ = paraphrase_robustness("broadcast", judge="measured", limit_per_cell=2, position="both", style="both")
    log = run(task_, mock_model(deaf, name="deaf"))
    # 3 levels x 3 heldout wordings x 2 prompts x 2 positions x 2 styles
    assert len({sample.id for sample in log.samples or []}) == len(log.samples or []) == 72
    summary, markdown, _ = reported(tmp_path / "report", log.location)
    entry = summary["models"][0]["tasks"]["paraphrase_robustness"]
    # from the user turn it is right at the level that the plain text happens to have
    assert score_by("broadcast", PLAIN) <= 40
    assert values_of(entry, "position_accuracy", "style_accuracy") == pytest.approx([-2 / 3, 0], abs=1e-6)
    assert entry["by_condition"]["system, number"]["worst_accuracy"]["value"] == 1
    assert entry["by_condition"]["system, descriptive"]["wording_sd"]["value"] == 0
    assert len(entry["cells"]) == 3 * 4
    assert entry["cells"][0]["accuracy"] == {"heldout-0": 1, "heldout-1": 1, "heldout-2": 1}
    assert "Position and style" in markdown


def test_the_judge_reads_the_user_prompt_without_the_request(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    grader, student = mock_model(lambda _: "no verdict", name="grader"), mock_model(lambda _: PLAIN)
    grid: dict[str, Any] = {"limit_per_cell": 1, "max_wordings": 1, "position": "user", "style": "number"}
    task_ = paraphrase_robustness("broadcast", judge="measured", **grid)
    task_.scorer = [rubric_judge("model", call_store=str(tmp_path / "calls.sqlite"))]
    run(task_, student, model_roles={"grader": grader})
    user_prompt = next(iter(load_user_prompts("test").values()))
    # a number is the middle of the band
    for [turn], level, number in zip(student.seen, ScoreLevel, (20, 66, 96), strict=True):
        request = load_rubric("broadcast").wordings(level, "heldout")[0]
        expected = f"{request} Aim for {number} out of 100.\n\n{user_prompt}"
        assert (turn.role, turn.text) == ("user", expected)
        assert not any(request in messages[0].text for messages in grader.seen)
    assert all(user_prompt in messages[0].text for messages in grader.seen)


def base_and_tuned(
    task_: Task | str, replies: tuple[str, str], mock_model: Callable[..., Any], **more: Any
) -> list[str]:
    """Logs of a base model and of an adapter of it, each with its reply."""
    about = {"base": {"base": "base"}, "tuned": {"base": "base", "adapter": "tuned"}}
    models = [mock_model(lambda _, text=text: text, name=name) for name, text in zip(about, replies, strict=True)]
    return [run(task_, model, metadata=about[model.name], **more).location for model in models]


def test_an_adapter_is_paired_with_its_base_without_a_system_prompt(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    arguments = {"rubrics": "measured", "judge": "measured", "limit_per_family": 3}
    paths = base_and_tuned("cpt_tasks/drift", (PLAIN, BROADCAST_HIGH), mock_model, task_args=arguments)
    samples = read_eval_log(paths[0]).samples or []
    assert {tuple(message.role for message in sample.messages) for sample in samples} == {("user", "assistant")}
    assert shown_metrics(read_eval_log(paths[1]))["broadcast"] == pytest.approx(score_by("broadcast", BROADCAST_HIGH))
    summary, markdown, _ = reported(tmp_path / "report", *paths)
    base, tuned = (model["tasks"]["drift"] for model in summary["models"])
    assert ("drift" in base, tuned["compared_with"]) == (False, "base")
    shifts = {rubric: score_by(rubric, BROADCAST_HIGH) - score_by(rubric, PLAIN) for rubric in tuned["by_rubric"]}
    assert len(shifts) == 4
    moved = {rubric: shift["value"] for rubric, shift in tuned["drift"]["by_rubric"].items()}
    assert moved == pytest.approx(shifts, abs=1e-5)
    total = (sum(shift**2 for shift in shifts.values()) / 4) ** 0.5
    words = len(BROADCAST_HIGH.split()) - len(PLAIN.split())
    assert values_of(tuned["drift"], "total_drift", "words_change") == pytest.approx([total, words], abs=1e-5)
    assert "difference from base" in markdown
    assert "What the template of base writes without a system prompt is not in its log" in markdown
    # unscored responses without a level are counted and printed
    unscore(paths[0], lambda number, _: number == 0)
    summary, _, printed = reported(tmp_path / "again", paths[0])
    entry = summary["models"][0]["tasks"]["drift"]
    assert (entry["n"], entry["unscored"], "unscored none 1" in printed) == (2, 1, True)
