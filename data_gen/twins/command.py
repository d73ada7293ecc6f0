"""`cpt twins`: verified responses in, preference files out.

    cpt twins --responses data_gen/seed/responses.jsonl --out data/seed

What may train is read (`inputs.py`), paired and split (`pairing.py`), written (`files.py`) and described (`card.py`).
"""

import hashlib
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import polars as pl

from data_gen.responses import Problems, iter_responses
from data_gen.twins.card import CARD, count_twins, write_card
from data_gen.twins.files import preference_rows, write_preferences
from data_gen.twins.human_ratings import responses_from_ratings
from data_gen.twins.inputs import Responses, read_responses
from data_gen.twins.pairing import (
    draw_wordings,
    first_twins,
    pair_responses,
    repeat_twins,
    split_twins,
    train_wordings,
)
from model_calls.errors import clear_errors
from rubrics import Rubric, ScoreLevel, load_rubrics

DEFAULT_RESPONSES = Path(__file__).parents[1] / "seed" / "responses.jsonl"
LOW, MODERATE, HIGH = ScoreLevel
FORMATS = {"jsonl": ("jsonl",), "parquet": ("parquet",), "both": ("jsonl", "parquet")}
# the chance that two twins share 12 hex digits is 2e-5 with this many; with 16 digits, 3e-6 with ten million
MAX_TWINS_OF_SHORT_IDS = 100_000
LEVEL_PAIRS = {f"{low}:{high}": (low, high) for low, high in ((LOW, MODERATE), (MODERATE, HIGH), (LOW, HIGH))}


def _portable(arguments: list[str], out: Path) -> str:
    """The command as it was typed, files without their folders, and without where the result goes."""
    words = ["cpt"]
    for word in arguments:
        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        parts = [Path(part).name if Path(part).exists() else part for part in value.split(",")]
        words.append(flag + equals + ("DIR" if value and Path(value) == out else ",".join(parts)))
    return shlex.join(words)


def _parse_pairs(context: click.Context, parameter: click.Parameter, value: str) -> list[tuple[ScoreLevel, ScoreLevel]]:
    names = list(dict.fromkeys(name.strip() for name in value.split(",")))
    if unknown := [name for name in names if name not in LEVEL_PAIRS]:
        raise click.BadParameter(f"got {unknown[0]!r}, expected some of {', '.join(LEVEL_PAIRS)}")
    return [LEVEL_PAIRS[name] for name in names]


_INPUTS: dict[str, Any] = {"multiple": True, "type": click.Path(exists=True, dir_okay=False, path_type=Path)}
_RATINGS = click.FloatRange(0, 1e6, min_open=True)


@click.command(name="twins", context_settings={"show_default": True})
@click.option(
    "--responses", **_INPUTS, help="Verified responses (JSONL), repeatable. Without ratings: those of the seed."
)
@click.option("--from-ratings", **_INPUTS, help="Responses rated by people (JSONL), to be paired as well, repeatable.")
@click.option("--max-rating", default=4.0, type=_RATINGS, help="Top of the scale of ratings, which begins at 0.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the files.")
@click.option(
    "--rubrics", multiple=True, default=("all",), help="Rubrics to pair: family, split, ids or paths, repeatable."
)
@click.option("--level-pairs", default=",".join(LEVEL_PAIRS), callback=_parse_pairs, help="Levels to pair.")
@click.option(
    "--min-gap", default=0.0, type=click.FloatRange(0, 100), help="Least difference of a twin's scores, in points."
)
@click.option("--wordings", default=1, type=click.IntRange(1), help="Twins per pair of responses, worded differently.")
@click.option("--eval-prompts", default=4, type=click.IntRange(0), help="User prompts kept for eval, drawn at random.")
@click.option("--format", type=click.Choice(list(FORMATS)), default="jsonl", help="Of the files.")
@click.option("--licence", metavar="ID", help="For the dataset card, e.g. cc-by-4.0. Default: that of the rubrics.")
@click.option("--limit", default=0, type=click.IntRange(0), help="At most this many twins per file; 0 = all.")
@click.option("--seed", default=42, type=click.IntRange(0), help="Seed of every draw.")
@clear_errors()
def twins_command(
    responses: tuple[Path, ...],
    from_ratings: tuple[Path, ...],
    max_rating: float,
    out: Path,
    rubrics: tuple[str, ...],
    level_pairs: list[tuple[ScoreLevel, ScoreLevel]],
    min_gap: float,
    wordings: int,
    eval_prompts: int,
    format: str,
    licence: str | None,
    limit: int,
    seed: int,
) -> None:
    """Make role-swapped preference pairs, split into train and eval, ready for DPO.

    Two responses to one user prompt, written for one rubric at two levels, give one twin: two rows, whose roles of
    chosen and rejected swap with the system prompt. OUT gets train and eval files, a dataset card and a manifest.
    """
    responses = responses or (() if from_ratings else (DEFAULT_RESPONSES,))
    asked = {rubric.id: rubric for selection in rubrics for rubric in load_rubrics(selection)}
    known = {rubric.id: rubric for rubric in load_rubrics("all")} | asked
    wanted = {name: rubric for name, rubric in asked.items() if rubric.split != "heldout"}
    train = train_wordings(wanted.values())
    problems, rng = Problems(), np.random.default_rng(seed)
    inputs = [_about_input(path) for path in (*responses, *from_ratings)]
    lines = sum(about["rows"] or 0 for about in inputs)
    rated = responses_from_ratings(from_ratings, known, problems, max_rating)
    rows = chain(iter_responses(responses, known, problems), rated)
    with TemporaryDirectory() as folder:
        with _progress(rows, lines) as shown:
            read = read_responses(shown, wanted, problems, Path(folder))
        if left_out := ", ".join(f"{count} {name}" for name, count in sorted(read.passed_over.items())):
            why = "controls, rubrics kept for measuring and those not among --rubrics are in no twin"
            click.echo(f"left out: {left_out} ({why})", err=True)
        if problems.counts:
            click.echo(problems.summary(), err=True)
        twins = repeat_twins(pair_responses(read.frame, level_pairs, min_gap), wordings)
        if twins.is_empty():
            raise ValueError(
                f"no twin can be made of the {len(read.frame)} responses that may train, expected two levels of one "
                "(rubric, user prompt, teacher)"
            )
        by_file = split_twins(draw_wordings(twins, train, rng), eval_prompts, rng)
        splits = {name: first_twins(split, limit, rng) for name, split in by_file.items()}
        splits = {name: split for name, split in splits.items() if len(split)}
        files = _write(splits, read, train, out, FORMATS[format])
    manifest = {"command": _portable(sys.argv[1:], out), "seed": seed, "inputs": inputs, "files": files}
    manifest |= _about_twins(splits, read, wanted, licence or ("other" if from_ratings else None))
    manifest |= {"skipped": dict(sorted(problems.counts.items())), "left_out": dict(sorted(read.passed_over.items()))}
    write_card(out, manifest)
    for file, about in files.items():
        click.echo(f"{out / file}: {about['twins']} twins, {about['rows']} rows")
    click.echo(f"{out / CARD}: what is in them and how they were made")


def _write(
    splits: Mapping[str, pl.DataFrame], responses: Responses, wordings: pl.DataFrame, out: Path, formats: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Writes the files, and says what is in each. What an earlier run left under a name not written is removed."""
    id_digits = 12 if sum(map(len, splits.values())) <= MAX_TWINS_OF_SHORT_IDS else 16
    files = {}
    for name, twins in splits.items():
        rows = write_preferences(out, name, formats, preference_rows(twins, responses, wordings, id_digits))
        for ending in formats:
            file = f"{name}.{ending}"
            files[file] = {"rows": rows, "twins": len(twins), "sha256": _sha256(out / file)}
    for name in {f"{name}.{ending}" for name in ("train", "eval") for ending in FORMATS["both"]} - set(files):
        (out / name).unlink(missing_ok=True)
    return files


def _about_twins(
    splits: Mapping[str, pl.DataFrame], responses: Responses, rubrics: Mapping[str, Rubric], licence: str | None
) -> dict[str, Any]:
    twins = count_twins(splits)
    used = [rubrics[name] for name in sorted({entry["rubric"] for entry in twins})]
    licences = {rubric.licence.lower() for rubric in used}
    return {
        "licence": licence or (licences.pop() if len(licences) == 1 else "other"),
        "twins": twins,
        "teachers": sorted({entry["teacher"] for entry in twins}),
        "judges": sorted(responses.frame["judge"].unique()),
        "rubrics": {one.id: {"hash": one.hash, "licence": one.licence, "source": one.source} for one in used},
    }


def _progress(rows: Iterable[Any], lines: int) -> Any:
    step, is_bare = 1 + lines // 200, not sys.stderr.isatty()  # then there is no bar, only the word
    return click.progressbar(rows, lines, "reading", file=sys.stderr, update_min_steps=step, hidden=is_bare)


def _about_input(path: Path) -> dict[str, Any]:
    """Name without folder, number of lines (None if packed) and SHA-256."""
    with path.open("rb") as file:
        rows = None if path.suffix == ".gz" else sum(1 for _ in file)
    return {"name": path.name, "rows": rows, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
