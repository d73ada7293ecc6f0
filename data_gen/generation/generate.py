"""Asks teachers for the responses of a plan and writes their rows, through the call store: `cpt generate`.

Online or in provider batches, with a bounded number of tasks whatever the size of the plan. A reply is in the call
store before its row is in the file, so a kill loses no reply.
"""

import errno
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import click

from data_gen.generation.plan import Question
from data_gen.generation.response_file import ResponseFile
from data_gen.generation.spend import CHARACTERS_PER_TOKEN, Budget, ExpectedTokens
from data_gen.generation.teacher_calls import Teacher, characters, row_of
from judges.cost import cost_usd
from judges.prefix import PrefixWarmer

if TYPE_CHECKING:
    from model_calls import Call, CallStore, Reply

CALLS_PER_ROUND = 20_000  # whose bodies are in memory at once, when asking in batches
MAX_FAILURES_IN_A_ROW = 50
PROGRESS_SECONDS = 5.0
_DISK_ERRORS = {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EFBIG}


class Progress:
    """Prints a line on stderr every few seconds: done, rate, time left, and what `details` adds."""

    def __init__(self, what: str, total: int, details: Callable[[], str] = lambda: ""):
        self.done = 0
        self._what, self._total, self._details = what, total, details
        self._start = self._last = time.monotonic()

    def step(self) -> None:
        """Counts one more."""
        self.done += 1
        now = time.monotonic()
        if now - self._last >= PROGRESS_SECONDS:
            self._last = now
            rate = self.done / (now - self._start)
            seconds = round(max(0, self._total - self.done) / rate)
            left = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            line = f"{self._what} {self.done:,} of {self._total:,}, {rate:.1f}/s, {left} left{self._details()}"
            click.echo(line, err=True)


@dataclass
class Failures:
    """Calls that got no reply, by kind, with the first message of each kind."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    in_a_row: int = 0

    def add(self, kind: str, message: str) -> None:
        """Takes down one."""
        self.counts[kind] += 1
        self.first.setdefault(kind, " ".join(message.split())[:300])
        self.in_a_row += 1

    def lines(self) -> list[str]:
        """One line per kind, the most frequent first."""
        return [f"{count} calls failed with {kind}: {self.first[kind]}" for kind, count in self.counts.most_common()]


@dataclass
class Asking:
    """One run: what it writes to and what it counts.

    Attributes:
        store: Replies.
        file: Rows.
        budget: Money.
        expected: Output tokens of a reply, by inspect name of the teacher.
        progress: Rows done.
        failures: Calls without a reply.
        stopped: Why no new question is asked; "" while they are.
    """

    store: "CallStore"
    file: ResponseFile
    budget: Budget
    expected: Mapping[str, ExpectedTokens]
    progress: Progress
    failures: Failures = field(default_factory=Failures)
    stopped: str = ""
    _warmer: PrefixWarmer = field(default_factory=PrefixWarmer)

    async def reply(self, teacher: Teacher, question: Question) -> "Reply | None":
        """The reply to a question; None if the call failed, which is counted, or if asking has stopped.

        Raises:
            OSError: If the reply cannot be written to disk.
        """
        call = teacher.call(question)
        if call.key in self.store:
            return self.store.get(call.key)
        cost = self.estimate(call)
        if self.stopped or not self.may_spend(cost):
            return None
        try:
            reply, is_new = await self._ask(teacher, question, call)
        except Exception as error:  # whatever a provider's client raises: each has errors of its own
            self.fail(error)
            return None
        finally:
            self.budget.release(cost)
        self.failures.in_a_row = 0
        if is_new:
            self.budget.pay(reply.model, reply.usage)
        return reply

    async def _ask(self, teacher: Teacher, question: Question, call: "Call") -> "tuple[Reply, bool]":
        from model_calls import ask

        if not teacher.caches(question):
            return await ask(self.store, call)
        async with self._warmer.turn(f"{call.model}\0{question.rubric.id}"):
            return await ask(self.store, call)

    def estimate(self, call: "Call", batch: bool = False) -> float | None:
        """US dollars that a call is expected to cost, None if its price is not known."""
        model = str(call.model)
        output = round(self.expected[model].tokens)
        usage = {"input_tokens": characters(call) // CHARACTERS_PER_TOKEN, "output_tokens": output}
        return cost_usd(model, usage, batch, self.budget.prices)

    def may_spend(self, cost: float | None) -> bool:
        """Whether the budget allows a call; if so it is reserved, else asking stops."""
        if self.budget.reserve(cost):
            return True
        self.stopped = f"--max-cost {self.budget.max_usd:g} reached"
        return False

    def fail(self, error: Exception, what: str = "") -> None:
        """Counts a call that failed; after many in a row asking stops, since they would all fail.

        Raises:
            OSError: If it was the disk that failed: replies could not be kept.
        """
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise error
        status = getattr(error, "status_code", None)
        self.failures.add(f"{what}{type(error).__name__}{f' {status}' if status else ''}", str(error))
        if self.failures.in_a_row >= MAX_FAILURES_IN_A_ROW:
            self.stopped = f"{MAX_FAILURES_IN_A_ROW} calls failed one after another"


async def ask_online(asking: Asking, questions: Mapping[Teacher, Iterator[Question]]) -> None:
    """Asks every teacher its questions, all teachers at the same time, and writes the rows as replies come."""

    async def worker(teacher: Teacher, left: Iterator[Question]) -> None:
        for question in left:  # shared by the workers of a teacher
            reply = await asking.reply(teacher, question)
            if reply is not None:
                asking.file.append(row_of(teacher, question, reply))
                asking.progress.step()
            elif asking.stopped:
                return

    async with anyio.create_task_group() as group:
        for teacher, left in questions.items():
            for _ in range(teacher.workers):
                group.start_soon(worker, teacher, left)


async def ask_batches(
    asking: Asking, questions: Mapping[Teacher, Iterator[Question]], poll_seconds: float, say: Callable[[str], None]
) -> None:
    """As `ask_online`, through provider batches, one teacher after another.

    Raises:
        ValueError: If a teacher cannot be asked in batches.
        TimeoutError: As `ask_in_batches`; the same command takes up what is on its way. So with anthropic.APIError.
    """
    from model_calls.batch import ask_in_batches

    for teacher, left in questions.items():
        while not asking.stopped and (block := list(itertools.islice(left, CALLS_PER_ROUND))):
            calls = [teacher.call(question) for question in block]
            affordable = _affordable(asking, calls)
            new = {call.key for call in affordable if call.key not in asking.store}
            outcome = await ask_in_batches(asking.store, affordable, poll_seconds=poll_seconds, progress=say)
            for question, call in zip(block, calls, strict=True):
                if (reply := asking.store.get(call.key)) is None:
                    continue
                asking.file.append(row_of(teacher, question, reply))
                asking.progress.step()
                if call.key in new:
                    new.remove(call.key)
                    asking.budget.pay(reply.model, reply.usage, reply.batch)
            for reason in outcome.failed.values():
                asking.failures.add(reason.split(":")[0], reason)


def _affordable(asking: Asking, calls: Sequence["Call"]) -> list["Call"]:
    """The calls that the budget allows, from the first on; those in the store cost nothing."""
    allowed, reserved = [], []
    for call in calls:
        cost = 0.0 if call.key in asking.store else asking.estimate(call, batch=True)
        if not asking.may_spend(cost):
            break
        allowed.append(call)
        reserved.append(cost)
    for cost in reserved:
        asking.budget.release(cost)
    return allowed
