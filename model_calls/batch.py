"""Asks through Anthropic's Message Batches, at half the price, into the store that the online path reads.

A batch costs money once it is created, so no batch may be forgotten. Before each request an intent is synced to
STORE.batches.jsonl, after it the batch's id. A rerun collects what is recorded, and finds what was created but not
recorded by listing. Entries carry `Call.key` as custom id, so results match calls whatever batch they come from.

The state file is made, empty, with the store. If it is missing beside a store, it was lost, or left behind when the
store was copied: then every batch of the last two days that may be ours is waited for, since not to would pay twice.
An empty file put in its place says that there were none.
"""

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, cast

import anthropic
import anyio
import httpx2
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from anthropic.types.messages.batch_create_params import Request
from inspect_ai.model import model_output_from_anthropic

from model_calls.batch_state import CLOCK_SKEW, Intent, StateFile, batch_entries, state_path
from model_calls.call import Call, Reply
from model_calls.online import UNREADABLE, reply_of
from model_calls.request import Body, anthropic_api, request_body
from model_calls.store import CallStore

MAX_CREATE_ATTEMPTS = 5
LOST_STATE_WINDOW = timedelta(days=2)  # how far back our batches are looked for if the state file is gone
REPLIES_PER_SYNC = 500
# the SDK wraps the transport's errors, but not those that come while results are read
PASSING_ERRORS = (
    anthropic.APIConnectionError,
    anthropic.InternalServerError,
    anthropic.RateLimitError,
    httpx2.TransportError,
    *UNREADABLE,
)
# answers that say that nothing was created
REFUSALS = (
    anthropic.AuthenticationError,
    anthropic.BadRequestError,
    anthropic.PermissionDeniedError,
    anthropic.RateLimitError,
)

_KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class BatchOutcome:
    """What became of the calls.

    Attributes:
        answered: Replies that came in now.
        already_stored: Calls that needed no batch.
        failed: Reason by key, for the calls left without a reply; another run sends them again.
    """

    answered: int
    already_stored: int
    failed: Mapping[str, str]


async def ask_in_batches(
    store: CallStore,
    calls: Iterable[Call],
    *,
    client: anthropic.AsyncAnthropic | None = None,
    batch_size: int = 1000,
    poll_seconds: float = 30,
    max_rounds: int = 3,
    max_wait_seconds: float = 26 * 3600,
    progress: Callable[[str], None] | None = None,
) -> BatchOutcome:
    """Puts a reply to each call into the store; afterwards `ask` finds it there.

    Batches that an earlier run left behind are collected first, and nothing in them is sent again. Entries that
    expired, or failed for a reason that may pass, are sent again in the next round. The rest is a named failure:
    invalid, canceled by somebody, absent from the results.

    Args:
        store: Where replies go.
        calls: Calls of Anthropic models on the provider's own service; the same call twice is sent once.
        client: The SDK's client; None takes that of the first call's model.
        batch_size: Most entries per batch; the API takes 100,000 entries or 256 MB.
        poll_seconds: Between two looks at the open batches.
        max_rounds: How often an entry is sent at most.
        max_wait_seconds: For the batches of one round, broken connections and overload included; the API ends a batch
            within 24 hours.
        progress: Called with a line of text when something happened.

    Raises:
        ValueError: If a call cannot go into a batch; nothing is sent then.
        TimeoutError: If a batch is open, or batches cannot be listed, after `max_wait_seconds`; a rerun takes them up
            again.
        anthropic.APIError: If the API refuses, or cannot be reached to create a batch; a rerun takes up what was
            created.
    """
    wanted = {call.key: call for call in calls}
    bodies = {key: await request_body(call) for key, call in wanted.items() if key not in store}
    already_stored = len(wanted) - len(bodies)
    if not bodies:
        return BatchOutcome(0, already_stored, {})
    client = client or cast(anthropic.AsyncAnthropic, anthropic_api(next(iter(wanted.values()))).client)
    state = StateFile(state_path(store.path))
    run = _Run(store, wanted, client, state, poll_seconds, max_wait_seconds, progress or (lambda line: None))
    await run.collect(await run.left_behind(batch_size))
    run.failed.clear()  # of an earlier run: it ends here, and this run sends them again
    for run.round_number in range(1, max_rounds + 1):
        todo = [key for key in bodies if key not in store and key not in run.failed]
        await run.collect(dict([await run.create(*batch) for batch in _cut(todo, bodies, batch_size)]))
    unanswered = [key for key in bodies if key not in store]
    failed = {key: run.failed.get(key) or f"{run.passing[key]}, {max_rounds} times" for key in unanswered}
    return BatchOutcome(len(bodies) - len(failed), already_stored, failed)


def _cut(
    todo: Sequence[str], bodies: Mapping[str, Body], batch_size: int
) -> Iterator[tuple[dict[str, dict[str, Any]], tuple[str, ...]]]:
    """Bodies by key of each batch to create, in the order asked; beta features are of a whole batch."""
    for betas in dict.fromkeys(bodies[key][1] for key in todo):
        keys = [key for key in todo if bodies[key][1] == betas]
        for start in range(0, len(keys), batch_size):
            yield {key: bodies[key][0] for key in keys[start : start + batch_size]}, betas


@dataclass
class _Run:
    store: CallStore
    wanted: Mapping[str, Call]
    client: anthropic.AsyncAnthropic
    state: StateFile
    poll_seconds: float
    max_wait_seconds: float
    progress: Callable[[str], None]
    round_number: int = 1

    def __post_init__(self) -> None:
        self.failed: dict[str, str] = {}
        self.passing: dict[str, str] = {}  # why the last round did not answer, for a reason that may pass

    async def left_behind(self, batch_size: int) -> dict[str, frozenset[str]]:
        """Batches of earlier runs that hold, or may hold, what is asked now; with their keys, if those are known."""
        missing = {key for key in self.wanted if key not in self.store}
        found = {batch: keys for batch, keys in self.state.open_batches().items() if keys & missing}
        for intent in self.state.unresolved():
            if intent.keys & missing:
                found |= dict.fromkeys(await self._made_by(intent), frozenset())
        if not self.state.existed:
            # whose an open batch is shows only at its end, so wait for none but those of the sizes we would make
            sizes = {batch_size, len(missing) % batch_size, len(self.wanted) % batch_size}
            since = max(datetime.now(UTC) - LOST_STATE_WINDOW, _made(self.store) - CLOCK_SKEW)
            batches = await self._unrecorded(since)
            found |= {b.id: frozenset() for b in batches if b.processing_status == "ended" or batch_entries(b) in sizes}
            if found:
                self.progress(f"no {self.state.path.name}: an empty file of that name says that no batch was left")
        if found:
            self.progress(f"taking up {len(found)} batches that an earlier run may have left: {', '.join(found)}")
        return found

    async def _made_by(self, intent: Intent) -> list[str]:
        batches = await self._unrecorded(intent.time - CLOCK_SKEW)
        return [batch.id for batch in batches if intent.may_have_made(batch)]

    async def _unrecorded(self, since: datetime) -> list[MessageBatch]:
        deadline = monotonic() + self.max_wait_seconds
        while True:
            try:
                return await self._listed(since)
            except PASSING_ERRORS as error:
                if monotonic() > deadline:
                    raise TimeoutError(
                        f"batches could not be listed for {self.max_wait_seconds:.0f} seconds ({_named(error)}): run "
                        "again to find what was created, nothing will be sent twice"
                    ) from error
                self._say_passing("listing batches", error)
            await anyio.sleep(self.poll_seconds)

    async def _listed(self, since: datetime) -> list[MessageBatch]:
        found: list[MessageBatch] = []
        async for batch in self.client.messages.batches.list(limit=100):  # newest first
            if batch.created_at < since:
                break
            if batch.id not in self.state.batches and batch.id not in self.state.done:
                found.append(batch)
        return found

    async def create(self, bodies: Mapping[str, Mapping[str, Any]], betas: Sequence[str]) -> tuple[str, frozenset[str]]:
        """Creates a batch; its id and keys."""
        name = uuid.uuid4().hex
        self.state.add(intent=name, time=datetime.now(UTC).isoformat(), keys=list(bodies))
        batch = await self._created(self.state.intents[name], bodies, betas)
        self.state.add(batch=batch, intent=name)
        self.progress(f"round {self.round_number}: created {batch} with {len(bodies)} entries")
        return batch, frozenset(bodies)

    async def _created(self, intent: Intent, bodies: Mapping[str, Mapping[str, Any]], betas: Sequence[str]) -> str:
        requests = [cast(Request, {"custom_id": key, "params": body}) for key, body in bodies.items()]
        given = str(self.client.default_headers.get("anthropic-beta", ""))  # which a header here would replace
        headers = {"anthropic-beta": ",".join([*filter(None, [given]), *betas])} if betas else None
        once = self.client.with_options(max_retries=0)  # the SDK's retry of a lost answer would pay for a second batch
        in_doubt = False
        for attempt in range(1, MAX_CREATE_ATTEMPTS + 1):
            try:
                return (await once.messages.batches.create(requests=requests, extra_headers=headers)).id
            except (*PASSING_ERRORS, *REFUSALS) as error:
                in_doubt |= not isinstance(error, REFUSALS)
                if attempt == MAX_CREATE_ATTEMPTS or not isinstance(error, PASSING_ERRORS):
                    if not in_doubt:  # else a rerun would take a stranger's batch of this size for ours
                        self.state.add(refused=intent.name)
                    raise
                await anyio.sleep(0.5 * 2**attempt)
                if in_doubt and (made := await self._made_by(intent)):
                    return made[0]
        raise AssertionError("the last attempt returns or raises")

    async def collect(self, batches: dict[str, frozenset[str]]) -> None:
        """Waits for batches, given with the keys known to be in them, and takes what is in them."""
        deadline = monotonic() + self.max_wait_seconds
        while batches:
            for batch_id in list(batches):
                try:
                    batch = await self.client.messages.batches.retrieve(batch_id)
                    if batch.processing_status == "ended":
                        await self._take(batch, batches[batch_id])
                        del batches[batch_id]
                except PASSING_ERRORS as error:  # results cut in transit, too, are read again at the next look
                    self._say_passing(batch_id, error)
            if batches and monotonic() > deadline:
                raise TimeoutError(
                    f"batches {', '.join(batches)} are not done after {self.max_wait_seconds:.0f} seconds: run again "
                    "to go on waiting for them, nothing in them will be sent twice"
                )
            if batches:
                await anyio.sleep(self.poll_seconds)

    def _say_passing(self, what: str, error: Exception) -> None:
        self.progress(f"{what}: {_named(error)}; trying again in {self.poll_seconds:g} seconds")

    async def _take(self, batch: MessageBatch, keys: frozenset[str]) -> None:
        seen: set[str] = set()
        replies: list[Reply] = []
        if batch.archived_at is None:  # else the results are gone, after 29 days
            results = await self.client.messages.batches.results(batch.id)
            async for entry in results:
                if not _KEY.fullmatch(entry.custom_id):
                    await results.close()
                    break  # not ours
                seen.add(entry.custom_id)
                if entry.custom_id in self.wanted and entry.custom_id not in self.store:
                    replies += await self._reply(entry)
                if len(replies) >= REPLIES_PER_SYNC:
                    await self.store.put(*replies)
                    replies.clear()
        await self.store.put(*replies)
        for key in keys - seen:
            if key in self.wanted and key not in self.store:
                self.failed[key] = f"absent from the results of {batch.id}"
        # what was not asked for now stays to be taken by a run that asks for it
        if keys | seen and all(key in self.wanted or key in self.store for key in keys | seen):
            self.state.add(batch=batch.id)
        self.progress(f"{batch.id}: {len(seen)} results")

    async def _reply(self, entry: MessageBatchIndividualResponse) -> list[Reply]:
        """The reply of an entry, if it has one; else the reason is noted."""
        key, result = entry.custom_id, entry.result
        match result.type:
            case "succeeded":
                output = await model_output_from_anthropic(result.message)
                return [reply_of(self.wanted[key], output, self.round_number, batch=True)]
            case "errored":
                error = result.error.error
                reasons = self.failed if error.type == "invalid_request_error" else self.passing
                reasons[key] = f"errored: {error.type}: {error.message}"
            case "expired":
                self.passing[key] = "expired"
            case "canceled":
                self.failed[key] = "canceled"
        return []


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n")[0]


def _made(store: CallStore) -> datetime:
    """The earliest time at which the store can have been made."""
    return datetime.fromtimestamp(0 if len(store) else store.path.stat().st_mtime, UTC)
