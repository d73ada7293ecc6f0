"""What `cpt verify` says of a run: rows dropped and why, counts per cell, and what decided about them."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from data_gen.responses import CONTROL
from data_gen.verify.checks import REASONS
from data_gen.verify.selection import CELL

VERSIONS_OF = ("cpt-tasks", "numpy", "rensa", "py3langid")
KEPT = "kept"
LEVELS = [CONTROL, "low", "moderate", "extremely_high"]


@dataclass(frozen=True)
class InputFile:
    """A file that was read: its name without folders, the SHA-256 of its bytes, and its lines that are not blank."""

    name: str
    sha256: str
    lines: int


def read_input(path: Path) -> InputFile:
    """Name, hash and lines of a file.

    Raises:
        ValueError: If it is missing.
    """
    if not path.is_file():
        raise ValueError(f"{path}: not found, expected a responses file in JSONL")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        return InputFile(path.name, digest, sum(1 for line in file if line.strip()))


def counts(rows: pd.DataFrame, also_unjudged: Mapping[str, int], bad: Mapping[str, int]) -> dict[str, Any]:
    """All counts. Rows in are rows kept, dropped and bad.

    Args:
        rows: One row per good row that came in: `CELL`, `outcome` ("kept" or a reason) and `detail`.
        also_unjudged: Judgments by further rubrics that failed, by rubric.
        bad: Bad rows by kind.
    """
    overall = _of(rows)
    modes = Counter(detail.split(":")[0] for detail in rows.loc[rows["outcome"] == "unjudged", "detail"])
    groups: Any = rows.groupby(["rubric", "level", "teacher"], observed=True)
    names = ("rubric", "level", "teacher")
    return {
        "in": len(rows) + sum(bad.values()),
        "kept": overall["kept"],
        "dropped": len(rows) - overall["kept"],
        "bad": sum(bad.values()),
        "dropped_by_reason": overall["dropped_by_reason"],
        "bad_by_kind": dict(sorted(bad.items())),
        "unjudged_by_mode": dict(sorted(modes.items())),
        "also_unjudged": dict(sorted(also_unjudged.items())),
        "controls": _of(rows[rows["level"] == CONTROL]),
        "cells": [dict(zip(names, key, strict=True)) | _of(part) for key, part in groups],
    }


def short_cells(rows: pd.DataFrame, per_cell: int) -> list[dict[str, Any]]:
    """Cells with fewer rows kept than wanted, in the order they came in."""
    kept: Any = (rows["outcome"] == KEPT).groupby([rows[name] for name in CELL], observed=True, sort=False).sum()
    return [dict(zip([*CELL, "kept"], (*cell, int(n)), strict=True)) for cell, n in kept.items() if n < per_cell]


def table(rows: pd.DataFrame) -> str:
    """Rows in, kept and dropped by reason, per rubric and level over all teachers, as aligned text."""
    present = [KEPT, *(reason for reason in REASONS if (rows["outcome"] == reason).any())]
    numbers = pd.crosstab([rows["rubric"], rows["level"]], rows["outcome"]).reindex(columns=present, fill_value=0)
    numbers = numbers[numbers.sum(axis=1) > 0]
    numbers.insert(0, "in", numbers.sum(axis=1))
    numbers.loc[("all", ""), :] = numbers.sum()
    return numbers.astype(int).reset_index().to_markdown(index=False, tablefmt="plain", intfmt=",")


def versions() -> dict[str, str]:
    """Versions of the packages that decide about rows, as far as they are installed."""
    installed = {}
    for name in VERSIONS_OF:
        with suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed


def _of(rows: pd.DataFrame) -> dict[str, Any]:
    outcomes = rows["outcome"].value_counts()
    by_reason = {reason: int(outcomes[reason]) for reason in REASONS if outcomes.get(reason, 0)}
    return {"in": len(rows), "kept": int(outcomes.get(KEPT, 0)), "dropped_by_reason": by_reason}
