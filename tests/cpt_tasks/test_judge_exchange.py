"""`cpt judge questions` and `answers`: any engine, or a file of recorded verdicts, judges without a call from here."""

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from answer_from_record import answers
from command_runs import fails, inspect, read_rows, strict_json, succeeds, write_rows
from inspect_ai import eval as inspect_eval
from inspect_ai import score as inspect_score
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import get_model
from judge_stress_table import page_of
from students import CALM, evaluated, verdict

from cpt_tasks.benchmarks.judge_robustness.task import judge_robustness
from cpt_tasks.benchmarks.rubric_adherence.task import adherence_grid, rubric_adherence
from cpt_tasks.judge_logs.commands import answers_command, questions_command, texts_command
from cpt_tasks.judge_logs.spend import judged_path
from cpt_tasks.scorer import rubric_judge
from judges import Judgment, PromptVersion, ScoreRecord, judge_messages
from judges.judgment import weighted_total
from judges.measured import MEASURES_VERSION
from judges.prompts import SCALES
from judges.verdict import parse_verdict
from model_calls import open_store
from model_calls.call import text_of
from model_calls.inspect_private import PrerequisiteError
from rubrics import ScoreLevel, load_rubric

RESULTS = Path(__file__).parents[2] / "results"
JUDGE = ["--model", "recorded/judge"]
OF_VERSION_1 = 10  # recorded responses to wordings that version 2 of their rubric rewrote


@pytest.fixture
def log(mock_model: Any) -> EvalLog:
    number = iter(range(100))
    writer = mock_model(lambda _: f"{CALM} Text {next(number)}.")
    return evaluated(rubric_adherence("reverie", limit_per_cell=2, judge="measured"), writer, score=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[list[str]]:
    path = str(tmp_path / "calls.sqlite")
    yield ["--store", path]
    open_store(path).close()


def keys_of(path: Path) -> list[str]:
    return [row["custom_id"] for row in read_rows(path)]


def openai_answer(key: str, text: str) -> str:
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    return json.dumps({"custom_id": key, "response": {"body": {"choices": [choice]}}})


def anthropic_answer(key: str, text: str) -> str:
    message = {"content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
    return json.dumps({"custom_id": key, "result": {"type": "succeeded", "message": message}})


@pytest.mark.slow
def test_answers_from_a_file_are_what_inspect_score_judges_by(log: EvalLog, store: list[str], tmp_path: Path) -> None:
    questions, answers = tmp_path / "q.jsonl", tmp_path / "a.jsonl"
    ask = [log.location, *JUDGE, *store, "--out", questions]
    take = [answers, log.location, *JUDGE, *store]
    assert "for recorded/judge: 6 questions; bring" in succeeds(questions_command, *ask)
    keys = keys_of(questions)
    good = verdict(70, "reverie")
    answers.write_text(openai_answer(keys[0], good), encoding="utf-16")
    assert "a.jsonl: in UTF-16, expected UTF-8" in fails(answers_command, *take)
    lines = [openai_answer(key, good) for key in keys[:2]] + [anthropic_answer(key, good) for key in keys[2:4]]
    lines += [openai_answer(keys[4], "I would say 70."), openai_answer("f" * 32, good), '{"custom_id": "torn']
    answers.write_text("\n".join(lines), encoding="utf-8")
    output = fails(answers_command, *take)
    assert "5 answers read, 1 to no question of these, 1 line skipped; 1 question without an answer" in output
    assert "1 verdict cannot be used; `cpt judge questions` writes the next attempt" in output
    # taken twice, nothing changes: what the store has is no stranger's
    assert "0 answers read, 1 to no question of these" in fails(answers_command, *take)
    assert "2 questions" in succeeds(questions_command, *ask)
    further = keys_of(questions)
    assert further[1] == keys[5] and further[0] not in keys
    answers.write_text("\n".join(openai_answer(key, good) for key in further), encoding="utf-8")
    output = succeeds(answers_command, *take)
    assert "0 questions" in succeeds(questions_command, *ask)
    open_store(store[1]).close()
    printed = shlex.split(output.split("now score from the store:\n")[1].splitlines()[0])
    inspect(*printed[1:], cwd=tmp_path)
    scores = [sample.scores["rubric_judge"] for sample in read_eval_log(printed[-1]).samples or [] if sample.scores]
    assert [score.as_float() for score in scores] == pytest.approx([70] * 6)
    judgments = [ScoreRecord.from_metadata(score.metadata or {}).judgment for score in scores]
    assert sorted(judgment.attempts for judgment in judgments if isinstance(judgment, Judgment)) == [1, 1, 1, 1, 1, 2]


def test_a_file_may_hold_the_next_attempts_too(log: EvalLog, store: list[str], tmp_path: Path) -> None:
    questions, answers = tmp_path / "q.jsonl", tmp_path / "a.jsonl"
    lines: list[str] = []
    for run, reply in ((fails, "I would say 70."), (succeeds, verdict(70, "reverie"))):
        succeeds(questions_command, log.location, *JUDGE, *store, "--out", questions)
        lines += [openai_answer(key, reply) for key in keys_of(questions)]
        answers.write_text("\n".join(lines), encoding="utf-8")
        run(answers_command, answers, log.location, *JUDGE, *store)
    repeated = [answers, *JUDGE, *store, "--repeats", "2", "--out", tmp_path / "n.jsonl"]
    assert "texts of a file are judged once" in fails(questions_command, *repeated)
    elsewhere = ["--store", str(tmp_path / "other.sqlite")]
    output = succeeds(answers_command, answers, log.location, *JUDGE, *elsewhere)
    assert "12 answers read, 0 to no question of these, 0 lines skipped; 0 questions without an answer" in output
    open_store(elsewhere[1]).close()


def test_verdicts_under_one_wording_answer_no_question_of_another(
    log: EvalLog, store: list[str], tmp_path: Path
) -> None:
    questions, answers, version = tmp_path / "q.jsonl", tmp_path / "a.jsonl", ["--prompt-version", "2"]
    ask, take = [log.location, *JUDGE, *store, "--out", questions], [answers, log.location, *JUDGE, *store]
    assert "6 questions" in succeeds(questions_command, *ask, *version)
    good = verdict(70, "reverie")
    answers.write_text("\n".join(openai_answer(key, good) for key in keys_of(questions)), encoding="utf-8")
    assert "0 answers read, 6 to no question of these" in fails(answers_command, *take)
    assert "-S prompt_version=2 --model none" in succeeds(answers_command, *take, *version)
    assert "6 questions" in succeeds(questions_command, *ask)
    assert "0 questions" in succeeds(questions_command, *ask, *version)
    judge = rubric_judge(call_store=store[1], prompt_version=2)  # as `-S prompt_version=2` gives it
    scored = inspect_score(log, judge, action="overwrite", model_roles={"grader": get_model("recorded/judge")})
    metadata = [sample.scores["rubric_judge"].metadata for sample in scored.samples or [] if sample.scores]
    assert {facts["prompt_version"] for facts in metadata if facts} == {"2"} and len(metadata) == 6


def test_a_file_of_texts_is_judged_the_same_way(store: list[str], tmp_path: Path) -> None:
    texts, questions, answers = tmp_path / "texts.jsonl", tmp_path / "q.jsonl", tmp_path / "a.jsonl"
    rows = [{"rubric": "broadcast", "response": response} for response in (CALM, "Too short.")]
    write_rows(texts, rows)
    assert "1 question;" in succeeds(questions_command, texts, *JUDGE, *store, "--out", questions)
    answers.write_text(openai_answer(*keys_of(questions), verdict(30)), encoding="utf-8")
    printed = succeeds(answers_command, answers, texts, *JUDGE, *store).splitlines()[-1]
    succeeds(texts_command, *shlex.split(printed)[3:])
    assert [row["score"] for row in read_rows(tmp_path / "texts.judged.jsonl")] == pytest.approx([30, 0])


def test_what_is_judged_again_goes_over_nothing() -> None:
    paths = ["logs/a.eval", "logs/a.judged.eval", "judged.eval", "texts.jsonl"]
    expected = ["logs/a.judged.eval", "logs/a.judged-again.eval", "judged-again.eval", "texts.judged.jsonl"]
    assert [judged_path(path) for path in paths] == expected


def test_only_models_of_anthropic_have_questions_in_its_format(log: EvalLog, store: list[str], tmp_path: Path) -> None:
    out = ["--out", tmp_path / "q.jsonl", "--format", "anthropic"]
    assert "recorded/judge has no batches here" in fails(questions_command, log.location, *JUDGE, *store, *out)
    assert not list(tmp_path.glob("q.jsonl*"))


def test_a_recorded_student_says_what_it_said_and_nothing_else(tmp_path: Path) -> None:
    grid = adherence_grid("reverie", limit_per_cell=1)
    record = tmp_path / "recorded.jsonl"
    rows = [
        {"system_prompt": sample.input[0].text, "user_prompt": sample.input[1].text, "response": f"{sample.target}."}  # type: ignore[union-attr]
        for sample in grid
    ]
    write_rows(record, rows)
    model = get_model("recorded/student", file=str(record))
    log = evaluated(rubric_adherence("reverie", limit_per_cell=1, judge="none"), model)
    said = {sample.output.completion: sample.target for sample in log.samples or []}
    assert said == {f"{sample.target}.": sample.target for sample in grid}
    task = rubric_adherence("reverie", limit_per_cell=2, judge="none")
    write_rows(record, (row | {"system_prompt": ""} for row in rows))
    with pytest.raises(ValueError, match=r"recorded.jsonl:2: a second response to"):
        get_model("recorded/student", file=str(record), memoize=False)
    with pytest.raises(PrerequisiteError, match="recorded/student: the record holds no reply to"):
        [failed] = inspect_eval(task, model=model, display="none")
        assert failed.error
        raise PrerequisiteError(failed.error.message)


def test_the_numbers_that_pages_give_of_the_recorded_judge_are_those_of_its_results() -> None:
    summary = strict_json(RESULTS / "strong_student" / "summary.json")
    students = {}
    for part in (summary, *summary["apart"]):
        protocol, model = part["tasks"]["rubric_adherence"], part["models"][0]["tasks"]["rubric_adherence"]
        accuracy = round(model["metrics"]["macro_accuracy"]["value"], 3)
        students[protocol["judge"], protocol["prompt_version"]] = (model["n"], accuracy)
    assert students == {
        ("measured", MEASURES_VERSION): (36, 0.639),
        ("recorded/claude-family", "2"): (162, 0.741),
        ("recorded/claude-family", "3"): (162, 0.877),
    }
    page = strict_json(RESULTS / "judge_audit" / "audit.json")
    for under, expected in (
        (page["wordings"]["agreement"][0], [0.91, 0.875, 9.75]),
        (page["comparison"]["statistics"], [0.92, 0.906, 7.82]),
    ):
        assert [under[name]["value"] for name in ("spearman", "level_accuracy", "mae")] == pytest.approx(
            expected, abs=0.005
        )
    assert page["comparison"]["n_texts"] == 96


@pytest.mark.parametrize("version", SCALES)
@pytest.mark.parametrize("result", ["strong_student", "judge_audit"])
def test_recorded_verdicts_answer_what_a_judge_is_asked_today(result: str, version: PromptVersion) -> None:
    rows = read_rows(RESULTS / result / "recorded.jsonl")
    rows = [row for row in rows if version in row["verdicts"]]
    questions: list[Any] = []
    for number, row in enumerate(rows):
        [message] = judge_messages(load_rubric(row["rubric"]), row["user_prompt"], row["response"], version)
        questions.append({"custom_id": number, "body": {"model": "m", "messages": [{"content": text_of(message)}]}})
    bodies = [answer["response"]["body"] for answer in answers(questions[::-1], rows)]
    assert [body["choices"][0]["message"]["content"] for body in bodies] == [
        row["verdicts"][version]["reply"] for row in rows[::-1]
    ]
    questions[0]["body"]["messages"][0]["content"] += "Be kind."
    assert len(answers(questions, rows)) == len(rows) - 1


def test_the_recorded_samples_are_those_of_the_task_today() -> None:
    rows = read_rows(RESULTS / "strong_student/recorded.jsonl")
    grid = {sample.id: sample.input for sample in adherence_grid(limit_per_cell=3)}
    asked = {row["sample_id"]: row for row in rows if row["sample_id"] in grid}
    assert len(asked) == len(grid) == len(rows) - OF_VERSION_1
    for row in asked.values():
        assert [row["system_prompt"], row["user_prompt"]] == [turn.text for turn in grid[row["sample_id"]]]  # type: ignore[union-attr]


@pytest.mark.parametrize(("version", "today", "before"), [("2", 0.741, 0.728), ("3", 0.877, 0.840)])
def test_accuracies_with_the_old_wordings_and_with_todays(version: PromptVersion, today: float, before: float) -> None:
    hits: dict[str, dict[Any, bool]] = {"today": {}, "before": {}}
    grid = {sample.id for sample in adherence_grid(limit_per_cell=3)}
    rows = read_rows(RESULTS / "strong_student/recorded.jsonl")
    for row in sorted(rows, key=lambda row: row["sample_id"] not in grid):  # old responses last
        rubric, cell = load_rubric(row["rubric"]), (row["rubric"], row["level"], row["user_prompt"])
        criteria, _ = parse_verdict(rubric, row["verdicts"][version]["reply"], row["response"])
        hit = ScoreLevel.of(weighted_total(rubric, {one.id: one.score for one in criteria})) == row["level"]
        hits["today"].setdefault(cell, hit)
        hits["before"][cell] = hit
    shares = [sum(part.values()) / 162 for part in hits.values()]
    assert [len(part) for part in hits.values()] == [162, 162]
    assert shares == pytest.approx([today, before], abs=0.0005)


def test_the_report_of_the_recorded_judge_under_attack_is_that_of_its_log_and_record() -> None:
    log = read_eval_log(str(RESULTS / "judge_stress" / "judged.eval"))
    assert page_of(log) == (RESULTS / "judge_stress" / "report.md").read_text(encoding="utf-8")
    rows = read_rows(RESULTS / "judge_stress" / "recorded.jsonl")
    today = {str(sample.id): sample for sample in judge_robustness(texts_per_attack=2).dataset}
    assert {str(sample.id) for sample in log.samples or []} == set(today)
    for row in rows:
        sample = today[row["sample_id"]]
        [message] = judge_messages(
            load_rubric(row["rubric"]), str(sample.input), (sample.metadata or {})["text"], version="3"
        )
        assert hashlib.sha256(text_of(message).encode()).hexdigest()[:16] == row["question"]


def test_the_responses_to_rewritten_wordings_say_what_was_asked_and_their_scores_are_those_of_the_verdicts() -> None:
    rows = read_rows(RESULTS / "strong_student/rewording.jsonl")
    assert Counter(row["rubric_version"] for row in rows) == {1: 30, 2: 30}
    for row in rows:
        rubric = load_rubric(row["rubric"])
        wording = rubric.wordings(ScoreLevel(row["level"]), "heldout")[int(row["wording"].removeprefix("heldout-"))]
        assert (row["system_prompt"] == wording) is (row["rubric_version"] == rubric.version == 2)
        criteria, _ = parse_verdict(rubric, row["verdicts"]["3"]["reply"], row["response"])
        assert row["score"] == weighted_total(rubric, {one.id: one.score for one in criteria})
    scores = {version: [row["score"] for row in rows if row["rubric_version"] == version] for version in (1, 2)}
    assert [sum(score > 92.5 for score in scores[version]) for version in (1, 2)] == [0, 15]
    assert [sum(scores[version]) / 30 for version in (1, 2)] == pytest.approx([77.6, 91.2], abs=0.05)
