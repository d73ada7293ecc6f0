"""`cpt verify`: judges responses and keeps those that twins may be made of.

    cpt verify data_gen/seed/responses.jsonl --out data/verified
    cpt verify responses.jsonl --out data/verified --judge anthropic/claude-sonnet-5-5 --per-cell 4

Writes responses.jsonl (rows kept, judged), dropped.jsonl (which row was dropped and why) and verification.json (counts,
and what decided). Each row that came in is kept, dropped or bad. The same input gives the same bytes.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import click

from data_gen.responses import Problems, TeacherResponse, iter_responses
from data_gen.verify.checks import Checks
from data_gen.verify.judging import NOT_MEASURABLE, MeasuredRows, check_rows, forecast_judging
from data_gen.verify.near_duplicates import MIN_NEAR, import_extra
from data_gen.verify.text_filters import check_language
from data_gen.verify.verify import DROPPED, RESPONSES, Rows, choose, counts, table, write_rows
from judges import DEFAULT_STORE, MEASURED, Judge, ModelJudge, check_measurable, judge_hash, judge_model
from judges.measured import MEASURES_VERSION
from judges.prompts import PROMPT_VERSION, prompt_hash
from model_calls.errors import clear_errors
from rubrics import all_user_prompts, load_rubrics
from rubrics.files import write_whole

SCHEMA = 2
VERIFICATION = "verification.json"
ANY_LANGUAGE = "any"
OPTIONS = ("keep", "per_cell", "best_of", "near", "language", "limit")
VERSIONS_OF = ("cpt-tasks", "numpy", "rensa", "py3langid")


@click.command(name="verify", context_settings={"show_default": True})
@click.argument("responses", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the results.")
@click.option("--rubrics", default="all", help="Rubrics rows may have: a split, family, ids or paths.")
@click.option("--judge", default=MEASURED, help="measured (no key; rubrics with measures only), or an inspect model.")
@click.option("--also-by", help="Judge every kept row by these rubrics, too (a split, family, ids or paths): `also`.")
@click.option("--keep", type=click.Choice(["in_band", "all"]), default="in_band", help="all: whatever the score.")
@click.option("--per-cell", type=click.IntRange(1), help="Keep so many per (rubric, user prompt, level, teacher).")
@click.option("--best-of", is_flag=True, help="Keep the best of each cell, not the first: one, or --per-cell.")
@click.option("--near", default=0.8, type=click.FloatRange(0, 1), help="Jaccard of near copies, 0.7-1; 0: none.")
@click.option("--language", default="en", help="ISO 639-1 code of the responses, or any.")
@click.option("--limit", type=click.IntRange(1), help="Look at this many rows only, the first.")
@click.option("--workers", hidden=True, expose_value=False)  # one process is as fast; accepted for one release
@click.option("--store", default=DEFAULT_STORE, help="File that calls of a model judge are kept in.")
@click.option("--max-connections", default=64, type=click.IntRange(1, 1000), help="Most calls in flight.")
def verify_command(responses: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Judge the responses in RESPONSES (JSONL) and keep those that are whole, clean, in their band and no copies.

    Dropped rows are named in OUT/dropped.jsonl with the first reason that applies: refused, truncated, too_short,
    language, mentions_rubric, contaminated, unjudged, out_of_band, and then near_duplicate, not_best or over_per_cell.
    Controls have no band.
    """
    limit, problems = options["limit"], Problems()
    with clear_errors():
        checks = _checks(options)
        inputs = [_about_input(path, out) for path in responses]
        lines = sum(about["lines"] for about in inputs)

        def rows(problems: Problems | None = None) -> Iterator[tuple[str, TeacherResponse]]:
            return islice(iter_responses(responses, checks.rubrics, problems or _Unsaid()), limit)

        with (
            _judge(options, checks, rows) as (judge, about_judge),
            click.progressbar(length=min(lines, limit or lines), file=sys.stderr, update_min_steps=100) as bar,
        ):
            came_in = (row for _, row in rows(problems))
            frame = check_rows(came_in, checks, judge, options["max_connections"], bar.update)
        choose(frame, rows, checks.near, options["per_cell"], options["best_of"])
        write_rows(frame, rows, about_judge, out)
        numbers = counts(frame, problems.counts)
        assert limit or numbers["in"] == lines, "a line was counted neither as a row nor as bad"
        decided = {
            "judge": about_judge,
            "rubrics": {rubric: checks.rubrics[rubric].hash for rubric in sorted(frame["rubric"].unique())},
            "also_by": {rubric.id: rubric.hash for rubric in checks.also_by},
            "inputs": inputs,
            "options": {name: options[name] for name in OPTIONS},
            "versions": {name: version(name) for name in VERSIONS_OF if find_spec(name.replace("-", "_"))},
        }
        content = {"schema": SCHEMA} | numbers | decided
        write_whole(out / VERIFICATION, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    click.echo(table(frame))
    if problems.counts:
        click.echo(problems.summary())
    _say(out, numbers)


def _checks(options: dict[str, Any]) -> Checks:
    language = "" if options["language"] == ANY_LANGUAGE else options["language"]
    if language:
        check_language(language)
    if options["near"]:
        import_extra("rensa")
    if 0 < options["near"] < MIN_NEAR:
        raise ValueError(f"--near: got {options['near']:g}, expected a Jaccard from {MIN_NEAR} to 1, or 0")
    also_by = tuple(load_rubrics(options["also_by"])) if options["also_by"] else ()
    for rubric in also_by if options["judge"] == MEASURED else ():
        check_measurable(rubric)
    return Checks(
        rubrics={rubric.id: rubric for rubric in load_rubrics(options["rubrics"])},
        also_by=also_by,
        language=language,
        keep_all=options["keep"] == "all",
        near=options["near"],
        benchmark=all_user_prompts("test"),
    )


def _about_input(path: Path, out: Path) -> dict[str, Any]:
    """The name of a file without folders, the SHA-256 of its bytes, and its lines that are not blank."""
    if path.resolve() in {(out / name).resolve() for name in (RESPONSES, DROPPED, VERIFICATION)}:
        raise ValueError(f"{path}: is read and would be overwritten, expected another folder for --out")
    if not path.is_file():
        raise ValueError(f"{path}: not found, expected a responses file in JSONL")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        return {"name": path.name, "sha256": digest, "lines": sum(1 for line in file if line.strip())}


@contextmanager
def _judge(options: dict[str, Any], checks: Checks, rows: Rows) -> Iterator[tuple[Judge, dict[str, str]]]:
    """The judge, and what tells it from others; for a model, says first what it will cost."""
    if options["judge"] == MEASURED:
        about = {"judge": MEASURED, "prompt_version": MEASURES_VERSION}
        yield MeasuredRows(), about | {"prompt_hash": "", "judge_hash": ""}
        return
    from inspect_ai.model import get_model

    from model_calls import open_store

    model = judge_model(get_model(options["judge"], memoize=False))
    about = {"judge": str(model), "prompt_version": PROMPT_VERSION}
    store = open_store(options["store"])
    try:
        click.echo(forecast_judging((row for _, row in rows()), checks, model, store), err=True)
        yield ModelJudge(model, store), about | {"prompt_hash": prompt_hash(), "judge_hash": judge_hash(model)}
    finally:
        store.close()


class _Unsaid(Problems):
    """For rows that are read once more: says nothing."""

    def add(self, kind: str, message: str) -> None:
        self.counts[kind] += 1


def _say(out: Path, numbers: dict[str, Any]) -> None:
    parts = " + ".join(f"{numbers[part]:,} {part}" for part in ("kept", "dropped", "bad"))
    click.echo(f"{numbers['in']:,} rows in = {parts}")
    if unmeasured := numbers["unjudged_by_mode"].get(NOT_MEASURABLE):
        click.echo(f"{unmeasured:,} rows have rubrics without measures: judge them with --judge MODEL")
    if failed := sum(numbers["also_unjudged"].values()):
        click.echo(f"{failed:,} judgments by further rubrics failed and are missing in `also`")
    click.echo(f"{RESPONSES}, {DROPPED} and {VERIFICATION} are in {out}")
