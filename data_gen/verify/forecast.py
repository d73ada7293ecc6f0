"""What judging by a model will cost at most, and what it cost."""

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from data_gen.responses import TeacherResponse
from data_gen.verify.checks import Checks
from judges import judge_call
from judges.cost import cost_usd, forecast, load_prices, total_usd

if TYPE_CHECKING:
    from inspect_ai.model import Model

    from model_calls import CallStore

CHARACTERS_PER_TOKEN = 4
CRITERION_TOKENS = 60  # of a verdict, per criterion; as in `cpt judge forecast`
THINKING_TOKENS = 300  # at low effort; a guess, billed as output


def forecast_judging(rows: Iterable[TeacherResponse], checks: Checks, model: "Model", store: "CallStore") -> str:
    """What judging rows will take at most, in one line: calls that are not in the store yet, tokens, US dollars.

    Rows that are dropped before they are judged count for nothing. As if nothing were read from a provider's cache,
    no reply unusable, and every row in its band, so that it is judged by further rubrics as well.
    """
    known = new = characters = output = 0
    seen: set[str] = set()
    for row in rows:
        if checks.before_judging(row):
            continue
        for rubric in [checks.rubrics[row.rubric], *checks.also_for(row)]:
            call = judge_call(model, rubric, row.user_prompt, row.response, repeat=0, attempt=1)
            if call.key in store or call.key in seen:
                known += 1
                continue
            seen.add(call.key)
            new += 1
            characters += sum(len(message.text) for message in call.messages)
            output += CRITERION_TOKENS * (len(rubric.criteria) + 1) + THINKING_TOKENS
    calls = max(new, 1)
    wanted = forecast(new, characters / CHARACTERS_PER_TOKEN / calls, output / calls, str(model))
    return (
        f"judge {model}: {known + new:,} judgments, {known:,} of them stored or asked twice, {new:,} calls to send: "
        f"about {wanted.usage['input_tokens']:,} tokens in and {wanted.usage['output_tokens']:,} out, "
        f"{_usd(wanted.cost_usd)} without prompt caching"
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
