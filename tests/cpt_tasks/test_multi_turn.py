"""`multi_turn` on inspect with simulated students whose numbers are known, in the report, and its templates."""

from collections.abc import Callable
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import pytest
from command_runs import succeeds
from inspect_ai import score as inspect_score
from inspect_ai.log import EvalLog, ProvenanceData, invalidate_samples, write_eval_log
from inspect_ai.scorer import ScoreEdit
from students import WORDINGS, evaluated, reported, score_by, shown_metrics, texts, verdict

from cpt_tasks.benchmarks.multi_turn.conversations import read_past
from cpt_tasks.benchmarks.multi_turn.report import SECTION
from cpt_tasks.benchmarks.multi_turn.statistics import arms_of, by_turn, measured
from cpt_tasks.benchmarks.multi_turn.task import multi_turn
from cpt_tasks.judge_logs.commands import agreement_command
from cpt_tasks.judge_logs.logs import read_labels
from cpt_tasks.judge_logs.spend import score_commands
from cpt_tasks.report.compare import compare, text
from cpt_tasks.report.logs import read_run
from cpt_tasks.report.page.samples import samples_of
from cpt_tasks.report.text import runs_notes
from cpt_tasks.scorer import rubric_judge
from judges import JudgeSettings
from rubrics import ScoreLevel, load_rubric
from rubrics.files import write_jsonl

BOTH = "low,extremely_high"
SOURCES = ("own", "seed")
ARMS = ("switch none, history own", "switch system_prompt, history own")
LOW, HIGH = (texts()["broadcast", level] for level in BOTH.split(","))
# points from the bands when low and extremely_high are written for one another
FLIPPED = (score_by("broadcast", HIGH) - 40 + 92.5 - score_by("broadcast", LOW)) / 2


def obeys(messages: list[Any]) -> str:
    """Writes what was asked for last, be it in the system or in a user turn."""
    chat = "\n\n".join(message.text for message in messages)
    return texts()[max((chat.rfind(wording), request) for wording, request in WORDINGS.items())[1]]


def fades(messages: list[Any]) -> str:
    """Obeys for two turns, then writes the other level."""
    right = obeys(messages)
    return right if turn_of(messages) < 3 else {LOW: HIGH, HIGH: LOW}[right]


def persists(messages: list[Any]) -> str:
    """Obeys in the first turn, and then writes what stands in the history, whatever is asked."""
    return messages[-2].text if turn_of(messages) > 1 else obeys(messages)


def lags(messages: list[Any]) -> str:
    """Follows a change of turn 3 or 5 a turn late."""
    return messages[-2].text if turn_of(messages) in (3, 5) else obeys(messages)


def test_turns_that_a_limit_cut_off_are_unscored(mock_model: Callable[..., Any]) -> None:
    log = evaluated(
        multi_turn("broadcast", levels="low", judge="measured", limit_per_cell=4), mock_model(obeys), message_limit=5
    )
    for sample in log.samples or []:
        [score] = (sample.scores or {}).values()
        assert isinstance(score.value, dict)
        assert [isnan(float(str(value))) for value in score.value.values()] == [False, False, True, True]


def turn_of(messages: list[Any]) -> int:
    return sum(message.role == "user" for message in messages)


def run(model: Any, **parameters: Any) -> EvalLog:
    settings = {"rubrics": "broadcast", "levels": BOTH, "judge": "measured", "limit_per_cell": 6} | parameters
    return evaluated(multi_turn(**settings), model, max_connections=10)


@pytest.mark.parametrize(
    ("student", "accuracies", "persistence", "first_out"),
    [
        (obeys, [1, 1, 1, 1], 0, 5),
        # distances 0, 0, d, d: the slope is (0.5 d + 1.5 d) / 5
        (fades, [1, 1, 0, 0], 0.4 * FLIPPED, 3),
    ],
)
def test_how_long_a_request_holds(
    student: Callable[[list[Any]], str],
    accuracies: list[float],
    persistence: float,
    first_out: float,
    mock_model: Callable[..., Any],
) -> None:
    shown = shown_metrics(run(mock_model(student), limit_per_cell=4))
    assert [shown[f"accuracy_turn_{turn}"] for turn in (1, 2, 3, 4)] == accuracies
    assert shown["persistence"] == pytest.approx(persistence)
    assert shown["first_out_of_band"] == first_out
    assert shown["n_scored"] == 2 * 4 * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("student", "there", "back"),
    [
        # accuracy after the switch, in a fresh conversation, cost of the history, turns to the band; of two turns
        (obeys, [1, 1, 0, 1], [1, 1, 0, 1]),
        (lags, [0, 1, 1, 2], [0, 1, 1, 2]),
        (persists, [0, 1, 1, 3], [1, 1, 0, 1]),
    ],
)
def test_how_a_switch_is_followed(
    student: Callable[[list[Any]], str], there: list[float], back: list[float], mock_model: Callable[..., Any]
) -> None:
    log = run(mock_model(student), turns=6, switch="system_prompt,user", switch_at="3,5", history="own,seed")
    shown = shown_metrics(log)
    names = ("switch_accuracy", "fresh_accuracy", "history_cost", "turns_to_band")
    for arm in (f"switch {switch}, history {history}: " for switch in ("system_prompt", "user") for history in SOURCES):
        is_seed = (student, arm[-6:-2]) == (persists, "seed")
        # a history by others is in the new band a turn after the switch
        expected = [[0, 1, 1, 2], [0, 1, 1, 2]] if is_seed else [there, back]
        assert [[shown[arm + prefix + name] for name in names] for prefix in ("", "back_")] == expected, arm


def test_report_and_compare(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    plan = {"switch": "none,system_prompt", "limit_per_cell": 4}
    paths = [run(mock_model(student, name=student.__name__), **plan).location for student in (obeys, fades)]
    summary, markdown, _ = reported(tmp_path / "report", *paths, draw=True)
    steady, switched = (summary["models"][1]["tasks"]["multi_turn"]["arms"][arm] for arm in ARMS)
    assert [point["n"] for point in steady["by_turn"]] == [8] * 4
    assert steady["metrics"]["persistence"]["value"] == pytest.approx(0.4 * FLIPPED, abs=1e-5)
    slopes = [steady["by_level"][level]["persistence"]["value"] for level in BOTH.split(",")]
    far = (score_by("broadcast", HIGH) - 40, 92.5 - score_by("broadcast", LOW))
    assert slopes == pytest.approx([0.4 * points for points in far], abs=1e-5)
    assert switched["metrics"]["history_cost"]["value"] == 1
    named = {wording.rpartition(", ")[2] for wording in samples_of(read_run(paths[0]))["wording"]}
    assert named == {f"turn {number}" for number in (1, 2, 3, 4)}
    assert (tmp_path / "report" / "multi_turn.png").is_file() and "| switch none, history own " in markdown
    # as if the levels were rubrics of two families, each with user prompts of its own: 4 scripts of 8 user prompts
    families = {"user_prompt_id": lambda rows: rows["user_prompt_id"] + rows["level"]}
    runs = [replace(one, frame=one.frame.assign(**families)) for one in map(read_run, paths)]
    result = compare(*runs)
    assert (result["user_prompts"], result["permutations"]) == (4, {"exact": True, "n": 16})
    assert len(result["tested"]) == 10
    assert "4 user prompts: no p can be below 0.125" in text(result)
    assert runs_notes(runs)[0].startswith("4 user prompts: too few for an interval")
    numbers = result["statistics"]
    assert {numbers[name]["user_prompts"] for name in result["tested"]} == {4}
    numbers[result["tested"][0]]["user_prompts"] = 3
    assert f"{result['tested'][0]}: 3 user prompts: no p can be below 0.25" in text(result)
    # the last answer is wrong; one pair of 2^4 ways is as far from 0
    entries = [numbers[f"{ARMS[0]}: turn {turn} accuracy"] for turn in (1, 4)]
    found = [(entry["a"], entry["b"], entry["difference"]["value"], entry["p"]) for entry in entries]
    assert found == [(1, 1, 0, None), (1, 0, -1, 2 / 16)]
    assert numbers[f"{ARMS[0]}: persistence"]["difference"]["value"] == pytest.approx(0.4 * FLIPPED, abs=1e-5)
    assert numbers[f"{ARMS[1]}: turns_to_band"]["difference"]["value"] == 2


def test_an_invalidated_conversation_is_left_out_when_judges_are_compared(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    log = run(mock_model(obeys), turns=2, limit_per_cell=2)
    other, labels = str(tmp_path / "other.eval"), tmp_path / "labels.csv"
    samples = log.samples or []
    labels.write_text("sample_id,score\n" + "".join(f"{sample.id}-turn-2,50\n" for sample in samples))
    # a person had edited its score, which makes the log of a conversation unreadable until it is invalidated
    (samples[0].scores or {})["rubric_judge"].history.append(
        ScoreEdit(value=5, provenance=ProvenanceData(author="Ada"))
    )
    write_eval_log(invalidate_samples(log, [str(samples[0].uuid)], ProvenanceData(author="Ada")), other)
    judged = read_run(other)  # 4 conversations of 2 turns
    assert "6 judgments of 6 texts" in succeeds(agreement_command, log.location, other, "--out", tmp_path)
    assert len(read_labels(labels, judged)) == 3


def test_logs_with_other_histories_are_not_compared(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    seed_file = Path(__file__).parents[2] / "data_gen" / "seed" / "responses.jsonl"
    lines = seed_file.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "backwards.jsonl").write_text("".join(reversed(lines)), encoding="utf-8")
    plan: dict[str, Any] = {"turns": 2, "limit_per_cell": 2, "history": "seed"}
    logs = [run(mock_model(obeys), **plan, responses=str(file)) for file in ("", tmp_path / "backwards.jsonl")]
    with pytest.raises(ValueError, match="differ in conversations"):
        compare(*(read_run(log.location) for log in logs))


def test_earlier_turns_are_of_different_user_prompts_and_of_the_rubric_as_it_is(tmp_path: Path) -> None:
    broadcast = load_rubric("broadcast")
    row = {"rubric": "broadcast", "level": "low", "rubric_hash": broadcast.hash, "judgment": {"score": 10}}
    rows = [row | {"user_prompt": prompt, "response": f"{prompt} {n}"} for prompt in ("a", "b", "asked") for n in "12"]
    rows += [row | {"user_prompt": "c", "response": "old", "rubric_hash": "0"}, {"prompt": "of another file"}]
    path = tmp_path / "responses.jsonl"
    write_jsonl(path, rows)
    past = read_past(path, [broadcast], [ScoreLevel.LOW], 2, ["asked"])
    assert past == {("broadcast", "low"): [("a", "a 1"), ("b", "b 1")]}
    with pytest.raises(ValueError, match="to 2 user prompts that are not asked, expected at least 3"):
        read_past(path, [broadcast], [ScoreLevel.LOW], 3, ["asked"])


def test_thoughts_are_not_in_the_history_and_a_failed_judgment_is_no_number(mock_model: Callable[..., Any]) -> None:
    model = mock_model(lambda messages: f"<think>you! you!</think>{obeys(messages)}")
    log = run(model, turns=2, limit_per_cell=2)
    later = [messages for messages in model.seen if len(messages) > 2]
    roles = ["system", "user", "assistant", "user"]
    assert [[message.role for message in messages] for messages in later] == [roles] * 4
    assert {messages[2].text for messages in later} == {LOW, HIGH}
    frame = read_run(log.location).frame
    assert set(frame["thought_words"]) == {2} and len(set(frame["sample_id"])) == 8
    assert [frame["user_prompt"].tolist().count(text) for text in set(frame["user_prompt"])] == [4, 4]
    # the second turn of every conversation without a judgment
    lost = frame.assign(score=frame["score"].where(frame["turn"] == 1))
    [rows] = arms_of(lost).values()
    numbers = measured(rows)
    assert isnan(numbers["persistence"].value) and isnan(numbers["first_out_of_band"].value)
    assert list(by_turn(rows)) == [1]
    # and all turns without one
    nothing = SECTION.summarise(replace(read_run(log.location), frame=frame.assign(score=float("nan"))), 0)
    assert SECTION.tables({"m": nothing})["Over the conversation"][["n", "unscored"]].to_numpy().tolist() == [[0, 8]]


def test_responses_without_a_judge_are_judged_later_and_a_failure_is_no_number(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    def judge(messages: list[Any]) -> str:
        return "no verdict" if HIGH[:40] in messages[0].text else verdict(30)

    written = run(mock_model(obeys), turns=2, limit_per_cell=2, judge="none")
    scorer = rubric_judge("model", "broadcast", call_store=str(tmp_path / "calls.sqlite"))
    log = inspect_score(written, scorer, display="none", model_roles={"grader": mock_model(judge, name="grader")})
    write_eval_log(log, str(tmp_path / "judged.eval"))
    frame = read_run(str(tmp_path / "judged.eval")).frame
    assert frame.groupby("level")["score"].apply(list).map(str).to_dict() == {
        "extremely_high": "[nan, nan, nan, nan]",
        "low": "[30.0, 30.0, 30.0, 30.0]",
    }
    assert set(frame.loc[frame["level"] == "extremely_high", "failure"]) == {"malformed_json"}
    assert shown_metrics(log)["n_scored"] == 4


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"turns": 1}, "turns: got 1, expected 2 or more"),
        ({"turns": 7}, "turns: got 7, expected at most 6, the user prompts of a conversation"),
        ({"switch": "user", "switch_at": "5"}, "switch_at: got '5', expected the turn of the switch"),
        ({"switch": "user", "levels": "low"}, "switch: got one level, low, expected two or more"),
        ({"switch": "later"}, "switch: got 'later', expected one of"),
        ({"switch_to": "reverie"}, "switch_to: got 'reverie' and no switch"),
        ({"switch_at": 2}, "switch_at: got 2 and no switch"),
        ({"responses": "mine.jsonl"}, "responses: got 'mine.jsonl' and no history of them"),
        ({"switch_to": "reverie,labyrinth"}, "switch_to: got 'reverie,labyrinth', expected one rubric"),
        ({"rubrics": "picture_coverage"}, "rubrics: got 'picture_coverage', whose user prompts show pictures"),
        (
            {"history": "seed", "rubrics": "film_dada"},
            "has responses of 'film_dada' in the band of low to 0 user prompts",
        ),
    ],
)
def test_what_cannot_be_is_said(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        multi_turn(**({"rubrics": "broadcast", "judge": "none", "limit_per_cell": 6} | parameters))


def test_switching_to_another_rubric(mock_model: Callable[..., Any]) -> None:
    plan = {"switch": "system_prompt", "switch_to": "reverie", "limit_per_cell": 4, "rubrics": "broadcast"}
    log = run(mock_model(obeys), **plan)
    [command] = score_commands([log.location], JudgeSettings("m/m"))
    assert " -S rubrics=broadcast,reverie --model" in command
    frame = read_run(log.location).frame
    assert shown_metrics(log)["n_scored"] == len(frame)
    asked = frame[frame["stage"] == "switched"]
    assert (set(asked["rubric"]), set(frame.loc[frame["stage"] == "start", "rubric"])) == ({"reverie"}, {"broadcast"})
    assert shown_metrics(log)["switch_accuracy"] == 1
