"""Asks a model for JSON until a check accepts it, a bounded number of times; every reply is kept in a call store."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any, TypeVar

import yaml
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser, GenerateConfig, ResponseSchema
from inspect_ai.util import json_schema
from pydantic import BaseModel, ValidationError

from data_gen.generate.teachers import Teacher
from model_calls import Call, CallStore, ask
from model_calls.errors import was_cut_off
from rubrics import ScoreLevel
from rubrics.schema import problem_texts

ATTEMPTS = 3  # askings of one question, the first included
AUTHOR_MAX_TOKENS = 16000  # thinking counts as output, and a whole rubric is about 2000

_FILE: dict[str, Any] = yaml.safe_load(files("data_gen.draft").joinpath("prompts.yaml").read_text(encoding="utf-8"))
PROMPT_VERSION: str = _FILE["version"]
PROMPTS = {name: Template(_FILE[name]) for name in ("draft", "from_text", "wordings", "fix")}
TARGETS = {ScoreLevel(level): str(text) for level, text in _FILE["targets"].items()}

T = TypeVar("T")
Answer = TypeVar("Answer", bound=BaseModel)


class DraftError(ValueError):
    """A model gave no usable answer in all its attempts."""


class Rejected(Exception):
    """An answer that has to be corrected; `args` says why, a sentence each."""


@dataclass(frozen=True)
class Author:
    """The model that writes rubrics and system prompts.

    Attributes:
        teacher: The model and its name.
        store: Where its calls are kept.
        seed: Another one asks everything anew.
        say: Takes lines for people.
    """

    teacher: Teacher
    store: CallStore
    seed: int
    say: Callable[[str], None]

    async def ask_until(self, what: str, question: str, schema: type[Answer], check: Callable[[Answer], T]) -> T:
        """What `check` makes of the first answer that it does not reject; its problems go back to the model.

        Args:
            what: What is written, for messages; also tells apart askings in the store.
            question: Text of the question.
            schema: Shape of the answer.
            check: Raises Rejected if the answer has to be corrected.

        Raises:
            DraftError: If the model refuses, or the last attempt is rejected too; with the last problems.
        """
        name = self.teacher.name
        shape = ResponseSchema(name=schema.__name__.lower(), json_schema=json_schema(schema))
        messages: list[ChatMessage] = [ChatMessageUser(content=question)]
        for attempt in range(1, ATTEMPTS + 1):
            call = Call(
                self.teacher.model, messages, GenerateConfig(response_schema=shape), f"{what} {self.seed}.{attempt}"
            )
            reply, _ = await ask(self.store, call)
            if reply.stop_reason == "content_filter":
                raise DraftError(f"{what}: {name} refuses to write this; put it another way, or take another model")
            try:
                if was_cut_off(reply.stop_reason):
                    raise Rejected(f"the answer was cut after {AUTHOR_MAX_TOKENS} tokens; write a shorter one")
                return check(parse_answer(reply.text, schema))
            except Rejected as rejected:
                problems = rejected.args
                self.say(f"{what}: attempt {attempt} of {ATTEMPTS} has {len(problems)} problems: {problems[0]}")
                messages = [ChatMessageUser(content=question), *_correction(reply.text, problems)]
        raise DraftError(
            f"{what}: {name} gave no usable answer in {ATTEMPTS} attempts; last problems: {'; '.join(problems)}. "
            "Give another --seed or another --model"
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


async def gather(jobs: Iterable[Awaitable[T]]) -> list[T]:
    """Results of jobs that run at the same time, in order. All end before one raises, since what they ask is paid.

    Raises:
        Exception: What the job raised, if one failed; of several an ExceptionGroup.
    """
    results = await asyncio.gather(*jobs, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    if len(errors) > 1:
        raise BaseExceptionGroup("calls failed", errors)
    if errors:
        raise errors[0]
    return [result for result in results if not isinstance(result, BaseException)]


def _correction(answer: str, problems: Iterable[str]) -> list[ChatMessage]:
    listed = "\n".join(f"- {problem}" for problem in problems)
    fix = ChatMessageUser(content=PROMPTS["fix"].substitute(problems=listed))
    # providers refuse an empty turn
    return [ChatMessageAssistant(content=answer.strip()), fix] if answer.strip() else [fix]
