"""Asks teachers questions through the call store, online or in provider batches, within a budget.

The number of tasks is bounded whatever the size of the plan. A reply is in the store, on disk, before it is counted.
"""

import errno
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import click

from data_gen.generate.plan import Question
from data_gen.generate.teachers import CHARACTERS_PER_TOKEN, Teacher, characters
from judges.cost import Prices, cost_usd
from judges.model import PrefixWarmer

if TYPE_CHECKING:
    from model_calls import Call, CallStore, Reply

CALLS_PER_ROUND = 20_000  # whose bodies are in memory at once, when asking in batches
POLL_SECONDS = 30.0
MAX_FAILURES_IN_A_ROW = 50
PROGRESS_SECONDS, SAVE_SECONDS = 5.0, 60.0
_DISK_ERRORS = {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EFBIG}


@dataclass
class Asking:
    """One run: what it asks through and what it counts.

    Attributes:
        store: Replies.
        prices: Prices to count at.
        max_usd: What must not be exceeded; None for no bound.
        expected: Output tokens of a reply, by inspect name of the teacher.
        total: Questions to be asked.
        save: Writes the rows that there are; called about once a minute.
        done: Questions that were answered.
        usd_spent: On replies that came in now, as far as their price is known.
        failures: Calls without a reply, by kind.
        stopped: Why no new question is asked; "" while they are.
    """

    store: "CallStore"
    prices: Prices
    max_usd: float | None
    expected: Mapping[str, float]
    total: int
    save: Callable[[], None]
    done: int = 0
    usd_spent: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    stopped: str = ""

    def __post_init__(self) -> None:
        self._usd_in_flight = 0.0
        self._failed_in_a_row = 0
        self._first_messages: dict[str, str] = {}
        self._warmer = PrefixWarmer()
        self._start = self._shown = self._saved = time.monotonic()

    async def online(self, questions: Mapping[Teacher, Iterator[Question]]) -> None:
        """Asks every teacher its questions, all teachers at the same time.

        Raises:
            OSError: If a reply cannot be written to disk.
        """

        async def worker(teacher: Teacher, left: Iterator[Question]) -> None:
            for question in left:  # shared by the workers of a teacher
                if await self._reply(teacher, question) is not None:
                    self._step()
                elif self.stopped:
                    return

        async with anyio.create_task_group() as group:
            for teacher, left in questions.items():
                for _ in range(teacher.workers):
                    group.start_soon(worker, teacher, left)

    async def batches(self, questions: Mapping[Teacher, Iterator[Question]]) -> None:
        """As `online`, through provider batches, one teacher after another.

        Raises:
            ValueError: If a teacher cannot be asked in batches.
            TimeoutError: As `ask_in_batches`; the same command takes up what is on its way. So with anthropic.APIError.
        """
        from model_calls.batch import ask_in_batches

        for teacher, left in questions.items():
            while not self.stopped and (block := list(itertools.islice(left, CALLS_PER_ROUND))):
                calls = {call.key: call for call in map(teacher.call, block)}
                new = [call for key, call in calls.items() if key not in self.store]
                affordable = list(itertools.takewhile(lambda call: self._reserve(self._usd(call, batch=True)), new))
                self._usd_in_flight = 0.0
                outcome = await ask_in_batches(
                    self.store, affordable, poll_seconds=POLL_SECONDS, progress=lambda line: click.echo(line, err=True)
                )
                for reply in filter(None, (self.store.get(call.key) for call in new)):
                    self.usd_spent += cost_usd(reply.model, reply.usage, reply.batch, self.prices) or 0.0
                for reason in outcome.failed.values():
                    self._count_failure(reason.split(":")[0], reason)
                self.save()

    def failure_lines(self) -> list[str]:
        """One line per kind of failure, the most frequent first."""
        kinds = self.failures.most_common()
        return [f"{count} calls failed with {kind}: {self._first_messages[kind]}" for kind, count in kinds]

    async def _reply(self, teacher: Teacher, question: Question) -> "Reply | None":
        """The reply to a question; None if the call failed, which is counted, or if asking has stopped."""
        from model_calls import ask

        call = teacher.call(question)
        if call.key in self.store:
            return self.store.get(call.key)
        usd = self._usd(call)
        if self.stopped or not self._reserve(usd):
            return None
        caches = teacher.caches(question)
        try:
            async with self._warmer.turn(f"{call.model}\0{question.rubric.id}") if caches else nullcontext():
                reply, is_new = await ask(self.store, call)
        except Exception as error:  # whatever a provider's client raises: each has errors of its own
            self._fail(error)
            return None
        finally:
            self._usd_in_flight -= usd
        self._failed_in_a_row = 0
        if is_new:
            self.usd_spent += cost_usd(reply.model, reply.usage, prices=self.prices) or 0.0
        return reply

    def _usd(self, call: "Call", batch: bool = False) -> float:
        """US dollars that a call is expected to cost, 0 if its price is not known."""
        model = str(call.model)
        usage = {"input_tokens": characters(call) // CHARACTERS_PER_TOKEN, "output_tokens": round(self.expected[model])}
        return cost_usd(model, usage, batch, self.prices) or 0.0

    def _reserve(self, usd: float) -> bool:
        """Whether the budget allows a call of this cost, which is in flight from here on; else asking stops."""
        if self.max_usd is not None and self.usd_spent + self._usd_in_flight + usd > self.max_usd:
            self.stopped = f"--max-cost {self.max_usd:g} reached"
            return False
        self._usd_in_flight += usd
        return True

    def _fail(self, error: Exception) -> None:
        """Counts a call that failed; after many in a row asking stops, since they would all fail."""
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise error
        status = getattr(error, "status_code", None)
        self._count_failure(f"{type(error).__name__}{f' {status}' if status else ''}", str(error))
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= MAX_FAILURES_IN_A_ROW:
            self.stopped = f"{MAX_FAILURES_IN_A_ROW} calls failed one after another"

    def _count_failure(self, kind: str, message: str) -> None:
        self.failures[kind] += 1
        self._first_messages.setdefault(kind, " ".join(message.split())[:300])

    def _step(self) -> None:
        """Counts one as done; every few seconds says how far the run is, and about once a minute saves the rows."""
        self.done += 1
        now = time.monotonic()
        if now - self._shown >= PROGRESS_SECONDS:
            self._shown = now
            rate = self.done / (now - self._start)
            left = round((self.total - self.done) / rate)
            click.echo(
                f"{self.done:,} of {self.total:,}, {rate:.1f}/s, {left // 3600}:{left // 60 % 60:02}:{left % 60:02} "
                f"left, {self.usd_spent:.2f} USD, {self.failures.total()} failed",
                err=True,
            )
        if now - self._saved >= SAVE_SECONDS:
            self.save()
            took = time.monotonic() - now
            self._saved = now + 20 * took  # of a long file, so that saving takes no more than a twentieth of the time
