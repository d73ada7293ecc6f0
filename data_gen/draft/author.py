"""A model writes rubrics and their system prompts; what schema, linter and rules find wrong goes back to it.

The system prompts are the summariser step of CPT (arXiv 2506.11702, section 3): rubric and score level become two or
three sentences, in several wordings per level. Every reply is kept in a call store.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, TypeVar

import click
from pydantic import TypeAdapter, ValidationError

from data_gen.generate.teachers import Teacher
from model_calls import Call, CallStore, ask
from model_calls.errors import was_cut_off
from model_calls.side_by_side import side_by_side
from model_calls.visible import visible
from rubrics import Rubric, ScoreLevel, Wordings
from rubrics.lint import all_wordings, lint_rubric
from rubrics.load import read_yaml
from rubrics.schema import MIN_HELDOUT_WORDINGS, MIN_TRAIN_WORDINGS, problem_texts

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage

ATTEMPTS = 3  # askings of one question, the first included
AUTHOR_MAX_TOKENS = 16000  # thinking counts as output, and a whole rubric is about 2000

_FILE: dict[str, Any] = read_yaml(Path(__file__).with_name("prompts.yaml"))
PROMPT_VERSION: str = _FILE["version"]
TARGETS: dict[ScoreLevel, str] = {ScoreLevel(level): text for level, text in _FILE["targets"].items()}

T = TypeVar("T")


class Rejected(Exception):
    """An answer that has to be corrected; `args` says why, a sentence each."""


@dataclass(frozen=True)
class Author:
    """The model that writes; another seed asks everything anew."""

    teacher: Teacher
    store: CallStore
    seed: int

    async def ask_until(self, what: str, question: str, check: Callable[[dict[str, Any]], T]) -> T:
        """What `check` makes of the first JSON object that it does not reject; its problems go back to the model.

        Args:
            what: What is written, for messages; also tells apart askings in the store.
            question: Text of the question.
            check: Raises Rejected or pydantic's ValidationError if the answer has to be corrected.

        Raises:
            ValueError: If the model refuses, or the last attempt is rejected too; with the last problems.
        """
        from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

        name, problems = self.teacher.name, [""]
        messages: list[ChatMessage] = [ChatMessageUser(content=question)]
        for attempt in range(1, ATTEMPTS + 1):
            reply, _ = await ask(
                self.store, Call(self.teacher.model, messages, replicate=f"{what} {self.seed}.{attempt}")
            )
            if reply.stop_reason == "content_filter":
                raise ValueError(f"{what}: {name} refuses to write this; put it another way, or take another model")
            try:
                if was_cut_off(reply.stop_reason):
                    raise Rejected(f"the answer was cut after {AUTHOR_MAX_TOKENS} tokens; write a shorter one")
                return check(json_object(reply.text))
            except (Rejected, ValidationError) as error:
                problems = problem_texts(error) if isinstance(error, ValidationError) else list(error.args)
            click.echo(f"{what}: attempt {attempt} of {ATTEMPTS} has {len(problems)} problems: {problems[0]}", err=True)
            fix = ChatMessageUser(content=_prompt("fix", problems="\n".join(f"- {problem}" for problem in problems)))
            # providers refuse an empty turn
            answer = [ChatMessageAssistant(content=reply.text.strip())] if reply.text.strip() else []
            messages = [messages[0], *answer, fix]
        raise ValueError(
            f"{what}: {name} gave no usable answer in {ATTEMPTS} attempts; last problems: {'; '.join(problems)}. "
            "Give another --seed or another --model"
        )


def json_object(text: str) -> dict[str, Any]:
    """The one JSON object in a reply, alone, in a code fence or with words around it.

    Raises:
        pydantic.ValidationError: If there is none.
    """
    text, _ = visible(text)
    start, end = text.find("{"), text.rfind("}") + 1
    return TypeAdapter(dict[str, Any]).validate_json(text[start:end] if 0 <= start < end else text)


async def draft_rubric(author: Author, text: str, fields: Mapping[str, str], file: str = "") -> Rubric:
    """A valid rubric without lint errors, and without system prompts; lint warnings are said.

    The text is a sentence on a direction, or a rubric in prose, which was read from `file`. `fields` are what no model
    decides: family, licence; the id, if it is given.

    Raises:
        ValueError: If the last attempt still has problems.
    """
    by = f"{author.teacher.name} (draft prompt {PROMPT_VERSION})"
    question, source = _prompt("draft", sentence=text), f"Drafted by {by} from: {text}"
    if file:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        question, source = _prompt("from_text", text=text), f"Put into this form by {by} from {file} (SHA-256 {digest})"

    def check(answer: dict[str, Any]) -> Rubric:
        without: dict[str, Any] = {
            "system_prompts": {},
            "rewards_and_penalties": answer.get("rewards_and_penalties") or None,
        }
        rubric = Rubric.model_validate({**answer, **without, **fields, "source": source})
        findings = lint_rubric(rubric)
        if any(finding.severity == "error" for finding in findings):
            raise Rejected(*(f"{finding.where}: {finding.message}" for finding in findings))
        return rubric

    rubric = await author.ask_until("draft", question, check)
    for finding in lint_rubric(rubric):
        click.echo(finding, err=True)
    return rubric


async def write_wordings(author: Author, rubric: Rubric) -> Rubric:
    """The rubric with new system prompts, as its next version if it had others.

    Raises:
        ValueError: If the last attempt at a level still has problems, or two levels got the same wording.
    """

    async def write(level: ScoreLevel) -> Wordings:
        def check(answer: dict[str, Any]) -> Wordings:
            wordings = Wordings.model_validate(answer)
            if problems := wording_problems(rubric.model_copy(update={"system_prompts": {level: wordings}})):
                raise Rejected(*problems)
            return wordings

        counts = {"train": MIN_TRAIN_WORDINGS, "heldout": MIN_HELDOUT_WORDINGS}
        question = _prompt("wordings", rubric=rubric.render(), target=TARGETS[level], **counts)
        return await author.ask_until(f"system prompts, {level}", question, check)

    written = await side_by_side([partial(write, level) for level in ScoreLevel], len(ScoreLevel))
    prompts = dict(zip(ScoreLevel, written, strict=True))
    is_rewritten = bool(rubric.system_prompts) and rubric.system_prompts != prompts
    complete = rubric.model_copy(update={"system_prompts": prompts, "version": rubric.version + is_rewritten})
    if problems := wording_problems(complete):
        raise ValueError(f"system prompts: {'; '.join(problems)}; another --seed asks anew")
    return complete


def wording_problems(rubric: Rubric) -> list[str]:
    """What is wrong with a rubric's system prompts, a sentence each; [] if nothing is.

    All that the linter finds in them counts, its warnings too. Beyond that a wording holds no title of the rubric or of
    a criterion; titles of one word are everyday words and pass.
    """
    problems = [f"{row.where}: {row.message}" for row in lint_rubric(rubric) if row.where.startswith("system_prompts")]
    titles = [title.strip() for title in (rubric.title, *(c.title for c in rubric.criteria)) if " " in title.strip()]
    for (where, wording), title in product(all_wordings(rubric), titles):
        if title.casefold() in wording.casefold():
            problems.append(f"{where}: got the title {title!r} in {wording!r}, expected the behaviour in other words")
    return problems


def _prompt(name: str, **values: object) -> str:
    return Template(_FILE[name]).substitute(values)
