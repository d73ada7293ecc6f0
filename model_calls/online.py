"""Asks a model through inspect's model layer, after looking in the store."""

from datetime import UTC, datetime

import anyio
from inspect_ai.model import GenerateConfig, ModelOutput

from model_calls.call import Call, Reply
from model_calls.store import CallStore

MAX_CONNECTIONS = 64
ATTEMPT_TIMEOUT_SECONDS = 120
MAX_TRANSPORT_RETRIES = 8
MAX_BODY_ATTEMPTS = 4

USAGE_KINDS = (
    "input_tokens",
    "output_tokens",
    "input_tokens_cache_read",
    "input_tokens_cache_write",
    "reasoning_tokens",
)

# inspect retries for ever and waits without end unless told otherwise; connections adapt up to the cap
TRANSPORT = GenerateConfig(
    adaptive_connections=MAX_CONNECTIONS,
    attempt_timeout=ATTEMPT_TIMEOUT_SECONDS,
    max_retries=MAX_TRANSPORT_RETRIES,
)


async def ask(store: CallStore, call: Call) -> tuple[Reply, bool]:
    """The reply to a call, and whether it was paid for now (False: it was in the store, or being asked already).

    A refusal or a cut-off reply is an outcome, and kept like any other. A reply whose body cannot be parsed is asked
    for again, at most three times; rate limits, overload and broken connections are retried by the provider's client.
    What the model's own config sets (timeouts, connections) wins over the defaults here.

    Raises:
        Exception: What the provider's client raises when its retries are used up; nothing is kept, so that a rerun
            asks again.
    """
    while (reply := store.get(call.key)) is None:
        if call.key in store.in_flight:
            await store.in_flight[call.key].wait()
            continue
        store.in_flight[call.key] = done = anyio.Event()
        try:
            reply = await _generate(call)
            await store.put(reply)
            return reply, True
        finally:
            del store.in_flight[call.key]
            done.set()
    return reply, False


async def _generate(call: Call) -> Reply:
    transport = TRANSPORT.merge(call.model.config).model_dump(include=set(TRANSPORT.model_dump(exclude_none=True)))
    config = call.config.merge(GenerateConfig(**transport))
    for attempt in range(1, MAX_BODY_ATTEMPTS + 1):
        try:
            # inspect's own cache would replay what this store has decided to ask again
            output = await call.model.generate(list(call.messages), config=config, cache=False)
            return reply_of(call, output, attempt)
        except ValueError:  # a body that is no JSON, or not the provider's: clients do not retry it
            if attempt == MAX_BODY_ATTEMPTS:
                raise
            await anyio.sleep(min(8.0, 0.5 * 2**attempt))
    raise AssertionError("the last attempt returns or raises")


def reply_of(call: Call, output: ModelOutput, attempts: int) -> Reply:
    """A reply, ready to be kept, from inspect's output."""
    counts = {kind: getattr(output.usage, kind) for kind in USAGE_KINDS} if output.usage else {}
    return Reply(
        key=call.key,
        model=str(call.model),
        served_model=output.model,
        params=call.params,
        messages_hash=call.messages_hash,
        replicate=call.replicate,
        text=output.completion,
        stop_reason=output.stop_reason if output.choices else "unknown",
        usage={kind: count for kind, count in counts.items() if count},
        request_id=str((output.metadata or {}).get("request_id", "")),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        attempts=attempts,
    )
