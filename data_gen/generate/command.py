"""`cpt generate`: responses by teachers, for every rubric, user prompt and level.

    cpt generate --teacher anthropic/claude-sonnet-5-5 --rubrics train --samples 4 --out responses.jsonl --forecast
    cpt generate --teacher openai-api/fleet/MODEL -M base_url=http://ADDRESS/v1 --out responses.jsonl

A run looks up what there is, says what the rest costs, asks, writes the rows, and counts.
"""

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from data_gen.generate.asking import Asking
from data_gen.generate.plan import Plan, Question, read_levels, read_prompts
from data_gen.generate.rows import Asked, RowFile, asked_of
from data_gen.generate.teachers import CHARACTERS_PER_TOKEN, Teacher, TeacherSettings, characters, teacher_of
from judges.cost import PRICES_FILE, Prices, forecast, load_prices
from model_calls.errors import clear_errors
from rubrics import load_rubrics

if TYPE_CHECKING:
    from model_calls import CallStore

DEFAULT_STORE = "calls/teacher.sqlite"
MAX_REPLIES_READ = 5000  # for their mean length
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
LEVELS_HELP = "Levels to ask for; control: the user prompt alone."
ARGUMENT_HELP = "Argument of the model: of its provider, or base_url, the address of its server."
CONNECTIONS_HELP = "Requests at a time, at most; of hf/ the batch. Default: 64; for local models their provider's."
_FILE = click.Path(dir_okay=False, path_type=Path)
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
_COUNT = click.IntRange(1)


@click.command(name="generate", context_settings={"show_default": True})
@click.option("--teacher", "teachers", required=True, help="Inspect model to ask; several separated by commas.")
@click.option("--rubrics", default="train", help="all, core, train, heldout, a family, ids, paths.")
@click.option("--levels", default="low,moderate,extremely_high", help=LEVELS_HELP)
@click.option("--prompts", default="train", help="Our train user prompts, or a YAML file of yours.")
@click.option("--samples", default=1, type=_COUNT, help="Responses to each question.")
@click.option("--out", type=_FILE, help="Responses file to add to (JSONL).")
@click.option("--store", default=DEFAULT_STORE, help="File that calls are kept in. Processes of one machine share it.")
@click.option("-M", "--model-arg", "model_args", multiple=True, metavar="NAME=VALUE", help=ARGUMENT_HELP)
@click.option("--temperature", type=click.FloatRange(0), help="Default: none is sent; current Claude models refuse it.")
@click.option("--max-tokens", default=1024, type=_COUNT, help="Per reply, thinking too.")
@click.option("--reasoning-effort", type=click.Choice(EFFORTS), help="How much to think. Default: none is sent.")
@click.option(
    "--configured-by",
    type=click.Choice(["rubric", "system_prompt"]),
    default="rubric",
    help="Show the rubric and the level, or one of the level's train wordings as system prompt.",
)
@click.option("--max-connections", type=_COUNT, help=CONNECTIONS_HELP)
@click.option("--batch", is_flag=True, help="Ask through provider batches, at half the price (Anthropic only).")
@click.option("--forecast", is_flag=True, help="Print calls, tokens and US dollars, and stop.")
@click.option("--prices", type=_EXISTING, help="YAML of prices. Default: ours.")
@click.option("--max-cost", type=click.FloatRange(0, min_open=True), help="US dollars that this run may spend.")
@click.option("--limit", type=_COUNT, help="Ask each teacher at most so many questions. Default: all.")
@click.option("--seed", default=0, help="Seed of the questions under a limit and of wordings.")
@click.option("--questions", type=_FILE, help="Write the missing questions here (JSONL of OpenAI's batches).")
@click.option("--answers", type=_EXISTING, help="Take replies from this file, and ask nobody.")
def generate_command(teachers: str, rubrics: str, levels: str, prompts: str, **options: Any) -> None:
    """Ask teachers for responses to train prompts, at each level of each rubric.

    Started again with the same options, it asks only for what is missing. Exit status: 0 all there, 1 something is
    missing (calls failed, or --max-cost was reached), 2 options that do not go together.
    """
    together = [name for name in ("batch", "questions", "answers") if options[name]]
    if len(together) > 1:
        raise click.UsageError(f"--{together[0]} and --{together[1]} do not go together, expected one of them")
    if not (options["forecast"] or options["questions"] or options["out"]):
        raise click.UsageError("--out is missing: the responses file (only --forecast and --questions need none)")
    with clear_errors():
        selected = load_rubrics(rubrics)
        names = [name.strip() for name in teachers.split(",") if name.strip()]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"--teacher {teachers}: expected at least one inspect model, each once")
        of_plan = {name: options.pop(name) for name in ("samples", "configured_by", "seed", "limit")}
        plan = Plan(selected, read_prompts(prompts, selected), read_levels(levels), **of_plan)
        options["model_args"] = _model_args(options["model_args"])
        complaint = _run(names, plan, options)
    if complaint:
        raise click.ClickException(f"{complaint}; run the same command again to go on, it pays for nothing twice")


def _model_args(given: tuple[str, ...]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for argument in given:
        name, equals, value = argument.partition("=")
        if not name or not equals:
            raise ValueError(f"-M {argument}: expected NAME=VALUE")
        try:
            arguments[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"-M {argument}: {value!r} is not YAML") from error
    return arguments


def _run(names: list[str], plan: Plan, options: dict[str, Any]) -> str:
    """Does what the options ask for; what is missing at the end, "" if nothing is."""
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
        state = _State(options, prices, store, file, asked)
        for teacher in teachers:
            _say_forecast(state, teacher)
        if options["questions"]:
            _write_questions(state, options["questions"])
        return _ask(state, file) if asks and file is not None else ""


@dataclass
class _State:
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


def _say_forecast(state: _State, teacher: Teacher) -> None:
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


def _write_questions(state: _State, path: Path) -> None:
    from model_calls.questions import write_questions

    teacher = state.one_teacher("--questions")
    count = write_questions(path, map(teacher.call, state.questions()[teacher]), state.store)
    click.echo(f"{path}: {count} questions; bring the answers back with --answers")


def _ask(state: _State, file: RowFile) -> str:
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
    try:
        if options["answers"]:
            _read_answers(state, options["answers"])
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
    return f"{asking.stopped + ': ' if asking.stopped else ''}{missing} of {len(asked)} rows are missing"


def _read_answers(state: _State, path: Path) -> None:
    from model_calls.questions import read_answers

    teacher = state.one_teacher("--answers")
    answers = asyncio.run(read_answers(path, map(teacher.call, state.questions()[teacher]), state.store))
    for problem, count in answers.problems.most_common():
        click.echo(f"{path}: {count} lines skipped: {problem}", err=True)
    if answers.unknown:
        click.echo(
            f"{path}: {answers.unknown} answers to no question that is missing here; give the options that the "
            "questions were written with",
            err=True,
        )
