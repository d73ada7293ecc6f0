"""Checks responses one by one: what their text alone says against them, then their judgment.

The order of the checks is the order of `REASONS`. Whatever needs no judge comes first, so that no judgment is paid for
of a response that would be dropped anyway. What takes other responses into account is in `choosing.py`.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import pandas as pd

from data_gen.responses import CONTROL, TeacherResponse, find_test_picture, find_unfit_text
from data_gen.verify.contamination import Contamination
from data_gen.verify.near_duplicates import band_hashes
from data_gen.verify.text_filters import find_cut, find_other_language, find_refusal, find_shortness
from judges import Judge, JudgeFailure, picture_problem
from model_calls.side_by_side import side_by_side
from rubrics import Rubric, ScoreLevel
from rubrics.texts import whole_characters

KEPT = "kept"
UNREAD = "the measured judge counts English words, and finds under 15; judge it with --judge MODEL"
REASONS = (
    *("refused", "truncated", "too_short", "control_token", "broken_character", "language", "contaminated"),
    *("unjudged", "out_of_band", "near_duplicate", "not_best"),
)
CELL = ["rubric", "user_prompt_id", "user_prompt_key", "level", "teacher"]  # files may share ids, but not texts
CHUNK_ROWS = 4096  # in memory at a time; at the end of a chunk its slowest call is waited for


class Checked(NamedTuple):
    """What came out for one row.

    Attributes:
        outcome: The reason of `REASONS` why it is dropped, or "kept" if nothing in the row itself speaks against it.
        detail: More on the reason.
        score: 0-100, or None if it was not judged.
        bands: Its `band_hashes`; empty if the row is dropped, or near duplicates are kept.
    """

    outcome: str
    detail: str = ""
    score: float | None = None
    bands: bytes = b""


@dataclass(frozen=True)
class Checks:
    """The checks of a row that need no other row.

    Attributes:
        rubrics: By id; those of all rows.
        unjudgeable: By id of a rubric, why the judge cannot judge by it.
        language: ISO 639-1 code that responses must have; "" takes any.
        keep_all: Whether a score outside the band of the level, and an end that only looks cut, is no reason to drop.
        near: Jaccard from which two responses are near duplicates, 0.7-1; 0 keeps them.
        contamination: Knows the user prompts that must not turn up.
    """

    rubrics: Mapping[str, Rubric]
    unjudgeable: Mapping[str, str]
    language: str
    keep_all: bool
    near: float
    contamination: Contamination

    async def check(self, row: TeacherResponse, judge: Judge) -> Checked:
        """The first reason to drop a row, in the order of `REASONS`, or its score."""
        if dropped := self.before_judging(row):
            return dropped
        try:
            judgment = await judge.judge(self.rubrics[row.rubric], row.user_prompt, row.response, row.picture)
        except JudgeFailure as failure:
            return Checked("unjudged", whole_characters(str(failure)))
        if judgment.reason:
            return Checked("unjudged", UNREAD)
        score = judgment.score
        if not self.keep_all and (detail := _out_of_band(row, score)):
            return Checked("out_of_band", detail, score)
        return Checked(KEPT, "", score, band_hashes(row.response) if self.near else b"")

    def before_judging(self, row: TeacherResponse) -> Checked | None:
        """The first reason to drop a row without asking a judge, or None."""
        return next((Checked(reason, detail) for reason, detail in self._findings(row) if detail), None)

    def _findings(self, row: TeacherResponse) -> Iterator[tuple[str, str]]:
        yield "refused", find_refusal(row.response, row.stop_reason)
        limit = float(row.params.get("max_tokens", 0))  # where a whole batch stayed below it, nothing was cut
        may_be_cut = row.usage.get("output_tokens", limit) >= limit
        yield "truncated", find_cut(row.response, row.stop_reason, guess=may_be_cut and not self.keep_all)
        yield "too_short", find_shortness(row.response)
        yield find_unfit_text(row)
        yield "language", find_other_language(row.response, self.language) if self.language else ""
        yield "contaminated", find_test_picture(row)
        yield "contaminated", self.contamination.find(row.user_prompt_id, row.user_prompt, row.response)
        yield "unjudged", self.unjudgeable.get(row.rubric, "")
        yield "unjudged", picture_problem(self.rubrics[row.rubric], row.picture)


def _out_of_band(row: TeacherResponse, score: float) -> str:
    if row.level == CONTROL or ScoreLevel.of(score) is row.level:
        return ""
    low, high = row.level.band
    band = f"from {low:g}" if row.level is ScoreLevel.LOW else f"above {low:g}"
    return f"scored {score:g}, expected {band} to {high:g} for {row.level.value}"


def check_rows(
    rows: Iterable[TeacherResponse],
    checks: Checks,
    judge: Judge,
    max_connections: int,
    progress: Callable[[int], None],
) -> pd.DataFrame:
    """A row per row, in the order given: `CELL`, and what came out for it as in `Checked`.

    A chunk of 4096 rows is in memory at a time, at most `max_connections` of them are checked at a time, and `progress`
    is called with 1 after each.

    Raises:
        ExceptionGroup: Of what the provider's client raises when its retries are used up. What was answered is in the
            judge's store.
    """
    source, frames = iter(rows), [_frame([], [])]

    async def check(row: TeacherResponse) -> Checked:
        checked = await checks.check(row, judge)
        progress(1)
        return checked

    with asyncio.Runner() as runner:
        while chunk := list(islice(source, CHUNK_ROWS)):
            jobs = [partial(check, row) for row in chunk]
            frames.append(_frame(chunk, runner.run(side_by_side(jobs, max_connections))))
    return pd.concat(frames, ignore_index=True)


def _frame(rows: list[TeacherResponse], checked: list[Checked]) -> pd.DataFrame:
    table = [(*(getattr(row, name) for name in CELL), *about) for row, about in zip(rows, checked, strict=True)]
    levels = pd.CategoricalDtype([CONTROL, *(level.value for level in ScoreLevel)])
    types: dict[str, Any] = dict.fromkeys(("rubric", "user_prompt_id", "teacher", "detail"), str)
    types |= {"user_prompt_key": int, "score": float, "level": levels, "outcome": pd.CategoricalDtype([KEPT, *REASONS])}
    frame = pd.DataFrame(table, columns=[*CELL, *Checked._fields])
    return frame.assign(user_prompt_key=frame["user_prompt_key"].map(hash)).astype(types)  # whole texts take too much
