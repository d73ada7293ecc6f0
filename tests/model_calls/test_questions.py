"""Questions as files, and answers: the store has the same replies as if the model had been asked here."""

import asyncio
import json
from pathlib import Path
from typing import Any

from calling import SCHEMA, calls, fake_model
from fake_anthropic import FakeAnthropic
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, ContentText, GenerateConfig, get_model

from model_calls import Call, CallStore
from model_calls.inspect_private import request_body
from model_calls.questions import Answered, read_answers, write_questions


def read(path: Path, asked: list[Call], store: CallStore) -> Answered:
    return asyncio.run(read_answers(path, asked, store))


def chat_answer(custom_id: str, text: Any, finish_reason: str = "stop", **body: Any) -> str:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    body = {"model": "served", "choices": [choice]} | body
    return json.dumps({"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None})


def test_a_judges_schema_and_stops_are_written_as_the_interface_names_them(
    mock_model: Any, tmp_path: Path, store: CallStore
) -> None:
    blocks: Any = [ContentText(text="A rubric. ", cache_breakpoint=True), ContentText(text="A text.")]
    messages = [ChatMessageSystem(content="Grade."), ChatMessageUser(content=blocks)]
    config = GenerateConfig(max_tokens=9, response_schema=SCHEMA, stop_seqs=["END"], extra_body={"a": 1})
    call = Call(mock_model(lambda _: ""), messages, config)
    assert asyncio.run(write_questions(tmp_path / "q.jsonl", [call, call], store)).count == 1
    question = json.loads((tmp_path / "q.jsonl").read_text(encoding="utf-8"))
    format = question["body"].pop("response_format")
    assert question == {
        "custom_id": call.key,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "student",
            "messages": [{"role": "system", "content": "Grade."}, {"role": "user", "content": "A rubric. A text."}],
            "max_tokens": 9,
            "stop": ["END"],
            "a": 1,
        },
    }
    # models of OpenAI that reason refuse the older name
    of_openai = Call(get_model("openai/gpt-5", api_key="x"), messages, config)
    asyncio.run(write_questions(tmp_path / "q.jsonl", [of_openai], store))
    body = json.loads((tmp_path / "q.jsonl").read_text(encoding="utf-8"))["body"]
    assert (body["max_completion_tokens"], "max_tokens" in body) == (9, False)
    assert (format["type"], format["json_schema"]["name"]) == ("json_schema", "verdict")
    assert format["json_schema"]["schema"]["properties"]["score"]["type"] == "number"


def test_what_is_no_answer_is_counted_by_kind_and_the_others_are_taken(
    mock_model: Any, tmp_path: Path, store: CallStore
) -> None:
    asked = calls(range(5), mock_model(lambda _: ""))
    keys = [call.key for call in asked]
    lines = [
        "\ufeff" + chat_answer(keys[0], "first \ud83d", "length", usage={"prompt_tokens": 7, "completion_tokens": 3}),
        chat_answer(keys[0], "second"),
        json.dumps({"custom_id": keys[1], "generated_text": "Ray says.", "finish_reason": "length"}),
        "",
        chat_answer(keys[2], None, "content_filter", created=1_700_000_000_000),  # not in seconds
        json.dumps({"custom_id": keys[3], "error": {"message": "too long"}}),
        json.dumps({"custom_id": keys[3], "response": {"status_code": 500}}),
        chat_answer("f" * 32, "A stranger's."),
        json.dumps({"custom_id": keys[4]}),
        chat_answer(keys[4], ["no", "text"]),
        "[]",
        '{"custom_id": "torn',
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    outcome = read(path, asked, store)
    assert (outcome.answered, outcome.unknown, outcome.missing) == (3, 1, 2)
    assert outcome.problems == {
        "error of the engine: {'message': 'too long'}": 1,
        "error of the engine: status 500": 1,
        "not an answer: no custom_id, or no text": 4,
    }
    texts = [(reply.text, reply.stop_reason) for reply in map(store.get, keys[:3]) if reply]
    assert texts == [("first \ud83d", "max_tokens"), ("Ray says.", "max_tokens"), ("", "content_filter")]
    assert read(path, asked, store).answered == 0  # a reply that is there wins


def message(*texts: str, stop_reason: str = "end_turn") -> dict[str, Any]:
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    content = [thinking, *({"type": "text", "text": text} for text in texts)]
    usage = {"input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 5, "service_tier": "batch"}
    return {"id": "msg_1", "model": "served", "content": content, "stop_reason": stop_reason, "usage": usage}


def test_a_round_trip_in_anthropics_format_asks_what_the_online_path_would_send(
    server: FakeAnthropic, tmp_path: Path, store: CallStore
) -> None:
    asked = calls(range(6), fake_model(response_schema=SCHEMA))
    path = tmp_path / "q.jsonl"
    written = asyncio.run(write_questions(path, asked, store, "anthropic"))
    assert str(written) == f"6 questions, to be sent with the header `anthropic-beta: {','.join(written.betas)}`"
    questions = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    body, betas = asyncio.run(request_body(asked[0]))
    assert written.betas == list(betas) and betas
    assert questions[0] == {"custom_id": asked[0].key, "params": body}
    assert server.stats.requests == 0
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    results: list[dict[str, Any]] = [
        {"type": "succeeded", "message": message("Two", "parts.")},
        {"type": "succeeded", "message": message(stop_reason="refusal")},
        {"type": "succeeded", "message": message("cut", stop_reason="max_tokens")},
        {"type": "errored", "error": overloaded},
        {"type": "expired"},
        {"type": "succeeded", "message": {"content": [{"type": "text"}]}},
    ]
    rows = [{"custom_id": one["custom_id"], "result": result} for one, result in zip(questions, results, strict=True)]
    rows.append({"custom_id": "f" * 32, "result": results[0]})
    path.write_text("\n".join(json.dumps(row) for row in reversed(rows)), encoding="utf-8")
    outcome = read(path, asked, store)
    assert (outcome.answered, outcome.unknown, outcome.missing) == (3, 1, 3)
    assert outcome.problems == {
        "error of the engine: errored: overloaded_error: busy": 1,
        "error of the engine: expired": 1,
        "not an answer: no custom_id, or no text": 1,
    }
    replies = [reply for reply in (store.get(call.key) for call in asked) if reply]
    texts = [(reply.text, reply.stop_reason) for reply in replies]
    assert texts == [("Two\nparts.", "stop"), ("", "content_filter"), ("cut", "max_tokens")]
    assert replies[0].usage == {"input_tokens": 7, "output_tokens": 3, "input_tokens_cache_read": 5}
    assert replies[0].batch and replies[0].request_id == "msg_1"
