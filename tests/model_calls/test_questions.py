"""Questions as files, and answers: the store has the same replies as if the model had been asked here."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_anthropic import FakeAnthropic
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, Model, ResponseSchema, get_model
from inspect_ai.util import json_schema
from pydantic import BaseModel

from model_calls import Call, CallStore, ask, open_store
from model_calls.questions import Answered, QuestionFormat, Questions, read_answers, write_questions


class Verdict(BaseModel):
    score: float


SCHEMA = ResponseSchema(name="verdict", json_schema=json_schema(Verdict))


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[CallStore]]:
    stores = [open_store(tmp_path / f"{name}.sqlite") for name in ("files", "online")]
    yield stores
    for store in stores:
        store.close()


def asked(model: Model, count: int = 3, **config: Any) -> list[Call]:
    return [
        Call(
            model,
            [ChatMessageSystem(content="Grade."), ChatMessageUser(content=f"Text {n}.")],
            GenerateConfig(**config),
        )
        for n in range(count)
    ]


def write(path: Path, calls: list[Call], store: CallStore, format: QuestionFormat = "openai") -> list[dict[str, Any]]:
    written = asyncio.run(write_questions(path, calls, store, format))
    questions = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert written.count == len(questions)
    return questions


def read(path: Path, calls: list[Call], store: CallStore) -> Answered:
    return asyncio.run(read_answers(path, calls, store))


def chat_answer(custom_id: str, text: Any, finish_reason: str = "stop", **body: Any) -> str:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    body = {"model": "served", "choices": [choice]} | body
    return json.dumps({"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None})


@pytest.mark.parametrize("format", ["openai", "anthropic"])
def test_answers_are_the_replies_that_asking_would_have_given(
    anthropic_server: FakeAnthropic, tmp_path: Path, stores: list[CallStore], format: QuestionFormat
) -> None:
    filed, online = stores
    model = get_model("anthropic/claude-sonnet-5-5", config=GenerateConfig(max_tokens=100), memoize=False)
    calls = asked(model, reasoning_effort="none")
    replies = [asyncio.run(ask(online, call))[0] for call in calls]
    questions = write(tmp_path / "q.jsonl", [*calls, calls[0]], filed, format)
    assert [question["custom_id"] for question in questions] == [call.key for call in calls]
    if format == "anthropic":
        sent = [body | {"stream": None} for body in anthropic_server.bodies]
        assert [question["params"] | {"stream": None} for question in questions] == sent
        results = [
            {"type": "succeeded", "message": anthropic_server._message(question["params"], "p", {"input_tokens": 4})}
            for question in questions
        ]
        results[0]["message"]["content"].insert(0, {"type": "thinking", "thinking": "Hm.", "signature": "s"})
        answers = [
            json.dumps({"custom_id": q["custom_id"], "result": r}) for q, r in zip(questions, results, strict=True)
        ]
    else:
        texts = ["<think>Hm.</think>\n" + reply.text for reply in replies]
        answers = [chat_answer(q["custom_id"], text) for q, text in zip(questions, texts, strict=True)]
    (tmp_path / "a.jsonl").write_text("\n".join(reversed(answers)))
    assert read(tmp_path / "a.jsonl", calls, filed) == Answered(answered=3)
    same = ("key", "model", "params", "messages_hash", "replicate", "text", "stop_reason")
    for mine, theirs in zip(map(filed.get, [call.key for call in calls]), replies, strict=True):
        assert [getattr(mine, name) for name in same] == [getattr(theirs, name) for name in same]
    assert asyncio.run(write_questions(tmp_path / "q.jsonl", calls, filed, format)) == Questions(0, ())


def test_a_judges_schema_and_stops_are_written_as_the_interface_names_them(
    mock_model: Any, tmp_path: Path, stores: list[CallStore]
) -> None:
    calls = asked(
        mock_model(lambda _: ""), 1, max_tokens=9, response_schema=SCHEMA, stop_seqs=["END"], extra_body={"a": 1}
    )
    [question] = write(tmp_path / "q.jsonl", calls, stores[0])
    format = question["body"].pop("response_format")
    assert question == {
        "custom_id": calls[0].key,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "student",
            "messages": [{"role": "system", "content": "Grade."}, {"role": "user", "content": "Text 0."}],
            "max_tokens": 9,
            "stop": ["END"],
            "a": 1,
        },
    }
    assert (format["type"], format["json_schema"]["name"]) == ("json_schema", "verdict")
    assert format["json_schema"]["schema"]["properties"]["score"]["type"] == "number"


def test_features_that_a_file_has_no_place_for_are_named(
    anthropic_server: FakeAnthropic, tmp_path: Path, stores: list[CallStore]
) -> None:
    model = get_model("anthropic/claude-sonnet-5-5", config=GenerateConfig(reasoning_effort="low"), memoize=False)
    written = asyncio.run(write_questions(tmp_path / "q.jsonl", asked(model), stores[0], "anthropic"))
    assert written.count == 3
    assert "interleaved-thinking-2025-05-14" in written.betas
    assert anthropic_server.stats.requests == 0


def test_a_model_that_is_not_anthropics_has_no_questions_in_its_format(
    mock_model: Any, tmp_path: Path, stores: list[CallStore]
) -> None:
    with pytest.raises(ValueError, match="mockllm/student has no batches here"):
        asyncio.run(write_questions(tmp_path / "q.jsonl", asked(mock_model(lambda _: "")), stores[0], "anthropic"))
    assert not (tmp_path / "q.jsonl").exists()


def test_what_is_no_answer_is_counted_by_kind_and_the_others_are_taken(
    mock_model: Any, tmp_path: Path, stores: list[CallStore]
) -> None:
    calls = asked(mock_model(lambda _: ""), 5)
    keys = [call.key for call in calls]
    lines = [
        "\ufeff" + chat_answer(keys[0], "first \ud83d", "length", usage={"prompt_tokens": 7, "completion_tokens": 3}),
        chat_answer(keys[0], "second"),
        json.dumps({"custom_id": keys[1], "generated_text": "Ray says."}),
        chat_answer(keys[2], None, "content_filter"),
        json.dumps({"custom_id": keys[3], "error": {"message": "too long"}}),
        json.dumps({"custom_id": keys[3], "response": {"status_code": 500}}),
        json.dumps({"custom_id": keys[4], "result": {"type": "expired"}}),
        chat_answer("f" * 32, "A stranger's."),
        json.dumps({"custom_id": keys[4]}),
        chat_answer(keys[4], ["no", "text"]),
        "[]",
        '{"custom_id": "torn',
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    outcome = read(path, calls, stores[0])
    assert (outcome.answered, outcome.unanswered, outcome.unknown) == (3, 2, 1)
    assert outcome.problems == {
        "error of the engine: {'message': 'too long'}": 1,
        "error of the engine: status 500": 1,
        "error of the engine: expired: ": 1,
        "not an answer: no custom_id, or no text": 4,
    }
    texts = [(reply.text, reply.stop_reason) for reply in map(stores[0].get, keys[:3]) if reply]
    assert texts == [("first \ud83d", "max_tokens"), ("Ray says.", "unknown"), ("", "content_filter")]
    again = read(path, calls, stores[0])  # a reply that is there wins
    assert (again.answered, again.unanswered) == (0, 2)
    with pytest.raises(ValueError, match="no.jsonl: not found"):
        read(tmp_path / "no.jsonl", calls, stores[0])
