"""Asks through Anthropic's Message Batches, at half the price, into the store that the online path reads.

A batch costs money once it is created, so no batch may be forgotten. The store has an intent before each request to
create one, and the batch's id after it. A rerun collects what is recorded, and looks through the provider's list for
what was created but not recorded. Entries carry `Call.key` as custom id, so results match calls whatever batch they
come from.
"""

import json
import re
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar, cast

import anthropic
import anyio
import httpx2
from anthropic.types.messages import MessageBatch
from anthropic.types.messages.batch_create_params import Request
from filelock import FileLock, Timeout
from inspect_ai.model import model_output_from_anthropic

from model_calls.call import Call
from model_calls.inspect_private import anthropic_client
from model_calls.online import UNREADABLE, reply_of
from model_calls.request import Body, request_body
from model_calls.store import CallStore

MAX_CREATE_ATTEMPTS = 5
CLOCK_SKEW = timedelta(minutes=2)
CREATED_WITHIN = timedelta(minutes=15)  # after the intent; longer than a request can take
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
        batch_size: Most entries per batch; all replies of a batch are in memory at once.
        poll_seconds: Between two looks at the open batches.
        max_rounds: How often an entry is sent at most.
        max_wait_seconds: For one round, broken connections and overload included; the API ends a batch within 24 hours.
        progress: Called with a line of text when something happened.

    Raises:
        ValueError: If a call cannot go into a batch, or another process sends batches from this store; nothing is
            sent then.
        TimeoutError: If a round is not done in time; a rerun takes it up again.
        anthropic.APIError: If the API refuses, or cannot be reached to create a batch; a rerun takes up what was
            created.
    """
    wanted = {call.key: call for call in calls}
    requests = {key: await request_body(call) for key, call in wanted.items() if key not in store}
    already_stored = len(wanted) - len(requests)
    if not requests:
        return BatchOutcome(0, already_stored, {})
    client = anthropic_client(next(iter(wanted.values())).model)
    run = _Run(store, wanted, client, poll_seconds, progress)
    try:
        with FileLock(f"{store.path}.batches.lock", timeout=0):
            for run.round_number in range(max_rounds + 1):
                with anyio.fail_after(max_wait_seconds):
                    if run.round_number == 0:
                        await run.collect(await run.left_behind())
                        run.failed.clear()  # of an earlier run: it ends here, and this run sends them again
                    else:
                        await run.collect(await run.sent(requests, batch_size))
    except Timeout:
        raise ValueError(f"{store.path}: another process sends batches from this store; wait for it to end") from None
    except TimeoutError as error:
        raise TimeoutError(
            f"{', '.join(run.waiting) or 'list of batches'}: not done after {max_wait_seconds:g} seconds; run again to "
            "go on, nothing will be sent twice"
        ) from error
    unanswered = [key for key in requests if key not in store]
    failed = {key: run.failed.get(key) or f"{run.passing[key]}, {max_rounds} times" for key in unanswered}
    return BatchOutcome(len(requests) - len(failed), already_stored, failed)


@dataclass
class _Run:
    store: CallStore
    wanted: Mapping[str, Call]
    client: anthropic.AsyncAnthropic
    poll_seconds: float
    progress: Callable[[str], None]
    round_number: int = 0
    waiting: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    passing: dict[str, str] = field(default_factory=dict)  # why the last round did not answer; that may pass

    async def left_behind(self) -> dict[str, frozenset[str]]:
        """Batches of earlier runs that hold, or may hold, what is asked now; with their keys, if those are known."""
        batches: dict[str, frozenset[str]] = {}
        for time, listed, batch in self.store.execute("SELECT time, keys, batch FROM batches WHERE NOT done"):
            keys = frozenset(json.loads(listed))
            if any(key in self.wanted and key not in self.store for key in keys):
                created = datetime.fromisoformat(time)
                batches |= {batch: keys} if batch else dict.fromkeys(await self._made(created, len(keys)), frozenset())
        if batches:
            self.progress(f"taking up {len(batches)} batches that an earlier run may have left: {', '.join(batches)}")
        return batches

    async def sent(self, requests: Mapping[str, Body], batch_size: int) -> dict[str, frozenset[str]]:
        """Creates batches of what has no reply so far; their ids with their keys."""
        betas = dict.fromkeys(beta for _, of_call in requests.values() for beta in of_call)
        todo = [key for key in requests if key not in self.store and key not in self.failed]
        blocks = [todo[start : start + batch_size] for start in range(0, len(todo), batch_size)]
        bodies = ({key: requests[key][0] for key in block} for block in blocks)
        return {await self._create(block, betas): frozenset(block) for block in bodies}

    async def _create(self, bodies: Mapping[str, Mapping[str, Any]], betas: Collection[str]) -> str:
        intent, now, keys = uuid.uuid4().hex, datetime.now(UTC), json.dumps(sorted(bodies))
        self.store.execute("INSERT INTO batches (intent, time, keys) VALUES (?, ?, ?)", intent, now.isoformat(), keys)
        requests = [cast(Request, {"custom_id": key, "params": body}) for key, body in bodies.items()]
        headers = {"anthropic-beta": ",".join(betas)} if betas else None
        once = self.client.with_options(max_retries=0)  # the SDK's retry of a lost answer would pay for a second batch
        batch, attempt, in_doubt = "", 0, False
        while not batch:
            attempt += 1
            try:
                batch = (await once.messages.batches.create(requests=requests, extra_headers=headers)).id
            except (*PASSING_ERRORS, *REFUSALS) as error:
                in_doubt |= not isinstance(error, REFUSALS)
                if attempt == MAX_CREATE_ATTEMPTS or not isinstance(error, PASSING_ERRORS):
                    if not in_doubt:  # else a rerun would take a stranger's batch of this size for ours
                        self.store.execute("DELETE FROM batches WHERE intent = ?", intent)
                    raise
                await anyio.sleep(0.5 * 2**attempt)
                if in_doubt and (made := await self._made(now, len(bodies))):
                    batch = made[0]
        self.store.execute("UPDATE batches SET batch = ? WHERE intent = ?", batch, intent)
        self.progress(f"round {self.round_number}: created {batch} with {len(bodies)} entries")
        return batch

    async def _made(self, intended: datetime, count: int) -> list[str]:
        """Unrecorded batches of the right time and size; whose they are shows only in their results."""
        known = {batch for (batch,) in self.store.execute("SELECT batch FROM batches")}

        async def listed() -> list[str]:
            made: list[str] = []
            async for batch in self.client.messages.batches.list(limit=100):  # newest first
                if batch.created_at < intended - CLOCK_SKEW:
                    break
                is_alike = sum(batch.request_counts.model_dump().values()) == count
                if is_alike and batch.created_at <= intended + CREATED_WITHIN and batch.id not in known:
                    made.append(batch.id)
            return made

        return await self._patiently("listing batches", listed)

    async def collect(self, batches: Mapping[str, frozenset[str]]) -> None:
        """Waits for batches, given with the keys known to be in them, and takes what is in them."""
        self.waiting = list(batches)

        async def collect_one(name: str) -> None:
            retrieve = partial(self.client.messages.batches.retrieve, name)
            while (batch := await self._patiently(name, retrieve)).processing_status != "ended":
                await anyio.sleep(self.poll_seconds)
            in_results = await self._patiently(name, partial(self._take, batch))
            keys = batches[name] | in_results
            missing = [key for key in keys - in_results if key in self.wanted and key not in self.store]
            self.failed |= dict.fromkeys(missing, f"absent from the results of {name}")
            # what was not asked for now stays to be taken by a run that asks for it
            if keys and all(key in self.wanted or key in self.store for key in keys):
                self.store.execute("UPDATE batches SET done = 1 WHERE batch = ?", name)
                if not batches[name]:  # not recorded so far: it is known from here on
                    self.store.execute("INSERT OR REPLACE INTO batches VALUES (?, '', '[]', ?, 1)", name, name)
            self.progress(f"{name}: {len(in_results)} results")
            self.waiting.remove(name)

        async with anyio.create_task_group() as group:
            for name in batches:
                group.start_soon(collect_one, name)

    async def _take(self, batch: MessageBatch) -> set[str]:
        """Puts the replies to wanted calls into the store; all keys, none if it is not ours or its results are gone."""
        keys, replies = set[str](), []
        if batch.archived_at is not None:
            return keys  # after 29 days
        entries = await self.client.messages.batches.results(batch.id)
        async for entry in entries:
            key, result = entry.custom_id, entry.result
            if not _KEY.fullmatch(key):
                await entries.close()
                break
            keys.add(key)
            if key not in self.wanted or key in self.store:
                continue
            if result.type == "succeeded":
                output = await model_output_from_anthropic(result.message)
                replies.append(reply_of(self.wanted[key], output, self.round_number, batch=True))
            elif result.type == "errored":
                error = result.error.error
                reasons = self.failed if error.type == "invalid_request_error" else self.passing
                reasons[key] = f"errored: {error.type}: {error.message}"
            else:  # expired: it may be asked again; canceled: somebody does not want it
                (self.passing if result.type == "expired" else self.failed)[key] = result.type
        await self.store.put(*replies)
        return keys

    async def _patiently(self, what: str, function: Callable[[], Awaitable[_T]]) -> _T:
        """What the function gives, however many errors that pass come before it."""
        while True:
            try:
                return await function()
            except PASSING_ERRORS as error:
                name = f"{type(error).__name__}: {error}".split("\n")[0]
                self.progress(f"{what}: {name}; trying again in {self.poll_seconds:g} seconds")
                await anyio.sleep(self.poll_seconds)
