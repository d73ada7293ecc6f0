"""What a batch that has ended holds: replies, put into the store, and the reasons of what has none."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import anthropic
import httpx2
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from inspect_ai.model import model_output_from_anthropic

from model_calls.call import Call, Reply
from model_calls.online import UNREADABLE, reply_of
from model_calls.store import CallStore

REPLIES_PER_COMMIT = 500
# the SDK wraps the transport's errors, but not those that come while results are read
PASSING_ERRORS = (
    anthropic.APIConnectionError,
    anthropic.InternalServerError,
    anthropic.RateLimitError,
    httpx2.TransportError,
    *UNREADABLE,
)
_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass
class Results:
    """What was in a batch.

    Attributes:
        keys: Of its entries; none if the batch is not ours, or its results are gone.
        failed: Reason by key, of entries that would fail again.
        passing: Reason by key, of entries that may succeed when sent again.
    """

    keys: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    passing: dict[str, str] = field(default_factory=dict)


async def take_results(
    client: anthropic.AsyncAnthropic,
    batch: MessageBatch,
    wanted: Mapping[str, Call],
    store: CallStore,
    round_number: int,
) -> Results:
    """Puts the replies to wanted calls into the store; may be called again after one of `PASSING_ERRORS`."""
    results = Results()
    replies: list[Reply] = []
    if batch.archived_at is not None:
        return results  # after 29 days
    entries = await client.messages.batches.results(batch.id)
    async for entry in entries:
        if not _KEY.fullmatch(entry.custom_id):
            await entries.close()
            break  # not ours
        results.keys.add(entry.custom_id)
        if entry.custom_id in wanted and entry.custom_id not in store:
            replies += await _reply(entry, wanted[entry.custom_id], round_number, results)
        if len(replies) >= REPLIES_PER_COMMIT:
            await store.put(*replies)
            replies.clear()
    await store.put(*replies)
    return results


async def _reply(entry: MessageBatchIndividualResponse, call: Call, round_number: int, results: Results) -> list[Reply]:
    """The reply of an entry, if it has one; else the reason is noted."""
    result = entry.result
    if result.type == "succeeded":
        return [reply_of(call, await model_output_from_anthropic(result.message), round_number, batch=True)]
    if result.type == "errored":
        error = result.error.error
        reasons = results.failed if error.type == "invalid_request_error" else results.passing
        reasons[call.key] = f"errored: {error.type}: {error.message}"
    else:  # expired: it may be asked again; canceled: somebody does not want it
        (results.passing if result.type == "expired" else results.failed)[call.key] = result.type
    return []
