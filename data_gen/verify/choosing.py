"""Chooses among rows that were checked and judged, reads them again, and writes and counts what became of each.

Between the two readings only numbers are kept of a row, so that a file may hold millions, and the texts of rows that
may have a copy.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_gen.responses import CONTROL, ResponseJudgment, TeacherResponse
from data_gen.verify.checks import CELL, KEPT
from data_gen.verify.near_duplicates import KeptTexts, may_have_copies
from rubrics import ScoreLevel
from rubrics.files import json_line, whole_file

RESPONSES, DROPPED = "responses.jsonl", "dropped.jsonl"
SAME_SCORE = 1e-6  # score points: less is rounding
Rows = Callable[[], Iterator[tuple[str, TeacherResponse]]]


def choose(frame: pd.DataFrame, rows: Rows, near: float, best_of: bool) -> None:
    """Drops near duplicates and, with `best_of`, all but one of a cell from the kept rows of `check_rows`, in place.

    A cell is (rubric, user prompt, level, teacher). Rows are visited in file order or, with `best_of`, cell by cell in
    the order of their first rows, the best row of a cell first. A visited row is dropped if its cell has a row already
    (with `best_of`) or if it is a near duplicate of a row kept before it. So a row that is not kept costs no other row
    its place, and a cell whose best row is a near duplicate gets its second best.
    """
    passed = frame[frame["outcome"] == KEPT]
    # controls are compared among themselves: one of them must not cost a twin its response
    group_of = passed.groupby(["rubric", passed["level"] == CONTROL], observed=True).ngroup()
    cell_of = passed.groupby(CELL, observed=True, sort=False).ngroup() if best_of else group_of
    order = passed.index.tolist()
    if best_of:
        places = zip(cell_of, map(preference, passed["level"], passed["score"]), strict=True)
        place_of = dict(zip(order, places, strict=True))
        order.sort(key=place_of.__getitem__)
    bands, suspects = _suspects(passed, group_of, rows) if near and len(passed) else ({}, {})
    kept: dict[int, KeptTexts] = defaultdict(lambda: KeptTexts(near, lambda number: suspects[number][1]))
    served: set[int] = set()
    lost: dict[int, tuple[str, str]] = {}
    for number, group, cell in zip(order, group_of[order], cell_of[order], strict=True):
        if best_of and cell in served:
            lost[number] = "not_best", "its cell has a better one"
        elif number in suspects and (original := kept[group].find_or_keep(number, bands[number])):
            lost[number] = "near_duplicate", f"Jaccard {original[1]:.2f} with {suspects[original[0]][0]}"
        else:
            served.add(cell)
    frame.loc[list(lost), "outcome"] = [reason for reason, _ in lost.values()]
    frame.loc[list(lost), "detail"] = [detail for _, detail in lost.values()]


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


def _suspects(passed: pd.DataFrame, group_of: "pd.Series[int]", rows: Rows) -> tuple[dict[int, Any], dict[int, Any]]:
    """Bands, and name and text, of the rows that may have a copy, by their number."""
    bands = np.frombuffer(b"".join(passed["bands"]), np.uint32).reshape(len(passed), -1)
    flags = may_have_copies(bands, np.array(group_of, np.int64))
    wanted = dict(zip(passed.index[flags].tolist(), bands[flags], strict=True))
    named = enumerate(rows()) if wanted else ()
    return wanted, {n: (f"{Path(where).name}, id {row.id}", row.response) for n, (where, row) in named if n in wanted}


def write_rows(frame: pd.DataFrame, rows: Rows, judge: Mapping[str, str], out: Path) -> None:
    """Writes the rows kept, judged by `judge` (judge, prompt_version), and those dropped, each in file order."""
    with whole_file(out / RESPONSES) as kept, whole_file(out / DROPPED) as dropped:
        columns = zip(rows(), frame["outcome"], frame["detail"], frame["score"], strict=True)
        for (where, row), outcome, detail, score in columns:
            if outcome == KEPT:
                kept.write(json_line(_judged(row, score, judge)))
                continue
            about = {name: getattr(row, name) for name in ("id", "rubric", "level", "user_prompt_id", "teacher")}
            about |= {"score": None if math.isnan(score) else score, "reason": outcome, "detail": detail}
            dropped.write(json_line({"where": Path(where).name} | about))


def _judged(row: TeacherResponse, score: float, judge: Mapping[str, str]) -> TeacherResponse:
    now = ResponseJudgment(score=score, judge=judge["judge"], prompt_version=judge["prompt_version"])
    before = row.judgment
    # rows verified again stay as they are
    if before and abs(before.score - score) < SAME_SCORE and before == now.model_copy(update={"score": before.score}):
        return row
    return row.model_copy(update={"judgment": now})


def counts(frame: pd.DataFrame, bad: Mapping[str, int]) -> dict[str, Any]:
    """What became of the good rows, and the bad ones by kind: in = kept + dropped + bad."""
    by_outcome = frame["outcome"].value_counts(sort=False)
    by_reason = {reason: int(count) for reason, count in by_outcome.items() if count and reason != KEPT}
    return {
        "in": len(frame) + sum(bad.values()),
        "kept": int(by_outcome[KEPT]),
        "dropped": sum(by_reason.values()),
        "bad": sum(bad.values()),
        "dropped_by_reason": by_reason,
        "bad_by_kind": dict(sorted(bad.items())),
    }


def cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows kept and dropped by reason, per rubric, level and teacher."""
    numbers = pd.crosstab([frame["rubric"], frame["level"], frame["teacher"]], frame["outcome"])
    return numbers.rename_axis(columns=None).reset_index()
