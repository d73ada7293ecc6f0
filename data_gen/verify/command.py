"""`cpt verify`: judges responses and keeps those that twins may be made of.

    cpt verify data_gen/seed/responses.jsonl --out data/verified
    cpt verify responses.jsonl --out data/verified --judge anthropic/claude-sonnet-5-5 --per-cell 4

Writes responses.jsonl (rows kept, judged), dropped.jsonl (which row was dropped and why), verification.json (counts,
and what decided) and, if there are any, unjudged.jsonl (rows no judge could score, as they came). Each row that came in
is kept, dropped or bad. The same input gives the same bytes, whatever the number of workers.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click

from data_gen.responses import Problems, TeacherResponse, iter_responses
from data_gen.verify.accounts import InputFile, counts, read_input, short_cells, table, versions
from data_gen.verify.benchmark_prompts import read_benchmark_prompts
from data_gen.verify.checks import Checks
from data_gen.verify.contamination import MIN_CONTAINED_WORDS, NEAR_PROMPT, SHARED_RUN_WORDS
from data_gen.verify.forecast import forecast_judging, paid_since
from data_gen.verify.judging import CHUNK_ROWS, NOT_MEASURABLE, CheckedRow, check_by_measures, check_by_model
from data_gen.verify.near_duplicates import PERMUTATIONS, choose_rows_per_band, import_rensa, lsh_recall
from data_gen.verify.selection import Quota
from data_gen.verify.shingles import SHINGLE_WORDS
from data_gen.verify.text_filters import (
    MAX_LANGUAGE_CHARACTERS,
    MAX_REFUSAL_WORDS,
    MIN_LANGUAGE_CHARACTERS,
    MIN_LANGUAGE_CONFIDENCE,
    check_language,
)
from data_gen.verify.verify import DROPPED, RESPONSES, UNJUDGED, JudgeIdentity, verify
from judges import DEFAULT_STORE, MEASURED, ModelJudge, judge_hash, judge_model
from judges.judgment import MIN_RESPONSE_WORDS
from judges.measured import MEASURES_VERSION
from judges.prompts import PROMPT_VERSION, prompt_hash
from model_calls.errors import clear_errors
from rubrics import all_user_prompts, load_rubrics
from rubrics.files import write_whole

SCHEMA = 1
VERIFICATION = "verification.json"
ANY_LANGUAGE = "any"
SHORT_CELLS_SHOWN = 5
Rows = Callable[[Problems], Iterator[tuple[str, TeacherResponse]]]
Check = Callable[[Iterable[TeacherResponse]], Iterator[CheckedRow]]


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
    limit, problems = options["limit"], Problems()
    with clear_errors():
        checks, quota = _checks(options), Quota(options["per_cell"], options["best_of"], options["near"])
        inputs = _inputs(responses, out)
        lines = sum(file.lines for file in inputs)

        def rows(problems: Problems) -> Iterator[tuple[str, TeacherResponse]]:
            return islice(iter_responses(responses, checks.rubrics, problems), limit)

        with _judge(options, checks, rows, lines) as (identity, check):
            label = f"verifying by {identity.judge}"
            with click.progressbar(length=min(lines, limit or lines), label=label, file=sys.stderr) as bar:
                checked = _with_progress(check(row for _, row in rows(problems)), bar.update)
                frame, also_unjudged = verify(checked, lambda: rows(_Unsaid()), quota, identity, out)
        numbers = counts(frame, also_unjudged, problems.counts)
        assert limit or numbers["in"] == lines, "a line was counted neither as a row nor as bad"
        if quota.limit:
            numbers["short_cells"] = short_cells(frame, quota.limit)
        decided = {
            "judge": vars(identity),
            "rubrics": {rubric: checks.rubrics[rubric].hash for rubric in sorted(frame["rubric"].unique())},
            "also_by": {rubric.id: rubric.hash for rubric in checks.also_by},
            "inputs": [vars(file) for file in inputs],
            "limit": limit,
            "thresholds": _thresholds(checks, quota),
            "benchmark_files": [vars(read_input(path)) for path in options["benchmark_prompts"]],
            "versions": versions(),
        }
        content = {"schema": SCHEMA} | numbers | decided
        write_whole(out / VERIFICATION, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    click.echo(table(frame))
    if problems.counts:
        click.echo(problems.summary())
    _say(out, numbers, quota)


def _checks(options: dict[str, Any]) -> Checks:
    language = "" if options["language"] == ANY_LANGUAGE else options["language"]
    if language:
        check_language(language)
    if options["near"]:
        choose_rows_per_band(options["near"])
        import_rensa()
    benchmark = {f"test prompt {user_prompt_id}": text for user_prompt_id, text in all_user_prompts("test").items()}
    for path in options["benchmark_prompts"]:
        benchmark |= {f"{path.name} {name}": text for name, text in read_benchmark_prompts(path).items()}
    return Checks(
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
def _judge(options: dict[str, Any], checks: Checks, rows: Rows, lines: int) -> Iterator[tuple[JudgeIdentity, Check]]:
    if options["judge"] == MEASURED:
        workers = min(options["workers"] or os.cpu_count() or 1, -(-lines // CHUNK_ROWS) or 1)
        yield JudgeIdentity(MEASURED, MEASURES_VERSION), lambda found: check_by_measures(found, checks, workers)
        return
    from inspect_ai.model import get_model

    from model_calls import open_store

    model = judge_model(get_model(options["judge"], memoize=False))
    store = open_store(options["store"])
    try:
        click.echo(forecast_judging((row for _, row in rows(_Unsaid())), checks, model, store), err=True)
        calls_before = len(store)
        judge, connections = ModelJudge(model, store), options["max_connections"]
        identity = JudgeIdentity(str(model), PROMPT_VERSION, prompt_hash(), judge_hash(model))
        try:
            yield identity, lambda found: check_by_model(found, checks, judge, connections)
        finally:
            click.echo(paid_since(store, calls_before, model), err=True)
    finally:
        store.close()


class _Unsaid(Problems):
    """For rows that are read once more: says nothing."""

    def add(self, kind: str, message: str) -> None:
        self.counts[kind] += 1


def _with_progress(checked: Iterable[CheckedRow], update: Callable[[int], None]) -> Iterator[CheckedRow]:
    for number, one in enumerate(checked, start=1):
        if number % 100 == 0:
            update(100)
        yield one


def _thresholds(checks: Checks, quota: Quota) -> dict[str, Any]:
    """Every threshold that decides about rows, with the chance to find a pair at that of near duplicates."""
    rows_per_band = choose_rows_per_band(quota.near) if quota.near else 0
    return {
        "keep": "all" if checks.keep_all else "in_band",
        "per_cell": quota.limit,
        "best_of": quota.best_of,
        "language": {
            "expected": checks.language or None,
            "min_confidence": MIN_LANGUAGE_CONFIDENCE,
            "min_characters": MIN_LANGUAGE_CHARACTERS,
            "characters_read": MAX_LANGUAGE_CHARACTERS,
        },
        "max_refusal_words": MAX_REFUSAL_WORDS,
        "min_words": MIN_RESPONSE_WORDS,
        "benchmark": {
            "prompts": len(checks.benchmark),
            "shared_run_words": SHARED_RUN_WORDS,
            "min_contained_words": MIN_CONTAINED_WORDS,
            "near_jaccard": NEAR_PROMPT,
        },
        "near_duplicates": {
            "jaccard": quota.near,
            "shingle_words": SHINGLE_WORDS,
            "permutations": PERMUTATIONS,
            "rows_per_band": rows_per_band,
            "recall_at_threshold": round(lsh_recall(quota.near, rows_per_band), 4) if rows_per_band else None,
        },
    }


def _say(out: Path, numbers: dict[str, Any], quota: Quota) -> None:
    parts = " + ".join(f"{numbers[part]:,} {part}" for part in ("kept", "dropped", "bad"))
    click.echo(f"{numbers['in']:,} rows in = {parts}")
    if unmeasured := numbers["unjudged_by_mode"].get(NOT_MEASURABLE):
        click.echo(f"{unmeasured:,} rows have rubrics without measures: judge {out / UNJUDGED} with --judge MODEL")
    if failed := sum(numbers["also_unjudged"].values()):
        click.echo(f"{failed:,} judgments by further rubrics failed and are missing in `also`")
    if short := numbers.get("short_cells"):
        click.echo(f"{len(short):,} cells have fewer than {quota.limit} rows, all in {VERIFICATION}; the first:")
        for cell in short[:SHORT_CELLS_SHOWN]:
            click.echo(f"  {cell['rubric']} {cell['user_prompt_id']} {cell['level']} {cell['teacher']}: {cell['kept']}")
    names = [name for name in (RESPONSES, DROPPED, UNJUDGED) if (out / name).is_file()]
    click.echo(f"{', '.join(names)} and {VERIFICATION} are in {out}")
