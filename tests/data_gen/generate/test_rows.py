"""What a row says, and answers of engines elsewhere: the rows that asking here would have made."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from fake_anthropic import FakeAnthropic
from generating import MODEL, generate, rows_of

from data_gen.generate.questions import TEACHER_PROMPT_VERSION
from data_gen.generate.teachers import teacher_name
from data_gen.responses import Problems, iter_responses
from model_calls import open_store
from rubrics import ScoreLevel, load_rubric, load_user_prompts


def test_a_row_says_what_was_asked_and_what_came(anthropic_server: FakeAnthropic) -> None:
    done = generate("--teacher", MODEL, "--rubrics", "broadcast", "--limit", 1, "--out", "r.jsonl")
    assert done.exit_code == 0, done.output
    [row] = rows_of(Path("r.jsonl"))
    [stored] = open_store("calls/teacher.sqlite").replies()
    rubric = load_rubric("broadcast")
    assert row | {"response": "", "usage": {}} == {
        **({"schema": row["schema"]} if "schema" in row else {}),
        "id": hashlib.sha256(json.dumps([stored.key, "broadcast"]).encode()).hexdigest()[:16],
        "user_prompt_id": row["user_prompt_id"],
        "user_prompt": load_user_prompts("train")[row["user_prompt_id"]],
        "rubric": "broadcast",
        "rubric_hash": rubric.hash,
        "level": "low",
        "response": "",
        "teacher": MODEL,
        "params": {"max_tokens": 1024, "teacher_prompt_version": TEACHER_PROMPT_VERSION},
        "created": stored.created,
        "usage": {},
        "stop_reason": "stop",
    }
    assert row["usage"] == stored.usage
    assert row["response"] == stored.text
    problems = Problems()
    assert len(list(iter_responses([Path("r.jsonl")], {"broadcast": rubric}, problems))) == 1
    assert problems.summary() == ""


@pytest.mark.parametrize(
    ("model", "arguments", "name"),
    [
        ("anthropic/claude-sonnet-5-5", {}, "anthropic/claude-sonnet-5-5"),
        ("hf/local", {"model_path": "/data/models/smol/"}, "hf/smol"),
        ("hf/smol-base", {"model_path": "/data/models/smol"}, "hf/smol-base"),
        ("hf//data/models/smol", {}, "hf/smol"),
        ("vllm/Qwen/Qwen3-4B:/data/adapters/dada", {}, "vllm/Qwen/Qwen3-4B:dada"),
        ("openai-api/fleet/Qwen/Qwen3-32B", {}, "openai-api/fleet/Qwen/Qwen3-32B"),
    ],
)
def test_no_teacher_is_named_by_a_machines_path(model: str, arguments: dict[str, str], name: str) -> None:
    assert teacher_name(model, arguments) == name


def test_configured_by_a_system_prompt_the_teacher_sees_no_rubric(mock_teacher: Any) -> None:
    model = mock_teacher(lambda messages: messages[0].text)
    arguments = ("--rubrics", "broadcast", "--configured-by", "system_prompt", "--limit", 6, "--out", "r.jsonl")
    assert generate("--teacher", "mockllm/t", *arguments).exit_code == 0
    rubric = load_rubric("broadcast")
    for row in rows_of(Path("r.jsonl")):
        number = int(row["wording"].rsplit("-", 1)[1])
        assert row["response"] == rubric.wordings(ScoreLevel(row["level"]), "train")[number]
    assert [[message.role for message in messages] for messages in model.seen] == [["system", "user"]] * 6


@pytest.mark.parametrize(
    ("reply", "stop_reason", "outcome"),
    [("Cut sho", "max_tokens", "truncated"), ("", "content_filter", "refused"), (" ", "stop", "empty")],
)
def test_refused_truncated_and_empty_replies_are_rows_and_counted(
    mock_teacher: Any, reply: str, stop_reason: str, outcome: str
) -> None:
    mock_teacher(lambda _: reply, stop_reason=stop_reason)
    done = generate("--teacher", "mockllm/t", "--rubrics", "broadcast", "--limit", 6, "--out", "r.jsonl")
    lines = [f"broadcast {level} mockllm/t: 2 {outcome}" for level in ScoreLevel]
    assert [*lines, f"all: 6 {outcome}"] == done.stdout.splitlines()[:4]
    assert [row["stop_reason"] for row in rows_of(Path("r.jsonl"))] == [stop_reason] * 6


def answer(question: dict[str, Any], **extra: Any) -> dict[str, Any]:
    """What `vllm run-batch` writes."""
    text = "<think>Hm.</think>\n" + question["body"]["messages"][-1]["content"][-200:]
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body = {"model": "served", "choices": [choice | extra], "usage": usage, "created": 1_700_000_000}
    custom_id = question["custom_id"]
    return {"id": "x", "custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None}


def test_questions_go_out_and_answers_come_back_as_the_rows_that_asking_would_have_made(mock_teacher: Any) -> None:
    model = mock_teacher(lambda messages: messages[-1].text[-200:])
    arguments = ("--teacher", "mockllm/student", "--rubrics", "broadcast,reverie", "--levels", "low,control")
    done = generate(*arguments, "--questions", "q.jsonl")
    assert done.exit_code == 0, done.output
    questions = rows_of(Path("q.jsonl"))
    assert len(questions) == 24 * 2 + 24  # the controls of both rubrics are the same
    assert "96 rows planned, 0 in the file, 0 in the call store, 72 calls to make" in done.output
    assert model.seen == []
    lines = [json.dumps(answer(question)) for question in reversed(questions)]
    Path("a.jsonl").write_text("\n".join([*lines[:-5], '{"custom_id": "torn']))
    imported = generate(*arguments, "--answers", "a.jsonl", "--out", "r.jsonl")
    assert imported.exit_code == 1
    # of the first five questions two are controls, which stand under both rubrics
    assert "7 of 96 rows are missing" in imported.output
    assert "1 lines skipped: not an answer: no custom_id, or no text" in imported.output
    stranger = json.dumps(answer({**questions[0], "custom_id": "e" * 32}))
    Path("b.jsonl").write_text("\n".join([*lines[-5:], stranger]))
    imported = generate(*arguments, "--answers", "b.jsonl", "--out", "r.jsonl")
    assert imported.exit_code == 0, imported.output
    assert "1 answers to no question that is missing here" in imported.output
    assert generate(*arguments, "--out", "online.jsonl", "--store", "other.sqlite").exit_code == 0
    rows, online = ([row | {"usage": {}} for row in rows_of(Path(name))] for name in ("r.jsonl", "online.jsonl"))
    assert {row["created"] for row in rows} == {"2023-11-14T22:13:20+00:00"}
    assert [row | {"created": ""} for row in rows] == [row | {"created": ""} for row in online]


def test_a_lone_surrogate_stops_no_run_and_stands_as_a_replacement_in_the_row(mock_teacher: Any) -> None:
    mock_teacher(lambda messages: "A \ud83d text.")
    arguments = ("--teacher", "mockllm/student", "--rubrics", "broadcast", "--limit", 3)
    for _ in range(2):
        done = generate(*arguments, "--out", "r.jsonl")
        assert done.exit_code == 0, done.output
    assert [row["response"] for row in rows_of(Path("r.jsonl"))] == ["A \ufffd text."] * 3
    assert {reply.text for reply in open_store("calls/teacher.sqlite").replies()} == {"A \ud83d text."}
    assert generate(*arguments, "--questions", "q.jsonl", "--store", "other.sqlite").exit_code == 0
    lines = [
        json.dumps({"custom_id": q["custom_id"], "generated_text": "A \ud83d text."}) for q in rows_of(Path("q.jsonl"))
    ]
    Path("a.jsonl").write_text("\n".join(lines))
    for _ in range(2):
        done = generate(*arguments, "--answers", "a.jsonl", "--out", "s.jsonl", "--store", "other.sqlite")
        assert done.exit_code == 0, done.output
    assert [row["response"] for row in rows_of(Path("s.jsonl"))] == ["A \ufffd text."] * 3
