"""What a preference data set says of itself: `manifest.json`, and `README.md`, the dataset card of the hub.

Both hold no time and no path of a machine: the same input and seed give the same bytes everywhere. The card's header
names the files, so that `datasets.load_dataset(FOLDER)` finds them. Its text is `card.md`.
"""

import hashlib
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


def write_card(folder: Path, manifest: dict[str, Any]) -> None:
    """Writes card and manifest into the folder of the files.

    Args:
        folder: Where to.
        manifest: `command` (with the names of files but not their folders), `seed`, `licence`, `inputs` (and what
            verification counted), `files`, `twins` (`count_twins`), `teachers`, `judges`, `rubrics` (hash, licence and
            source by id), `skipped` (rows that may not train, by reason) and `left_out` (rows that were not wanted).
    """
    content = json.dumps({"schema": MANIFEST_SCHEMA, **manifest}, indent=1, ensure_ascii=False)
    write_whole(folder / MANIFEST, f"{content}\n")
    ending = ".parquet" if any(name.endswith(".parquet") for name in manifest["files"]) else ".jsonl"
    splits = [Path(name).stem for name in manifest["files"] if name.endswith(ending)]
    header = hub.DatasetCardData(
        license=manifest["licence"],
        language=["en"],
        task_categories=["text-generation"],
        tags=["preference", "dpo", "trl", "system-prompt", "synthetic", "cpt-tasks"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"{name}{ending}"} for name in splits],
            }
        ],
    )
    card = hub.DatasetCard.from_template(
        header,
        template_path=str(Path(__file__).with_name("card.md")),
        splits=splits,
        **{name: manifest[name] for name in ("command", "teachers", "judges", "twins")},
    )
    write_whole(folder / CARD, f"{str(card).rstrip()}\n")


def count_twins(splits: Mapping[str, pl.DataFrame]) -> list[dict[str, Any]]:
    """One entry for each rubric, level pair and teacher, in the order of the rows: twins by file and mean scores.

    Compositions have two rubrics joined by " + ", and neither level pair nor means (None).
    """
    twins = pl.concat([split.with_columns(file=pl.lit(name)) for name, split in splits.items()])
    if "with_rubric" not in twins.columns:
        twins = twins.with_columns(with_rubric=pl.lit(None, pl.String))
    is_single = pl.col("with_rubric").is_null()
    counts = twins.group_by(
        pl.concat_str("rubric", "with_rubric", separator=" + ", ignore_nulls=True),
        pl.when(is_single).then(pl.format("{}:{}", "level_first", "level_second")).alias("levels"),
        "teacher",
        maintain_order=True,
    ).agg(
        *((pl.col("file") == name).sum().alias(name) for name in splits),
        mean_lower=pl.col("score_first").filter(is_single).mean().round(2),
        mean_higher=pl.col("score_second").filter(is_single).mean().round(2),
    )
    return counts.to_dicts()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
