"""The judged responses of the runs, as the page holds them: all scores in columns, and texts for reading."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cpt_tasks.report.run import Run
from model_calls.errors import was_cut_off
from rubrics import ScoreLevel


@dataclass(frozen=True, slots=True)
class Criterion:
    """The judge's score, 0-100, of one criterion, and the reason for it."""

    id: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """One judged response.

    Attributes:
        rubric: Rubric id.
        level: Level asked for, a numeric target as text, e.g. "30", or another word where no level was asked for.
        prompt_id: Id of the user prompt.
        wording: Which wording of the system prompt, e.g. "heldout-2"; "" if the log does not say.
        epoch: Which of several responses to the same question, from 1.
        score: Judgment, 0-100.
        words: Length of the response in words.
        note: "no response", "cut at the token limit" or "".
        system_prompt: What the system turn said.
        user_prompt: What the user asked.
        response: What the model wrote.
        criteria: The judge's scores by criterion; empty where it gave none.
        holistic: The judge's overall score, 0-100, or None.
    """

    rubric: str
    level: str
    prompt_id: str
    wording: str
    epoch: int
    score: float
    words: int
    note: str
    system_prompt: str
    user_prompt: str
    response: str
    criteria: tuple[Criterion, ...] = ()
    holistic: float | None = None

    @property
    def miss(self) -> float | None:
        """Score points outside what was asked for: below it negative, above it positive, 0 inside.

        Against a numeric target it is the plain difference; None where no level was asked for.
        """
        if self.level in LEVELS:
            level = ScoreLevel(self.level)
            inside = ScoreLevel.of(self.score) is level
            # the lower edge of a band belongs to the level below: a hair outside
            return level.distance(self.score) or (0.0 if inside else -EDGE)
        target = _number(self.level)
        return None if target is None else self.score - target


@dataclass(frozen=True)
class RunRecords:
    """The records of one model on one benchmark."""

    task: str
    model: str
    records: Sequence[Record]


LEVELS = tuple(level.value for level in ScoreLevel)
EDGE = 0.1


def level_order(levels: Iterable[str]) -> list[str]:
    """Distinct levels as a page lists them: score levels from low up, then targets by size, then words."""
    found = set(levels)
    targets = {level: number for level in found if (number := _number(level)) is not None}
    words = sorted(found - set(LEVELS) - set(targets))
    return [level for level in LEVELS if level in found] + sorted(targets, key=targets.__getitem__) + words


def records_of(run: Run) -> RunRecords:
    """The scored samples of a run, in the order of its log."""
    return RunRecords(run.task, run.name, [_record(row) for row in run.scored.to_dict("records")])


def _record(row: dict[str, Any]) -> Record:
    judgment = row["record"].judgment
    return Record(
        rubric=row["rubric"],
        # a benchmark of numeric targets names the target beside the band that holds it
        level=row["level"] if math.isnan(row["target"]) else f"{row['target']:g}",
        prompt_id=row["user_prompt_id"],
        wording=row["wording"],
        epoch=row["epoch"],
        score=row["score"],
        words=int(row["words"]),
        note=_note(row),
        system_prompt=row["system_prompt"],
        user_prompt=row["user_prompt"],
        response=row["response"],
        criteria=tuple(Criterion(one.id, one.score, one.reason) for one in judgment.criteria),
        holistic=judgment.holistic,
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _note(row: dict[str, Any]) -> str:
    if row["reason"]:
        return str(row["reason"]).replace("_", " ")
    return "cut at the token limit" if was_cut_off(row["stop_reason"]) else ""
