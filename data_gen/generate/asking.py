"""Asks teachers questions through the call store, online or in provider batches, within a budget.

The number of tasks is bounded whatever the size of the plan. A reply is in the store, on disk, before it is counted.
"""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice, takewhile

import anyio
import click

from data_gen.generate.rows import Asked
from judges.cost import CHARACTERS_PER_TOKEN, cost_usd
from model_calls import CallStore, Reply, ask
from model_calls.call import name_of
from model_calls.errors import was_cut_off
from model_calls.visible import visible

CALLS_PER_ROUND = 20_000  # whose bodies are in memory at once, when asking in batches
POLL_SECONDS = 30.0
AFFORDABLE_SECONDS = 0.1  # between looks at whether the budget has room again
MAX_FAILURES_IN_A_ROW = 50
FIRST_REPLIES, MANY_OF_NO_USE = 10, 3
PROGRESS_SECONDS = 5.0


class Asking:
    """One run: asks, and counts what came and what it cost.

    Attributes:
        usd_spent: On replies that came in now, as far as their price is known.
        failures: Calls that failed, by kind.
        stopped: Why no new question is asked; "" while they are.
    """

    def __init__(self, store: CallStore, max_usd: float | None, reply_tokens: Mapping[str, float]):
        """`max_usd` is what may be spent if replies have the `reply_tokens` expected, by inspect name."""
        self._store = store
        self._max_usd = max_usd
        self._reply_tokens = reply_tokens
        self.usd_spent = 0.0
        self.stopped = ""
        self.failures: Counter[str] = Counter()
        self._usd_in_flight: dict[str, float] = {}  # what is set aside for calls, by key
        self._failed_in_a_row = 0
        self._first_replies: dict[str, list[bool]] = defaultdict(list)  # of each teacher: whether it is of use

    async def online(self, missing: Sequence[Asked]) -> None:
        """Asks every teacher its questions, all teachers at the same time; those of one stand together.

        Raises:
            OSError: If a reply cannot be written to disk.
        """
        done, start = 0, time.monotonic()
        shown = start

        async def worker(left: Iterator[Asked]) -> None:
            nonlocal done, shown
            for one in left:  # shared by the workers of a teacher
                await self._ask(one)
                if self.stopped:
                    return
                done += 1
                if time.monotonic() - shown >= PROGRESS_SECONDS:
                    shown = time.monotonic()
                    minutes = (len(missing) - done) * (shown - start) / done / 60
                    click.echo(
                        f"{done:,} of {len(missing):,}, {minutes:.1f} min left, {self.usd_spent:.2f} USD, "
                        f"{self.failures.total()} failed",
                        err=True,
                    )

        async with anyio.create_task_group() as group:
            for teacher, own in groupby(missing, key=lambda one: one.teacher):
                left = iter(list(own))
                for _ in range(teacher.workers):
                    group.start_soon(worker, left)

    async def batches(self, missing: Sequence[Asked]) -> None:
        """As `online`, through provider batches, one teacher after another.

        Raises:
            ValueError: If a teacher cannot be asked in batches.
            TimeoutError: As `ask_in_batches`; the same command takes up what is on its way. So with anthropic.APIError.
        """
        from model_calls.batch import ask_in_batches

        for _, own in groupby(missing, key=lambda one: one.teacher):
            while not self.stopped and (block := list(islice(own, CALLS_PER_ROUND))):
                new = {one.key: one for one in block if one.key not in self._store}
                affordable = list(takewhile(lambda one: self._reserve(one, batch=True), new.values()))
                self._usd_in_flight.clear()
                outcome = await ask_in_batches(
                    self._store,
                    [one.call for one in affordable],
                    poll_seconds=POLL_SECONDS,
                    progress=lambda line: click.echo(line, err=True),
                )
                for one in new.values():
                    if reply := self._store.get(one.key):
                        self._count_reply(one, reply)
                for reason in outcome.failed.values():
                    self._count_failure(reason.split(":")[0], reason)

    async def _ask(self, one: Asked) -> None:
        """Puts the reply to a question into the store; a call that fails is counted."""
        if one.key in self._store:
            return
        # most calls in flight will cost less than is set aside for them
        while self._usd_in_flight and not self.stopped and not self._is_affordable(self._usd(one)):
            await anyio.sleep(AFFORDABLE_SECONDS)
        if self.stopped or not self._reserve(one):
            return
        try:
            reply, is_new = await ask(self._store, one.call)
        except Exception as error:  # whatever a provider's client raises: each has errors of its own
            if isinstance(error, OSError) and error.filename:  # of the store's disk
                raise
            status = getattr(error, "status_code", None)
            self._count_failure(f"{type(error).__name__}{f' {status}' if status else ''}", str(error))
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= MAX_FAILURES_IN_A_ROW:  # then they would all fail
                self.stopped = f"{MAX_FAILURES_IN_A_ROW} calls failed one after another"
        else:
            self._failed_in_a_row = 0
            if is_new:
                self._count_reply(one, reply)
        finally:
            self._usd_in_flight.pop(one.key, None)

    def _usd(self, one: Asked, batch: bool = False) -> float:
        """US dollars that a call is expected to cost, 0 if its price is not known."""
        model = name_of(one.teacher.model)
        usage = {
            "input_tokens": one.question.characters // CHARACTERS_PER_TOKEN,
            "output_tokens": round(self._reply_tokens[model]),
        }
        return cost_usd(model, usage, batch) or 0.0

    def _is_affordable(self, usd: float) -> bool:
        in_flight = math.fsum(self._usd_in_flight.values())
        return self._max_usd is None or self.usd_spent + in_flight + usd <= self._max_usd

    def _reserve(self, one: Asked, batch: bool = False) -> bool:
        """Whether the budget allows a call, which is in flight from here on; else asking stops."""
        usd = self._usd(one, batch)
        if not self._is_affordable(usd):
            self.stopped = f"--max-cost {self._max_usd:g} reached"
            return False
        self._usd_in_flight[one.key] = usd
        return True

    def _count_reply(self, one: Asked, reply: Reply) -> None:
        """Counts what a reply cost; after the first ten of a teacher, says if many are of no use."""
        self.usd_spent += cost_usd(reply.model, reply.usage, reply.batch) or 0.0
        first = self._first_replies[one.teacher.name]
        if len(first) == FIRST_REPLIES or reply.stop_reason == "content_filter":
            return
        first.append(not was_cut_off(reply.stop_reason) and bool(visible(reply.text)[0].strip()))
        if len(first) == FIRST_REPLIES and first.count(False) >= MANY_OF_NO_USE:
            click.echo(
                f"{one.teacher.name}: {first.count(False)} of the first {FIRST_REPLIES} replies were cut or hold no "
                "response; a thought counts in --max-tokens too: stop, and give more of them or a lower "
                "--reasoning-effort",
                err=True,
            )

    def _count_failure(self, kind: str, message: str) -> None:
        """Counts a failed call, and says what was wrong with the first of its kind."""
        if kind not in self.failures:
            click.echo(f"{kind}: {' '.join(message.split())[:300]}", err=True)
        self.failures[kind] += 1
