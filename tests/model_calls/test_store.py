"""The call store: what identifies a call, and what survives a kill."""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner
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

from model_calls import Call, CallStore, Reply, open_batches, open_store
from model_calls.batch_state import StateFile, state_path
from model_calls.commands import calls_command


def model(name: str = "anthropic/claude-sonnet-5-5", config: GenerateConfig | None = None, **arguments: Any) -> Model:
    arguments = {"api_key": "secret-key"} | arguments
    return get_model(name, config=config or GenerateConfig(), memoize=False, **arguments)


MODEL = model()


def call(text: str = "Hello.", **changes: Any) -> Call:
    return Call(**({"model": MODEL, "messages": [ChatMessageUser(content=text)]} | changes))


def reply(key: str, text: str = "Fine.", **changes: Any) -> Reply:
    known: dict[str, Any] = {
        "key": key,
        "model": "anthropic/claude-sonnet-5-5",
        "served_model": "claude-sonnet-5-5",
        "params": {"max_tokens": 100},
        "messages_hash": "0" * 32,
        "replicate": "0",
        "text": text,
        "stop_reason": "stop",
        "usage": {"input_tokens": 10, "output_tokens": 5},
        "request_id": "msg_1",
        "created": "2026-01-01T00:00:00+00:00",
    }
    return Reply(**(known | changes))


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "calls.jsonl"
    yield path
    open_store(path).close()


def put(path: Path, *replies: Reply) -> CallStore:
    store = open_store(path)
    asyncio.run(store.put(*replies))
    return store


def reopened(path: Path) -> CallStore:
    open_store(path).close()
    return open_store(path)


# keys


@given(st.text(max_size=50), st.text(max_size=50), st.booleans(), st.booleans())
def test_the_key_ignores_cache_marks_and_the_cut_into_blocks(first: str, second: str, mark: bool, other: bool) -> None:
    blocks = [ContentText(text=first, cache_breakpoint=mark), ContentText(text=second, cache_breakpoint=other)]
    assert call(messages=[ChatMessageUser(content=blocks)]).key == call(first + second).key


@pytest.mark.parametrize(
    "config",
    [
        GenerateConfig(max_retries=1),
        GenerateConfig(timeout=5, attempt_timeout=3, stream_idle_timeout=3),
        GenerateConfig(max_connections=3, adaptive_connections=False),
        GenerateConfig(cache=True, cache_prompt=False, fail_on_refusal=True),
    ],
)
def test_the_key_ignores_how_a_call_is_transported(config: GenerateConfig) -> None:
    assert call(config=config).key == call().key
    assert call(model=model(config=config)).key == call().key


@pytest.mark.parametrize(
    "arguments",
    [{"api_key": "another"}, {"base_url": "http://localhost:1"}, {"streaming": True}, {"cache_ttl": "1h"}],
)
def test_the_key_ignores_with_which_key_and_where_a_first_party_model_is_served(arguments: dict[str, Any]) -> None:
    assert call(model=model(**arguments)).key == call().key


def test_the_key_tells_apart_two_servers_of_one_model_name() -> None:
    one, same, other = (call(model=model("mockllm/judge", base_url=f"http://localhost:{n}/v1")).key for n in (1, 1, 2))
    assert one == same != other


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


def test_the_key_counts_the_address_that_a_provider_turns_to_only_later() -> None:
    one, other = (model("vllm-like/judge", base_url=f"http://localhost:{port}/v1") for port in (1, 2))
    before = call(model=one).key
    assert before != call(model=other).key
    one.api.base_url = "http://localhost:1/v1"
    assert call(model=one).key == before


def test_the_key_ignores_the_port_of_a_server_that_inspect_starts_itself() -> None:
    lazy = model("vllm-like/judge")
    before = call(model=lazy).key
    lazy.api.base_url = "http://localhost:4711/v1"
    assert call(model=lazy).key == before
    started = [model("mockllm/judge", base_url=f"http://localhost:{port}/v1") for port in (1, 2)]
    for each in started:
        each.api.server_process = object()  # type: ignore[attr-defined]  # as inspect's provider of sglang
    assert call(model=started[0]).key == call(model=started[1]).key


@given(st.text(max_size=50), st.text(max_size=50))
def test_different_texts_have_different_keys(one: str, other: str) -> None:
    assert (call(one).key == call(other).key) == (one == other)


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


def test_a_setting_counts_the_same_on_the_model_and_on_the_call() -> None:
    config = GenerateConfig(max_tokens=7)
    assert call(config=config).key == call(model=model(config=config)).key


def test_the_key_does_not_depend_on_where_an_argument_lies_in_memory(mock_model: Callable[..., Any]) -> None:
    one, other = (mock_model(lambda _: "x") for _ in range(2))
    assert one is not other
    assert call(model=one).key == call(model=other).key


def test_a_key_once_given_stays() -> None:
    assert call().key == "a8fad3106d0af77430ec50732cd38d4a"


@pytest.mark.parametrize(
    "message",
    [
        ChatMessageUser(content=[ContentText(text="Look:"), ContentImage(image="data:image/png;base64,AAAA")]),
        ChatMessageAssistant(content="", tool_calls=[ToolCall(id="1", function="f", arguments={})]),
    ],
)
def test_anything_but_text_is_refused(message: ChatMessage) -> None:
    with pytest.raises(ValueError, match="expected text only"):
        _ = call(messages=[message]).key


def test_records_hold_no_secret_and_no_model_arguments(path: Path) -> None:
    secretive = model(api_key="secret-1", default_headers={"x-auth": "secret-2"})
    asked = call(model=secretive, config=GenerateConfig(extra_headers={"authorization": "secret-3"}, max_tokens=7))
    put(path, reply(asked.key, params=asked.params))
    assert asked.params == {"max_tokens": 7}
    assert "secret" not in path.read_text()


# the file


def test_a_reply_comes_back_as_it_was_put(path: Path) -> None:
    kept = reply("a", "Zeilen\n\ud800\u2028 ende", usage={"input_tokens_cache_read": 3}, attempts=2, batch=True)
    store = put(path, kept)
    assert store.get("a") == kept
    assert reopened(path).get("a") == kept
    assert open_store(path).get("b") is None


def test_the_newest_reply_of_a_key_wins_and_compacting_drops_the_others(path: Path) -> None:
    store = put(path, reply("a", "old"), reply("b"), reply("a", "new"))
    before = list(store.replies())
    assert store.compact() == 1
    assert list(store.replies()) == before
    asyncio.run(store.put(reply("c")))
    assert [(r.key, r.text) for r in reopened(path).replies()] == [("a", "new"), ("b", "Fine."), ("c", "Fine.")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "calls.jsonl"
    put(path, reply("a", "ä"), reply("b", "b" * 40), reply("c")).close()
    return path.read_bytes()


@given(data=st.data())
def test_a_file_cut_at_any_byte_loses_at_most_its_last_line(
    data: st.DataObject, whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cut = data.draw(st.integers(0, len(whole)))
    path = tmp_path_factory.mktemp("cut") / "calls.jsonl"
    path.write_bytes(whole[:cut])
    store = open_store(path)
    assert len(store) == whole[:cut].count(b"\n")
    asyncio.run(store.put(reply("d")))
    store.close()
    store = open_store(path)
    assert [r.key for r in store.replies()] == ["a", "b", "c"][: whole[:cut].count(b"\n")] + ["d"]
    store.close()


def test_a_line_broken_in_the_middle_is_named_and_nothing_is_lost(path: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"key": "a"}\nnonsense\n{"key": "b"}\n')
    for _ in range(2):  # a refused file is not left locked
        with pytest.raises(ValueError, match="broken.jsonl, line 2: got b'nonsense"):
            open_store(broken)
    assert broken.read_text().count("\n") == 3


def test_puts_at_the_same_time_share_an_fsync(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(file), fsync(file)))
    store = open_store(path)

    async def puts() -> None:
        await asyncio.gather(*(store.put(reply(str(number))) for number in range(200)))

    asyncio.run(puts())
    assert len(reopened(path)) == 200
    assert len(synced) <= 100


def test_a_write_that_fails_leaves_nothing_half_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = put(path, reply("a"))
    write = os.write

    def full_disk(file: int, data: Any) -> int:
        if len(data) < 30:
            raise OSError(28, "No space left on device")
        return write(file, data[:-20])

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "write", full_disk)
        asyncio.run(store.put(reply("b")))
    assert store.get("b") is None
    asyncio.run(store.put(reply("c")))  # what was paid for is written as soon as there is room
    assert sorted(r.key for r in reopened(path).replies()) == ["a", "b", "c"]


def test_a_caller_cancelled_before_it_puts_has_its_reply_kept(path: Path) -> None:
    store, returned = open_store(path), list[str]()

    async def by_scope() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await store.put(reply("scope"))
            assert "scope" in store  # put returned as ever; the cancellation strikes at what is awaited next
            returned.append("scope")

    async def by_asyncio() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await store.put(reply("asyncio"))

    asyncio.run(by_scope())
    assert returned == ["scope"]
    assert path.read_bytes().count(b"\n") == len(store) == 1
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(by_asyncio())
    assert path.read_bytes().count(b"\n") == len(store) == 2


def test_closing_writes_what_is_pending(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(path)

    def full_disk(file: int, data: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_disk)
        with pytest.raises(OSError, match="No space"):
            asyncio.run(store.put(reply("a")))
    assert [r.key for r in reopened(path).replies()] == ["a"]


def test_a_store_that_cannot_write_what_is_pending_is_closed_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(path)
    store._pending.append(("a", b"line"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: os.strerror(28) and os.close(-1))
        with pytest.raises(OSError, match="Bad file descriptor"):
            store.close()
    assert len(open_store(path)) == 0


def test_a_store_is_opened_with_a_warning_if_batches_hold_replies_that_it_lacks(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(path, reply("a"))
    assert open_batches(path) == 0
    state = StateFile(state_path(path))
    for name, keys in {"open": ["a", "b"], "done": ["c"], "unsure": ["d", "e"], "refused": ["f"]}.items():
        state.add(intent=name, time="2026-01-01T00:00:00+00:00", keys=keys)
    state.add(batch="msgbatch_1", intent="open")
    state.add(batch="msgbatch_2", intent="done")
    state.add(batch="msgbatch_2")
    state.add(refused="refused")
    with state.path.open("ab") as file:
        file.write(b'{"torn')
    before = state.path.read_bytes()
    assert open_batches(path) == 4
    with caplog.at_level(logging.WARNING):
        reopened(path)
        open_store(path)
    [said] = caplog.messages
    assert said.startswith(
        f"{path}.batches.jsonl: 3 calls are in batches whose results are not in the store yet; the command "
    )
    assert state.path.read_bytes() == before  # of another process, it may be
    caplog.clear()
    asyncio.run(open_store(path).put(*(reply(key) for key in "bde")))
    reopened(path)
    assert not caplog.messages


def test_a_store_outlives_event_loops(path: Path) -> None:
    store = open_store(path)
    for number in range(3):
        asyncio.run(store.put(reply(str(number))))
    assert open_store(path) is store
    assert len(store) == 3


def test_cpt_calls_counts_calls_tokens_and_refusals(path: Path) -> None:
    put(path, reply("a", "old"), reply("a"), reply("b", stop_reason="content_filter", batch=True)).close()
    run = CliRunner().invoke(calls_command, [str(path), "--compact"])
    assert run.exit_code == 0, run.output
    assert run.output.splitlines()[:3] == [
        "1 lines dropped",
        f"{path}: 2 calls, 0.0 MB",
        "anthropic/claude-sonnet-5-5, batch: 1 calls, 1 refusals",
    ]
    assert json.loads(path.read_text().splitlines()[0])["text"] == "Fine."
    assert "output_tokens" in run.output
