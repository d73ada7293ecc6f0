"""From verified responses to a folder of preference files: the stages behind `cpt twins`, in their order.

What may train is read (`inputs.py`), paired, split and balanced (`pairing.py`), written (`files.py`) and described
(`card.py`).
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import click
import numpy as np
import polars as pl

from data_gen.responses import CONTROL, Problems, TeacherResponse, iter_responses
from data_gen.twins.card import CARD, MANIFEST, file_sha256, read_verification, write_card
from data_gen.twins.compositions import compose
from data_gen.twins.files import TWINS_PER_READ, PairIds, preference_rows, write_preferences
from data_gen.twins.human_ratings import responses_from_ratings
from data_gen.twins.inputs import Responses, read_responses
from data_gen.twins.options import FORMATS, Options
from data_gen.twins.pairing import Wordings, balance, draw_wordings, first_twins, pair_responses, split_twins
from rubrics import Rubric, ScoreLevel, load_rubrics

T = TypeVar("T")


def make_preferences(options: Options) -> list[str]:
    """Makes the files of a preference data set, says on stdout what is in them, and returns their names.

    Raises:
        ValueError: If an input or option is wrong, or no twin can be made.
    """
    known = {rubric.id: rubric for rubric in load_rubrics("all")}
    asked = {rubric.id: rubric for selection in options.rubrics for rubric in load_rubrics(selection)}
    eval_rubrics = _eval_rubrics(options, asked)
    heldout = {rubric.id for rubric in asked.values() if rubric.split == "heldout"}
    wanted = {name: asked[name] for name in asked if options.split_by != "prompt" or name not in heldout}
    problems, losses = Problems(), Counter[str]()
    inputs = [_about_input(path) for path in [*options.responses, *options.from_ratings]]
    with TemporaryDirectory() as texts:
        total = sum(about["rows"] or 0 for about in inputs)
        rows = _with_progress(_rows(options, known | asked, problems), total, "reading responses", lambda row: 1)
        responses = read_responses(rows, wanted, problems, Path(texts), with_also=options.compositions > 0)
        if summary := problems.summary():
            click.echo(summary, err=True)
            if options.strict:
                raise ValueError(f"--strict: {summary}; nothing was written")
        for name, count in sorted(responses.passed_over.items(), key=lambda item: (item[0] != CONTROL, item[0])):
            why = "kept for measuring, see --split-by" if name in heldout else "not among --rubrics"
            what = "controls, which are in no twin" if name == CONTROL else f"responses for {name}, {why}"
            losses[what] = count
        wordings = Wordings(responses.rubrics)
        splits = _plan(responses, wordings, options, eval_rubrics, losses)
        written = _write(responses, wordings, options, splits)
    manifest: dict[str, Any] = {"command": options.command, "seed": options.seed, "inputs": inputs}
    manifest |= _about_data(responses, options, splits, written)
    manifest["skipped"] = dict(sorted(problems.counts.items()))
    manifest["left_out"] = {what: count for what, count in losses.items() if count}
    write_card(options.out, manifest)
    _report(options, manifest, splits)
    return [*manifest["files"], CARD, MANIFEST]


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


def _rows(options: Options, known: Mapping[str, Rubric], problems: Problems) -> Iterator[tuple[str, TeacherResponse]]:
    """Good rows of all inputs, each after its place."""
    yield from iter_responses(dict.fromkeys(options.responses), known, problems)
    seen: set[str] = set()
    for path in options.from_ratings:
        for where, row in responses_from_ratings(path, known, problems, options.attributes, options.max_rating):
            if row.id in seen:
                problems.add("repeated_id", f"{where}: response {row.id!r} came before, expected each once")
            else:
                seen.add(row.id)
                yield where, row


def _plan(
    responses: Responses, wordings: Wordings, options: Options, eval_rubrics: set[str], losses: Counter[str]
) -> dict[str, pl.DataFrame]:
    """Twins by file, files without any left out."""
    rng = np.random.default_rng(options.seed)
    within: dict[str, Any] = {"min_gap": options.min_gap, "across_teachers": options.across_teachers}
    twins = pair_responses(responses, options.level_pairs, rng, pairs_per_cell=options.pairs_per_cell, **within)
    twins = draw_wordings(twins, options.wordings, wordings, rng)
    if options.compositions:
        own_rng = np.random.default_rng([options.seed, 1])  # so that compositions change no other twin
        composed = compose(responses, options.compositions, wordings, own_rng, **within)
        # first, because `datasets` guesses the types of JSONL columns from the first rows, and these have none empty
        twins = pl.concat([composed, twins], how="diagonal_relaxed")
    if twins.is_empty():
        raise ValueError(
            f"no twin can be made of the {len(responses.frame)} responses that may train, expected two levels of one "
            "(rubric, user prompt, teacher)"
        )
    numbers = [number for number, rubric in enumerate(responses.rubrics) if rubric.id in eval_rubrics]
    splits = split_twins(twins, options.split_by, responses.prompts, options.eval_prompts, numbers, rng)
    n_split = sum(len(split) for split in splits.values())
    losses["twins of train rubrics with eval prompts, or the other way round"] = len(twins) - n_split
    for name, split in splits.items():
        if not options.balance:
            splits[name] = first_twins(split, options.limit, rng)
            continue
        splits[name], cut = balance(split, options.limit, rng)
        for (rubric, (lower, higher)), count in cut.items():
            losses[f"twins of {responses.rubrics[rubric].id} {lower}:{higher} in {name}, to balance"] = count
    return {name: split.drop("prompt") for name, split in splits.items() if len(split)}


def _write(
    responses: Responses, wordings: Wordings, options: Options, splits: Mapping[str, pl.DataFrame]
) -> dict[str, int]:
    """Writes the files, and returns rows by file. What an earlier run left under a name not written is removed."""
    written: dict[str, int] = {}
    ids = PairIds()
    for name, twins in splits.items():
        columns = (options.chat_template_kwargs, options.across_teachers)
        tables = preference_rows(twins, responses, wordings, ids, *columns)
        shown = _with_progress(tables, 2 * len(twins), f"writing {name}", len)
        count = write_preferences(options.out, name, FORMATS[options.format], shown)
        written |= {f"{name}.{ending}": count for ending in FORMATS[options.format]}
    for name in {f"{name}.{ending}" for name in ("train", "eval") for ending in FORMATS["both"]} - set(written):
        (options.out / name).unlink(missing_ok=True)
    return written


def _with_progress(items: Iterable[T], total: int, label: str, size: Callable[[T], int]) -> Iterator[T]:
    with click.progressbar(length=total, label=label, file=sys.stderr, update_min_steps=max(1, total // 200)) as bar:
        for item in items:
            yield item
            bar.update(size(item))


def _about_data(
    responses: Responses, options: Options, splits: Mapping[str, pl.DataFrame], written: Mapping[str, int]
) -> dict[str, Any]:
    used, teachers = set[int](), set[int]()
    for twins in splits.values():
        asked = [twins[name] for name in ("rubric", "with_rubric") if name in twins.columns]
        used |= {number for column in asked for number in column.drop_nulls()}
        teachers |= {number for side in ("first", "second") for number in twins[f"teacher_{side}"].unique()}
    rubrics = [responses.rubrics[number] for number in sorted(used)]
    licences = {rubric.licence.lower() for rubric in rubrics}
    shared = licences.pop() if len(licences) == 1 and not options.from_ratings else "other"
    return {
        "licence": options.licence or shared,
        "files": {
            file: {"rows": rows, "twins": rows // 2, "sha256": file_sha256(options.out / file)}
            for file, rows in written.items()
        },
        "twins": _count_twins(splits, responses),
        "teachers": sorted(responses.teachers[number] for number in teachers),
        "judges": responses.judges,
        "rubrics": {
            rubric.id: {"hash": rubric.hash, "licence": rubric.licence, "source": rubric.source} for rubric in rubrics
        },
        "verification": [counts for path in options.responses if (counts := read_verification(path))],
    }


def _about_input(path: Path) -> dict[str, Any]:
    rows = None
    if path.suffix not in (".parquet", ".gz"):
        with path.open("rb") as file:
            rows = sum(1 for _ in file)
    return {"name": path.name, "rows": rows, "sha256": file_sha256(path)}


def _count_twins(splits: Mapping[str, pl.DataFrame], responses: Responses) -> list[dict[str, Any]]:
    """One entry for each rubric, level pair and teacher, in the order of the rows: twins by file and mean scores.

    Compositions have two rubrics joined by " + ", and neither level pair nor means.
    """
    keys = ["rubric", "with_rubric", "rank_first", "rank_second", "teacher_first", "teacher_second"]
    levels = tuple(ScoreLevel)
    entries: dict[tuple[str, str, str], dict[str, Any]] = {}
    parts = ((name, part) for name, twins in splits.items() for part in twins.iter_slices(TWINS_PER_READ))
    for name, part in parts:
        if "with_rubric" not in part.columns:
            part = part.with_columns(with_rubric=pl.lit(None, pl.Int16))
        counts = part.group_by(keys, maintain_order=True).agg(pl.len(), pl.sum("score_first", "score_second"))
        for rubric, with_rubric, low, high, one, other, count, lower, higher in counts.iter_rows():
            names = [responses.rubrics[number].id for number in (rubric, with_rubric) if number is not None]
            pair = f"{levels[low]}:{levels[high]}" if with_rubric is None else ""
            teacher = " + ".join(sorted({responses.teachers[one], responses.teachers[other]}))
            entry = entries.setdefault((" + ".join(names), pair, teacher), {"twins": Counter(), "sums": np.zeros(2)})
            entry["twins"][name] += count
            entry["sums"] += lower, higher
    table = []
    for (rubric_ids, pair, teacher), entry in entries.items():
        row = {"rubric": rubric_ids, "levels": pair, "teacher": teacher, "twins": dict(entry["twins"])}
        if pair:
            low, high = (entry["sums"] / entry["twins"].total()).tolist()
            row |= {"mean_lower": round(low, 2), "mean_higher": round(high, 2), "mean_gap": round(high - low, 2)}
        table.append(row)
    return table


def _report(options: Options, manifest: Mapping[str, Any], splits: Mapping[str, pl.DataFrame]) -> None:
    in_train, in_eval = (
        {entry["rubric"] for entry in manifest["twins"] if entry["levels"] and entry["twins"].get(name)}
        for name in ("train", "eval")
    )
    if in_eval and in_train - in_eval and options.split_by == "prompt":
        names = ", ".join(sorted(in_train - in_eval))
        click.echo(f"no twin of {names} is in eval: choose more with --eval-prompts", err=True)
    for what, count in manifest["left_out"].items():
        click.echo(f"left out: {count} {what}", err=True)
    for file, about in manifest["files"].items():
        name = Path(file).stem
        cells = {
            (entry["rubric"], level)
            for entry in manifest["twins"]
            if entry["levels"] and entry["twins"].get(name)
            for level in entry["levels"].split(":")
        }
        click.echo(f"{options.out / file}: {about['twins']} twins, {about['rows']} rows, {len(cells)} cells")
    click.echo(f"{options.out / CARD}: what is in them and how they were made")
