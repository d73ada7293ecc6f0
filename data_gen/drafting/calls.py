"""Calls of the author commands: bounded in number, counted, kept in a store; answers checked and mended.

Every model is bound through `Spending.bind`, the author as well as the writer and the judge, so that one count holds
for all of them.
"""

import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from pydantic import BaseModel, ValidationError

from data_gen.drafting.prompts import mend_messages
from judges.cost import cost_usd

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput

    from model_calls import CallStore

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
    """An answer that has to be mended.

    Attributes:
        problems: What is wrong, a sentence each.
    """

    def __init__(self, problems: Sequence[str]):
        super().__init__("; ".join(problems))
        self.problems = list(problems)


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

    def bind(self, model: "Model") -> "Model":
        """The same model, under the same name and key, with its requests counted.

        Its requests raise CallLimitError once `max_calls` were sent.
        """
        from model_calls.online import USAGE_KINDS

        name = str(model)

        async def generate(*arguments: Any, **options: Any) -> "ModelOutput":
            if self.sent.total() >= self.max_calls:
                raise CallLimitError(
                    f"stopped at --max-calls {self.max_calls}: that many requests were sent and more are needed; what "
                    "was answered is kept in the call store, so the same command with a larger number goes on from here"
                )
            self.sent[name] += 1
            output = await model.generate(*arguments, **options)
            counts = {kind: getattr(output.usage, kind) or 0 for kind in USAGE_KINDS} if output.usage else {}
            self.usage.setdefault(name, Counter()).update(counts)
            return output

        counted = copy(model)
        counted.generate = generate  # type: ignore[method-assign]  # the one place that every request passes
        return counted

    def summary(self) -> str:
        """One line on what this run paid for: requests, tokens and, where the price is known, US dollars."""
        if not self.sent:
            return "sent 0 requests"
        parts = []
        for name, count in sorted(self.sent.items()):
            tokens = self.usage.get(name, Counter())
            dollars = cost_usd(name, tokens)
            price = "price not known" if dollars is None else f"{dollars:.4f} US dollars"
            fed = sum(tokens[kind] for kind in tokens if kind.startswith("input_tokens"))
            parts.append(f"{name}: {count} requests, {fed:,} tokens in, {tokens['output_tokens']:,} out, {price}")
        return "sent " + "; ".join(parts)


async def gather(jobs: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Results of jobs that run at the same time, in the order of the jobs.

    Raises:
        CallLimitError: If one of them reached the limit.
        DraftError: If jobs failed, and all of these with a DraftError; it has all their messages.
        Exception: What a job raised, if one did; of several, an ExceptionGroup.
            In any case the other jobs end first: what they have asked is paid for, and is kept.
    """
    results: dict[int, T] = {}
    errors: list[Exception] = []

    async def run(position: int, job: Callable[[], Awaitable[T]]) -> None:
        try:
            results[position] = await job()
        except Exception as error:  # raised below: raised here, it would cancel the requests under way
            errors.append(error)

    async with anyio.create_task_group() as group:
        for position, job in enumerate(jobs):
            group.start_soon(run, position, job)
    if errors:
        raise _one_error(errors)
    return [results[position] for position in range(len(jobs))]


def _one_error(errors: Sequence[Exception]) -> Exception:
    limit = next((error for error in errors if isinstance(error, CallLimitError)), None)
    if limit or len(errors) == 1:
        return limit or errors[0]
    if all(isinstance(error, DraftError) for error in errors):
        return DraftError("; ".join(str(error) for error in errors))
    return ExceptionGroup("calls failed", errors)


@dataclass(frozen=True)
class Author:
    """The model that writes rubrics and system prompts, and how often it may mend an answer.

    Attributes:
        model: Bound by `Spending.bind`.
        store: Where its calls are kept.
        attempts: Askings of one question, the first included.
        seed: Another one asks everything anew.
        say: Takes lines for people.
    """

    model: "Model"
    store: "CallStore"
    attempts: int
    seed: int
    say: Callable[[str], None]

    async def ask_until(
        self,
        what: str,
        question: "Sequence[ChatMessage]",
        schema: type[Answer],
        check: Callable[[Answer], T],
    ) -> T:
        """What `check` makes of the first answer that it does not reject; its problems are told to the model.

        Args:
            what: What is written, for messages; also tells apart askings in the store.
            question: Messages of the question.
            schema: Shape of the answer.
            check: Raises Rejected if the answer has to be mended.

        Raises:
            DraftError: If the model refuses, or the last attempt is rejected too; with the last problems.
        """
        from model_calls import Call, ask

        messages, problems = list(question), [""]
        for attempt in range(1, self.attempts + 1):
            call = Call(self.model, messages, _answer_config(schema), f"{what} {self.seed}.{attempt}")
            reply, _ = await ask(self.store, call)
            if reply.stop_reason == "content_filter":
                raise DraftError(
                    f"{what}: {self.model} refuses to write this; put it another way, or take another model"
                )
            try:
                if reply.stop_reason in ("max_tokens", "model_length"):
                    raise Rejected([f"the answer was cut after {AUTHOR_MAX_TOKENS} tokens; write a shorter one"])
                return check(parse_answer(reply.text, schema))
            except Rejected as rejected:
                problems = rejected.problems
                self.say(f"{what}: attempt {attempt} of {self.attempts} has {len(problems)} problems: {problems[0]}")
                messages = mend_messages(question, reply.text, problems)
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
        raise Rejected(schema_problems(error)) from error
    except (ValueError, RecursionError) as error:
        raise Rejected([f"not a JSON object: {str(error).splitlines()[0]}"]) from error


def schema_problems(error: ValidationError) -> list[str]:
    """A sentence per problem: where, what was expected, what was got."""
    found = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        got = "" if problem["type"] in ("missing", "value_error") else f", got {str(problem['input'])[:80]!r}"
        found.append(f"{where}: {message}{got}" if where else f"{message}{got}")
    return found


def author_model(model: str) -> "Model":
    """An inspect model by name, with bounded waits; not shared with other users of the name in this process."""
    from inspect_ai.model import GenerateConfig, get_model

    config = GenerateConfig(attempt_timeout=ATTEMPT_TIMEOUT_SECONDS, max_retries=MAX_TRANSPORT_RETRIES)
    return get_model(model, config=config, memoize=False)


def _answer_config(schema: type[BaseModel]) -> "GenerateConfig":
    from inspect_ai.model import GenerateConfig, ResponseSchema
    from inspect_ai.util import json_schema

    response_schema = ResponseSchema(name=schema.__name__.lower(), json_schema=json_schema(schema))
    return GenerateConfig(response_schema=response_schema, max_tokens=AUTHOR_MAX_TOKENS)
