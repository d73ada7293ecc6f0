"""What identifies a call."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentText,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    get_model,
    modelapi,
)
from inspect_ai.tool import ToolCall

from model_calls import Call
from model_calls.call import content_of


def model(name: str = "anthropic/claude-sonnet-5-5", config: GenerateConfig | None = None, **arguments: Any) -> Model:
    arguments = {"api_key": "secret-key"} | arguments
    return get_model(name, config=config or GenerateConfig(), memoize=False, **arguments)


MODEL = model()


def call(text: str = "Hello.", **changes: Any) -> Call:
    return Call(**({"model": MODEL, "messages": [ChatMessageUser(content=text)]} | changes))


@given(st.text(max_size=50), st.text(max_size=50), st.booleans(), st.booleans())
def test_the_key_ignores_cache_marks_and_the_cut_into_blocks(first: str, second: str, mark: bool, other: bool) -> None:
    blocks = [ContentText(text=first, cache_breakpoint=mark), ContentText(text=second, cache_breakpoint=other)]
    assert call(messages=[ChatMessageUser(content=blocks)]).key == call(first + second).key


TIMES = GenerateConfig(max_retries=1, timeout=5, attempt_timeout=3, stream_idle_timeout=3, max_connections=3)
CACHES = GenerateConfig(adaptive_connections=False, cache=True, cache_prompt=False, fail_on_refusal=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": TIMES},
        {"config": CACHES},
        {"model": model(config=TIMES)},
        {"model": model(api_key="another", base_url="https://api.anthropic.com/")},
        {"model": model(streaming=True, cache_ttl="1h", config=CACHES)},
    ],
)
def test_the_key_ignores_how_a_call_is_transported(changes: dict[str, Any]) -> None:
    assert call(**changes).key == call().key == "a8fad3106d0af77430ec50732cd38d4a"  # a key once given stays


@pytest.mark.parametrize("name", ["openai/x", "anthropic/claude-sonnet-5-5"])
@pytest.mark.parametrize("by", ["argument", "variable"])
def test_the_key_tells_apart_the_provider_and_two_servers_of_its_interface(
    name: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(url: str | None) -> str:
        if by == "argument" or url is None:
            return call(model=model(name, **({"base_url": url} if url else {}))).key
        monkeypatch.setenv(f"{name.split('/')[0].upper()}_BASE_URL", url)
        return call(model=model(name)).key

    own, one, same, other = (key(url) for url in (None, "http://a:8000/v1", "http://a:8000/v1/", "http://b:8000/v1"))
    assert len({own, one, other}) == 3
    assert one == same


@modelapi(name="vllm-like")
class LazyAPI(ModelAPI):
    """Has no base URL before its first request, as inspect's provider of vllm; that package is not installed here."""

    def __init__(self, model_name: str, base_url: str | None, api_key: str | None, config: GenerateConfig):
        super().__init__(model_name, None, api_key, [], config)
        self.given = base_url or model_name

    async def generate(self, *_: Any) -> ModelOutput:
        raise NotImplementedError

    def connection_key(self) -> str:
        return self.given


@pytest.mark.parametrize("given", [{}, {"base_url": "http://localhost:1/v1"}])
def test_the_key_stays_when_a_provider_turns_to_its_server_only_later(given: dict[str, str]) -> None:
    lazy, other = model("vllm-like/judge", **given), model("vllm-like/judge", base_url="http://localhost:2/v1")
    before = call(model=lazy).key
    assert before != call(model=other).key
    lazy.api.base_url = "http://localhost:1/v1"
    lazy.api.model_name = "base"  # of judge, an adapter
    assert call(model=lazy).key == before


def test_a_model_here_that_was_trained_anew_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_calls.call.IN_PROCESS", ("mockllm",))
    keys = []
    for weights in (b"a", b"a", b"bc"):
        if weights != b"a" or not keys:
            (tmp_path / "adapter_model.safetensors").write_bytes(weights)
        keys.append(call(model=model("mockllm/judge", model_path=str(tmp_path))).key)
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    keys.append(call(model=model("mockllm/judge", model_path=str(tmp_path))).key)
    assert keys[0] == keys[1] != keys[2] != keys[3]


def test_the_key_ignores_the_port_of_a_server_that_inspect_starts_itself() -> None:
    one, other = (model("mockllm/judge", base_url=f"http://localhost:{port}/v1") for port in (1, 2))
    assert call(model=one).key != call(model=other).key
    for started in (one, other):
        started.api.server_process = object()  # type: ignore[attr-defined]  # as inspect's provider of sglang
    assert call(model=one).key == call(model=other).key


@pytest.mark.parametrize(
    "changes",
    [
        {"replicate": "1"},
        {"config": GenerateConfig(max_tokens=7)},
        {"config": GenerateConfig(reasoning_effort="low")},
        {"config": GenerateConfig(seed=1)},
        {"config": GenerateConfig(extra_headers={"anthropic-beta": "some-beta"})},
        {"config": GenerateConfig(extra_body={"service_tier": "auto"})},
        {"model": model("anthropic/claude-haiku-5-5")},
        {"model": model(config=GenerateConfig(max_tokens=7))},
        {"model": model(betas=["some-beta"])},
        {"messages": [ChatMessageSystem(content="Hello.")]},
        {"messages": [ChatMessageUser(content="Hel"), ChatMessageUser(content="lo.")]},
    ],
)
def test_the_key_depends_on_whatever_may_change_the_reply(changes: dict[str, Any]) -> None:
    assert call(**changes).key != call().key


def test_the_key_does_not_depend_on_where_an_argument_lies_in_memory(mock_model: Callable[..., Any]) -> None:
    one, other = (mock_model(lambda _: "x") for _ in range(2))
    assert one is not other
    assert call(model=one).key == call(model=other).key


def test_a_picture_is_part_of_the_key_and_of_what_is_sent() -> None:
    def asked(*pictures: str) -> ChatMessage:
        shown = [ContentImage(image=f"data:image/png;base64,{picture}") for picture in pictures]
        return ChatMessageUser(content=[ContentText(text="Look:"), *shown])

    assert call(messages=[asked()]).key == call(messages=[ChatMessageUser(content="Look:")]).key
    assert len({call(messages=[asked(*pictures)]).key for pictures in ((), ("AAAA",), ("BBBB",))}) == 3
    url = {"url": "data:image/png;base64,AAAA"}
    assert content_of(asked("AAAA")) == [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": url}]


def test_tools_are_refused() -> None:
    message = ChatMessageAssistant(content="", tool_calls=[ToolCall(id="1", function="f", arguments={})])
    with pytest.raises(ValueError, match="expected text only"):
        _ = call(messages=[message]).key
