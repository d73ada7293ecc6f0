"""One run of `cpt generate`: look up what there is, say what the rest costs, ask, write the rows, count."""

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from data_gen.generate.accepting import Accepting, AcceptingJudge
from data_gen.generate.asking import Asking, ask_batches, ask_online
from data_gen.generate.plan import Plan, Question
from data_gen.generate.rows import Asked, RowFile, asked_of, cell_table
from data_gen.generate.teachers import CHARACTERS_PER_TOKEN, Teacher, TeacherSettings, characters, teacher_of
from judges import MEASURED, MeasuredJudge, ModelJudge, check_measurable, judge_model
from judges.cost import PRICES_FILE, Prices, forecast, load_prices
from judges.measured import MEASURES_VERSION
from judges.prompts import PROMPT_VERSION

if TYPE_CHECKING:
    from model_calls import CallStore

SAMPLES_PER_ACCEPTED = 4
MAX_SHORT_SHOWN = 50
MAX_REPLIES_READ = 5000  # for their mean length


@dataclass
class _Run:
    """The open files of a run, and what is asked.

    Attributes:
        options: Of `generate_command`, by name.
        plan: Questions of each teacher.
        prices: Prices to count at.
        store: Replies.
        file: Rows; None if none are read or written.
        asked: By teacher, in the order given; with --accept, those of a first round until it is known which were asked.
    """

    options: Mapping[str, Any]
    plan: Plan
    prices: Prices
    store: "CallStore"
    file: RowFile | None
    asked: dict[Teacher, list[Asked]] = field(default_factory=dict)

    def all_asked(self) -> list[Asked]:
        return [one for asked in self.asked.values() for one in asked]

    def without_row(self, teacher: Teacher) -> Iterator[Question]:
        return (one.question for one in self.asked[teacher] if self.file is None or one.row_id not in self.file)

    def save(self) -> None:
        self.rows.save(self.all_asked(), self.store)

    @property
    def rows(self) -> RowFile:
        assert self.file is not None  # the command asks for --out
        return self.file


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

    settings = {name: options[name] for name in ("max_tokens", "temperature", "reasoning_effort", "max_connections")}
    settings |= {"base_url": options["model_base_url"], "model_args": options["model_args"]}
    prices = load_prices(options["prices"] or PRICES_FILE)
    _check_prices(names, prices, options)
    teachers = [teacher_of(name, TeacherSettings(**settings)) for name in names]
    asks = not (options["forecast"] or options["questions"])
    with ExitStack() as open_files:
        store = open_store(options["store"])
        open_files.callback(store.close)
        file = RowFile(options["out"]) if options["out"] and (asks or options["out"].exists()) else None
        if file is not None:
            open_files.callback(file.close)
        state = _Run(options, plan, prices, store, file)
        for teacher in teachers:
            state.asked[teacher] = asked_of(teacher, _planned(plan, options["accept"]))
            _say_forecast(state, teacher)
        if options["questions"]:
            return _write_questions(state, options["questions"])
        return _ask(state) if asks else ""


def _check_prices(names: Sequence[str], prices: Prices, options: Mapping[str, Any]) -> None:
    priced = [*names, *([] if options["judge"] in (None, MEASURED) else [options["judge"]])]
    unknown = [name for name in priced if name.rsplit("/", 1)[-1] not in prices.models]
    if options["max_cost"] and unknown:
        raise ValueError(
            f"--max-cost: no price for {unknown[0]} as of {prices.as_of}, and without one nothing can be held to it; "
            "write one into a YAML file and pass it with --prices"
        )


def _planned(plan: Plan, accept: int | None) -> Iterator[Question]:
    """The questions that are sure to be asked: with --accept, those of a first round."""
    for question in plan.questions():
        for sample in range(accept or 1):
            yield plan.resample(question, sample) if accept else question


def _expected_tokens(state: _Run, model: str) -> tuple[float, str]:
    """Output tokens that a reply is expected to have, and where the number comes from."""
    if state.options["expected_tokens"]:
        return state.options["expected_tokens"], "--expected-tokens"
    read = itertools.islice(state.store.replies(), MAX_REPLIES_READ)
    counts = [reply.usage.get("output_tokens", 0) for reply in read if reply.model == model]
    if sum(counts):
        return sum(counts) / len(counts), f"mean of {len(counts):,} replies in the call store"
    return state.options["max_tokens"], "--max-tokens, the upper bound; say --expected-tokens if you know better"


def _say_forecast(state: _Run, teacher: Teacher) -> None:
    """Prints what asking for the rest will take, on stderr if it is asked for at once."""
    options, model, asked = state.options, str(teacher.model), state.asked[teacher]
    without_row = [one for one in asked if state.file is None or one.row_id not in state.file]
    # rubrics share their controls: one call for several rows
    calls = {one.key: one.question for one in without_row if one.key not in state.store}
    in_store = sum(one.key not in calls for one in without_row)
    read = sum(characters(teacher.call(question)) for question in calls.values()) // CHARACTERS_PER_TOKEN
    tokens, source = _expected_tokens(state, model)
    coming = forecast(len(calls), read / max(1, len(calls)), tokens, model, options["batch"], prices=state.prices)
    usd = f"no price for {model} as of {state.prices.as_of}: write one into a YAML file and pass it with --prices"
    if coming.cost_usd is not None or not calls:
        batches = ", through batches" if options["batch"] else ""
        usd = f"{coming.cost_usd or 0:.2f} USD at prices of {state.prices.as_of}{batches}"
    lines = [
        f"{model}: {len(asked):,} rows planned, {len(asked) - len(without_row):,} in the file, {in_store:,} in the "
        f"call store, {len(calls):,} calls to make",
        f"  tokens in {coming.usage['input_tokens']:,} (characters / {CHARACTERS_PER_TOKEN}, without prompt caching), "
        f"out {coming.usage['output_tokens']:,} ({tokens:.0f} a reply: {source})",
        f"  cost {usd}",
    ]
    if options["accept"]:
        most = _max_samples(options) / options["accept"]
        lines.append(f"  that is a first round; {most:g} times as much at most, and what the judge costs")
    click.echo("\n".join(lines), err=not options["forecast"])


def _max_samples(options: Mapping[str, Any]) -> int:
    return int(options["max_samples"] or SAMPLES_PER_ACCEPTED * options["accept"])


def _write_questions(state: _Run, path: Path) -> str:
    from model_calls.questions import write_questions

    if len(state.asked) > 1:
        raise ValueError(f"--questions: got {len(state.asked)} teachers, expected one, since a file goes to one engine")
    [teacher] = state.asked
    calls = map(teacher.call, state.without_row(teacher))
    written = asyncio.run(write_questions(path, calls, state.store, state.options["questions_format"]))
    click.echo(f"{path}: {written.count} questions; bring the answers back with --answers")
    if written.betas:
        click.echo(f"send them with the header anthropic-beta: {','.join(written.betas)}")
    return ""


def _ask(state: _Run) -> str:
    options = state.options
    expected = {str(teacher.model): _expected_tokens(state, str(teacher.model))[0] for teacher in state.asked}
    questions = {teacher: state.without_row(teacher) for teacher in state.asked}
    total = sum(one.row_id not in state.rows for one in state.all_asked())
    asking = Asking(state.store, state.prices, options["max_cost"], expected, total, state.save)
    if options["answers"]:
        return _read_answers(state, asking, options["answers"])
    if options["accept"]:
        return _ask_until_accepted(state, asking)
    try:
        if options["batch"]:
            asyncio.run(
                ask_batches(asking, questions, options["poll_seconds"], lambda line: click.echo(line, err=True))
            )
        else:
            asyncio.run(ask_online(asking, questions))
    finally:
        state.save()
    return _finish(state, asking)


def _read_answers(state: _Run, asking: Asking, path: Path) -> str:
    from model_calls.questions import read_answers

    if len(state.asked) > 1:
        raise ValueError(f"--answers: got {len(state.asked)} teachers, expected the one that was asked")
    if not path.is_file():
        raise ValueError(f"--answers {path}: not found, expected a file of answers in JSONL")
    [teacher] = state.asked
    answers = asyncio.run(read_answers(path, map(teacher.call, state.without_row(teacher)), state.store))
    for problem, count in answers.problems.most_common():
        click.echo(f"{path}: {count} lines skipped: {problem}", err=True)
    if answers.unknown:
        click.echo(f"{path}: {answers.unknown} answers to no question that is missing here", err=True)
    state.save()
    missing = _finish(state, asking)
    if answers.unanswered and answers.unknown and not answers.answered:
        missing += "; no answer fits: give the options that the questions were written with"
    return missing


def _ask_until_accepted(state: _Run, asking: Asking) -> str:
    wanted, most = state.options["accept"], _max_samples(state.options)
    accepting = Accepting(asking, state.plan, _judge(state), state.rows.get, wanted, most)

    def save() -> None:
        state.asked = {teacher: asked_of(teacher, accepting.questions(teacher)) for teacher in state.asked}
        state.rows.save(state.all_asked(), state.store, accepting.judgments)

    asking.save, asking.total = save, sum(1 for _ in state.plan.questions()) * len(state.asked)
    try:
        asyncio.run(accepting.run(list(state.asked)))
    finally:
        save()
    for mode, count in accepting.judge_failures.most_common():
        click.echo(f"{count} responses without a judgment, not accepted: {mode}", err=True)
    for line in accepting.short[:MAX_SHORT_SHOWN]:
        click.echo(f"short: {line}", err=True)
    if accepting.short:
        click.echo(f"{len(accepting.short)} cells are short of {wanted} accepted responses", err=True)
    return _finish(state, asking)


def _judge(state: _Run) -> AcceptingJudge:
    from model_calls import open_store

    if state.options["judge"] == MEASURED:
        for rubric in state.plan.rubrics:
            check_measurable(rubric)
        return AcceptingJudge(MeasuredJudge(), MEASURED, MEASURES_VERSION)
    model = judge_model(state.options["judge"])
    return AcceptingJudge(ModelJudge(model, open_store(state.options["judge_store"])), str(model), PROMPT_VERSION)


def _finish(state: _Run, asking: Asking) -> str:
    """Prints what there is by cell, and says what is missing."""
    asked = state.all_asked()
    click.echo("\n".join(cell_table(asked, state.rows)))
    for line in asking.failure_lines():
        click.echo(line, err=True)
    missing = sum(one.row_id not in state.rows for one in asked)
    click.echo(f"{state.rows.path}: {len(asked) - missing} rows of this plan, {asking.usd_spent:.4f} USD spent now")
    if not missing and not asking.stopped:
        return ""
    return f"{asking.stopped + ': ' if asking.stopped else ''}{missing} of {len(asked)} rows are missing"
