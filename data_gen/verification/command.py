"""`cpt verify`: judges responses and keeps those that twins may be made of.

    cpt verify data_gen/seed/responses.jsonl --out data/verified
    cpt verify responses.jsonl --out data/verified --judge anthropic/claude-sonnet-5-5 --per-cell 4

Writes responses.jsonl (rows kept, judged), dropped.jsonl (which row was dropped and why), verification.json (counts,
and what decided) and, if there are any, unjudged.jsonl (rows no judge could score, as they came). Each row that came in
is kept, dropped or bad. The same input gives the same bytes, whatever the number of workers.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click

from data_gen.responses import Problems, iter_responses
from data_gen.verification.accounts import Counts, InputFile, JudgeIdentity, read_input, thresholds, versions
from data_gen.verification.contamination import read_benchmark_prompts
from data_gen.verification.judging import check_by_model, forecast_judging, paid_since
from data_gen.verification.near_duplicates import choose_rows_per_band, import_rensa
from data_gen.verification.outputs import DROPPED, RESPONSES, UNJUDGED, VERIFICATION, write_outcomes, write_verification
from data_gen.verification.selection import Quota
from data_gen.verification.text_filters import check_language
from data_gen.verification.verify import NOT_MEASURABLE, Located, LocatedCheck, Settings, check_by_measures
from judges import DEFAULT_STORE, MEASURED, check_measurable, judge_hash, judge_model
from judges.measured import MEASURES_VERSION
from judges.prompts import PROMPT_VERSION, prompt_hash
from model_calls.errors import clear_errors
from rubrics import all_user_prompts, load_rubrics

ANY_LANGUAGE = "any"
SHORT_CELLS_SHOWN = 5
Rows = Callable[[Problems], Iterator[Located]]
Check = Callable[[Iterable[Located]], Iterator[LocatedCheck]]


@click.command(name="verify")
@click.argument("responses", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the results.")
@click.option(
    "--rubrics", default="all", show_default=True, help="Rubrics rows may have: a split, family, ids or paths."
)
@click.option(
    "--judge",
    default=MEASURED,
    show_default=True,
    help="measured (rubrics with measures only; no key), or an inspect model, e.g. anthropic/claude-sonnet-5-5.",
)
@click.option("--also-by", help="Judge every kept row by these rubrics, too (a split, family, ids or paths): `also`.")
@click.option(
    "--keep",
    type=click.Choice(["in_band", "all"]),
    default="in_band",
    show_default=True,
    help="in_band drops what scores outside the band of its level; all drops nothing for its score.",
)
@click.option(
    "--per-cell",
    type=click.IntRange(1),
    help="Keep this many rows per (rubric, user prompt, level, teacher), the first in the file. Default: all.",
)
@click.option(
    "--best-of",
    is_flag=True,
    help="Keep the best rows of each (rubric, user prompt, level, teacher): one, or as many as --per-cell says.",
)
@click.option(
    "--near",
    default=0.8,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Jaccard of three-word shingles from which two responses of a rubric are near copies, 0.2-1; 0 keeps them.",
)
@click.option("--language", default="en", show_default=True, help="ISO 639-1 code of the responses, or any.")
@click.option(
    "--benchmark-prompts",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Prompts that must not turn up, beside our test prompts: YAML as rubrics/user_prompts.yaml, JSONL or text.",
)
@click.option("--limit", type=click.IntRange(1), help="Look at this many rows only, the first. Default: all.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Processes for the measured judge. Default: one per core.",
)
@click.option("--store", default=DEFAULT_STORE, show_default=True, help="File that calls of a model judge are kept in.")
@click.option(
    "--max-connections",
    default=64,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Most calls of a model judge in flight.",
)
def verify_command(responses: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Judge the responses in RESPONSES (JSONL) and keep those that are whole, clean, in their band and no copies.

    Dropped rows are named in OUT/dropped.jsonl with the first reason that applies: refused, truncated, too_short,
    language, mentions_rubric, contaminated, unjudged, out_of_band, and then near_duplicate, not_best or over_per_cell.
    Controls have no band.
    """
    limit = options["limit"]
    problems = Problems()
    with clear_errors():
        settings = _settings(options)
        quota = Quota(options["per_cell"], options["best_of"], options["near"])
        inputs = _inputs(responses, out)
        benchmark_files = [read_input(path) for path in options["benchmark_prompts"]]
        lines = sum(file.lines for file in inputs)
        counts = Counts(quota.limit)

        def rows(told: Problems) -> Iterator[Located]:
            return islice(iter_responses(responses, settings.rubrics, told), limit)

        with _judge(options, settings, rows) as (identity, check):
            label = f"verifying by {identity.judge}"
            with click.progressbar(length=min(lines, limit or lines), label=label, file=sys.stderr) as bar:
                write_outcomes(out, _with_progress(check(rows(problems)), bar.update), quota, counts, identity)
        numbers = counts.as_json(problems.counts)
        assert limit or numbers["in"] == lines, "a line was counted neither as a row nor as bad"
        if quota.limit:
            numbers["short_cells"] = counts.short_cells()
        decided = {
            "judge": vars(identity),
            "rubrics": {rubric: settings.rubrics[rubric].hash for rubric in counts.rubrics},
            "also_by": {rubric.id: rubric.hash for rubric in settings.also_by},
            "inputs": [vars(file) for file in inputs],
            "limit": limit,
            "thresholds": thresholds(settings, quota),
            "benchmark_files": [vars(file) for file in benchmark_files],
            "versions": versions(),
        }
        write_verification(out, numbers | decided)
    _tell(out, numbers, counts, problems, quota)


def _settings(options: dict[str, Any]) -> Settings:
    language = "" if options["language"] == ANY_LANGUAGE else options["language"]
    if language:
        check_language(language)
    if options["near"]:
        choose_rows_per_band(options["near"])
        import_rensa()
    benchmark = {f"test prompt {user_prompt_id}": text for user_prompt_id, text in all_user_prompts("test").items()}
    for path in options["benchmark_prompts"]:
        benchmark |= {
            f"{path.name} {user_prompt_id}": text for user_prompt_id, text in read_benchmark_prompts(path).items()
        }
    return Settings(
        rubrics={rubric.id: rubric for rubric in load_rubrics(options["rubrics"])},
        also_by=tuple(load_rubrics(options["also_by"])) if options["also_by"] else (),
        language=language,
        keep_all=options["keep"] == "all",
        near=options["near"],
        benchmark=benchmark,
        benchmark_ids=frozenset(all_user_prompts("test")),
    )


def _inputs(responses: Sequence[Path], out: Path) -> list[InputFile]:
    ours = {(out / name).resolve() for name in (RESPONSES, DROPPED, UNJUDGED, VERIFICATION)}
    for path in responses:
        if path.resolve() in ours:
            raise ValueError(f"{path}: is read and would be overwritten, expected another folder for --out")
    return [read_input(path) for path in responses]


@contextmanager
def _judge(options: dict[str, Any], settings: Settings, rows: Rows) -> Iterator[tuple[JudgeIdentity, Check]]:
    if options["judge"] == MEASURED:
        for rubric in settings.also_by:
            check_measurable(rubric)
        workers = options["workers"] or os.cpu_count() or 1
        yield JudgeIdentity(MEASURED, MEASURES_VERSION), lambda found: check_by_measures(found, settings, workers)
        return
    from anthropic import APIError
    from inspect_ai.model import get_model
    from tenacity import RetryError

    from model_calls import open_store
    from model_calls.inspect_private import PrerequisiteError

    try:
        model = judge_model(get_model(options["judge"], memoize=False))
        store = open_store(options["store"])
        try:
            click.echo(forecast_judging(rows(_CountedProblems()), settings, model, store), err=True)
            calls_before = len(store)
            identity = JudgeIdentity(str(model), PROMPT_VERSION, prompt_hash(), judge_hash(model))
            try:
                yield identity, lambda found: check_by_model(found, settings, model, store, options["max_connections"])
            finally:
                click.echo(paid_since(store, calls_before, model), err=True)
        finally:
            store.close()
    except PrerequisiteError as error:
        raise click.ClickException(str(error.message)) from error
    except (APIError, RetryError) as error:
        cause = error.last_attempt.exception() if isinstance(error, RetryError) else error
        raise click.ClickException(
            f"{type(cause).__name__}: {cause}; what was answered is kept, the same command goes on from here"
        ) from error


class _CountedProblems(Problems):
    """For a first look at rows that will be read again: says nothing."""

    def add(self, kind: str, message: str) -> None:
        self.counts[kind] += 1


def _with_progress(checked: Iterable[LocatedCheck], update: Callable[[int], None]) -> Iterator[LocatedCheck]:
    try:
        for number, one in enumerate(checked, start=1):
            if number % 100 == 0:
                update(100)
            yield one
    except BrokenProcessPool as error:
        raise click.ClickException("a worker process ended, out of memory perhaps; try fewer --workers") from error


def _tell(out: Path, numbers: dict[str, Any], counts: Counts, problems: Problems, quota: Quota) -> None:
    click.echo(counts.table())
    parts = " + ".join(f"{numbers[part]:,} {part}" for part in ("kept", "dropped", "bad"))
    click.echo(f"{numbers['in']:,} rows in = {parts}")
    if problems.counts:
        click.echo(problems.summary())
    if unmeasured := counts.unjudged[NOT_MEASURABLE]:
        click.echo(f"{unmeasured:,} rows have rubrics without measures: judge {out / UNJUDGED} with --judge MODEL")
    if counts.also_unjudged:
        click.echo(f"{counts.also_unjudged.total():,} judgments by further rubrics failed and are missing in `also`")
    if short := numbers.get("short_cells"):
        click.echo(f"{len(short):,} cells have fewer than {quota.limit} rows, all in {VERIFICATION}; the first:")
        for cell in short[:SHORT_CELLS_SHOWN]:
            click.echo(f"  {cell['rubric']} {cell['user_prompt_id']} {cell['level']} {cell['teacher']}: {cell['kept']}")
    names = [name for name in (RESPONSES, DROPPED, UNJUDGED) if (out / name).is_file()]
    click.echo(f"{', '.join(names)} and {VERIFICATION} are in {out}")
