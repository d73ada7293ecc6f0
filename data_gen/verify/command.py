"""`cpt verify`: judges responses and keeps those that twins may be made of.

    cpt verify data_gen/seed/responses.jsonl --out data/verified
    cpt verify responses.jsonl --out data/verified --judge anthropic/claude-sonnet-5-5 --best-of

Writes responses.jsonl (rows kept, judged), dropped.jsonl (which row was dropped and why) and verification.json (counts,
and what decided). Each row that came in is kept, dropped or bad. The same input gives the same bytes.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from data_gen.responses import Problems, TeacherResponse, check_not_written, iter_responses, sha256_of
from data_gen.verify.checks import Checks, check_rows
from data_gen.verify.choosing import DROPPED, RESPONSES, cells, choose, counts, write_rows
from data_gen.verify.contamination import Contamination
from data_gen.verify.near_duplicates import MIN_NEAR
from data_gen.verify.text_filters import check_language
from judges import (
    DEFAULT_STORE,
    MEASURED,
    PROMPT_VERSION,
    Judge,
    MeasuredJudge,
    ModelJudge,
    check_measurable,
    judge_hash,
    judge_model,
)
from judges.cost import forecast, load_prices, verdict_tokens
from judges.measured import MEASURES_VERSION
from judges.prompts import prompt_hash
from model_calls import CallStore, open_store
from model_calls.call import name_of
from model_calls.errors import clear_errors
from rubrics import Rubric, all_user_prompts, load_rubrics
from rubrics.files import json_lines, write_whole

SCHEMA = 3
VERIFICATION = "verification.json"


@click.command(name="verify", context_settings={"show_default": True})
@click.argument("responses", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the results.")
@click.option("--rubrics", default="all", help="Rubrics rows may have: a split, family, ids or paths.")
@click.option("--judge", default=MEASURED, help="measured (no key; rubrics with measures only), or an inspect model.")
@click.option("--keep", type=click.Choice(["in_band", "all"]), default="in_band", help="all: whatever the score.")
@click.option("--best-of", is_flag=True, help="Keep the best one per (rubric, user prompt, level, teacher).")
@click.option("--near", default=0.8, type=click.FloatRange(0, 1), help="Jaccard of near copies, 0.7-1; 0: none.")
@click.option("--language", default="en", help="ISO 639-1 code of the responses, or any.")
@click.option("--store", default=DEFAULT_STORE, help="File that calls of a model judge are kept in.")
@click.option("--max-connections", default=64, type=click.IntRange(1, 1000), help="Most calls in flight.")
@clear_errors()
def verify_command(responses: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Judge the responses in RESPONSES (JSONL) and keep those that are whole, clean, in their band and no copies.

    Dropped rows are named in OUT/dropped.jsonl with the first reason that applies: refused, truncated, too_short,
    control_token, broken_character, language, contaminated, unjudged, out_of_band, and then near_duplicate or not_best.
    Controls have no band.
    """
    problems, checks = Problems(), _checks(options)
    inputs = [_about_input(path, out) for path in responses]
    lines = sum(about["lines"] for about in inputs)

    def rows(problems: Problems | None = None) -> Iterator[tuple[str, TeacherResponse]]:
        return iter_responses(responses, checks.rubrics, problems or Problems(is_silent=True))

    with (
        _judge(options, (row for _, row in rows()), checks) as (judge, about_judge),
        click.progressbar(length=lines, file=sys.stderr, update_min_steps=100) as bar,
    ):
        came_in = (row for _, row in rows(problems))
        frame = check_rows(came_in, checks, judge, options["max_connections"], bar.update)
    choose(frame, rows, checks.near, options["best_of"])
    write_rows(frame, rows, about_judge, out)
    numbers, by_cell = counts(frame, problems.counts), cells(frame)
    assert numbers["in"] == lines, "a line was counted neither as a row nor as bad"
    decided = {
        "cells": by_cell.to_dict("records"),
        "judge": about_judge,
        "rubrics": {rubric: checks.rubrics[rubric].hash for rubric in sorted(frame["rubric"].unique())},
        "inputs": inputs,
        "options": {name: options[name] for name in ("keep", "best_of", "near", "language")},
        "versions": {name: version(name) for name in ("cpt-tasks", "numpy", "rensa", "py3langid")},
    }
    content = {"schema": SCHEMA} | numbers | decided
    write_whole(out / VERIFICATION, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    click.echo(by_cell.to_markdown(index=False, tablefmt="plain", intfmt=","))
    if problems.counts:
        click.echo(problems.summary())
    parts = " + ".join(f"{numbers[part]:,} {part}" for part in ("kept", "dropped", "bad"))
    click.echo(f"{numbers['in']:,} rows in = {parts}")
    click.echo(f"{RESPONSES}, {DROPPED} and {VERIFICATION} are in {out}")


def _checks(options: dict[str, Any]) -> Checks:
    language = "" if options["language"] == "any" else options["language"]
    if language:
        check_language(language)
    if 0 < options["near"] < MIN_NEAR:
        raise ValueError(f"--near: got {options['near']:g}, expected a Jaccard from {MIN_NEAR} to 1, or 0")
    rubrics = {rubric.id: rubric for rubric in load_rubrics(options["rubrics"])}
    return Checks(
        rubrics=rubrics,
        unjudgeable=_without_measures(rubrics.values()) if options["judge"] == MEASURED else {},
        language=language,
        keep_all=options["keep"] == "all",
        near=options["near"],
        contamination=Contamination(all_user_prompts("test")),
    )


def _without_measures(rubrics: Iterable[Rubric]) -> dict[str, str]:
    """Why, by id, the measured judge cannot judge by some of the rubrics."""
    reasons = {}
    for rubric in rubrics:
        try:
            check_measurable(rubric)
        except ValueError as error:
            reasons[rubric.id] = f"{str(error).split(', expected')[0]}; judge it with --judge MODEL"
    return reasons


def _about_input(path: Path, out: Path) -> dict[str, Any]:
    """The name of a file without folders, the SHA-256 of its bytes, and its lines that are not blank."""
    check_not_written(path, out, (RESPONSES, DROPPED, VERIFICATION))
    if not path.is_file():
        raise ValueError(f"{path}: not found, expected a responses file in JSONL")
    return {"name": path.name, "sha256": sha256_of(path), "lines": sum(1 for _ in json_lines(path))}


@contextmanager
def _judge(
    options: Mapping[str, Any], rows: Iterable[TeacherResponse], checks: Checks
) -> Iterator[tuple[Judge, dict[str, str]]]:
    """The judge, and what tells it from others; for a model, says first what judging the rows will cost."""
    if options["judge"] == MEASURED:
        yield MeasuredJudge(), {"judge": MEASURED, "prompt_version": MEASURES_VERSION}
        return
    from inspect_ai.model import GenerateConfig, get_model

    in_flight = GenerateConfig(adaptive_connections=options["max_connections"])
    model = judge_model(get_model(options["judge"], config=in_flight, memoize=False))
    about = {"judge": name_of(model), "prompt_version": PROMPT_VERSION}
    with closing(open_store(options["store"])) as store:
        judge = ModelJudge(model, store)
        click.echo(_forecast(rows, checks, judge, about["judge"], store), err=True)
        yield judge, about | {"prompt_hash": prompt_hash(), "judge_hash": judge_hash(model)}


def _forecast(rows: Iterable[TeacherResponse], checks: Checks, judge: ModelJudge, name: str, store: CallStore) -> str:
    """Calls that are not in the store yet, tokens and US dollars, at most: nothing cached, no reply unusable."""
    judgments = characters = output = 0
    new: set[str] = set()
    for row in rows:
        if checks.before_judging(row):
            continue
        judgments += 1
        rubric = checks.rubrics[row.rubric]
        call = judge.call(rubric, row.user_prompt, row.response)
        if call.key not in store and call.key not in new:
            new.add(call.key)
            characters += sum(len(message.text) for message in call.messages)
            output += verdict_tokens(len(rubric.criteria))
    calls, usage, cost = forecast(len(new), characters, output, name)
    price = "price unknown" if cost is None else f"{cost:.2f} USD"
    return (
        f"judge {name}: {judgments:,} judgments, {judgments - calls:,} of them stored or asked twice, {calls:,} "
        f"calls to send: about {usage['input_tokens']:,} tokens in and {output:,} out, {price} as of "
        f"{load_prices().as_of} without prompt caching"
    )
