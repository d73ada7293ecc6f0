"""The request of a batch is the one that the online path sends."""

import asyncio
import json
from typing import Any

import pytest
from fake_anthropic import FakeAnthropic
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentText,
    GenerateConfig,
    Model,
    ResponseSchema,
    get_model,
)
from inspect_ai.util import json_schema
from pydantic import BaseModel

from model_calls import Call, CallStore, ask
from model_calls.batch import ask_in_batches
from model_calls.request import request_body


def fake_model(name: str = "anthropic/claude-sonnet-5-5", *, cache_ttl: str | None = None, **config: Any) -> Model:
    arguments = {"cache_ttl": cache_ttl} if cache_ttl else {}
    return get_model(name, config=GenerateConfig(**({"max_tokens": 1000} | config)), memoize=False, **arguments)


class Verdict(BaseModel):
    reason: str
    score: float


SYSTEM = ChatMessageSystem(content="You grade.")
PLAIN: list[ChatMessage] = [SYSTEM, ChatMessageUser(content="Grade this.")]
MARKED: list[ChatMessage] = [
    SYSTEM,
    ChatMessageUser(content=[ContentText(text="The rubric.", cache_breakpoint=True), ContentText(text="The text.")]),
]
MARKED_SYSTEM: list[ChatMessage] = [
    ChatMessageSystem(content=[ContentText(text="Grade."), ContentText(text="The rubric.", cache_breakpoint=True)]),
    ChatMessageUser(content="The text."),
]
TURNS: list[ChatMessage] = [
    ChatMessageUser(content="Write."),
    ChatMessageUser(content="Please."),
    ChatMessageAssistant(content="Once upon a time."),
    ChatMessageUser(content=[ContentText(text="Go"), ContentText(text="on.")]),
]
SCHEMA = ResponseSchema(name="verdict", json_schema=json_schema(Verdict))


@pytest.mark.parametrize("messages", [PLAIN, MARKED, MARKED_SYSTEM, TURNS], ids=["plain", "marked", "system", "turns"])
@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("claude-sonnet-5-5", {"max_tokens": 6000, "reasoning_effort": "low", "response_schema": SCHEMA}),
        ("claude-sonnet-5-5", {"reasoning_effort": "none", "stop_seqs": ["END"]}),
        ("claude-haiku-5-5", {"reasoning_effort": "none", "effort": "low", "max_tokens": None}),
        ("claude-opus-4-6", {"reasoning_effort": "high", "cache_prompt": False}),
        ("claude-sonnet-4-5", {"system_message": "Be brief.", "cache_ttl": "1h", "temperature": 0.5}),
    ],
)
def test_the_request_is_the_one_that_the_online_path_sends(
    anthropic_server: FakeAnthropic, store: CallStore, model: str, config: dict[str, Any], messages: list[ChatMessage]
) -> None:
    call = Call(fake_model(f"anthropic/{model}", **config), messages)
    body, betas = asyncio.run(request_body(call))
    asyncio.run(ask(store, call))
    [online] = anthropic_server.bodies
    online.pop("stream", None)  # a batch has no such thing
    assert json.loads(json.dumps(body)) == online
    assert ",".join(betas) == anthropic_server.headers[0].get("anthropic-beta", "")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"fallback_models": ["claude-opus-5"]}, "config.fallback_models is set: a batch has no place for it"),
        ({"extra_headers": {"x-team": "a"}}, "config.extra_headers is set: a batch has no place for it"),
    ],
)
def test_a_setting_that_a_batch_cannot_express_is_named_before_anything_is_sent(
    anthropic_server: FakeAnthropic, store: CallStore, config: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        asyncio.run(ask_in_batches(store, [Call(fake_model(**more), PLAIN) for more in ({}, config)]))
    assert anthropic_server.stats.batches_created == 0


def test_a_model_without_batches_is_refused_in_one_sentence(mock_model: Any, store: CallStore) -> None:
    with pytest.raises(ValueError, match="^mockllm/student has no batches here, .*: ask it online$"):
        asyncio.run(ask_in_batches(store, [Call(mock_model(lambda _: "Fine."), PLAIN)]))
