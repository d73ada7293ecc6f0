"""`cpt twins`: verified responses in, preference files out.

    cpt twins --responses data_gen/seed/responses.jsonl --out data/seed

What may train is read (`inputs.py`), paired and split (`pairing.py`), written (`files.py`) and described (`card.py`).
"""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import polars as pl

from data_gen.responses import Problems, TeacherResponse, check_not_written, iter_responses, sha256_of
from data_gen.twins.card import CARD, count_cells, count_twins, say_cells, write_card
from data_gen.twins.files import preference_rows, write_preferences
from data_gen.twins.history import draw_history
from data_gen.twins.human_ratings import responses_from_ratings
from data_gen.twins.inputs import Responses, read_responses
from data_gen.twins.pairing import (
    SAME_LEVEL,
    TWIN,
    count_kinds,
    draw_wordings,
    first_twins,
    only,
    pair_responses,
    repeat_twins,
    split_twins,
    train_wordings,
)
from data_gen.twins.paper import responses_of_paper
from data_gen.twins.same_level import pair_within_levels
from model_calls.errors import clear_errors
from rubrics import Rubric, ScoreLevel, load_rubrics
from rubrics.files import write_jsonl

DEFAULT_RESPONSES = Path(__file__).parents[1] / "seed" / "responses.jsonl"
LOW, MODERATE, HIGH = ScoreLevel
FORMATS = {"jsonl": ("jsonl",), "parquet": ("parquet",), "both": ("jsonl", "parquet")}
# the chance that two twins share 12 hex digits is 2e-5 with this many; with 16 digits, 3e-6 with ten million
MAX_TWINS_OF_SHORT_IDS = 100_000
NO_LEVELS = "none"
PAPER_RESPONSES = "paper_responses.jsonl"  # in the folder of the result
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
    if names == [NO_LEVELS]:
        return []
    if unknown := [name for name in names if name not in LEVEL_PAIRS]:
        raise click.BadParameter(f"got {unknown[0]!r}, expected some of {', '.join(LEVEL_PAIRS)}, or {NO_LEVELS}")
    return [LEVEL_PAIRS[name] for name in names]


_INPUTS: dict[str, Any] = {"multiple": True, "type": click.Path(exists=True, dir_okay=False, path_type=Path)}
_RATINGS = click.FloatRange(0, 1e6, min_open=True)


@click.command(name="twins", context_settings={"show_default": True})
@click.option(
    "--responses", **_INPUTS, help="Verified responses (JSONL), repeatable. Without ratings: those of the seed."
)
@click.option("--from-ratings", **_INPUTS, help="Responses rated by people (JSONL), to be paired as well, repeatable.")
@click.option(
    "--from-paper", metavar="FILE|ID", help="The paper's released responses: JSONL, Parquet, or id on the hub."
)
@click.option("--max-rating", default=4.0, type=_RATINGS, help="Top of the scale of ratings, which begins at 0.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the files.")
@click.option(
    "--rubrics", multiple=True, default=("all",), help="Rubrics to pair: family, split, ids or paths, repeatable."
)
@click.option("--level-pairs", default=",".join(LEVEL_PAIRS), callback=_parse_pairs, help="Levels to pair, or none.")
@click.option(
    "--same-level",
    default=0,
    type=click.IntRange(0),
    help="Also at most this many pairs per (rubric, level, user prompt, teacher): chosen in band, rejected not.",
)
@click.option(
    "--min-gap", default=0.0, type=click.FloatRange(0, 100), help="Least difference of a pair's scores, in points."
)
@click.option(
    "--wordings", default=1, type=click.IntRange(1), help="Twins per pair of responses, wordings drawn for each."
)
@click.option(
    "--history", default=0, type=click.IntRange(0), help="Earlier turns in every prompt, the same in both rows."
)
@click.option("--eval-prompts", default=4, type=click.IntRange(0), help="User prompts kept for eval, drawn at random.")
@click.option("--format", type=click.Choice(list(FORMATS)), default="jsonl", help="Of the files.")
@click.option("--licence", metavar="ID", help="For the dataset card, e.g. cc-by-4.0. Default: that of the rubrics.")
@click.option("--limit", default=0, type=click.IntRange(0), help="At most this many per file; 0 = all.")
@click.option("--seed", default=42, type=click.IntRange(0), help="Seed of every draw.")
@clear_errors()
def twins_command(
    out: Path,
    rubrics: tuple[str, ...],
    eval_prompts: int,
    format: str,
    licence: str | None,
    limit: int,
    seed: int,
    **options: Any,
) -> None:
    """Make role-swapped preference pairs, split into train and eval, ready for DPO.

    Two responses to one user prompt, written for one rubric at two levels, give one twin: two rows, whose roles of
    chosen and rejected swap with the system prompt. --same-level adds pairs under one system prompt. OUT gets train and
    eval files, a dataset card and a manifest.
    """
    _check(options)
    asked = {rubric.id: rubric for selection in rubrics for rubric in load_rubrics(selection)}
    known = {rubric.id: rubric for rubric in load_rubrics("all")} | asked
    wanted = {name: rubric for name, rubric in asked.items() if rubric.split != "heldout"}
    train = train_wordings(wanted.values())
    problems, rng = Problems(), np.random.default_rng(seed)
    rows, inputs = _sources(options, known, problems, out)
    lines = sum(about["rows"] or 0 for about in inputs)
    take = {"any_band": bool(options["same_level"]), "unjudged": bool(options["from_paper"])}
    with TemporaryDirectory() as folder:
        step, is_bare = 1 + lines // 200, not sys.stderr.isatty()  # then there is no bar, only the word
        about_bar: Any = {"file": sys.stderr, "update_min_steps": step, "hidden": is_bare}
        with click.progressbar(rows, lines, "reading", **about_bar) as shown:
            read = read_responses(shown, wanted, problems, Path(folder), **take)
        _say_left_out(read.passed_over, problems)
        twins = _pair(read.frame, train, rng, seed, options)
        by_file = split_twins(twins, eval_prompts, rng)
        splits = {name: first_twins(split, limit, rng) for name, split in by_file.items()}
        turns = np.random.default_rng([seed, 2])  # of their own: the twins are the same with and without them
        splits = {
            name: draw_history(split, read.frame, by_file[name]["prompt"].unique(), options["history"], turns)
            for name, split in splits.items()
        }
        splits = {name: split for name, split in splits.items() if len(split)}
        files = _write(splits, read, train, out, FORMATS[format])
    manifest = {"command": _portable(sys.argv[1:], out), "seed": seed, "inputs": inputs, "files": files}
    is_others = options["from_ratings"] or options["from_paper"]  # whose licence is to be said by the user
    about_pairs = _about_pairs(splits, read, wanted, licence or ("other" if is_others else None))
    manifest |= about_pairs | {
        "skipped": dict(sorted(problems.counts.items())),
        "left_out": dict(sorted(read.passed_over.items())),
    }
    write_card(out, manifest)
    for file, about in files.items():
        pairs = f"{about['same_level']} pairs within a level, " if "same_level" in about else ""
        click.echo(f"{out / file}: {about['twins']} twins, {pairs}{about['rows']} rows")
    if options["same_level"]:
        click.echo(say_cells(about_pairs["same_level"]))
    click.echo(f"{out / CARD}: what is in them and how they were made")


def _check(options: Mapping[str, Any]) -> None:
    """Refuses options that do not go together."""
    if not (options["level_pairs"] or options["same_level"]):
        raise click.UsageError(f"--level-pairs {NO_LEVELS} makes no twins, expected --same-level N beside it")
    if options["from_paper"]:
        for name in ("responses", "from_ratings", "same_level", "min_gap"):
            if options[name]:
                flag = name.replace("_", "-")
                raise click.UsageError(
                    f"--from-paper and --{flag} do not go together, since the paper's responses have no scores; judge "
                    f"OUT/{PAPER_RESPONSES} with `cpt verify`, and give the result as --responses"
                )


def _sources(
    options: Mapping[str, Any], known: Mapping[str, Rubric], problems: Problems, out: Path
) -> tuple[Iterator[tuple[str, TeacherResponse]], list[dict[str, Any]]]:
    """The rows of all inputs, and what is said of each; those of the paper are written to OUT as responses first."""
    responses, ratings = options["responses"], options["from_ratings"]
    names = [f"{split}.{ending}" for split in ("train", "eval") for ending in FORMATS["both"]]
    for path in filter(None, (*responses, *ratings, options["from_paper"])):
        check_not_written(Path(path), out, names)
    if (out / CARD).exists() and not (out / "manifest.json").exists():
        raise ValueError(f"{out / CARD}: is not of an earlier run and would be overwritten, expected another folder")
    if source := options["from_paper"]:
        responses = (out / PAPER_RESPONSES,)
        write_jsonl(responses[0], list(responses_of_paper(source, known, problems)))
    elif not (responses or ratings):
        responses = (DEFAULT_RESPONSES,)
    rated = responses_from_ratings(ratings, known, problems, options["max_rating"])
    return chain(iter_responses(responses, known, problems), rated), [
        _about_input(path) for path in (*responses, *ratings)
    ]


def _say_left_out(passed_over: Mapping[str, int], problems: Problems) -> None:
    if left_out := ", ".join(f"{count} {name}" for name, count in sorted(passed_over.items())):
        why = "controls, rubrics kept for measuring and those not among --rubrics are in no twin"
        click.echo(f"left out: {left_out} ({why})", err=True)
    if problems.counts:
        click.echo(problems.summary(), err=True)


def _pair(
    frame: pl.DataFrame, wordings: pl.DataFrame, rng: np.random.Generator, seed: int, options: Mapping[str, Any]
) -> pl.DataFrame:
    """Twins and, with a column `kind` in both, pairs within a level, with wordings drawn.

    The latter are drawn with a generator of their own: the twins are the same with and without them.
    """
    parts, expected = [], []
    if level_pairs := options["level_pairs"]:
        twins = pair_responses(frame.filter("in_band"), level_pairs, options["min_gap"])
        parts.append(draw_wordings(repeat_twins(twins, options["wordings"]), wordings, rng))
        expected.append("two levels of one (rubric, user prompt, teacher)")
    if most := options["same_level"]:
        pairs = pair_within_levels(frame, wordings, most, options["min_gap"], np.random.default_rng([seed, 1]))
        parts = [*(part.with_columns(kind=pl.lit(TWIN)) for part in parts), pairs.with_columns(kind=pl.lit(SAME_LEVEL))]
        expected.append("one response in its band and one out of it per (rubric, level, user prompt)")
    if not any(map(len, parts)):
        what = "twin" if level_pairs else "pair"
        raise ValueError(
            f"no {what} can be made of the {len(frame)} responses that may train, expected {', or '.join(expected)}"
        )
    return pl.concat(parts, how="diagonal")


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
            files[file] = {"rows": rows} | count_kinds(twins) | {"sha256": sha256_of(out / file)}
    for name in {f"{name}.{ending}" for name in ("train", "eval") for ending in FORMATS["both"]} - set(files):
        (out / name).unlink(missing_ok=True)
    return files


def _about_pairs(
    splits: Mapping[str, pl.DataFrame], responses: Responses, rubrics: Mapping[str, Rubric], licence: str | None
) -> dict[str, Any]:
    pairs = pl.concat([split.with_columns(file=pl.lit(name)) for name, split in splits.items()])
    used = [rubrics[name] for name in pairs["rubric"].unique().sort()]
    licences = {rubric.licence.lower() for rubric in used}
    in_pairs = pl.concat([pairs["first"], pairs["second"]]).unique().implode()
    of_pairs = responses.frame.filter(pl.col("row").is_in(in_pairs))
    about: dict[str, Any] = {
        "licence": licence or (licences.pop() if len(licences) == 1 else "other"),
        "twins": count_twins(only(TWIN, pairs), list(splits)),
        "teachers": sorted(of_pairs["teacher"].unique()),
        "judges": sorted(of_pairs["judge"].unique()),
        "rubrics": {one.id: {"hash": one.hash, "licence": one.licence, "source": one.source} for one in used},
    }
    if responses.has_pictures:
        about["pictures"] = True
    if "kind" in pairs.columns:
        about["same_level"] = count_cells(responses.frame, only(SAME_LEVEL, pairs), list(splits))
    return about


def _about_input(path: Path) -> dict[str, Any]:
    """Name without folder, number of lines (None if packed) and SHA-256."""
    with path.open("rb") as file:
        rows = None if path.suffix == ".gz" else sum(1 for _ in file)
    return {"name": path.name, "rows": rows, "sha256": sha256_of(path)}
