"""The online path against a fake server: nothing is lost, nothing is paid twice, whatever happens on the way."""

import asyncio
import contextvars
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest
from calling import calls, fake_model
from fake_anthropic import MIX, Config, FakeAnthropic
from inspect_ai.log import transcript
from inspect_ai.model import GenerateConfig

from model_calls import Call, CallStore, Reply, ask, open_store
from model_calls.online import _bounded

FAKES = Path(__file__).parents[1] / "fakes"


def ask_all(store: CallStore, asked: list[Call]) -> list[tuple[Reply, bool]]:
    async def run() -> list[tuple[Reply, bool]]:
        return await asyncio.gather(*(ask(store, call) for call in asked))

    return asyncio.run(run())


@pytest.mark.parametrize(("count", "most_requests"), [(150, 175), pytest.param(1000, 1130, marks=pytest.mark.slow)])
def test_a_mix_of_faults_leaves_everything_answered_and_nothing_paid_twice(
    server: FakeAnthropic, store: CallStore, count: int, most_requests: int
) -> None:
    server.config = Config(**MIX, rate_refusal=0.01)
    asked = calls(range(count), fake_model(max_connections=64))
    replies = [reply for reply, _ in ask_all(store, asked)]
    answered = [reply for reply in replies if reply.stop_reason == "stop"]
    refused = [reply for reply in replies if reply.stop_reason == "content_filter"]
    assert len(answered) + len(refused) == count
    assert len(refused) == server.stats.faults["refusal"] > 0
    assert all(reply.text.endswith(f"Text {number}.") for number, reply in enumerate(replies) if reply in answered)
    assert set(server.stats.faults) == {"429", "529", "500", "reset", "truncated", "refusal"}
    assert server.stats.requests <= most_requests
    assert server.stats.paid_twice == 0
    assert not any(paid for _, paid in ask_all(store, asked))
    assert server.stats.requests <= most_requests


@pytest.mark.parametrize("streamed", [False, True])
def test_a_reply_cut_in_transit_is_asked_again_and_its_attempts_are_counted(
    server: FakeAnthropic, store: CallStore, streamed: bool
) -> None:
    server.config = Config(rate_truncated=0.4)
    asked = calls(range(6), fake_model(max_tokens=9000 if streamed else 1000))
    replies = [reply for reply, _ in ask_all(store, asked)]
    assert server.bodies[0]["stream"] is streamed
    assert [reply.text for reply in replies] == [f"echo: Text {number}." for number in range(6)]
    assert sum(reply.attempts for reply in replies) == server.stats.requests > 6


def test_retries_and_timeouts_are_always_bounded_and_the_users_own_win(server: FakeAnthropic) -> None:
    [call] = calls(range(1), fake_model(max_retries=3, fail_on_refusal=True))
    config = _bounded(replace(call, config=GenerateConfig(attempt_timeout=7)))
    assert (config.max_retries, config.attempt_timeout, config.adaptive_connections) == (3, 7, 64)
    assert (_bounded(call).attempt_timeout, config.fail_on_refusal) == (120, False)
    with pytest.raises(ValueError, match="use `ask_in_batches` instead"):
        _bounded(replace(call, config=GenerateConfig(batch=True)))


def test_outside_a_sample_inspect_keeps_no_prompt_in_memory(mock_model: Any, store: CallStore) -> None:
    async def run() -> None:
        for call in calls(range(3), mock_model(lambda _: "Fine.")):
            await ask(store, call)
        assert not transcript().events

    # an empty context: evals of other tests leave their transcript in this one, and it is kept where there is one
    contextvars.Context().run(asyncio.run, run())


# asked once, paid once


def test_a_call_asked_many_times_at_once_is_paid_once(server: FakeAnthropic, store: CallStore) -> None:
    server.config = Config(latency_seconds=0.1)
    replies = ask_all(store, calls(range(3)) * 20)
    assert sum(paid for _, paid in replies) == server.stats.requests == 3


def test_when_the_asker_fails_or_is_cancelled_the_next_in_line_asks(mock_model: Any, store: CallStore) -> None:
    outcomes = iter(["error", "hang", "fine"])
    started = 0

    async def generate(messages: Any, *, config: Any, cache: Any) -> Any:
        nonlocal started
        started += 1
        match next(outcomes):
            case "error":
                await anyio.sleep(0.01)
                raise RuntimeError("overloaded")
            case "hang":
                await anyio.sleep(60)
        return await original(messages, config=config, cache=cache)

    model = mock_model(lambda _: "Fine.")
    original, model.generate = model.generate, generate
    [call] = calls(range(1), model)

    async def run() -> list[Any]:
        tasks = [asyncio.create_task(ask(store, call)) for _ in range(4)]
        await asyncio.sleep(0.1)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third, fourth = asyncio.run(run())
    assert isinstance(first, RuntimeError)
    assert isinstance(second, asyncio.CancelledError)
    assert sorted([third[1], fourth[1]]) == [False, True]
    assert third[0] == fourth[0]
    assert (started, store.in_flight) == (3, {})


IN_FLIGHT = 16
ASKER = f"""
import sys
sys.path[:0] = [{str(FAKES)!r}, {str(Path(__file__).parent)!r}]
from calling import calls, fake_model
from test_online import ask_all
from model_calls import open_store
ask_all(open_store(sys.argv[1]), calls(range(int(sys.argv[2])), fake_model(max_connections={IN_FLIGHT})))
"""


def test_after_kill_9_only_what_was_in_flight_is_asked_again(server: FakeAnthropic, tmp_path: Path) -> None:
    count, path, stats = 200, tmp_path / "calls.sqlite", server.stats
    server.config = Config(latency_seconds=0.05)
    with subprocess.Popen([sys.executable, "-c", ASKER, str(path), str(count)]) as process:
        while stats.served.total() < count // 2:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    for _ in range(2):
        store = open_store(path)
        paid = sum(paid for _, paid in ask_all(store, calls(range(count))))
        assert len(store) == count
        assert stats.requests <= count + IN_FLIGHT + 32
        store.close()
    assert paid == 0
