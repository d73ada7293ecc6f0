"""What `cpt verify` tells of a run: rows dropped and why, counts per cell, and what decided about them."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from data_gen.responses import CONTROL, ResponseJudgment, TeacherResponse
from data_gen.verification.contamination import MIN_CONTAINED_WORDS, NEAR_PROMPT, SHARED_RUN_WORDS
from data_gen.verification.near_duplicates import PERMUTATIONS, SHINGLE_WORDS, choose_rows_per_band, lsh_recall
from data_gen.verification.selection import Cell, Quota, cell_of
from data_gen.verification.text_filters import (
    MAX_LANGUAGE_CHARACTERS,
    MAX_REFUSAL_WORDS,
    MIN_LANGUAGE_CHARACTERS,
    MIN_LANGUAGE_CONFIDENCE,
)
from data_gen.verification.verify import REASONS, Reason, Settings
from judges.judgment import MIN_RESPONSE_WORDS

VERSIONS_OF = ("cpt-tasks", "numpy", "rensa", "py3langid")
GroupKey = tuple[str, str, str]


class DroppedRow(BaseModel):
    """A line of dropped.jsonl: which row, and why. `score` is 0-100, or None if it was not judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    where: str
    id: str
    rubric: str
    level: str
    user_prompt_id: str
    teacher: str
    score: float | None
    reason: Reason
    detail: str


@dataclass(frozen=True)
class InputFile:
    """A file that was read: its name without folders, the SHA-256 of its bytes, and its lines."""

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
    digest, lines, last = hashlib.sha256(), 0, b"\n"
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            lines += block.count(b"\n")
            last = block[-1:]
    return InputFile(path.name, digest.hexdigest(), lines + (last != b"\n"))


@dataclass(frozen=True)
class JudgeIdentity:
    """What tells judges apart; hashes are "" for the measured judge."""

    judge: str
    prompt_version: str
    prompt_hash: str = ""
    judge_hash: str = ""

    def judgment(self, score: float) -> ResponseJudgment:
        """A judgment of this judge."""
        return ResponseJudgment(score=score, judge=self.judge, prompt_version=self.prompt_version)


def thresholds(settings: Settings, quota: Quota) -> dict[str, Any]:
    """Every threshold that decides about rows, with the chance to find a pair at that of near duplicates."""
    rows_per_band = choose_rows_per_band(quota.near) if quota.near else 0
    return {
        "keep": "all" if settings.keep_all else "in_band",
        "per_cell": quota.limit,
        "best_of": quota.best_of,
        "language": {
            "expected": settings.language or None,
            "min_confidence": MIN_LANGUAGE_CONFIDENCE,
            "min_characters": MIN_LANGUAGE_CHARACTERS,
            "characters_read": MAX_LANGUAGE_CHARACTERS,
        },
        "max_refusal_words": MAX_REFUSAL_WORDS,
        "min_words": MIN_RESPONSE_WORDS,
        "benchmark": {
            "prompts": len(settings.benchmark),
            "shared_run_words": SHARED_RUN_WORDS,
            "min_contained_words": MIN_CONTAINED_WORDS,
            "near_jaccard": NEAR_PROMPT,
        },
        "near_duplicates": {
            "jaccard": quota.near,
            "shingle_words": SHINGLE_WORDS,
            "permutations": PERMUTATIONS,
            "rows_per_band": rows_per_band,
            "recall_at_threshold": round(lsh_recall(quota.near, rows_per_band), 4) if rows_per_band else None,
        },
    }


class Counts:
    """Rows that came in, were kept and were dropped, per rubric, level and teacher.

    Args:
        per_cell: Rows wanted of each (rubric, user prompt, level, teacher), so that short cells are known; None if any
            number is welcome.

    Attributes:
        unjudged: Rows that no judge could score, by failure mode.
        also_unjudged: Judgments by further rubrics that failed, by rubric.
        rubrics: Ids of the rubrics that came in.
    """

    def __init__(self, per_cell: int | None = None):
        self.unjudged: Counter[str] = Counter()
        self.also_unjudged: Counter[str] = Counter()
        self._per_cell = per_cell
        self._kept_of: dict[Cell, int] = {}
        self._came: Counter[GroupKey] = Counter()
        self._kept: Counter[GroupKey] = Counter()
        self._dropped: Counter[tuple[GroupKey, Reason]] = Counter()

    def come(self, row: TeacherResponse) -> None:
        """Counts a row that came in."""
        self._came[_group(row)] += 1
        if self._per_cell:
            self._kept_of.setdefault(cell_of(row), 0)

    def keep(self, row: TeacherResponse) -> None:
        """Counts a row that is kept."""
        self._kept[_group(row)] += 1
        if self._per_cell:
            self._kept_of[cell_of(row)] += 1

    def drop(self, row: TeacherResponse, reason: Reason, detail: str) -> None:
        """Counts a row that is dropped."""
        self._dropped[_group(row), reason] += 1
        if reason == "unjudged":
            self.unjudged[detail.split(":")[0]] += 1

    @property
    def rubrics(self) -> list[str]:
        """Ids of the rubrics that came in, sorted."""
        return sorted({rubric for rubric, _, _ in self._came})

    def short_cells(self) -> list[dict[str, Any]]:
        """Cells with fewer rows kept than wanted, in the order they came in."""
        names = ("rubric", "user_prompt_id", "level", "teacher")
        return [
            dict(zip(names, cell, strict=True)) | {"kept": kept}
            for cell, kept in self._kept_of.items()
            if kept < (self._per_cell or 0)
        ]

    def as_json(self, bad: Mapping[str, int]) -> dict[str, Any]:
        """All counts. Rows in are rows kept, dropped and bad.

        Args:
            bad: Bad rows by kind.
        """
        came, kept = self._came.total(), self._kept.total()
        assert came == kept + self._dropped.total(), "a row is neither kept nor dropped"
        controls = [key for key in self._came if key[1] == CONTROL]
        return {
            "in": came + sum(bad.values()),
            "kept": kept,
            "dropped": self._dropped.total(),
            "bad": sum(bad.values()),
            "dropped_by_reason": _by_reason(self._dropped, list(self._came)),
            "bad_by_kind": dict(sorted(bad.items())),
            "unjudged_by_mode": dict(sorted(self.unjudged.items())),
            "also_unjudged": dict(sorted(self.also_unjudged.items())),
            "controls": self._of(controls),
            "cells": [
                dict(zip(("rubric", "level", "teacher"), key, strict=True)) | self._of([key])
                for key in sorted(self._came, key=_place)
            ],
        }

    def table(self) -> str:
        """Rows in, kept and dropped by reason, per rubric and level over all teachers, as aligned text."""
        present = [reason for reason in REASONS if any(key[1] == reason for key in self._dropped)]
        lines = [["rubric", "level", "in", "kept", *present]]
        for rubric, level in dict.fromkeys(key[:2] for key in sorted(self._came, key=_place)):
            keys = [key for key in self._came if key[:2] == (rubric, level)]
            lines.append([rubric, level, *self._numbers(keys, present)])
        lines.append(["all", "", *self._numbers(list(self._came), present)])
        widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if place < 2 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def _of(self, keys: Sequence[GroupKey]) -> dict[str, Any]:
        return {
            "in": sum(self._came[key] for key in keys),
            "kept": sum(self._kept[key] for key in keys),
            "dropped_by_reason": _by_reason(self._dropped, keys),
        }

    def _numbers(self, keys: Sequence[GroupKey], reasons: Iterable[Reason]) -> list[str]:
        numbers = self._of(keys)
        dropped = numbers["dropped_by_reason"]
        return [f"{count:,}" for count in (numbers["in"], numbers["kept"], *(dropped.get(one, 0) for one in reasons))]


def versions() -> dict[str, str]:
    """Versions of the packages that decide about rows, as far as they are installed."""
    found = {}
    for name in VERSIONS_OF:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _by_reason(dropped: Mapping[tuple[GroupKey, Reason], int], keys: Sequence[GroupKey]) -> dict[str, int]:
    counts = {reason: sum(dropped.get((key, reason), 0) for key in keys) for reason in REASONS}
    return {reason: count for reason, count in counts.items() if count}


def _group(row: TeacherResponse) -> GroupKey:
    return row.rubric, row.level if row.level == CONTROL else row.level.value, row.teacher


def _place(key: GroupKey) -> tuple[str, int, str]:
    order = [CONTROL, "low", "moderate", "extremely_high"]
    return key[0], order.index(key[1]), key[2]
