"""Judges rows with a model: many at a time, in file order, every reply through the call store."""

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from data_gen.responses import TeacherResponse
from data_gen.verification.verify import Checked, Located, LocatedCheck, RowChecks, Settings
from judges import JudgeFailure, ModelJudge, judge_call
from judges.cost import cost_usd, load_prices, total_usd
from judges.judgment import is_no_response
from rubrics import Rubric

if TYPE_CHECKING:
    from inspect_ai.model import Model

    from model_calls import CallStore

# rows taken up ahead of the oldest that is not judged yet, per connection: one slow reply must not stop the others
ROWS_PER_CONNECTION = 4
CHARACTERS_PER_TOKEN = 4
CRITERION_TOKENS = 60  # of a verdict, per criterion; as in `cpt judge forecast`
THINKING_TOKENS = 300  # at low effort; a guess, billed as output


def check_by_model(
    rows: Iterable[Located], settings: Settings, model: "Model", store: "CallStore", max_connections: int
) -> Iterator[LocatedCheck]:
    """Every row after what came out for it, in the order given, judged by a model.

    Args:
        rows: Rows with "FILE:LINE"; a few hundred are in memory at a time.
        settings: What to check.
        model: Judge.
        store: Where calls are kept and looked up.
        max_connections: Most calls in flight at a time.

    Raises:
        Exception: What the provider's client raises when its retries are used up. What was answered is in the store.
    """
    judging = _Judging(settings, ModelJudge(model, store), asyncio.Semaphore(max_connections))
    waiting: deque[tuple[str, TeacherResponse, asyncio.Task[Checked]]] = deque()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        try:
            for where, row in rows:
                waiting.append((where, row, loop.create_task(judging.check(row))))
                if len(waiting) >= max_connections * ROWS_PER_CONNECTION:
                    yield runner.run(_oldest(waiting))
            while waiting:
                yield runner.run(_oldest(waiting))
        finally:
            runner.run(_cancel([task for _, _, task in waiting]))


class _Judging:
    def __init__(self, settings: Settings, judge: ModelJudge, connections: asyncio.Semaphore):
        self._checks = RowChecks(settings)
        self._settings = settings
        self._judge = judge
        self._connections = connections

    async def check(self, row: TeacherResponse) -> Checked:
        if dropped := self._checks.before_judging(row):
            return dropped
        try:
            score = await self._score(self._settings.rubrics[row.rubric], row)
        except JudgeFailure as failure:
            return Checked("unjudged", str(failure))
        checked = self._checks.after_judging(row, score)
        if checked.reason:
            return checked
        also: dict[str, float] = {}
        failed: list[str] = []
        for rubric in self._settings.also_by:
            if rubric.id == row.rubric:
                continue
            try:
                also[rubric.id] = await self._score(rubric, row)
            except JudgeFailure:
                failed.append(rubric.id)
        [checked] = self._checks.with_bands([row], [checked._replace(also=also, also_unjudged=tuple(failed))])
        return checked

    async def _score(self, rubric: Rubric, row: TeacherResponse) -> float:
        async with self._connections:
            return (await self._judge.judge(rubric, row.user_prompt, row.response)).score


async def _oldest(waiting: deque[tuple[str, TeacherResponse, asyncio.Task[Checked]]]) -> LocatedCheck:
    where, row, task = waiting[0]
    checked = await task
    waiting.popleft()
    return where, row, checked


async def _cancel(tasks: list[asyncio.Task[Checked]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def forecast_judging(rows: Iterable[Located], settings: Settings, model: "Model", store: "CallStore") -> str:
    """What judging rows will take at most, in one line: calls that are not in the store yet, tokens, US dollars.

    Rows that are dropped before they are judged count for nothing. As if nothing were read from a provider's cache,
    no reply unusable, and every row in its band, so that it is judged by further rubrics as well.
    """
    checks = RowChecks(settings)
    known = new = characters = output = 0
    seen: set[str] = set()
    for _, row in rows:
        if checks.before_judging(row) or is_no_response(row.response):
            continue
        others = [rubric for rubric in settings.also_by if rubric.id != row.rubric]
        for rubric in [settings.rubrics[row.rubric], *others]:
            call = judge_call(model, rubric, row.user_prompt, row.response, repeat=0, attempt=1)
            if call.key in store or call.key in seen:
                known += 1
                continue
            seen.add(call.key)
            new += 1
            characters += sum(len(message.text) for message in call.messages)
            output += CRITERION_TOKENS * (len(rubric.criteria) + 1) + THINKING_TOKENS
    usage = {"input_tokens": characters // CHARACTERS_PER_TOKEN, "output_tokens": output}
    return (
        f"judge {model}: {known + new:,} judgments, {known:,} of them stored or asked twice, {new:,} calls to send: "
        f"about {usage['input_tokens']:,} tokens in and {usage['output_tokens']:,} out, "
        f"{_usd(cost_usd(str(model), usage))} without prompt caching"
    )


def paid_since(store: "CallStore", calls_before: int, model: "Model") -> str:
    """What a run paid for, in one line: the calls added to the store after the first `calls_before`."""
    usage: Counter[str] = Counter()
    costs = []
    for reply in itertools.islice(store.replies(), calls_before, None):
        usage.update(reply.usage)
        costs.append(cost_usd(reply.model, reply.usage, batch=reply.batch))
    tokens = ", ".join(f"{count:,} {kind}" for kind, count in sorted(usage.items())) or "no tokens"
    return f"judge {model}: {len(costs):,} calls sent, {tokens}, {_usd(total_usd(costs))}"


def _usd(dollars: float | None) -> str:
    as_of = load_prices().as_of
    return f"price unknown as of {as_of}" if dollars is None else f"{dollars:.2f} USD at prices of {as_of}"
