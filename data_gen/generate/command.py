"""`cpt generate`: looks up which responses there are, says what the rest costs, asks teachers, writes rows, counts."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import click

from data_gen.generate.asking import Asking
from data_gen.generate.questions import questions, read_prompts
from data_gen.generate.rows import Asked, asked_of, lines_of, outcomes, save
from data_gen.generate.teachers import MAX_TOKENS, Teacher, teacher_of
from data_gen.responses import CONTROL
from judges.cost import CHARACTERS_PER_TOKEN, cost_usd, load_prices
from model_calls import CallStore, open_store
from model_calls.call import name_of
from model_calls.commands import model_args
from model_calls.errors import clear_errors
from model_calls.questions import FORMATS, read_answers, write_questions
from rubrics import ScoreLevel, load_rubrics
from rubrics.files import check_is_utf8

DEFAULT_STORE = "calls/teacher.sqlite"
MAX_REPLIES_READ = 5000  # for their mean length
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
TEACHER_HELP = "Inspect model to ask; several separated by commas."
LEVELS_HELP = "Levels to ask for; control: the user prompt alone."
ARGUMENT_HELP = "Argument of the model: of its provider, or base_url, the address of its server."
CONNECTIONS_HELP = "Requests at a time, at most; of local models the batch. Default: 20 at first, then up to 64."
_FILE = click.Path(dir_okay=False, path_type=Path)
_COUNT = click.IntRange(1)


def _names(_context: click.Context, _parameter: click.Parameter, given: str) -> list[str]:
    names = [name.strip() for name in given.split(",")]
    if "" in names or len(set(names)) < len(names):
        raise click.BadParameter(f"got {given!r}, expected one or several names separated by commas, each once")
    return names


@click.command(name="generate", context_settings={"show_default": True})
@click.option("--teacher", "teachers", required=True, callback=_names, help=TEACHER_HELP)
@click.option("--rubrics", default="train", help="all, core, train, heldout, a family, ids, paths.")
@click.option("--levels", default="low,moderate,extremely_high", callback=_names, help=LEVELS_HELP)
@click.option("--prompts", default="train", help="Our train user prompts, those of one family, or a YAML file.")
@click.option("--samples", default=1, type=_COUNT, help="Responses to each question.")
@click.option("--out", type=_FILE, help="Responses file to add to (JSONL).")
@click.option("--store", default=DEFAULT_STORE, help="File that calls are kept in. Processes of one machine share it.")
@click.option("-M", "--model-arg", multiple=True, metavar="NAME=VALUE", callback=model_args, help=ARGUMENT_HELP)
@click.option("--temperature", type=click.FloatRange(0), help="Default: none is sent; current Claude models refuse it.")
@click.option("--max-tokens", default=MAX_TOKENS, type=_COUNT, help="Per reply, thinking too.")
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
@click.option("--max-cost", type=click.FloatRange(0, min_open=True), help="US dollars that this run may spend.")
@click.option("--limit", type=_COUNT, help="Ask each teacher at most so many questions. Default: all.")
@click.option("--seed", default=0, help="Seed of the questions under a limit and of wordings.")
@click.option("--questions", type=_FILE, help="Write the missing questions here (JSONL of batches).")
@click.option("--format", type=click.Choice(FORMATS), default="openai", help="Whose batches --questions writes for.")
@click.option(
    "--answers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take replies from this file, and ask nobody.",
)
def generate_command(
    teachers: list[str], rubrics: str, levels: list[str], prompts: str, out: Path | None, **options: Any
) -> None:
    """Ask teachers for responses to train prompts, at each level of each rubric.

    Started again with the same options, it asks only for what is missing. Exit status: 0 all there, 1 something is
    missing (calls failed, or --max-cost was reached), 2 options that do not go together.
    """
    _check(teachers, levels, out, options)
    with clear_errors(), ExitStack() as files:
        selected = load_rubrics(rubrics)
        in_order = [CONTROL if level == CONTROL else ScoreLevel(level) for level in levels]
        plan = {name: options[name] for name in ("samples", "configured_by", "seed", "limit")}
        wanted = list(questions(selected, read_prompts(prompts, selected), in_order, **plan))
        settings = {name: options[name] for name in ("max_tokens", "temperature", "reasoning_effort")}
        is_asked = not (options["forecast"] or options["questions"] or options["answers"])
        how = (options["model_arg"], options["max_connections"], is_asked)
        models = [teacher_of(name, *how, **settings) for name in teachers]
        store = files.enter_context(closing(open_store(options["store"])))
        opens = out and (out.exists() or not options["forecast"])  # a forecast leaves no folder behind
        lines = files.enter_context(lines_of(out)) if out and opens else {}
        asked = [asked_of(teacher, question) for teacher in models for question in wanted]
        for one in asked:  # a question without the rubric's text is the same after an edit; its row is written again
            line = lines.get(one.row_id)
            if line and one.key in store and json.loads(line)["rubric_hash"] != one.question.rubric.hash:
                del lines[one.row_id]
        missing = [one for one in asked if one.row_id not in lines]
        reply_tokens = {}
        for teacher in models:
            reply_tokens[name_of(teacher.model)] = _say_forecast(teacher, len(wanted), missing, store, options)
        if options["questions"]:
            calls = (one.call for one in missing)
            written = asyncio.run(write_questions(options["questions"], calls, store, options["format"]))
            click.echo(f"{options['questions']}: {written}; bring the answers back with --answers")
        elif out and not options["forecast"]:
            asking = Asking(store, options["max_cost"], reply_tokens)
            try:
                _ask(asking, missing, store, options)
            finally:
                save(out, lines, asked, store)
            click.echo("\n".join(outcomes(lines, asked)))
            _say_missing(asking, asked, lines, out)


def _check(teachers: list[str], levels: list[str], out: Path | None, options: Mapping[str, Any]) -> None:
    """Refuses options that do not go together before anything is opened."""
    ways = [name for name in ("batch", "questions", "answers") if options[name]]
    if len(ways) > 1:
        raise click.UsageError(f"--{ways[0]} and --{ways[1]} do not go together, expected one of them")
    if options["forecast"] and ways and not options["batch"]:
        raise click.UsageError(f"--forecast and --{ways[0]} do not go together, expected one of them")
    if not (options["forecast"] or options["questions"] or out):
        raise click.UsageError("--out is missing: the responses file (only --forecast and --questions need none)")
    if len(teachers) > 1 and not options["batch"] and ways:
        raise click.UsageError(f"--{ways[0]}: got {len(teachers)} teachers, expected one: a file goes to one engine")
    if options["format"] != "openai" and not (options["questions"] or options["answers"]):
        raise click.UsageError(f"--format {options['format']} goes with --questions")
    known = [*ScoreLevel, CONTROL]
    if set(levels) - set(known):
        raise click.UsageError(f"--levels {','.join(levels)}: expected some of {', '.join(known)}")
    unknown = [name for name in teachers if cost_usd(name, {}) is None]
    if options["max_cost"] and unknown:
        raise click.UsageError(
            f"--max-cost: no price for {unknown[0]} as of {load_prices().as_of}, so nothing holds it"
        )


def _say_forecast(
    teacher: Teacher, planned: int, missing: Sequence[Asked], store: CallStore, options: Mapping[str, Any]
) -> float:
    """Prints what asking a teacher for the rest will take, on stderr if it is asked at once.

    Returns the output tokens expected in a reply: the mean of those in the store, or else --max-tokens.
    """
    model, batch = name_of(teacher.model), options["batch"]
    without_row = [one for one in missing if one.teacher is teacher]
    calls = {one.key: one.question for one in without_row if one.key not in store}
    in_store = sum(one.key not in calls for one in without_row)
    read = sum(question.characters for question in calls.values()) // CHARACTERS_PER_TOKEN
    tokens, source = float(options["max_tokens"]), "--max-tokens, the upper bound"
    params = without_row[0].call.params if calls else {}
    alike = (one for one in store.replies() if one.model == model and one.params == params)
    replies = islice(alike, MAX_REPLIES_READ if calls else 0)
    counts = [one.usage.get("output_tokens", 0) for one in replies]
    if any(counts):
        tokens, source = fmean(counts), f"mean of {len(counts):,} replies in the call store"
    written = round(len(calls) * tokens)
    pictures = ", without the pictures" if any(question.picture for question in calls.values()) else ""
    usd = cost_usd(model, {"input_tokens": read, "output_tokens": written}, batch)
    prices = f"prices of {load_prices().as_of}{', through batches' if batch else ''}"
    click.echo(
        f"{model}: {planned:,} rows planned, {planned - len(without_row):,} in the file, {in_store:,} in the call "
        f"store, {len(calls):,} calls to make\n"
        f"  tokens in {read:,} (characters / {CHARACTERS_PER_TOKEN}, without prompt caching{pictures}), "
        f"out {written:,} ({tokens:.0f} a reply: {source})\n"
        f"  cost {f'not known: no price for {model} in' if usd is None else f'{usd:.2f} USD at'} {prices}",
        err=not options["forecast"],
    )
    return tokens


def _ask(asking: Asking, missing: Sequence[Asked], store: CallStore, options: Mapping[str, Any]) -> None:
    path = options["answers"]
    if not path:
        asyncio.run((asking.batches if options["batch"] else asking.online)(missing))
        return
    with path.open("rb") as file:
        check_is_utf8(file.read(4), f"{path}: ")
    answers = asyncio.run(read_answers(path, (one.call for one in missing), store))
    for problem, count in answers.problems.most_common():
        click.echo(f"{path}: {count} lines skipped: {problem}", err=True)
    if answers.unknown:
        click.echo(
            f"{path}: {answers.unknown} answers to no question that is missing here; give the options that the "
            "questions were written with",
            err=True,
        )


def _say_missing(asking: Asking, asked: Sequence[Asked], lines: Mapping[str, bytes], out: Path) -> None:
    """Says what failed and what was spent, and raises if something is missing."""
    for kind, count in asking.failures.most_common():
        click.echo(f"{count} calls failed with {kind}", err=True)
    missing = sum(one.row_id not in lines for one in asked)
    click.echo(f"{out}: {len(asked) - missing} rows of this plan, {asking.usd_spent:.4f} USD spent now")
    if missing or asking.stopped:
        why = f"{asking.stopped}: " if asking.stopped else ""
        raise click.ClickException(
            f"{why}{missing} of {len(asked)} rows are missing; run the same command again to go on, it pays for "
            "nothing twice"
        )
