"""One run of `cpt generate`: look up what there is, say what the rest costs, ask, write the rows, count."""

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from data_gen.generate.asking import Asking
from data_gen.generate.plan import Plan, Question
from data_gen.generate.rows import Asked, RowFile, asked_of
from data_gen.generate.teachers import CHARACTERS_PER_TOKEN, Teacher, TeacherSettings, characters, teacher_of
from judges.cost import PRICES_FILE, Prices, forecast, load_prices

if TYPE_CHECKING:
    from model_calls import CallStore

MAX_REPLIES_READ = 5000  # for their mean length


@dataclass
class _Run:
    options: Mapping[str, Any]
    prices: Prices
    store: "CallStore"
    file: RowFile | None
    asked: dict[Teacher, list[Asked]]

    def without_row(self, teacher: Teacher) -> list[Asked]:
        return [one for one in self.asked[teacher] if self.file is None or one.row_id not in self.file]

    def questions(self) -> dict[Teacher, Iterator[Question]]:
        return {teacher: (one.question for one in self.without_row(teacher)) for teacher in self.asked}

    def one_teacher(self, flag: str) -> Teacher:
        if len(self.asked) > 1:
            raise ValueError(f"{flag}: got {len(self.asked)} teachers, expected one, since a file goes to one engine")
        return next(iter(self.asked))

    def expected_tokens(self, model: str) -> tuple[float, str]:
        """Output tokens that a reply is expected to have, and where the number comes from."""
        read = itertools.islice(self.store.replies(), MAX_REPLIES_READ)
        counts = [reply.usage.get("output_tokens", 0) for reply in read if reply.model == model]
        if sum(counts):
            return sum(counts) / len(counts), f"mean of {len(counts):,} replies in the call store"
        return self.options["max_tokens"], "--max-tokens, the upper bound"


def run(names: Sequence[str], plan: Plan, options: Mapping[str, Any]) -> str:
    """Does what the options of the command ask for.

    Args:
        names: Inspect models to ask.
        plan: Questions for each.
        options: Of `generate_command`, by name.

    Returns:
        What is missing at the end, "" if nothing is.

    Raises:
        ValueError: If something cannot be done as asked; nothing was asked then.
    """
    from model_calls import open_store

    of_teachers = ("max_tokens", "temperature", "reasoning_effort", "max_connections", "model_args")
    settings = TeacherSettings(**{name: options[name] for name in of_teachers})
    prices = load_prices(options["prices"] or PRICES_FILE)
    unknown = [name for name in names if name.rsplit("/", 1)[-1] not in prices.models]
    if options["max_cost"] and unknown:
        raise ValueError(
            f"--max-cost: no price for {unknown[0]} as of {prices.as_of}, and without one nothing can be held to it; "
            "write one into a YAML file and pass it with --prices"
        )
    teachers = [teacher_of(name, settings) for name in names]
    asks = not (options["forecast"] or options["questions"])
    with ExitStack() as open_files:
        store = open_store(options["store"])
        open_files.callback(store.close)
        file = RowFile(options["out"]) if options["out"] and (asks or options["out"].exists()) else None
        if file is not None:
            open_files.callback(file.close)
        asked = {teacher: asked_of(teacher, plan.questions()) for teacher in teachers}
        state = _Run(options, prices, store, file, asked)
        for teacher in teachers:
            _say_forecast(state, teacher)
        if options["questions"]:
            _write_questions(state, options["questions"])
        return _ask(state, file) if asks and file is not None else ""


def _say_forecast(state: _Run, teacher: Teacher) -> None:
    """Prints what asking for the rest will take, on stderr if it is asked for at once."""
    model, batch, without_row = str(teacher.model), state.options["batch"], state.without_row(teacher)
    # rubrics share their controls: one call for several rows
    calls = {one.key: one.question for one in without_row if one.key not in state.store}
    in_store = sum(one.key not in calls for one in without_row)
    read = sum(characters(teacher.call(question)) for question in calls.values()) // CHARACTERS_PER_TOKEN
    tokens, source = state.expected_tokens(model)
    coming = forecast(len(calls), read / max(1, len(calls)), tokens, model, batch, prices=state.prices)
    usd = f"no price for {model} as of {state.prices.as_of}: write one into a YAML file and pass it with --prices"
    if coming.cost_usd is not None or not calls:
        usd = f"{coming.cost_usd or 0:.2f} USD at prices of {state.prices.as_of}{', through batches' if batch else ''}"
    planned = len(state.asked[teacher])
    lines = [
        f"{model}: {planned:,} rows planned, {planned - len(without_row):,} in the file, {in_store:,} in the call "
        f"store, {len(calls):,} calls to make",
        f"  tokens in {coming.usage['input_tokens']:,} (characters / {CHARACTERS_PER_TOKEN}, without prompt caching), "
        f"out {coming.usage['output_tokens']:,} ({tokens:.0f} a reply: {source})",
        f"  cost {usd}",
    ]
    click.echo("\n".join(lines), err=not state.options["forecast"])


def _write_questions(state: _Run, path: Path) -> None:
    from model_calls.questions import write_questions

    teacher = state.one_teacher("--questions")
    count = write_questions(path, map(teacher.call, state.questions()[teacher]), state.store)
    click.echo(f"{path}: {count} questions; bring the answers back with --answers")


def _ask(state: _Run, file: RowFile) -> str:
    """Asks, or takes answers; prints what there is by cell, and says what is missing."""
    options, questions = state.options, state.questions()
    asked = [one for of_teacher in state.asked.values() for one in of_teacher]
    asking = Asking(
        state.store,
        state.prices,
        options["max_cost"],
        expected={str(teacher.model): state.expected_tokens(str(teacher.model))[0] for teacher in state.asked},
        total=sum(one.row_id not in file for one in asked),
        save=lambda: file.save(asked, state.store),
    )
    hint = ""
    try:
        if options["answers"]:
            hint = _read_answers(state, options["answers"])
        else:
            asyncio.run((asking.batches if options["batch"] else asking.online)(questions))
    finally:
        asking.save()
    click.echo("\n".join(file.cells(asked)))
    for line in asking.failure_lines():
        click.echo(line, err=True)
    missing = sum(one.row_id not in file for one in asked)
    click.echo(f"{file.path}: {len(asked) - missing} rows of this plan, {asking.usd_spent:.4f} USD spent now")
    if not missing and not asking.stopped:
        return ""
    return f"{asking.stopped + ': ' if asking.stopped else ''}{missing} of {len(asked)} rows are missing{hint}"


def _read_answers(state: _Run, path: Path) -> str:
    """Takes answers into the call store; a hint, if none fits."""
    from model_calls.questions import read_answers

    teacher = state.one_teacher("--answers")
    answers = asyncio.run(read_answers(path, map(teacher.call, state.questions()[teacher]), state.store))
    for problem, count in answers.problems.most_common():
        click.echo(f"{path}: {count} lines skipped: {problem}", err=True)
    if answers.unknown:
        click.echo(f"{path}: {answers.unknown} answers to no question that is missing here", err=True)
    none_fits = answers.unanswered and answers.unknown and not answers.answered
    return "; no answer fits: give the options that the questions were written with" if none_fits else ""
