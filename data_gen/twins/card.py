"""What a preference data set says of itself: `manifest.json`, and `README.md`, the dataset card of the hub.

Both hold no time and no path of a machine: the same input and seed give the same bytes everywhere. The card's header
names the files, so that `datasets.load_dataset(FOLDER)` finds them. Its text is `card.md`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub as hub
import polars as pl

from rubrics.files import write_whole

CARD = "README.md"
MANIFEST = "manifest.json"
MANIFEST_SCHEMA = 3


def write_card(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes card and manifest into the folder of the files; what a manifest holds says `command.py`."""
    content = json.dumps({"schema": MANIFEST_SCHEMA, **manifest}, indent=1, ensure_ascii=False)
    write_whole(folder / MANIFEST, f"{content}\n")
    ending = ".parquet" if any(name.endswith(".parquet") for name in manifest["files"]) else ".jsonl"
    splits = [Path(name).stem for name in manifest["files"] if name.endswith(ending)]
    data_files = [{"split": name, "path": f"{name}{ending}"} for name in splits]
    header = hub.DatasetCardData(
        license=manifest["licence"],
        language=["en"],
        task_categories=["text-generation"],
        tags=["preference", "dpo", "trl", "system-prompt", "synthetic", "cpt-tasks"],
        configs=[{"config_name": "default", "data_files": data_files}],
    )
    template = str(Path(__file__).with_name("card.md"))
    card = hub.DatasetCard.from_template(header, template_path=template, splits=splits, **manifest)
    write_whole(folder / CARD, f"{str(card).rstrip()}\n")


def count_twins(splits: Mapping[str, pl.DataFrame]) -> list[dict[str, Any]]:
    """One entry for each rubric, level pair and teacher, in the order of the rows: twins by file and mean scores."""
    twins = pl.concat([split.with_columns(file=pl.lit(name)) for name, split in splits.items()])
    levels = pl.format("{}:{}", "level_first", "level_second").alias("levels")
    counts = twins.group_by("rubric", levels, "teacher", maintain_order=True).agg(
        *((pl.col("file") == name).sum().alias(name) for name in splits),
        mean_lower=pl.col("score_first").mean().round(2),
        mean_higher=pl.col("score_second").mean().round(2),
    )
    return counts.to_dicts()
