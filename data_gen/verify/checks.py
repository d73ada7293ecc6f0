"""Checks responses one by one: what their text alone says against them, then their judgment.

The order of the checks is the order of `REASONS`. Whatever needs no judge comes first, so that no judgment is paid for
of a response that would be dropped anyway. What takes other responses into account is in `verify.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from data_gen.responses import CONTROL, TeacherResponse
from data_gen.verify.contamination import Contamination
from data_gen.verify.near_duplicates import band_hashes
from data_gen.verify.text_filters import (
    find_other_language,
    find_refusal,
    find_rubric_mention,
    find_shortness,
)
from judges import Judge, JudgeFailure
from judges.judgment import outcome_of
from model_calls.errors import was_cut_off
from rubrics import Rubric, ScoreLevel

KEPT = "kept"
NO_SCORES: Mapping[str, float | None] = {}  # one object for a million rows
REASONS = (
    *("refused", "truncated", "too_short", "language", "mentions_rubric", "contaminated", "unjudged", "out_of_band"),
    *("near_duplicate", "not_best", "over_per_cell"),
)


class Checked(NamedTuple):
    """What came out for one row.

    Attributes:
        outcome: The reason of `REASONS` why it is dropped, or "kept" if nothing in the row itself speaks against it.
        detail: More on the reason; of an unjudged row, "MODE: what happened".
        score: 0-100, or None if it was not judged.
        also: Scores by other rubrics, by their id; None where that judge failed.
        bands: Its `band_hashes`; empty if the row is dropped, or near duplicates are kept.
    """

    outcome: str
    detail: str = ""
    score: float | None = None
    also: Mapping[str, float | None] = NO_SCORES
    bands: bytes = b""


@dataclass(frozen=True)
class Checks:
    """The checks of a row that need no other row.

    Attributes:
        rubrics: By id; those of all rows.
        also_by: Rubrics that every row is judged by as well.
        language: ISO 639-1 code that responses must have; "" takes any.
        keep_all: Whether a score outside the band of the level is no reason to drop a row.
        near: Jaccard from which two responses are near duplicates, 0.7-1; 0 keeps them.
        benchmark: User prompts that must not turn up, by id.
    """

    rubrics: Mapping[str, Rubric]
    also_by: tuple[Rubric, ...] = ()
    language: str = "en"
    keep_all: bool = False
    near: float = 0.8
    benchmark: Mapping[str, str] = field(default_factory=dict)

    async def check(self, row: TeacherResponse, judge: Judge) -> Checked:
        """The first reason to drop a row, in the order of `REASONS`, or its score and those by further rubrics."""
        if dropped := self.before_judging(row):
            return dropped
        outcome = await outcome_of(judge, self.rubrics[row.rubric], row.user_prompt, row.response)
        if isinstance(outcome, JudgeFailure):
            return Checked("unjudged", str(outcome))
        if not self.keep_all and (detail := _out_of_band(row, outcome.score)):
            return Checked("out_of_band", detail, outcome.score)
        also: dict[str, float | None] = {}
        for rubric in self.also_for(row):
            further = await outcome_of(judge, rubric, row.user_prompt, row.response)
            also[rubric.id] = None if isinstance(further, JudgeFailure) else further.score
        return Checked(KEPT, "", outcome.score, also or NO_SCORES, band_hashes(row.response) if self.near else b"")

    def before_judging(self, row: TeacherResponse) -> Checked | None:
        """The first reason to drop a row without asking a judge, or None."""
        return next((Checked(reason, detail) for reason, detail in self._findings(row) if detail), None)

    def also_for(self, row: TeacherResponse) -> list[Rubric]:
        """The further rubrics that a row is judged by."""
        return [rubric for rubric in self.also_by if rubric.id != row.rubric]

    def _findings(self, row: TeacherResponse) -> Iterator[tuple[str, str]]:
        yield "refused", find_refusal(row.response, row.stop_reason)
        yield "truncated", f"stop reason {row.stop_reason}" if was_cut_off(row.stop_reason) else ""
        yield "too_short", find_shortness(row.response)
        yield "language", find_other_language(row.response, self.language) if self.language else ""
        yield "mentions_rubric", find_rubric_mention(row.response, self.rubrics[row.rubric])
        yield "contaminated", self._contamination.find(row.user_prompt_id, row.user_prompt, row.response)

    @cached_property
    def _contamination(self) -> Contamination:
        return Contamination(self.benchmark)


def _out_of_band(row: TeacherResponse, score: float) -> str:
    if row.level == CONTROL or ScoreLevel.of(score) is row.level:
        return ""
    low, high = row.level.band
    band = f"from {low:g}" if row.level is ScoreLevel.LOW else f"above {low:g}"
    return f"scored {score:g}, expected {band} to {high:g} for {row.level.value}"
