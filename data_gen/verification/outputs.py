"""Writes the files of `cpt verify`. All appear under their names only once the run is through."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from data_gen.responses import CONTROL, ResponseJudgment, TeacherResponse
from data_gen.verification.accounts import Counts, DroppedRow, JudgeIdentity
from data_gen.verification.selection import Candidates, Quota
from data_gen.verification.verify import Checked, LocatedCheck, Reason

RESPONSES = "responses.jsonl"
DROPPED = "dropped.jsonl"
UNJUDGED = "unjudged.jsonl"
VERIFICATION = "verification.json"
SAME_SCORE = 1e-6  # score points: less is rounding


def write_outcomes(
    out: Path, checked: Iterable[LocatedCheck], quota: Quota, counts: Counts, identity: JudgeIdentity
) -> None:
    """Writes the rows kept, dropped and unjudged, and counts them.

    dropped.jsonl has first the rows with a reason of their own, then those dropped because of other rows, both in file
    order. There is an unjudged.jsonl only if a row is in it; one of an earlier run is removed.

    Args:
        out: Folder; made if there is none.
        checked: Rows with what came out for them, in file order.
        quota: How many to keep.
        counts: Counts them.
        identity: Who judged.
    """
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        kept, dropped, unjudged = (
            stack.enter_context(put_in_place(out / name)) for name in (RESPONSES, DROPPED, UNJUDGED)
        )
        candidates = Candidates(out, quota)
        stack.callback(candidates.close)
        for where, row, one in checked:
            place = os.path.basename(where)
            counts.come(row)
            counts.also_unjudged.update(one.also_unjudged)
            if one.reason is None:
                assert one.score is not None  # it would be unjudged
                candidates.add(place, _judged(row, one, identity), one.score, one.bands)
                continue
            counts.drop(row, one.reason, one.detail)
            dropped.write(_dropped(place, row, one.score, one.reason, one.detail))
            if one.reason == "unjudged":
                bare = row.model_copy(update={"judgment": None})  # one of an earlier run is not ours
                unjudged.write(_line(bare.model_dump_json(exclude_none=True)))
        for (place, line), lost in zip(candidates.lines(), candidates.choose(), strict=True):
            row = TeacherResponse.model_validate_json(line)
            if lost is None:
                counts.keep(row)
                kept.write(line)
            else:
                assert row.judgment is not None  # _judged ran
                counts.drop(row, lost.reason, lost.detail)
                dropped.write(_dropped(place, row, row.judgment.score, lost.reason, lost.detail))
    if not counts.unjudged:
        (out / UNJUDGED).unlink()


def write_verification(out: Path, content: Mapping[str, Any]) -> None:
    """Writes verification.json."""
    with put_in_place(out / VERIFICATION) as file:
        file.write(_line(json.dumps(content, indent=1, ensure_ascii=False)))


@contextmanager
def put_in_place(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that appears under its name when the block ends, and not at all if it fails."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _judged(row: TeacherResponse, checked: Checked, identity: JudgeIdentity) -> TeacherResponse:
    assert checked.score is not None
    judgments: dict[str, Any] = {"judgment": _confirmed(row.judgment, identity.judgment(checked.score))}
    if checked.also:
        judgments["also"] = {rubric: identity.judgment(score) for rubric, score in checked.also.items()}
    return row.model_copy(update=judgments)


def _confirmed(before: ResponseJudgment | None, now: ResponseJudgment) -> ResponseJudgment:
    """The judgment a row came with, if it is the same but for rounding: rows verified again stay as they are."""
    if before and abs(before.score - now.score) < SAME_SCORE and before.model_copy(update={"score": now.score}) == now:
        return before
    return now


def _dropped(where: str, row: TeacherResponse, score: float | None, reason: Reason, detail: str) -> bytes:
    level = row.level if row.level == CONTROL else row.level.value
    told = DroppedRow(
        where=where,
        id=row.id,
        rubric=row.rubric,
        level=level,
        user_prompt_id=row.user_prompt_id,
        teacher=row.teacher,
        score=score,
        reason=reason,
        detail=detail,
    )
    return _line(told.model_dump_json())


def _line(text: str) -> bytes:
    return text.encode() + b"\n"
