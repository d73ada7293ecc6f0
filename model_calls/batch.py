"""Asks through Anthropic's Message Batches, at half the price, into the store that the online path reads.

A batch costs money once it is created, so no batch may be forgotten. The store has an intent before each request to
create one, and the batch's id after it. A rerun collects what is recorded, and looks through the provider's list for
what was created but not recorded. Entries carry `Call.key` as custom id, so results match calls whatever batch they
come from.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast

import anthropic
import anyio
from anthropic.types.messages.batch_create_params import Request
from filelock import FileLock, Timeout

from model_calls.batch_records import BatchRecords, Intent
from model_calls.batch_results import PASSING_ERRORS, take_results
from model_calls.call import Call
from model_calls.inspect_private import anthropic_client
from model_calls.request import Body, request_body
from model_calls.store import CallStore

MAX_CREATE_ATTEMPTS = 5
CLOCK_SKEW = timedelta(minutes=2)
CREATED_WITHIN = timedelta(minutes=15)  # after the intent; longer than a request can take
# answers that say that nothing was created
REFUSALS = (
    anthropic.AuthenticationError,
    anthropic.BadRequestError,
    anthropic.PermissionDeniedError,
    anthropic.RateLimitError,
)

_T = TypeVar("_T")


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
    progress: Callable[[str], None] = lambda line: None,
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
        ValueError: If a call cannot go into a batch, or another process sends batches from this store; nothing is
            sent then.
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
    client = client or anthropic_client(next(iter(wanted.values())).model)
    run = _Run(store, wanted, client, BatchRecords(store), poll_seconds, max_wait_seconds, progress)
    try:
        with FileLock(f"{store.path}.batches.lock", timeout=0):
            await run.collect(await run.left_behind())
            run.failed.clear()  # of an earlier run: it ends here, and this run sends them again
            for run.round_number in range(1, max_rounds + 1):
                todo = [key for key in bodies if key not in store and key not in run.failed]
                await run.collect(dict([await run.create(*batch) for batch in _cut(todo, bodies, batch_size)]))
    except Timeout:
        raise ValueError(f"{store.path}: another process sends batches from this store; wait for it to end") from None
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
    records: BatchRecords
    poll_seconds: float
    max_wait_seconds: float
    progress: Callable[[str], None]
    round_number: int = 1
    failed: dict[str, str] = field(default_factory=dict)
    passing: dict[str, str] = field(default_factory=dict)  # why the last round did not answer; that may pass

    async def left_behind(self) -> dict[str, frozenset[str]]:
        """Batches of earlier runs that hold, or may hold, what is asked now; with their keys, if those are known."""
        missing = {key for key in self.wanted if key not in self.store}
        batches: dict[str, frozenset[str]] = {}
        for intent in self.records.on_their_way():
            if intent.batch and intent.keys & missing:
                batches[intent.batch] = intent.keys
            elif intent.keys & missing:
                batches |= dict.fromkeys(await self._made_by(intent), frozenset())
        if batches:
            self.progress(f"taking up {len(batches)} batches that an earlier run may have left: {', '.join(batches)}")
        return batches

    async def create(self, bodies: Mapping[str, Mapping[str, Any]], betas: Sequence[str]) -> tuple[str, frozenset[str]]:
        """Creates a batch; its id and keys."""
        intent = self.records.intend(bodies)
        batch = await self._created(intent, bodies, betas)
        self.records.created(intent, batch)
        self.progress(f"round {self.round_number}: created {batch} with {len(bodies)} entries")
        return batch, intent.keys

    async def _created(self, intent: Intent, bodies: Mapping[str, Mapping[str, Any]], betas: Sequence[str]) -> str:
        requests = [cast(Request, {"custom_id": key, "params": body}) for key, body in bodies.items()]
        headers = {"anthropic-beta": ",".join(betas)} if betas else None
        once = self.client.with_options(max_retries=0)  # the SDK's retry of a lost answer would pay for a second batch
        in_doubt = False
        for attempt in range(1, MAX_CREATE_ATTEMPTS + 1):
            try:
                return (await once.messages.batches.create(requests=requests, extra_headers=headers)).id
            except (*PASSING_ERRORS, *REFUSALS) as error:
                in_doubt |= not isinstance(error, REFUSALS)
                if attempt == MAX_CREATE_ATTEMPTS or not isinstance(error, PASSING_ERRORS):
                    if not in_doubt:  # else a rerun would take a stranger's batch of this size for ours
                        self.records.refused(intent)
                    raise
                await anyio.sleep(0.5 * 2**attempt)
                if in_doubt and (made := await self._made_by(intent)):
                    return made[0]
        raise AssertionError("the last attempt returns or raises")

    async def _made_by(self, intent: Intent) -> list[str]:
        """Unrecorded batches of the right time and size; whose they are shows only in their results."""
        known = self.records.known()

        async def listed() -> list[str]:
            made: list[str] = []
            async for batch in self.client.messages.batches.list(limit=100):  # newest first
                if batch.created_at < intent.time - CLOCK_SKEW:
                    break
                counts = batch.request_counts
                entries = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
                is_alike = batch.created_at <= intent.time + CREATED_WITHIN and entries == len(intent.keys)
                made += [batch.id] if is_alike and batch.id not in known else []
            return made

        with self._in_time(lambda: "batches could not be listed for"):
            return await self._patiently("listing batches", listed)
        raise AssertionError("the time is up with an error")

    async def collect(self, batches: Mapping[str, frozenset[str]]) -> None:
        """Waits for batches, given with the keys known to be in them, and takes what is in them."""
        waiting = list(batches)

        async def collect_one(batch_id: str) -> None:
            retrieve = partial(self.client.messages.batches.retrieve, batch_id)
            while (batch := await self._patiently(batch_id, retrieve)).processing_status != "ended":
                await anyio.sleep(self.poll_seconds)
            take = partial(take_results, self.client, batch, self.wanted, self.store, self.round_number)
            results = await self._patiently(batch_id, take)
            self.failed |= results.failed
            self.passing |= results.passing
            keys = batches[batch_id] | results.keys
            missing = [key for key in keys - results.keys if key in self.wanted and key not in self.store]
            self.failed |= dict.fromkeys(missing, f"absent from the results of {batch_id}")
            # what was not asked for now stays to be taken by a run that asks for it
            if keys and all(key in self.wanted or key in self.store for key in keys):
                self.records.taken(batch_id)
            self.progress(f"{batch_id}: {len(results.keys)} results")
            waiting.remove(batch_id)

        with self._in_time(lambda: f"batches {', '.join(waiting)} are not done after"):
            async with anyio.create_task_group() as group:
                for batch_id in batches:
                    group.start_soon(collect_one, batch_id)

    @contextmanager
    def _in_time(self, what: Callable[[], str]) -> Iterator[None]:
        try:
            with anyio.fail_after(self.max_wait_seconds):
                yield
        except TimeoutError as error:
            seconds = f"{self.max_wait_seconds:.0f} seconds"
            raise TimeoutError(f"{what()} {seconds}: run again to go on, nothing will be sent twice") from error

    async def _patiently(self, what: str, function: Callable[[], Awaitable[_T]]) -> _T:
        """What the function gives, however many errors that pass come before it."""
        while True:
            try:
                return await function()
            except PASSING_ERRORS as error:
                name = f"{type(error).__name__}: {error}".split("\n")[0]
                self.progress(f"{what}: {name}; trying again in {self.poll_seconds:g} seconds")
                await anyio.sleep(self.poll_seconds)
