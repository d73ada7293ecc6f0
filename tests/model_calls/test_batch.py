"""The batch path against a fake server: requests and replies as online, and nothing sent twice after a kill."""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anthropic
import anyio
import httpx2
import pytest
from calling import SCHEMA, calls, fake_model
from command_runs import succeeds
from fake_anthropic import Config, FakeAnthropic
from filelock import FileLock
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentText,
    Model,
    get_model,
)

from model_calls import Call, CallStore, ask, open_store
from model_calls.batch import BatchOutcome, ask_in_batches
from model_calls.commands import calls_command
from model_calls.inspect_private import request_body

FAKES = Path(__file__).parents[1] / "fakes"


def run(store: CallStore, asked: list[Call], **options: Any) -> BatchOutcome:
    return asyncio.run(ask_in_batches(store, asked, **({"poll_seconds": 0.02, "batch_size": 30} | options)))


def all_sent_once(server: FakeAnthropic, asked: list[Call]) -> bool:
    return dict(server.stats.batch_entries) == {call.key: 1 for call in asked}


# the request


CHAT = [
    ChatMessageSystem(content=[ContentText(text="Grade."), ContentText(text="The rubric.", cache_breakpoint=True)]),
    ChatMessageUser(content=[ContentText(text="Write.", cache_breakpoint=True), ContentText(text="Do.")]),
    ChatMessageUser(content="Please."),
    ChatMessageAssistant(content="Once upon a time."),
    ChatMessageUser(content="Go on."),
]
WITH_SCHEMA = {"max_tokens": 6000, "reasoning_effort": "low", "response_schema": SCHEMA}


@pytest.mark.parametrize(
    ("model", "config", "messages"),
    [
        ("claude-sonnet-5-5", WITH_SCHEMA, CHAT),
        ("claude-sonnet-5-5", WITH_SCHEMA, CHAT[1:]),
        ("claude-sonnet-5-5", WITH_SCHEMA, [ChatMessageSystem(content="Grade."), CHAT[-1]]),
        ("claude-sonnet-5-5", {"reasoning_effort": "none", "stop_seqs": ["END"]}, CHAT),
        ("claude-haiku-5-5", {"reasoning_effort": "none", "effort": "low", "max_tokens": None}, CHAT),
        ("claude-opus-4-6", {"reasoning_effort": "high", "cache_prompt": False}, CHAT),
        ("claude-sonnet-4-5", {"system_message": "Be brief.", "temperature": 0.5}, CHAT),
    ],
)
def test_the_request_is_the_one_that_the_online_path_sends(
    server: FakeAnthropic, store: CallStore, model: str, config: dict[str, Any], messages: list[Any]
) -> None:
    call = Call(fake_model(f"anthropic/{model}", **config), messages)
    body, betas = asyncio.run(request_body(call))
    asyncio.run(ask(store, call))
    [online] = server.bodies
    online.pop("stream", None)  # a batch has no such thing
    assert json.loads(json.dumps(body)) == online
    assert ",".join(betas) == server.headers[0].get("anthropic-beta", "")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: fake_model(fallback_models=["claude-opus-5"]), "config.fallback_models is set: a batch has no place"),
        (lambda: fake_model(extra_headers={"x-team": "a"}), "config.extra_headers is set: a batch has no place for it"),
        (lambda: get_model("mockllm/student"), "^mockllm/student has no batches here, .*: ask it online$"),
    ],
)
def test_a_call_that_has_no_place_in_a_batch_is_named_before_anything_is_sent(
    server: FakeAnthropic, store: CallStore, model: Callable[[], Model], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(store, calls(range(1)) + calls(range(1), model()))
    assert server.stats.batches_created == 0


# replies


def test_a_reply_is_the_one_that_the_online_path_keeps(server: FakeAnthropic, tmp_path: Path) -> None:
    server.config = Config(rate_refusal=0.3)
    asked = calls(range(10))
    stores = [open_store(tmp_path / f"{way}.sqlite") for way in ("online", "batch")]
    for call in asked:
        asyncio.run(ask(stores[0], call))
    server.reset()
    assert run(stores[1], asked) == BatchOutcome(10, 0, {})
    online, batch = ({r.key: vars(r) for r in store.replies()} for store in stores)
    varying = {"batch": True, "created": None}
    assert {key: reply | varying for key, reply in online.items()} == {
        key: reply | {"created": None} for key, reply in batch.items()
    }
    server.reset()
    assert not any(asyncio.run(ask(stores[1], call))[1] for call in asked)
    assert server.stats.requests == 0
    for store in stores:
        store.close()


def test_calls_are_cut_into_batches_that_name_their_beta_features(server: FakeAnthropic, store: CallStore) -> None:
    asked = calls(range(70), fake_model(reasoning_effort="low"))
    assert run(store, asked + asked[:5]) == BatchOutcome(70, 0, {})
    assert [len(batch["entries"]) for batch in server.batches.values()] == [30, 30, 10]
    assert all("interleaved" in batch["betas"] for batch in server.batches.values())
    assert run(store, asked) == BatchOutcome(0, 70, {})
    assert server.stats.batches_created == 3


def test_errored_and_expired_entries_are_sent_again(server: FakeAnthropic, store: CallStore) -> None:
    server.config = Config(rate_batch_errored=0.2, rate_batch_expired=0.2)
    assert run(store, calls(range(100)), max_rounds=9) == BatchOutcome(100, 0, {})
    assert max(server.stats.batch_entries.values()) > 2
    assert server.stats.paid_twice == 0


@pytest.mark.parametrize(
    ("fault", "reason"), [("canceled", "canceled"), ("missing", "absent from the results of msgbatch_0000")]
)
def test_canceled_and_absent_entries_are_named_and_sent_again_only_by_another_run(
    server: FakeAnthropic, store: CallStore, fault: str, reason: str
) -> None:
    server.config = Config(**{f"rate_batch_{fault}": 1.0})
    asked = calls(range(3))
    assert run(store, asked) == BatchOutcome(0, 0, {call.key: reason for call in asked})
    assert all_sent_once(server, asked)
    server.config = Config()
    assert run(store, asked) == BatchOutcome(3, 0, {})


# errors


def failing(monkeypatch: pytest.MonkeyPatch, method: str, errors: list[Exception]) -> None:
    """The client's method raises each of the errors once, before it does its work."""
    batches = anthropic.resources.messages.AsyncBatches
    original = getattr(batches, method)

    def fail(self: Any, *arguments: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return original(self, *arguments, **options)

    monkeypatch.setattr(batches, method, fail)


def passing_errors() -> list[Exception]:
    request = httpx2.Request("GET", "http://localhost")
    overloaded, limited = (httpx2.Response(status, request=request) for status in (529, 429))
    return [
        anthropic.APIConnectionError(request=request),
        anthropic.InternalServerError("Overloaded", response=overloaded, body=None),
        anthropic.RateLimitError("Slow down", response=limited, body=None),
        httpx2.ReadError("connection reset"),
    ]


@pytest.mark.parametrize(
    ("method", "pass_in_time"), [("retrieve", True), ("list", True), ("results", True), ("list", False)]
)
def test_errors_that_pass_end_the_wait_only_if_they_do_not_pass_in_time_and_then_a_rerun_goes_on(
    server: FakeAnthropic, store: CallStore, monkeypatch: pytest.MonkeyPatch, method: str, pass_in_time: bool
) -> None:
    asked, said = calls(range(3)), list[str]()
    left_unrecorded(server, store, asked)  # so that there is something to list
    with monkeypatch.context() as patch:
        failing(patch, method, passing_errors() * (1 if pass_in_time else 1000))
        if pass_in_time:
            assert run(store, asked, progress=said.append) == BatchOutcome(3, 0, {})
            assert len([line for line in said if line.endswith("trying again in 0.02 seconds")]) == 4
            assert any("RateLimitError: Slow down" in line for line in said)
        else:
            with pytest.raises(TimeoutError, match="not done after 0.5 seconds; run again .* sent twice$"):
                run(store, asked, max_wait_seconds=0.5)
    assert run(store, asked).failed == {}
    assert all_sent_once(server, asked)


def test_after_a_refusal_to_create_no_batch_of_somebody_else_is_taken_for_ours(
    server: FakeAnthropic, store: CallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, limited = calls(range(3)), passing_errors()[2]
    create_strange_batch(server, 3, seconds=3600)
    failing(monkeypatch, "create", [limited] * 3)
    assert run(store, asked, max_wait_seconds=1).failed == {call.key: "RateLimitError: Slow down" for call in asked}
    assert store.in_batches() == []
    failing(monkeypatch, "create", [limited])
    assert run(store, asked, max_wait_seconds=5) == BatchOutcome(3, 0, {})
    assert server.stats.batches_created == 2
    denied = httpx2.Response(401, request=httpx2.Request("POST", "http://localhost"))
    failing(monkeypatch, "create", [anthropic.AuthenticationError("No", response=denied, body=None)])
    with pytest.raises(anthropic.AuthenticationError):
        run(store, calls(range(4)))
    assert store.in_batches() == []


# kills


ASKER = f"""
import sys
sys.path[:0] = [{str(FAKES)!r}, {str(Path(__file__).parent)!r}]
from test_batch import calls, run
from model_calls import open_store
run(open_store(sys.argv[1]), calls(range(100)))
"""


def test_after_kill_9_with_batches_in_flight_nothing_is_sent_again_even_from_a_copy_of_the_one_file(
    server: FakeAnthropic, tmp_path: Path
) -> None:
    server.config = Config(batch_seconds=3600)
    path, asked = tmp_path / "calls.sqlite", calls(range(100))
    with subprocess.Popen([sys.executable, "-c", ASKER, str(path)]) as process:
        while server.stats.batches_created < 4:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.1)  # the answer to the last creation
        process.kill()
    end_all(server)
    copied = tmp_path / "copied.sqlite"
    shutil.copy2(path, copied)  # without the files of SQLite that a kill leaves beside it
    for copy in (copied, path):
        store = open_store(copy)
        assert run(store, asked) == BatchOutcome(100, 0, {})
        assert all_sent_once(server, asked)
        store.close()


def end_all(server: FakeAnthropic) -> None:
    """Batches that were made end now, others at once."""
    server.config = Config()
    for batch in server.batches.values():
        batch["ready"] = 0.0


def cancelled_when(store: CallStore, asked: list[Call], is_time: Callable[[], object]) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(partial(ask_in_batches, store, asked, batch_size=30, poll_seconds=0.02))
            while not is_time():
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()

    asyncio.run(main())


def left_unrecorded(server: FakeAnthropic, store: CallStore, asked: list[Call]) -> None:
    """Cancels after a batch is created and before the answer says so."""
    server.config = Config(batch_create_seconds=60)
    cancelled_when(store, asked, lambda: server.stats.batches_created)
    server.config = Config()
    assert store.execute("SELECT batch FROM batches") == [(None,)]


def test_batches_whose_creation_was_never_answered_are_found_and_not_made_again(
    server: FakeAnthropic, store: CallStore
) -> None:
    server.config = Config(lost_batch_answers=2, batch_seconds=0.2)
    asked = calls(range(60))
    assert run(store, asked) == BatchOutcome(60, 0, {})
    assert all_sent_once(server, asked)
    assert store.execute("SELECT count(*) FROM batches WHERE done") == [(2,)]


def test_results_that_are_cut_between_two_lines_are_read_again(server: FakeAnthropic, store: CallStore) -> None:
    asked = calls(range(20))
    server.config = Config(cut_batch_results=2)
    assert run(store, asked) == BatchOutcome(20, 0, {})
    assert all_sent_once(server, asked)


def test_results_that_stay_cut_end_the_run_and_a_later_one_takes_the_rest(
    server: FakeAnthropic, store: CallStore
) -> None:
    asked = calls(range(20))
    server.config = Config(cut_batch_results=7)
    outcome = run(store, asked)  # five readings in the first round, one in the second, one in the third
    reason = "msgbatch_0000: got 10 results in 5 readings, expected 20; if it is gone, cpt calls forget STORE --batch"
    assert (outcome.answered, set(outcome.failed.values())) == (10, {f"{reason} msgbatch_0000"})
    assert run(store, asked) == BatchOutcome(10, 10, {})
    assert all_sent_once(server, asked)


def test_what_a_batch_holds_beyond_the_calls_of_a_rerun_is_not_lost(server: FakeAnthropic, store: CallStore) -> None:
    asked = calls(range(20))
    server.config = Config(batch_seconds=3600)
    cancelled_when(store, asked, lambda: store.execute("SELECT 1 FROM batches WHERE batch NOT NULL"))
    end_all(server)
    assert run(store, asked[:5]) == BatchOutcome(5, 0, {})
    assert run(store, asked[5:10]) == BatchOutcome(5, 0, {})
    store.forget([call.key for call in asked[:5]])
    assert run(store, asked) == BatchOutcome(15, 5, {})
    assert [server.stats.batch_entries[call.key] for call in asked] == [2] * 5 + [1] * 15


def test_a_batch_that_is_gone_hides_no_other_and_is_sent_again_once_it_is_forgotten(
    server: FakeAnthropic, store: CallStore
) -> None:
    asked = calls(range(60))
    server.config = Config(batch_seconds=1)
    recorded = "SELECT 1 FROM batches WHERE batch NOT NULL"
    cancelled_when(store, asked, lambda: len(store.execute(recorded)) == 2)
    gone = server.batches.pop("msgbatch_0000")
    reason = "msgbatch_0000: not found with this API key; if it is gone, cpt calls forget STORE --batch msgbatch_0000"
    unanswered = {entry["custom_id"]: reason for entry in gone["entries"]}
    assert run(store, asked) == BatchOutcome(30, 0, unanswered)
    assert run(store, asked) == BatchOutcome(0, 30, unanswered)
    assert all_sent_once(server, asked)
    forget = ("forget", store.path, "--batch", "msgbatch_0000")
    assert succeeds(calls_command, *forget) == f"{store.path}: msgbatch_0000 is forgotten\n"
    assert succeeds(calls_command, *forget) == f"{store.path}: msgbatch_0000 is not in it\n"
    assert run(open_store(store.path), asked) == BatchOutcome(30, 30, {})


def create_strange_batch(server: FakeAnthropic, entries: int, seconds: float) -> None:
    server.config = Config(batch_seconds=seconds)
    body: Any = {"model": "claude-opus-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Translate."}]}
    requests = [{"custom_id": f"page-{number}", "params": body} for number in range(entries)]
    anthropic.Anthropic().messages.batches.create(requests=requests)  # type: ignore[arg-type]
    server.config = Config()


def test_batches_of_strangers_are_neither_waited_for_nor_taken(server: FakeAnthropic, store: CallStore) -> None:
    intended = json.dumps([call.key for call in calls(range(10))])  # killed before its batch was created
    now = datetime.now(UTC).isoformat()
    store.execute("INSERT INTO batches (intent, time, keys) VALUES ('a', ?, ?)", now, intended)
    create_strange_batch(server, 7, seconds=0)
    create_strange_batch(server, 11, seconds=3600)
    create_strange_batch(server, 10, seconds=0)
    assert run(store, calls(range(10)), max_wait_seconds=5) == BatchOutcome(10, 0, {})
    assert len(store) == 10


def test_two_processes_do_not_send_batches_from_one_store(server: FakeAnthropic, store: CallStore) -> None:
    with (
        FileLock(f"{store.path}.batches.lock"),
        pytest.raises(ValueError, match="another process sends batches from this store; wait for it to end"),
    ):
        run(store, calls(range(3)))
    assert server.stats.batches_created == 0
