"""Asks through Anthropic's Message Batches, at half the price, into the store that the online path reads.

A batch costs money once it is created, so none may be forgotten. The store has an intent before each request to create
one, and the batch's id after it; a rerun collects what is recorded, and looks for the rest in the provider's list.
Entries carry `Call.key` as custom id, so results match calls whatever batch they come from.
"""

import json
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import anthropic
import anyio
import httpx2
from anthropic.types.messages.batch_create_params import Request
from filelock import FileLock, Timeout
from inspect_ai.model import model_output_from_anthropic

from model_calls.call import Call
from model_calls.inspect_private import anthropic_client, request_body
from model_calls.online import UNREADABLE, CutReplyError, reply_of
from model_calls.store import CallStore

CLOCK_SKEW = timedelta(minutes=2)
CREATED_WITHIN = timedelta(minutes=15)  # after the intent; longer than a request can take
MAX_READINGS = 5  # of results with fewer entries than the batch says it has
# the SDK wraps the transport's errors, but not those that come while results are read
PASSING_ERRORS = (
    anthropic.APIConnectionError,
    anthropic.InternalServerError,
    anthropic.RateLimitError,
    httpx2.TransportError,
    *UNREADABLE,
)
_T = TypeVar("_T")


class _MissingResultsError(Exception):
    """A batch whose results lack entries at every reading."""


@dataclass(frozen=True)
class BatchOutcome:
    """What became of the calls."""

    answered: int
    already_stored: int
    failed: Mapping[str, str]  # reason by key, for the calls left without a reply; another run sends them again


async def ask_in_batches(
    store: CallStore,
    calls: Iterable[Call],
    *,
    batch_size: int = 1000,
    poll_seconds: float = 30,
    max_rounds: int = 3,
    max_wait_seconds: float = 26 * 3600,
    progress: Callable[[str], None] = lambda line: None,
) -> BatchOutcome:
    """Puts a reply to each call into the store; afterwards `ask` finds it there.

    What an earlier run sent is collected first and not sent again. What expired or failed for a reason that may pass
    goes into the next round; what is invalid, canceled by somebody or absent from the results is a named failure.

    All replies of a batch of `batch_size` entries are in memory at once. `max_wait_seconds` is for one round, overload
    included; the API ends a batch within 24 hours.

    Raises:
        ValueError: If a call has no place in a batch, or another process sends from this store; nothing is sent then.
        TimeoutError: If a round is not done in time; a rerun takes it up again.
        anthropic.APIError: If the API refuses; a rerun takes up what was created.
    """
    wanted = {call.key: call for call in calls}
    requests = {key: await request_body(call) for key, call in wanted.items() if key not in store}
    if not requests:
        return BatchOutcome(0, len(wanted), {})
    run = _Run(store, wanted, anthropic_client(next(iter(wanted.values())).model), poll_seconds, progress)
    try:
        with FileLock(f"{store.path}.batches.lock", timeout=0):
            for run.round_number in range(max_rounds + 1):
                with anyio.fail_after(max_wait_seconds):
                    if run.round_number > 0:  # round 0 collects what earlier runs left behind
                        await run.create(requests, batch_size)
                    await run.collect()
    except Timeout:
        raise ValueError(f"{store.path}: another process sends batches from this store; wait for it to end") from None
    except TimeoutError as error:
        raise TimeoutError(
            f"batches not done after {max_wait_seconds:g} seconds; run again to go on, nothing will be sent twice"
        ) from error
    failed = {key: run.reasons[key] for key in requests if key not in store}
    return BatchOutcome(len(requests) - len(failed), len(wanted) - len(requests), failed)


@dataclass
class _Run:
    store: CallStore
    wanted: Mapping[str, Call]
    client: anthropic.AsyncAnthropic
    poll_seconds: float
    progress: Callable[[str], None]
    round_number: int = 0
    reasons: dict[str, str] = field(default_factory=dict)  # why the last round did not answer
    final: set[str] = field(default_factory=set)  # keys whose reason will not pass
    away: set[str] = field(default_factory=set)  # keys in batches that this API key does not find, or not whole
    cut: Counter[str] = field(default_factory=Counter)  # readings that were cut, by batch

    async def create(self, requests: Mapping[str, tuple[Mapping[str, Any], Iterable[str]]], batch_size: int) -> None:
        """Creates batches of what has no reply so far."""
        betas = ",".join(dict.fromkeys(beta for _, of_call in requests.values() for beta in of_call))
        left_out = self.final | self.away
        todo = [key for key in requests if key not in self.store and key not in left_out]
        for block in (todo[start : start + batch_size] for start in range(0, len(todo), batch_size)):
            intent, now, keys = uuid.uuid4().hex, datetime.now(UTC).isoformat(), json.dumps(block)
            self.store.execute("INSERT INTO batches (intent, time, keys) VALUES (?, ?, ?)", intent, now, keys)
            entries = [cast(Request, {"custom_id": key, "params": requests[key][0]}) for key in block]
            try:
                # without retries: the SDK's retry of a lost answer would pay for a second batch
                batch = await self.client.with_options(max_retries=0).messages.batches.create(
                    requests=entries, extra_headers={"anthropic-beta": betas} if betas else None
                )
            except (*PASSING_ERRORS, anthropic.APIStatusError) as error:
                if isinstance(error, anthropic.APIStatusError) and error.status_code < 500:
                    # nothing was created, and a rerun would take a stranger's batch of this size for ours
                    self.store.execute("DELETE FROM batches WHERE intent = ?", intent)
                if not isinstance(error, PASSING_ERRORS):
                    raise
                self.reasons |= dict.fromkeys(block, await self._pause(error))
            else:
                self.store.execute("UPDATE batches SET batch = ? WHERE intent = ?", batch.id, intent)
                self.progress(f"round {self.round_number}: created {batch.id} with {len(block)} entries")

    async def collect(self) -> None:
        """Waits for all batches that hold, or may hold, what is asked now, and takes what is in them."""
        rows = self.store.execute("SELECT intent, time, keys, batch FROM batches WHERE NOT done")
        async with anyio.create_task_group() as group:
            for intent, time, listed, batch in rows:
                keys = frozenset(json.loads(listed))
                if any(map(self._lacks, keys)):
                    group.start_soon(self._collect_one, intent, datetime.fromisoformat(time), keys, batch)
        if self.round_number == 0:
            self.final.clear()  # what failed in an earlier run is sent again

    def _lacks(self, key: str) -> bool:
        return key in self.wanted and key not in self.store

    async def _collect_one(self, intent: str, intended: datetime, keys: frozenset[str], recorded: str | None) -> None:
        for name in [recorded] if recorded else await self._patiently(self._made, intended, len(keys)):
            self.progress(f"waiting for {name}")
            try:
                in_results = await self._patiently(self._results, name, keys)
            except (anthropic.NotFoundError, _MissingResultsError) as error:
                what = "not found with this API key" if isinstance(error, anthropic.NotFoundError) else error
                reason = f"{name}: {what}; if it is gone, cpt calls forget STORE --batch {name}"
                self.away.update(keys)
                self.reasons |= dict.fromkeys(keys, reason)
                self.progress(reason)
                continue
            if not recorded and not in_results & keys:
                continue  # somebody else's
            absent = [key for key in keys - in_results if self._lacks(key)]
            self.reasons |= dict.fromkeys(absent, f"absent from the results of {name}")
            self.final.update(absent)
            # what was not asked for now stays to be taken by a run that asks for it
            is_done = all(key in self.wanted or key in self.store for key in keys)
            self.store.execute("UPDATE batches SET batch = ?, done = ? WHERE intent = ?", name, is_done, intent)
            self.progress(f"{name}: {len(in_results)} results")

    async def _made(self, intended: datetime, count: int) -> list[str]:
        """Unrecorded batches of the right time and size; whose they are shows only in their results."""
        known = {batch for (batch,) in self.store.execute("SELECT batch FROM batches")}
        made = list[str]()
        async for batch in self.client.messages.batches.list(limit=100):  # newest first
            if batch.created_at < intended - CLOCK_SKEW:
                break
            is_alike = sum(batch.request_counts.model_dump().values()) == count
            if is_alike and batch.created_at <= intended + CREATED_WITHIN and batch.id not in known:
                made.append(batch.id)
        return made

    async def _results(self, name: str, sent: frozenset[str]) -> set[str]:
        """Waits for a batch and stores the replies to wanted calls among those sent; the keys of all its results."""
        keys, replies = set[str](), []
        while (batch := await self.client.messages.batches.retrieve(name)).processing_status != "ended":
            await anyio.sleep(self.poll_seconds)
        if batch.archived_at is not None:
            return keys  # they are gone after 29 days
        async for entry in await self.client.messages.batches.results(name):
            key, result = entry.custom_id, entry.result
            keys.add(key)
            if key not in sent or not self._lacks(key):
                continue
            if result.type == "succeeded":
                output = await model_output_from_anthropic(result.message)
                replies.append(reply_of(self.wanted[key], output, self.round_number, batch=True))
                continue
            error = result.error.error if result.type == "errored" else None
            self.reasons[key] = f"errored: {error.type}: {error.message}" if error else result.type
            if result.type == "canceled" or (error and error.type == "invalid_request_error"):
                self.final.add(key)
        await self.store.put(*replies)
        counts = batch.request_counts
        if len(keys) < (count := counts.succeeded + counts.errored + counts.canceled + counts.expired):
            self.cut[name] += 1  # between two lines
            if self.cut[name] < MAX_READINGS:
                raise CutReplyError(f"{name}: got {len(keys)} results, expected {count}")
            raise _MissingResultsError(f"got {len(keys)} results in {MAX_READINGS} readings, expected {count}")
        return keys

    async def _patiently(self, function: Callable[..., Awaitable[_T]], *arguments: Any) -> _T:
        """What the function gives, however many errors that pass come before it."""
        while True:
            try:
                return await function(*arguments)
            except PASSING_ERRORS as error:
                await self._pause(error)

    async def _pause(self, error: Exception) -> str:
        name = f"{type(error).__name__}: {error}".split("\n")[0]
        self.progress(f"{name}; trying again in {self.poll_seconds:g} seconds")
        await anyio.sleep(self.poll_seconds)
        return name
