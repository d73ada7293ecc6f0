"""The online path against a fake server: nothing is lost, nothing is paid twice, whatever happens on the way."""

import asyncio
from dataclasses import replace
from typing import Any

import anyio
import pytest
from calling import calls, fake_model
from fake_anthropic import Config, FakeAnthropic
from inspect_ai.model import GenerateConfig, get_model

from model_calls import Call, CallStore, Reply, ask
from model_calls.online import _bounded


def ask_all(store: CallStore, asked: list[Call]) -> list[tuple[Reply, bool]]:
    async def run() -> list[tuple[Reply, bool]]:
        return await asyncio.gather(*(ask(store, call) for call in asked))

    return asyncio.run(run())


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
    assert (_bounded(call).attempt_timeout, config.fail_on_refusal) == (300, False)
    assert _bounded(replace(call, model=get_model("ollama/m"))).attempt_timeout == 3600
    with pytest.raises(ValueError, match="use `ask_in_batches` instead"):
        _bounded(replace(call, config=GenerateConfig(batch=True)))


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
