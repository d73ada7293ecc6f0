"""The judged responses of the runs, as the page holds them: all scores in columns, and texts for reading."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from inspect_ai.log import EvalSample
from inspect_ai.scorer import Score

from cpt_tasks.runs import CUT_REASONS, ModelRun
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


def records_of(run: ModelRun) -> RunRecords:
    """The scored samples of a run, in the order of its log."""
    return RunRecords(run.task, run.name, [_record(sample, score) for sample, score in run.samples])


def _record(sample: EvalSample, score: Score) -> Record:
    metadata, facts = sample.metadata, score.metadata or {}
    return Record(
        rubric=str(metadata["rubric"]),
        level=_level(metadata),
        prompt_id=str(metadata["prompt_id"]),
        wording=str(metadata.get("paraphrase", "")),
        epoch=sample.epoch,
        score=score.as_float(),
        words=int(facts["words"]),
        note=_note(facts),
        system_prompt=_turn(sample, "system"),
        user_prompt=_turn(sample, "user"),
        response=score.answer if score.answer is not None else sample.output.completion,
        criteria=tuple(
            Criterion(str(found["id"]), float(found["score"]), str(found["reason"]))
            for found in facts.get("criteria") or ()
        ),
        holistic=facts.get("holistic"),
    )


def _level(metadata: dict[str, Any]) -> str:
    # a benchmark of numeric targets names the target beside the band that holds it
    target = metadata.get("target")
    return f"{float(target):g}" if isinstance(target, int | float) else str(metadata["level"])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _note(facts: dict[str, Any]) -> str:
    if facts.get("reason"):
        return str(facts["reason"]).replace("_", " ")
    return "cut at the token limit" if facts.get("stop_reason") in CUT_REASONS else ""


def _turn(sample: EvalSample, role: str) -> str:
    if isinstance(sample.input, str):
        return sample.input if role == "user" else ""
    return "\n\n".join(message.text for message in sample.input if message.role == role)
