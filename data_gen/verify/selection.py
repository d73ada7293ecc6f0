"""Chooses among the rows that passed every check of their own: near duplicates, the best of a cell, so many per cell.

A cell is (rubric, user prompt, level, teacher). Rows are visited in file order or, if the best of a cell are to be
kept, cell by cell in the order of their first rows, the best row of a cell first. A visited row is dropped if its cell
is full or if it is a near duplicate of a row kept before it; else it is kept. So a row that is not kept costs no other
row its place, and a cell whose best row is a near duplicate gets its second best.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data_gen.responses import CONTROL, TeacherResponse
from data_gen.verify.checks import Reason
from data_gen.verify.near_duplicates import KeptTexts, may_have_copies
from rubrics import ScoreLevel

Rows = Callable[[], Iterator[tuple[str, TeacherResponse]]]

CELL = ["rubric", "user_prompt_id", "level", "teacher"]


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


def preference(level: str, score: float) -> tuple[float, float]:
    """What the best row of a cell is the least of: distance from the band, then how far from its best score.

    Within the band the best is the highest score for extremely_high, the lowest for low, and for moderate the one
    nearest to the middle of the band (66.25). Controls are all equal.
    """
    if level == CONTROL:
        return 0.0, 0.0
    asked = ScoreLevel(level)
    target = {ScoreLevel.LOW: 0.0, ScoreLevel.MODERATE: asked.midpoint, ScoreLevel.EXTREMELY_HIGH: 100.0}
    return abs(asked.distance(score)), abs(score - target[asked])


def choose(passed: pd.DataFrame, bands: bytearray, quota: Quota, rows: Rows) -> dict[int, tuple[Reason, str]]:
    """The rows that are not kept, by their number, each with the reason and more on it.

    Args:
        passed: The rows to choose from, by their number in the files, with the columns of `CELL` and `score`.
        bands: Their `band_hashes`, one after the other.
        quota: How many to keep.
        rows: All rows in the files, with "FILE:LINE". The texts of those that may have a copy are held in memory.
    """
    # controls are compared among themselves: one of them must not cost a twin its response
    group_of = passed.groupby(["rubric", passed["level"] == CONTROL], observed=True).ngroup()
    cell_of = passed.groupby(CELL, observed=True, sort=False).ngroup() if quota.limit else group_of
    order = passed.index
    if quota.best_of:
        best = [preference(level, score) for level, score in zip(passed["level"], passed["score"], strict=True)]
        order = order[np.lexsort((*reversed(list(zip(*best, strict=True))), cell_of))]  # stable: the first of equals
    suspects = _suspects(bands, group_of, rows) if quota.near and len(passed) else {}
    kept: dict[int, KeptTexts] = defaultdict(lambda: KeptTexts(quota.near, lambda number: suspects[number][1]))
    in_cell: Counter[int] = Counter()
    full: Reason = "not_best" if quota.best_of else "over_per_cell"
    lost: dict[int, tuple[Reason, str]] = {}
    for number, group, cell in zip(order.tolist(), group_of[order], cell_of[order], strict=True):
        if quota.limit and in_cell[cell] >= quota.limit:
            lost[number] = full, f"its cell has {quota.limit} kept already"
        elif number in suspects and (original := kept[group].find_or_keep(number)):
            lost[number] = "near_duplicate", f"Jaccard {original[1]:.2f} with {suspects[original[0]][0]}"
        else:
            in_cell[cell] += 1
    return lost


def _suspects(bands: bytearray, group_of: "pd.Series[int]", rows: Rows) -> dict[int, tuple[str, str]]:
    """Name and text of the rows that may have a copy, by their number."""
    table = np.frombuffer(bands, np.uint32).reshape(len(group_of), -1)
    wanted = set(group_of.index[may_have_copies(table, np.array(group_of, np.int64))].tolist())
    if not wanted:
        return {}
    named = enumerate(rows())
    return {n: (f"{Path(where).name}, id {row.id}", row.response) for n, (where, row) in named if n in wanted}
