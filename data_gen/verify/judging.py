"""The judge of `cpt verify`, and what judging by a model will cost."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from data_gen.responses import TeacherResponse
from data_gen.verify.checks import Checks
from judges import MEASURED, Judge, MeasuredJudge, ModelJudge, judge_call, judge_hash, judge_model
from judges.cost import cost_usd, load_prices
from judges.measured import MEASURES_VERSION
from judges.prompts import PROMPT_VERSION, prompt_hash

if TYPE_CHECKING:
    from inspect_ai.model import Model

    from model_calls import CallStore

CHARACTERS_PER_TOKEN = 4
CRITERION_TOKENS = 60  # of a verdict, per criterion; as in `cpt judge forecast`
THINKING_TOKENS = 300  # at low effort; a guess, billed as output


@contextmanager
def open_judge(
    name: str, store_path: str, rows: Iterable[TeacherResponse], checks: Checks
) -> Iterator[tuple[Judge, dict[str, str]]]:
    """The judge, and what tells it from others; for a model, says first what judging the rows will cost."""
    if name == MEASURED:
        yield MeasuredJudge(), {"judge": MEASURED, "prompt_version": MEASURES_VERSION}
        return
    from inspect_ai.model import get_model

    from model_calls import open_store

    model = judge_model(get_model(name, memoize=False))
    about = {"judge": str(model), "prompt_version": PROMPT_VERSION}
    store = open_store(store_path)
    try:
        click.echo(_forecast(rows, checks, model, store), err=True)
        yield ModelJudge(model, store), about | {"prompt_hash": prompt_hash(), "judge_hash": judge_hash(model)}
    finally:
        store.close()


def _forecast(rows: Iterable[TeacherResponse], checks: Checks, model: "Model", store: "CallStore") -> str:
    """Calls that are not in the store yet, tokens and US dollars, at most: nothing cached, no reply unusable."""
    judgments = characters = output = 0
    new: set[str] = set()
    for row in rows:
        if checks.before_judging(row):
            continue
        judgments += 1
        rubric = checks.rubrics[row.rubric]
        call = judge_call(model, rubric, row.user_prompt, row.response, repeat=0, attempt=1)
        if call.key not in store and call.key not in new:
            new.add(call.key)
            characters += sum(len(message.text) for message in call.messages)
            output += CRITERION_TOKENS * (len(rubric.criteria) + 1) + THINKING_TOKENS
    usage = {"input_tokens": characters // CHARACTERS_PER_TOKEN, "output_tokens": output}
    cost = cost_usd(str(model), usage)
    price = "price unknown" if cost is None else f"{cost:.2f} USD"
    return (
        f"judge {model}: {judgments:,} judgments, {judgments - len(new):,} of them stored or asked twice, {len(new):,} "
        f"calls to send: about {usage['input_tokens']:,} tokens in and {output:,} out, {price} as of "
        f"{load_prices().as_of} without prompt caching"
    )
