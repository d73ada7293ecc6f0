"""Checks and judges rows in file order, many calls at a time, and says what judging by a model costs."""

import asyncio
import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from data_gen.responses import CONTROL, TeacherResponse
from data_gen.verify.checks import KEPT, REASONS, Checked, Checks
from judges import Judge, JudgeFailure, Judgment, judge_call, measure
from judges.cost import forecast, load_prices
from rubrics import Rubric, ScoreLevel

if TYPE_CHECKING:
    from inspect_ai.model import Model

    from model_calls import CallStore

CELL = ["rubric", "user_prompt_id", "level", "teacher"]
LEVELS = [CONTROL, *(level.value for level in ScoreLevel)]
CHUNK_ROWS = 4096  # in memory at a time; at the end of a chunk its slowest call is waited for
NOT_MEASURABLE = "not_measurable"
CHARACTERS_PER_TOKEN = 4
CRITERION_TOKENS = 60  # of a verdict, per criterion; as in `cpt judge forecast`
THINKING_TOKENS = 300  # at low effort; a guess, billed as output


class MeasuredRows:
    """The measured judge; a rubric without measures is a failure to judge, as any other."""

    async def judge(self, rubric: Rubric, user_prompt: str, response: str) -> Judgment:
        """As `measure`; raises JudgeFailure for a rubric without measures."""
        try:
            return measure(rubric, response)
        except ValueError as error:
            mode: Any = NOT_MEASURABLE  # of this command alone
            raise JudgeFailure(mode, str(error).split(", expected")[0]) from error


def check_rows(
    rows: Iterable[TeacherResponse],
    checks: Checks,
    judge: Judge,
    max_connections: int = 64,
    progress: Callable[[int], None] = lambda count: None,
) -> pd.DataFrame:
    """A row per row, in the order given: `CELL`, and what came out for it as in `Checked`.

    A chunk of 4096 rows is in memory at a time, at most `max_connections` of them are checked at a time, and `progress`
    is called with 1 after each.

    Raises:
        ExceptionGroup: Of what the provider's client raises when its retries are used up. What was answered is in the
            judge's store.
    """
    source, frames = iter(rows), []

    async def check_chunk(chunk: list[TeacherResponse]) -> list[Checked]:
        free = asyncio.Semaphore(max_connections)

        async def check(row: TeacherResponse) -> Checked:
            async with free:
                checked = await checks.check(row, judge)
            progress(1)
            return checked

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(check(row)) for row in chunk]
        return [task.result() for task in tasks]

    with asyncio.Runner() as runner:
        while chunk := list(itertools.islice(source, CHUNK_ROWS)):
            frames.append(_frame(chunk, runner.run(check_chunk(chunk))))
    return pd.concat(frames, ignore_index=True) if frames else _frame([], [])


def _frame(rows: list[TeacherResponse], checked: list[Checked]) -> pd.DataFrame:
    cells = [(row.rubric, row.user_prompt_id, str(row.level), row.teacher) for row in rows]
    table = [(*cell, *about) for cell, about in zip(cells, checked, strict=True)]
    levels, outcomes = pd.CategoricalDtype(LEVELS), pd.CategoricalDtype([KEPT, *REASONS])
    types = dict.fromkeys(("rubric", "user_prompt_id", "teacher", "detail"), str)
    frame = pd.DataFrame(table, columns=[*CELL, *Checked._fields])
    return frame.astype(types | {"score": float, "level": levels, "outcome": outcomes})


def forecast_judging(rows: Iterable[TeacherResponse], checks: Checks, model: "Model", store: "CallStore") -> str:
    """What judging rows will take at most, in one line: calls that are not in the store yet, tokens, US dollars.

    As if nothing were read from a provider's cache, no reply unusable, and every row judged by further rubrics as well.
    """
    known = characters = output = 0
    new: set[str] = set()
    for row in rows:
        if checks.before_judging(row):
            continue
        for rubric in [checks.rubrics[row.rubric], *checks.also_for(row)]:
            call = judge_call(model, rubric, row.user_prompt, row.response, repeat=0, attempt=1)
            if call.key in store or call.key in new:
                known += 1
                continue
            new.add(call.key)
            characters += sum(len(message.text) for message in call.messages)
            output += CRITERION_TOKENS * (len(rubric.criteria) + 1) + THINKING_TOKENS
    calls = max(len(new), 1)
    wanted = forecast(len(new), characters / CHARACTERS_PER_TOKEN / calls, output / calls, str(model))
    price = "price unknown" if wanted.cost_usd is None else f"{wanted.cost_usd:.2f} USD"
    price += f" as of {load_prices().as_of}"
    return (
        f"judge {model}: {known + len(new):,} judgments, {known:,} of them stored or asked twice, {len(new):,} calls "
        f"to send: about {wanted.usage['input_tokens']:,} tokens in and {wanted.usage['output_tokens']:,} out, "
        f"{price} without prompt caching"
    )
