"""What was read out of the text of a rubric, before it is known to be a valid one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from rubrics.levels import ScoreLevel
from rubrics.schema import MIN_HELDOUT_PARAPHRASES, MIN_TRAIN_PARAPHRASES, Descriptors, Measure, Rubric


@dataclass(frozen=True)
class Unplaced:
    """A line, or a cell of one, that has no place in a rubric; lines count from 1."""

    line: int
    text: str
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text!r}: {self.why}"


@dataclass(frozen=True)
class ParsedCriterion:
    """A criterion as far as it was found: `weight` in percent, descriptors by grade."""

    title: str
    id: str
    weight: float | None
    descriptors: Mapping[str, str]
    measure: Measure | None = None


@dataclass(frozen=True)
class ParsedRubric:
    """The fields that were found; None or empty are those that were not.

    Attributes:
        id: Id given in the text; None if it has none (it can be made from the title).
        system_prompts: Wordings by level and split ("train", "heldout"), however few.
        notes: Sentences on what was not read as it stands.
        unplaced: What stands nowhere in the other fields, in the order of the text.
    """

    id: str | None = None
    title: str | None = None
    family: str | None = None
    split: str | None = None
    objective: str | None = None
    criteria: tuple[ParsedCriterion, ...] = ()
    system_prompts: Mapping[ScoreLevel, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    rewards_and_penalties: str | None = None
    licence: str | None = None
    source: str | None = None
    notes: tuple[str, ...] = ()
    unplaced: tuple[Unplaced, ...] = ()

    def missing(self) -> tuple[str, ...]:
        """What keeps this from being a rubric, whatever its id, family, licence and source: a sentence each."""
        return tuple(self._missing())

    def missing_prompts(self) -> tuple[str, ...]:
        """What keeps the system prompts from being used, a sentence each; nothing if there are none."""
        least = {"train": MIN_TRAIN_PARAPHRASES, "heldout": MIN_HELDOUT_PARAPHRASES}
        found = {
            (level, split): len(self.system_prompts.get(level, {}).get(split, ()))
            for level in ScoreLevel
            for split in least
        }
        if not any(found.values()):
            return ()
        return tuple(
            f"system prompts, {level}, {split}: got {count} wordings, expected at least {least[split]}"
            for (level, split), count in found.items()
            if count < least[split]
        )

    def rubric(self, **given: str) -> Rubric:
        """The rubric; system prompts that are not complete (`missing_prompts`) are left out.

        Args:
            given: Fields that take the place of those found: id, family, licence, source.

        Raises:
            ValueError: If something required was not found, or the rubric is not valid.
        """
        if missing := self.missing():
            raise ValueError("; ".join(missing))
        content: dict[str, Any] = {
            name: value
            for name in ("id", "title", "family", "split", "objective", "rewards_and_penalties", "licence", "source")
            if (value := getattr(self, name)) is not None
        }
        content["criteria"] = [
            {"id": found.id, "title": found.title, "weight": found.weight, "measure": found.measure}
            | {"descriptors": dict(found.descriptors)}
            for found in self.criteria
        ]
        if not self.missing_prompts():
            content["system_prompts"] = self.system_prompts
        try:
            return Rubric.model_validate(content | given)
        except ValidationError as error:
            raise ValueError("; ".join(_problems(error))) from error

    def _missing(self) -> Iterator[str]:
        if not self.title:
            yield "title: not found, expected a heading or a line of its own above everything else"
        if not self.objective:
            yield "objective: not found, expected a heading or line 'Objective' with a text"
        if not self.criteria:
            yield (
                "criteria: not found, expected a table whose header names criterion, weight and five grades from "
                "excellent to unsatisfactory, or headings such as '## Vocabulary (20%)' above lines 'Excellent: ...'"
            )
        for criterion in self.criteria:
            if criterion.weight is None:
                yield f"weight of {criterion.title!r}: not found, expected percent"
            if absent := [grade for grade in Descriptors.model_fields if grade not in criterion.descriptors]:
                yield f"descriptors of {criterion.title!r}: no {', '.join(absent)}, expected five"
        weights = [criterion.weight for criterion in self.criteria if criterion.weight is not None]
        if self.criteria and len(weights) == len(self.criteria) and abs(sum(weights) - 100) > 1e-9:
            shown = " + ".join(f"{weight:g}" for weight in weights)
            yield f"weights: {shown}, read as percent, sum to {sum(weights):g}, expected 100"


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        yield f"{place}: {message}" if place else message
