"""The two passes of `cpt verify`: check and judge every row, choose, then read again and write what became of each.

Between the passes only numbers are kept of a row, so that a file may hold millions.
"""

import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from data_gen.responses import ResponseJudgment, TeacherResponse
from data_gen.verify.accounts import KEPT, LEVELS
from data_gen.verify.checks import REASONS
from data_gen.verify.judging import CheckedRow
from data_gen.verify.selection import CELL, Quota, Rows, choose
from rubrics.files import json_line, whole_file

RESPONSES, DROPPED, UNJUDGED = "responses.jsonl", "dropped.jsonl", "unjudged.jsonl"
SAME_SCORE = 1e-6  # score points: less is rounding


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


def verify(
    checked: Iterable[CheckedRow],
    rows: Rows,
    quota: Quota,
    identity: JudgeIdentity,
    out: Path,
) -> tuple[pd.DataFrame, Counter[str]]:
    """Writes the rows kept, dropped and unjudged, each in file order.

    There is an unjudged.jsonl only if a row is in it; one of an earlier run is removed.

    Args:
        checked: Rows with what came out for them, in file order.
        rows: The same rows from the start, with their "FILE:LINE".
        quota: How many to keep.
        identity: Who judged.
        out: Folder; made if there is none.

    Returns:
        What became of each row, for `counts`, and the judgments by further rubrics that failed, by rubric.
    """
    frame, also, bands = _collect(checked)
    lost = choose(frame[frame["outcome"] == KEPT], bands, quota, rows)
    for place, name in enumerate(("outcome", "detail")):
        frame.loc[list(lost), name] = [one[place] for one in lost.values()]
    with ExitStack() as stack:
        kept, dropped, unjudged = (
            stack.enter_context(whole_file(out / name)) for name in (RESPONSES, DROPPED, UNJUDGED)
        )
        columns = zip(rows(), frame["outcome"], frame["detail"], frame["score"], also, strict=True)
        for (where, row), outcome, detail, score, further in columns:
            if outcome == KEPT:
                kept.write(json_line(_judged(row, score, further, identity)))
                continue
            known = None if math.isnan(score) else score
            dropped.write(json_line(_dropped(where, row, known) | {"reason": outcome, "detail": detail}))
            if outcome == "unjudged":
                # a judgment of an earlier run is not ours
                unjudged.write(json_line(row.model_copy(update={"judgment": None})))
    if not (frame["outcome"] == "unjudged").any():
        (out / UNJUDGED).unlink()
    return frame, Counter(rubric for one in also for rubric, score in one.items() if score is None)


def _collect(checked: Iterable[CheckedRow]) -> tuple[pd.DataFrame, list[Mapping[str, float | None]], bytearray]:
    columns: dict[str, list[Any]] = {name: [] for name in (*CELL, "outcome", "detail", "score")}
    also, bands = [], bytearray()
    for row, one in checked:
        cell = (sys.intern(row.rubric), sys.intern(row.user_prompt_id), str(row.level), sys.intern(row.teacher))
        for column, value in zip(columns.values(), (*cell, one.reason or KEPT, one.detail, one.score), strict=True):
            column.append(value)
        also.append(one.also)
        bands += one.bands
    frame = pd.DataFrame({name: columns.pop(name) for name in list(columns)})
    types: dict[Any, Any] = {"rubric": "category", "teacher": "category", "score": float}
    types |= {"level": pd.CategoricalDtype(LEVELS), "outcome": pd.CategoricalDtype([KEPT, *REASONS])}
    return frame.astype(types), also, bands


def _judged(
    row: TeacherResponse, score: float, further: Mapping[str, float | None], identity: JudgeIdentity
) -> TeacherResponse:
    judgment = _confirmed(row.judgment, identity.judgment(score))
    also = {rubric: identity.judgment(score) for rubric, score in further.items() if score is not None}
    return row.model_copy(update={"judgment": judgment} | ({"also": also} if also else {}))


def _confirmed(before: ResponseJudgment | None, now: ResponseJudgment) -> ResponseJudgment:
    """The judgment a row came with, if it is the same but for rounding: rows verified again stay as they are."""
    if before and abs(before.score - now.score) < SAME_SCORE and before.model_copy(update={"score": now.score}) == now:
        return before
    return now


def _dropped(where: str, row: TeacherResponse, score: float | None) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in ("id", "rubric", "level", "user_prompt_id", "teacher")}
    return {"where": os.path.basename(where), **fields, "score": score}
