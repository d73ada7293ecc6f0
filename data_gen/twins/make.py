"""From verified responses to a folder of preference files: the stages behind `cpt twins`, in their order.

What may train is read (`inputs.py`), paired and split (`pairing.py`), written (`files.py`) and described (`card.py`).
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import click
import numpy as np
import polars as pl

from data_gen.responses import Problems, iter_responses
from data_gen.twins.card import CARD, count_twins, file_sha256, write_card
from data_gen.twins.compositions import compose
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
from rubrics import Rubric, ScoreLevel, load_rubrics

FORMATS = {"jsonl": ("jsonl",), "parquet": ("parquet",), "both": ("jsonl", "parquet")}
# the chance that two twins share 12 hex digits is 2e-5 with this many; with 16 digits, 3e-6 with ten million
_MAX_TWINS_OF_SHORT_IDS = 100_000
T = TypeVar("T")


def make_preferences(
    *,
    responses: Sequence[Path],
    from_ratings: Sequence[Path],
    max_rating: float,
    out: Path,
    rubrics: Sequence[str],
    eval_prompts: int,
    format: str,
    licence: str | None,
    strict: bool,
    limit: int,
    seed: int,
    command: str,
    **pairing: Any,
) -> None:
    """Makes the files of a preference data set and says on stdout what is in them; `cpt twins --help` says the rest.

    Raises:
        ValueError: If an input or option is wrong, or no twin can be made.
    """
    asked = {rubric.id: rubric for selection in rubrics for rubric in load_rubrics(selection)}
    known = {rubric.id: rubric for rubric in load_rubrics("all")} | asked
    wanted = {name: rubric for name, rubric in asked.items() if rubric.split != "heldout"}
    problems, rng = Problems(), np.random.default_rng(seed)
    inputs = [_about_input(path) for path in (*responses, *from_ratings)]

    def rows() -> Iterator[Any]:
        yield from iter_responses(responses, known, problems)
        yield from responses_from_ratings(from_ratings, known, problems, max_rating)

    with TemporaryDirectory() as folder:
        shown = _with_progress(rows(), sum(about["rows"] or 0 for about in inputs), "reading responses", lambda _: 1)
        read = read_responses(shown, wanted, problems, Path(folder))
        if left_out := ", ".join(f"{count} {name}" for name, count in sorted(read.passed_over.items())):
            why = "controls, rubrics kept for measuring and those not among --rubrics are in no twin"
            click.echo(f"left out: {left_out} ({why})", err=True)
        if summary := problems.summary():
            click.echo(summary, err=True)
            if strict:
                raise ValueError(f"--strict: {summary}; nothing was written")
        twins = _plan(read, wanted, seed, rng, **pairing)
        splits = {name: first_twins(split, limit, rng) for name, split in split_twins(twins, eval_prompts, rng).items()}
        splits = {name: split for name, split in splits.items() if len(split)}
        files = _write(splits, read, train_wordings(wanted.values()), out, FORMATS[format])
    manifest = {"command": command, "seed": seed, "inputs": inputs, "files": files}
    manifest |= _about_data(splits, read, wanted, licence or ("other" if from_ratings else None))
    manifest |= {"skipped": dict(sorted(problems.counts.items())), "left_out": dict(sorted(read.passed_over.items()))}
    write_card(out, manifest)
    for file, about in files.items():
        click.echo(f"{out / file}: {about['twins']} twins, {about['rows']} rows")
    click.echo(f"{out / CARD}: what is in them and how they were made")


def _plan(
    responses: Responses,
    rubrics: Mapping[str, Rubric],
    seed: int,
    rng: np.random.Generator,
    *,
    level_pairs: Sequence[tuple[ScoreLevel, ScoreLevel]],
    min_gap: float,
    wordings: int,
    compositions: int,
) -> pl.DataFrame:
    """All twins, wordings drawn."""
    train = train_wordings(rubrics.values())
    twins = repeat_twins(pair_responses(responses.frame, level_pairs, min_gap), wordings)
    twins = draw_wordings(twins, train, rng)
    if compositions:
        own_rng = np.random.default_rng([seed, 1])  # so that compositions change no other twin
        composed = compose(responses, compositions, own_rng, min_gap)
        for prefix in ("", "with_"):
            composed = draw_wordings(composed, train, own_rng, prefix)
        # first, because `datasets` guesses the types of JSONL columns from the first rows, and these have none empty
        twins = pl.concat([composed, twins], how="diagonal")
    if twins.is_empty():
        raise ValueError(
            f"no twin can be made of the {len(responses.frame)} responses that may train, expected two levels of one "
            "(rubric, user prompt, teacher)"
        )
    return twins


def _write(
    splits: Mapping[str, pl.DataFrame], responses: Responses, wordings: pl.DataFrame, out: Path, formats: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Writes the files, and says what is in each. What an earlier run left under a name not written is removed."""
    id_digits = 12 if sum(map(len, splits.values())) <= _MAX_TWINS_OF_SHORT_IDS else 16
    files = {}
    for name, twins in splits.items():
        tables = preference_rows(twins, responses, wordings, id_digits)
        rows = write_preferences(out, name, formats, _with_progress(tables, 2 * len(twins), f"writing {name}", len))
        for ending in formats:
            file = f"{name}.{ending}"
            files[file] = {"rows": rows, "twins": len(twins), "sha256": file_sha256(out / file)}
    for name in {f"{name}.{ending}" for name in ("train", "eval") for ending in FORMATS["both"]} - set(files):
        (out / name).unlink(missing_ok=True)
    return files


def _with_progress(items: Iterable[T], total: int, label: str, size: Callable[[T], int]) -> Iterator[T]:
    with click.progressbar(length=total, label=label, file=sys.stderr, update_min_steps=max(1, total // 200)) as bar:
        for item in items:
            yield item
            bar.update(size(item))


def _about_data(
    splits: Mapping[str, pl.DataFrame], responses: Responses, rubrics: Mapping[str, Rubric], licence: str | None
) -> dict[str, Any]:
    twins = count_twins(splits)
    used = sorted({name for entry in twins for name in entry["rubric"].split(" + ")})
    licences = {rubrics[name].licence.lower() for name in used}
    return {
        "licence": licence or (licences.pop() if len(licences) == 1 else "other"),
        "twins": twins,
        "teachers": sorted({entry["teacher"] for entry in twins}),
        "judges": sorted(responses.frame["judge"].unique()),
        "rubrics": {
            name: {"hash": rubrics[name].hash, "licence": rubrics[name].licence, "source": rubrics[name].source}
            for name in used
        },
    }


def _about_input(path: Path) -> dict[str, Any]:
    rows = None
    if path.suffix not in (".parquet", ".gz"):
        with path.open("rb") as file:
            rows = sum(1 for _ in file)
    about: dict[str, Any] = {"name": path.name, "rows": rows, "sha256": file_sha256(path)}
    verification = path.parent / "verification.json"
    if path.name == "responses.jsonl" and verification.is_file():  # as `cpt verify` names them
        counts = json.loads(verification.read_text(encoding="utf-8"))
        names = ("in", "kept", "dropped_by_reason", "bad_by_kind")
        about["verification"] = {name: counts[name] for name in names if name in counts}
    return about
