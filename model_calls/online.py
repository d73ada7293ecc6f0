"""Asks a model through inspect's model layer, after looking in the store."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio

from model_calls.call import IN_PROCESS, OWN_SERVERS, Call, Reply, provider_of
from model_calls.store import CallStore
from model_calls.visible import MARKER, OPENED

if TYPE_CHECKING:
    from inspect_ai.model import GenerateConfig, ModelOutput

MAX_CONNECTIONS = 64
ATTEMPT_TIMEOUT_SECONDS = 300
QUEUE_TIMEOUT_SECONDS = 3600  # of a server of one's own: requests wait there, and what is cut short is computed again
MAX_TRANSPORT_RETRIES = 8
MAX_BODY_ATTEMPTS = 4
BODY_RETRY_SECONDS = 0.5

USAGE_KINDS = "input_tokens output_tokens input_tokens_cache_read input_tokens_cache_write reasoning_tokens".split()


class CutReplyError(ValueError):
    """The reply ended before the provider said why it stopped."""


# what clients raise for a reply cut in transit and do not retry: a cut body can end inside a character, too
UNREADABLE = (json.JSONDecodeError, UnicodeDecodeError, CutReplyError)


async def ask(store: CallStore, call: Call) -> tuple[Reply, bool]:
    """The reply to a call, and whether it was paid for now (False: it was in the store, or being asked already).

    A refusal or a reply that reached max_tokens is an outcome, and kept like any other. A reply that cannot be read
    is asked for again, at most three times; rate limits, overload and broken connections are retried by the
    provider's client.

    Raises:
        ValueError: If the config asks for inspect's own batch mode.
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
    from model_calls.inspect_private import transcript_dropped

    config, attempt = _bounded(call), 0
    while True:
        attempt += 1
        try:
            # inspect's own cache would replay what this store has decided to ask again
            with transcript_dropped():
                output = await call.model.generate(list(call.messages), config=config, cache=False)
            reply = reply_of(call, output, attempt)
            # local models always stop for reasons unknown; here it is a stream cut short, which no client notices
            if reply.stop_reason == "unknown" and reply.model.startswith("anthropic/"):
                raise CutReplyError(f"{call.model}: reply of {len(reply.text)} characters has no stop reason")
            return reply
        except UNREADABLE:
            if attempt == MAX_BODY_ATTEMPTS:
                raise
            await anyio.sleep(BODY_RETRY_SECONDS * 2 ** (attempt - 1))


def _bounded(call: Call) -> "GenerateConfig":
    """The settings of a call; unless told otherwise inspect retries for ever and waits without end."""
    from inspect_ai.model import GenerateConfig

    bounds = GenerateConfig(
        adaptive_connections=MAX_CONNECTIONS,
        attempt_timeout=QUEUE_TIMEOUT_SECONDS if provider_of(call.model) in OWN_SERVERS else ATTEMPT_TIMEOUT_SECONDS,
        max_retries=MAX_TRANSPORT_RETRIES,
    )
    config = bounds.merge(call.model.config).merge(call.config)
    if config.batch:
        raise ValueError(f"{call.model}: config.batch pays again after a kill; use `ask_in_batches` instead")
    config.fail_on_refusal = False  # it is kept: raised, it would be paid for again by every rerun
    if provider_of(call.model) in IN_PROCESS:
        config.attempt_timeout = None  # a batch of the model's may take minutes: cut short, it is computed again
        config.seed = int(call.key[:8], 16)  # the samples of one question differ, and a run can be repeated
    return config


def reply_of(call: Call, output: "ModelOutput", attempts: int, batch: bool = False) -> Reply:
    """A reply, ready to be kept, from inspect's output.

    Where the template of a local model opens a thought, the marker stands before the text, as if written by the model.
    """
    from model_calls.inspect_private import local_chat

    opened = OPENED.search(local_chat(call.model.api, call.messages) or "")
    again = MARKER.match(output.completion.lstrip())
    if again and again["opening"]:
        opened = None
    counts = {kind: getattr(output.usage, kind) for kind in USAGE_KINDS} if output.usage else {}
    return call.reply(
        served_model=output.model,
        text=f"{opened.group() if opened else ''}{output.completion}",
        stop_reason=output.stop_reason if output.choices else "unknown",
        usage={kind: count for kind, count in counts.items() if count},
        request_id=output.response_id or "",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        attempts=attempts,
        batch=batch,
    )
