"""What a preference data set says of itself: `manifest.json`, and `README.md`, the dataset card of the hub.

Both hold no time and no path of a machine: the same input and seed give the same bytes everywhere. The card's header
names the files, so that `datasets.load_dataset(FOLDER)` finds them. Its text is `card.md`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub as hub
import polars as pl

from data_gen.twins.same_level import CELL
from rubrics import rubric_ids
from rubrics.files import write_whole

CARD = "README.md"
MANIFEST_SCHEMA = 3


def write_card(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes card and manifest into the folder of the files; what a manifest holds says `command.py`."""
    content = json.dumps({"schema": MANIFEST_SCHEMA, **manifest}, indent=1, ensure_ascii=False)
    write_whole(folder / "manifest.json", f"{content}\n")
    ending = ".parquet" if any(name.endswith(".parquet") for name in manifest["files"]) else ".jsonl"
    splits = [Path(name).stem for name in manifest["files"] if name.endswith(ending)]
    data_files = [{"split": name, "path": f"{name}{ending}"} for name in splits]
    header = hub.DatasetCardData(
        license=manifest["licence"],
        language=["en"] if set(manifest["rubrics"]) <= set(rubric_ids()) else None,
        task_categories=["image-text-to-text" if "pictures" in manifest else "text-generation"],
        tags=["preference", "dpo", "trl", "system-prompt", "synthetic", "cpt-tasks"],
        configs=[{"config_name": "default", "data_files": data_files}],
    )
    template = str(Path(__file__).with_name("card.md"))
    card = hub.DatasetCard.from_template(header, template_path=template, splits=splits, **manifest)
    write_whole(folder / CARD, f"{str(card).rstrip()}\n")


def count_twins(twins: pl.DataFrame, files: Sequence[str]) -> list[dict[str, Any]]:
    """One entry for each rubric, level pair and teacher, in the order of the rows: twins by file and mean scores.

    The column `file` of the twins is one of `files`.
    """
    levels = pl.format("{}:{}", "level_first", "level_second").alias("levels")
    counts = twins.group_by("rubric", levels, "teacher", maintain_order=True).agg(
        *((pl.col("file") == name).sum().alias(name) for name in files),
        mean_lower=pl.col("score_first").mean().round(2),
        mean_higher=pl.col("score_second").mean().round(2),
    )
    return counts.to_dicts()


def count_cells(frame: pl.DataFrame, pairs: pl.DataFrame, files: Sequence[str]) -> list[dict[str, Any]]:
    """What came of the cells of `pair_within_levels`, by rubric, level and teacher.

    An entry has `cells`, those `without_in_band` (no response to choose), those `without_out_of_band` (none to reject),
    pairs by file, and the mean scores `mean_chosen` and `mean_rejected`, None without a pair.
    """
    about = ["rubric", "level", "teacher"]
    has = {"within": pl.col("in_band").any(), "outside": (~pl.col("in_band")).any()}
    counts = (
        frame.group_by(*CELL, maintain_order=True)
        .agg(**has)
        .group_by(about, maintain_order=True)
        .agg(
            cells=pl.len(),
            without_in_band=(~pl.col("within")).sum(),
            without_out_of_band=(~pl.col("outside")).sum(),
        )
    )
    of_pairs = pairs.group_by("rubric", "teacher", level="level_first").agg(
        *((pl.col("file") == name).sum().alias(name) for name in files),
        mean_chosen=pl.col("score_first").mean().round(2),
        mean_rejected=pl.col("score_second").mean().round(2),
    )
    joined = counts.join(of_pairs, on=about, how="left", maintain_order="left")
    return joined.with_columns(pl.col(*files).fill_null(0)).to_dicts()


def say_cells(counts: Sequence[Mapping[str, Any]]) -> str:
    """One line on `count_cells`: how many cells there were, and why some give no pair."""
    cells, no_chosen, no_rejected = (
        sum(entry[name] for entry in counts) for name in ("cells", "without_in_band", "without_out_of_band")
    )
    return (
        f"pairs within a level: {cells} cells (rubric, level, user prompt, teacher), {no_chosen} without a response in "
        f"its band, {no_rejected} without one out of it"
    )
