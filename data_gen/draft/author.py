"""Calls of the drafting commands: bounded in number, counted, kept in a store; answers checked and corrected.

Every model is bound through `Spending.bind`, the author as well as the writer and the judge, so that one count holds
for all of them.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, TypeVar

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    ResponseSchema,
    get_model,
)
from inspect_ai.util import json_schema
from pydantic import BaseModel, ValidationError

from data_gen.draft.prompts import PROMPTS
from judges.cost import cost_usd
from model_calls import Call, CallStore, ask
from model_calls.errors import was_cut_off
from rubrics.schema import problem_texts

AUTHOR_MAX_TOKENS = 16000  # thinking counts as output, and a whole rubric is about 2000
ATTEMPT_TIMEOUT_SECONDS = 300
MAX_TRANSPORT_RETRIES = 8

T = TypeVar("T")
Answer = TypeVar("Answer", bound=BaseModel)


class CallLimitError(ValueError):
    """The next request would be one more than `--max-calls`."""


class DraftError(ValueError):
    """A model gave no usable answer in all its attempts."""


class Rejected(Exception):
    """An answer that has to be corrected; `args` says why, a sentence each."""


@dataclass
class Spending:
    """Counts requests and tokens of this run, and stops it at a number of requests.

    Attributes:
        max_calls: Most requests that are sent; those answered from a store do not count.
        sent: Requests sent so far, by model, those included whose reply could not be read.
        usage: Tokens of the replies by kind, by model.
    """

    max_calls: int
    sent: Counter[str] = field(default_factory=Counter)
    usage: dict[str, Counter[str]] = field(default_factory=dict)

    def bind(self, model: Model) -> Model:
        """The same model, under the same name and key, whose requests count and end with a CallLimitError."""
        name = str(model)

        async def generate(*arguments: Any, **options: Any) -> ModelOutput:
            if self.sent.total() >= self.max_calls:
                raise CallLimitError(
                    f"stopped at --max-calls {self.max_calls}: that many requests were sent and more are needed; what "
                    "was answered is kept in the call store, so the same command with a larger number goes on from here"
                )
            self.sent[name] += 1
            output = await model.generate(*arguments, **options)
            counts = output.usage.model_dump(exclude_none=True) if output.usage else {}
            tokens = {kind: count for kind, count in counts.items() if isinstance(count, int)}
            self.usage.setdefault(name, Counter()).update(tokens)
            return output

        counted = copy(model)
        counted.generate = generate  # type: ignore[method-assign]  # the one place that every request passes
        return counted

    def summary(self) -> str:
        """One line on what this run paid for: requests, tokens and, where the price is known, US dollars."""
        parts = []
        for name, count in sorted(self.sent.items()):
            tokens = self.usage.get(name, Counter())
            dollars = cost_usd(name, tokens)
            price = "price not known" if dollars is None else f"{dollars:.4f} US dollars"
            read = sum(tokens[kind] for kind in tokens if kind.startswith("input_tokens"))
            parts.append(f"{name}: {count} requests, {read:,} tokens in, {tokens['output_tokens']:,} out, {price}")
        return f"sent {'; '.join(parts) or '0 requests'}"


async def gather(jobs: Iterable[Awaitable[T]]) -> list[T]:
    """Results of jobs that run at the same time, in order. All end before one raises: what they ask is paid.

    Raises:
        CallLimitError: If one of them reached the limit.
        Exception: What the job raised, if one failed; of several, an ExceptionGroup, or one DraftError of DraftErrors.
    """
    results = await asyncio.gather(*jobs, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    limits = [error for error in errors if isinstance(error, CallLimitError)]
    if limits or len(errors) == 1:
        raise [*limits, *errors][0]
    if errors and all(isinstance(error, DraftError) for error in errors):
        raise DraftError("; ".join(map(str, errors)))
    if errors:
        raise BaseExceptionGroup("calls failed", errors)
    return [result for result in results if not isinstance(result, BaseException)]


@dataclass(frozen=True)
class Author:
    """The model that writes rubrics and system prompts, and how often it may correct an answer.

    Attributes:
        model: Bound by `Spending.bind`.
        store: Where its calls are kept.
        attempts: Askings of one question, the first included.
        seed: Another one asks everything anew.
        say: Takes lines for people.
    """

    model: Model
    store: CallStore
    attempts: int
    seed: int
    say: Callable[[str], None]

    async def ask_until(self, what: str, question: str, schema: type[Answer], check: Callable[[Answer], T]) -> T:
        """What `check` makes of the first answer that it does not reject; its problems are told to the model.

        Args:
            what: What is written, for messages; also tells apart askings in the store.
            question: Text of the question.
            schema: Shape of the answer.
            check: Raises Rejected if the answer has to be corrected.

        Raises:
            DraftError: If the model refuses, or the last attempt is rejected too; with the last problems.
        """
        response_schema = ResponseSchema(name=schema.__name__.lower(), json_schema=json_schema(schema))
        config = GenerateConfig(response_schema=response_schema, max_tokens=AUTHOR_MAX_TOKENS)
        answer, problems = "", [""]
        for attempt in range(1, self.attempts + 1):
            messages = _messages(question, answer, problems if attempt > 1 else [])
            call = Call(self.model, messages, config, f"{what} {self.seed}.{attempt}")
            reply, _ = await ask(self.store, call)
            if reply.stop_reason == "content_filter":
                raise DraftError(
                    f"{what}: {self.model} refuses to write this; put it another way, or take another model"
                )
            try:
                if was_cut_off(reply.stop_reason):
                    raise Rejected(f"the answer was cut after {AUTHOR_MAX_TOKENS} tokens; write a shorter one")
                return check(parse_answer(reply.text, schema))
            except Rejected as rejected:
                answer, problems = reply.text, list(rejected.args)
                self.say(f"{what}: attempt {attempt} of {self.attempts} has {len(problems)} problems: {problems[0]}")
        raise DraftError(
            f"{what}: {self.model} gave no usable answer in {self.attempts} attempts; last problems: "
            f"{'; '.join(problems)}. Give more --attempts, another --seed or another --model"
        )


def parse_answer(text: str, schema: type[Answer]) -> Answer:
    """The one JSON object in a reply, alone, in a code fence or with words around it.

    Raises:
        Rejected: If there is none, or it has not the shape of the schema; a sentence per problem.
    """
    fence = re.search(r"```(?:json)?\s*(\{.*\})\s*```", text, re.DOTALL)
    start, end = fence.span(1) if fence else (text.find("{"), text.rfind("}") + 1)
    try:
        return schema.model_validate(json.loads(text[start:end] if 0 <= start < end else text))
    except ValidationError as error:
        raise Rejected(*problem_texts(error)) from error
    except (ValueError, RecursionError) as error:
        raise Rejected(f"not a JSON object: {str(error).splitlines()[0]}") from error


def author_model(model: str) -> Model:
    """An inspect model by name, with bounded waits; not shared with other users of the name in this process."""
    config = GenerateConfig(attempt_timeout=ATTEMPT_TIMEOUT_SECONDS, max_retries=MAX_TRANSPORT_RETRIES)
    return get_model(model, config=config, memoize=False)


def _messages(question: str, answer: str, problems: Sequence[str]) -> list[ChatMessage]:
    """The question; after an answer with problems, that answer and them too, and no earlier one."""
    messages: list[ChatMessage] = [ChatMessageUser(content=question)]
    if answer.strip():  # providers refuse an empty turn
        messages.append(ChatMessageAssistant(content=answer.strip()))
    if problems:
        listed = "\n".join(f"- {problem}" for problem in problems)
        messages.append(ChatMessageUser(content=PROMPTS["fix"].substitute(problems=listed)))
    return messages
