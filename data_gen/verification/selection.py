"""Chooses among the rows that passed every check of their own: near duplicates, the best of a cell, so many per cell.

A cell is (rubric, user prompt, level, teacher). Rows are visited in file order or, if the best of a cell are to be
kept, cell by cell in the order of their first rows, the best row of a cell first. A visited row is dropped if its cell
is full or if it is a near duplicate of a row kept before it; else it is kept. So a row that is not kept costs no other
row its place, and a cell whose best row is a near duplicate gets its second best.

The rows themselves wait on disk; in memory are numbers only, some 400 bytes per row with those of `NearDuplicates`.
"""

import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from data_gen.responses import CONTROL, TeacherResponse
from data_gen.verification.near_duplicates import Hashes, NearDuplicates, shingles
from data_gen.verification.verify import Reason
from rubrics import ScoreLevel

Cell = tuple[str, str, str, str]
SHINGLES_IN_MEMORY = 20_000


@dataclass(frozen=True)
class Quota:
    """How many rows to keep.

    Attributes:
        per_cell: Most rows of a cell; None for no limit.
        best_of: Whether a cell's best rows are kept, instead of its first.
        near: Jaccard from which two rows are near duplicates, 0.2-1; 0 keeps them.
    """

    per_cell: int | None = None
    best_of: bool = False
    near: float = 0.8

    @property
    def limit(self) -> int | None:
        """Most rows of a cell; None for no limit."""
        return self.per_cell or (1 if self.best_of else None)


@dataclass(frozen=True)
class Dropped:
    """Why a candidate is not kept."""

    reason: Reason
    detail: str


def cell_of(row: TeacherResponse) -> Cell:
    """The cell of a row; its four names are shared between rows, so that a million cells fit in memory."""
    level = row.level if row.level == CONTROL else row.level.value
    return sys.intern(row.rubric), sys.intern(row.user_prompt_id), level, sys.intern(row.teacher)


def preference(row: TeacherResponse, score: float) -> tuple[float, float]:
    """What the best row of a cell is the least of: distance from the band, then how far from its best score.

    Within the band the best is the highest score for extremely_high, the lowest for low, and for moderate the one
    nearest to the middle of the band (66.25). Controls are all equal.
    """
    if row.level == CONTROL:
        return 0.0, 0.0
    target = {ScoreLevel.LOW: 0.0, ScoreLevel.MODERATE: row.level.midpoint, ScoreLevel.EXTREMELY_HIGH: 100.0}
    return abs(row.level.distance(score)), abs(score - target[row.level])


class Candidates:
    """Rows to choose from, kept in a file until the choice is made.

    Args:
        folder: Where the file is; nothing of it is left, even after a kill.
        quota: How many to keep.
    """

    def __init__(self, folder: Path, quota: Quota):
        self._quota = quota
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115  # `close` ends it
        self._starts = array("q", [0])
        self._wheres: list[str] = []
        self._cells: dict[Cell, int] = {}
        self._cell_of_row = array("l")
        self._preference = (array("d"), array("d"))
        self._groups: dict[tuple[str, bool], int] = {}
        self._group_of_row = array("L")
        self._bands = bytearray()

    def __len__(self) -> int:
        return len(self._wheres)

    def add(self, where: str, row: TeacherResponse, score: float, bands: bytes) -> None:
        """Takes a row in its final form, with its place, its score (0-100) and its `band_hashes`."""
        line = row.model_dump_json(exclude_none=True).encode() + b"\n"
        self._file.write(line)
        self._starts.append(self._starts[-1] + len(line))
        self._wheres.append(where)
        self._bands += bands
        # controls are compared among themselves: one of them must not cost a twin its response
        group = (sys.intern(row.rubric), row.level == CONTROL)
        self._group_of_row.append(self._groups.setdefault(group, len(self._groups)))
        if self._quota.limit:
            self._cell_of_row.append(self._cells.setdefault(cell_of(row), len(self._cells)))
            for column, value in zip(self._preference, preference(row, score), strict=True):
                column.append(value)

    def choose(self) -> list[Dropped | None]:
        """What becomes of each row, in the order they were added: None for those that are kept."""
        self._file.flush()
        near = self._near_duplicates()
        kept_in_cell = array("l", [0]) * len(self._cells)
        full: Reason = "not_best" if self._quota.best_of else "over_per_cell"
        outcome: list[Dropped | None] = [None] * len(self)
        for number in self._visiting_order():
            cell = self._cell_of_row[number] if self._quota.limit else 0
            if self._quota.limit and kept_in_cell[cell] >= self._quota.limit:
                outcome[number] = Dropped(full, f"its cell has {self._quota.limit} kept already")
            elif near and (found := near.find(number)):
                other, similarity = found
                detail = f"Jaccard {similarity:.2f} with {self._wheres[other]}, id {self.read(other).id}"
                outcome[number] = Dropped("near_duplicate", detail)
            else:
                if near:
                    near.keep(number)
                if self._quota.limit:
                    kept_in_cell[cell] += 1
        return outcome

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """Every row, in the order they were added, as "FILE:LINE" and the line that was written for it."""
        self._file.seek(0)
        yield from zip(self._wheres, self._file, strict=True)

    def read(self, number: int) -> TeacherResponse:
        """One row."""
        self._file.seek(self._starts[number])
        return TeacherResponse.model_validate_json(self._file.readline())

    def close(self) -> None:
        """Lets go of the file."""
        self._file.close()

    def _visiting_order(self) -> Iterator[int]:
        if not self._quota.best_of:
            yield from range(len(self))
            return
        distance, second = self._preference
        # by cell first; the sort is stable, so that ties go to the row that stands first in the file
        yield from np.lexsort((second, distance, self._cell_of_row)).tolist()

    def _near_duplicates(self) -> NearDuplicates | None:
        if not self._quota.near or not len(self):
            return None

        @lru_cache(maxsize=SHINGLES_IN_MEMORY)
        def shingles_of(number: int) -> Hashes:
            return shingles(self.read(number).response)

        bands = np.frombuffer(self._bands, np.uint32).reshape(len(self), -1)
        groups = np.array(self._group_of_row, np.uint32)
        return NearDuplicates(bands, groups, shingles_of, self._quota.near)
