"""From verified responses to a folder of preference files: the stages behind `cpt twins`, in their order.

One pass over the inputs indexes what may train (`response_index.py`); the index is paired, split and balanced
(`twins.py`, `compositions.py`); then each twin's texts are read again and its two rows written (`preference_files.py`),
and at last the dataset card (`dataset_card.py`).
"""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import click
import numpy as np

from data_gen.pairing.compositions import compose
from data_gen.pairing.dataset_card import CARD, MANIFEST, Manifest, Tally, file_sha256, read_verification, write_card
from data_gen.pairing.preference_files import COMPOSITION_COLUMNS, Format, write_preferences
from data_gen.pairing.preference_rows import PairIds, RowMaker
from data_gen.pairing.response_index import ResponseIndex, index_files, index_rated, line_starts
from data_gen.pairing.twins import (
    LevelPair,
    SplitBy,
    Twins,
    balance,
    draw_wordings,
    first_twins,
    level_pair,
    pair_responses,
    split_twins,
)
from data_gen.responses import Problems
from rubrics import Rubric, load_rubrics

FORMATS: Mapping[str, tuple[Format, ...]] = {
    "jsonl": ("jsonl",),
    "parquet": ("parquet",),
    "both": ("jsonl", "parquet"),
}
T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """What to make of the responses; the help of `cpt twins` says more on each."""

    responses: tuple[Path, ...]
    from_ratings: tuple[Path, ...]
    attributes: Mapping[str, str] | None
    max_rating: float
    out: Path
    rubrics: tuple[str, ...]
    level_pairs: tuple[LevelPair, ...]
    pairs_per_cell: int
    across_teachers: bool
    min_gap: float
    wordings: int
    compositions: int
    balance: bool
    split_by: SplitBy
    eval_prompts: int
    eval_rubrics: str | None
    chat_template_kwargs: dict[str, Any] | None
    format: str
    licence: str | None
    strict: bool
    limit: int
    seed: int
    command: str


def make_preferences(options: Options) -> list[str]:
    """Makes the files of a preference data set, says on stdout what is in them, and returns their names.

    Raises:
        ValueError: If an input or option is wrong, or no twin can be made.
    """
    known = {rubric.id: rubric for rubric in load_rubrics("all")}
    asked = {rubric.id: rubric for selection in options.rubrics for rubric in load_rubrics(selection)}
    eval_rubrics = _eval_rubrics(options, asked)
    heldout = {rubric.id for rubric in asked.values() if rubric.split == "heldout"}
    wanted = {
        rubric_id: rubric
        for rubric_id, rubric in asked.items()
        if options.split_by != "prompt" or rubric_id not in heldout
    }
    losses: Counter[str] = Counter()
    tally = Tally()
    with (
        TemporaryDirectory() as spools,
        closing(ResponseIndex(wanted, Problems(), options.compositions > 0)) as index,
    ):
        _read_inputs(index, options, known | asked, Path(spools))
        losses["controls, which are in no twin"] = index.controls
        for rubric_id, count in sorted(index.unwanted.items()):
            why = "kept for measuring, see --split-by" if rubric_id in heldout else "not among --rubrics"
            losses[f"responses for {rubric_id}, {why}"] = count
        splits = _plan(index, options, eval_rubrics, losses)
        rows = _write(index, options, splits, tally)
    manifest = _manifest(index, options, wanted, tally, rows, losses)
    write_card(options.out, manifest)
    unmeasured = sorted(_rubrics_of(manifest, "train") - _rubrics_of(manifest, "eval"))
    if "eval" in splits and unmeasured and options.split_by == "prompt":
        click.echo(f"no twin of {', '.join(unmeasured)} is in eval: choose more with --eval-prompts", err=True)
    for what, count in manifest.left_out.items():
        click.echo(f"left out: {count} {what}", err=True)
    for file, about in manifest.files.items():
        n_cells = _count_cells(splits[Path(file).stem])
        click.echo(f"{options.out / file}: {about['twins']} twins, {about['rows']} rows, {n_cells} cells")
    click.echo(f"{options.out / CARD}: what is in them and how they were made")
    return [*manifest.files, CARD, MANIFEST]


def _eval_rubrics(options: Options, asked: Mapping[str, Rubric]) -> set[str]:
    if options.split_by == "prompt":
        if options.eval_rubrics:
            raise ValueError("--eval-rubrics: got some with --split-by prompt, expected --split-by rubric or both")
        return set()
    if not options.eval_rubrics:
        return {rubric.id for rubric in asked.values() if rubric.split == "heldout"}
    named = {name.strip() for name in options.eval_rubrics.split(",") if name.strip()}
    if unknown := sorted(named - set(asked)):
        raise ValueError(f"--eval-rubrics: got {unknown}, expected some of {sorted(asked)}")
    return named


def _read_inputs(index: ResponseIndex, options: Options, known: Mapping[str, Rubric], spools: Path) -> None:
    index_files(index, options.responses, known, lambda rows, total: _with_progress(rows, total, "reading responses"))
    for number, path in enumerate(options.from_ratings):
        from data_gen.pairing.human_ratings import responses_from_ratings

        rows = responses_from_ratings(path, known, index.problems, options.attributes, options.max_rating)
        index_rated(index, path, rows, spools / f"{number}.jsonl")
    if summary := index.problems.summary():
        click.echo(summary, err=True)
        if options.strict:
            raise ValueError(f"--strict: {summary}; nothing was written")


def _plan(index: ResponseIndex, options: Options, eval_rubrics: set[str], losses: Counter[str]) -> dict[str, Twins]:
    """Twins by file, files without any left out."""
    rng = np.random.default_rng(options.seed)
    pairs = pair_responses(
        index,
        options.level_pairs,
        rng,
        pairs_per_cell=options.pairs_per_cell,
        min_gap=options.min_gap,
        across_teachers=options.across_teachers,
    )
    twins = draw_wordings(pairs, options.wordings, index.wording_counts(), rng)
    if options.compositions:
        composed = compose(
            index,
            options.compositions,
            np.random.default_rng([options.seed, 1]),  # of their own, so that they change no other twin
            min_gap=options.min_gap,
            across_teachers=options.across_teachers,
        )
        # first, because `datasets` guesses the types of JSONL columns from the first rows, and these have none empty
        twins = np.concatenate([composed, twins])
    if not len(twins):
        raise ValueError(
            f"no twin can be made of the {len(index)} responses that may train, expected two levels of one (rubric, "
            "user prompt, teacher)"
        )
    numbers = [number for number, rubric in enumerate(index.rubrics) if rubric.id in eval_rubrics]
    splits = split_twins(twins, options.split_by, index.prompts.names, options.eval_prompts, numbers, rng)
    n_split = sum(len(split) for split in splits.values())
    losses["twins of train rubrics with eval prompts, or the other way round"] = len(twins) - n_split
    for name, split in splits.items():
        if options.balance:
            splits[name], cut = balance(split, options.limit, rng)
            for (rubric, levels), count in cut.items():
                lower, higher = level_pair(levels)
                losses[f"twins of {index.rubrics[rubric].id} {lower}:{higher} in {name}, to balance"] = count
        else:
            splits[name] = first_twins(split, options.limit, rng)
    return {name: split for name, split in splits.items() if len(split)}


def _write(index: ResponseIndex, options: Options, splits: Mapping[str, Twins], tally: Tally) -> dict[str, int]:
    """Rows written, by name of the split. What an earlier run left under a name that is not written is removed."""
    columns = [
        *["chat_template_kwargs"] * (options.chat_template_kwargs is not None),
        *["rejected_teacher"] * options.across_teachers,
        *COMPOSITION_COLUMNS * (options.compositions > 0),
    ]
    maker = RowMaker(index.read, index.rubrics, PairIds(), options.chat_template_kwargs)
    formats = FORMATS[options.format]
    started, rows = time.monotonic(), {}
    for name, twins in splits.items():
        made = tally.passing(name, maker.rows(twins))
        shown = _with_progress(made, 2 * len(twins), f"writing {name}")
        rows[name] = write_preferences(options.out, name, formats, shown, columns)
    written = {f"{name}.{ending}" for name in splits for ending in formats}
    for name in {f"{name}.{ending}" for name in ("train", "eval") for ending in FORMATS["both"]} - written:
        (options.out / name).unlink(missing_ok=True)
    seconds = max(time.monotonic() - started, 1e-9)
    click.echo(f"wrote {sum(rows.values())} rows, {sum(rows.values()) / seconds:.0f} rows/s", err=True)
    return rows


def _manifest(
    index: ResponseIndex,
    options: Options,
    rubrics: Mapping[str, Rubric],
    tally: Tally,
    rows: Mapping[str, int],
    losses: Mapping[str, int],
) -> Manifest:
    names = {f"{name}.{ending}": name for name in rows for ending in FORMATS[options.format]}
    table = tally.table()
    used = [rubrics[rubric_id] for rubric_id in sorted(tally.rubrics)]
    paths = [*options.responses, *options.from_ratings]
    return Manifest(
        command=options.command,
        seed=options.seed,
        licence=options.licence or _shared_licence(used, options),
        inputs=[_about_input(path) for path in paths],
        files={
            file: {"rows": rows[name], "twins": tally.twins(name), "sha256": file_sha256(options.out / file)}
            for file, name in names.items()
        },
        twins=table,
        teachers=sorted(tally.teachers),
        judges=index.judges.names,
        rubrics={
            rubric.id: {"hash": rubric.hash, "licence": rubric.licence, "source": rubric.source} for rubric in used
        },
        skipped=dict(sorted(index.problems.counts.items())),
        left_out={what: count for what, count in losses.items() if count},
        verification=[counts for path in options.responses if (counts := read_verification(path))],
    )


def _about_input(path: Path) -> dict[str, Any]:
    rows = None if path.suffix in (".parquet", ".gz") else len(line_starts(path)) - 1
    return {"name": path.name, "rows": rows, "sha256": file_sha256(path)}


def _shared_licence(rubrics: Sequence[Rubric], options: Options) -> str:
    """Licence of all the rubrics as the hub writes it; "other" if they differ, or texts of others are in the data."""
    licences = {rubric.licence.lower() for rubric in rubrics}
    return licences.pop() if len(licences) == 1 and not options.from_ratings else "other"


def _rubrics_of(manifest: Manifest, file: str) -> set[str]:
    return {entry["rubric"] for entry in manifest.twins if entry["levels"] and entry["twins"].get(file)}


def _count_cells(twins: Twins) -> int:
    single = twins[twins["with_rubric"] < 0]
    ranks = np.concatenate([single["levels"] // 3, single["levels"] % 3])
    return len(np.unique(np.tile(single["rubric"], 2) * 3 + ranks))


def _with_progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    with click.progressbar(length=total, label=label, file=sys.stderr, update_min_steps=max(1, total // 200)) as bar:
        for item in items:
            bar.update(1)
            yield item
