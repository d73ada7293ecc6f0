"""What a rubric is: frozen pydantic models that mirror one YAML file of `rubrics/library/`.

A rubric is read by people and by judges. Its criteria carry five descriptors each; a criterion may also carry a
`measure`, the operational form of the criterion as a text statistic, which makes the rubric judgeable without a model.
"""

import hashlib
import json
import reprlib
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rubrics.levels import ScoreLevel

Text = Annotated[str, Field(min_length=1)]
Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
WordingSplit = Literal["train", "heldout"]

MIN_TRAIN_WORDINGS = 4
MIN_HELDOUT_WORDINGS = 3


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Descriptors(_Frozen):
    """How a response looks at five grades of one criterion, best to worst."""

    excellent: Text
    good: Text
    fair: Text
    needs_improvement: Text
    unsatisfactory: Text


GRADES = tuple(Descriptors.model_fields)


class Measure(_Frozen):
    """A named statistic of `judges/measures.py` and the linear ramp that maps it to 0-100.

    The criterion scores 0 at `start` or before it, 100 at `end` or beyond it. `end` below `start` is a falling ramp.
    """

    statistic: Slug
    start: float = Field(alias="from")
    end: float = Field(alias="to")

    @model_validator(mode="after")
    def _ramp_has_width(self) -> Self:
        if self.start == self.end:
            raise ValueError(f"from and to are both {self.start}, expected two different values")
        return self

    def score(self, value: float) -> float:
        """Criterion score, 0-100, for a value in the unit of the statistic."""
        return 100.0 * min(1.0, max(0.0, (value - self.start) / (self.end - self.start)))


class Criterion(_Frozen):
    """One row of a rubric. Weights are percent of the total score."""

    id: Slug
    title: Text
    weight: float = Field(gt=0, le=100)
    descriptors: Descriptors
    measure: Measure | None = None


class Wordings(_Frozen):
    """Wordings of one system prompt; `heldout` wordings never reach training data."""

    train: tuple[Text, ...] = Field(min_length=MIN_TRAIN_WORDINGS)
    heldout: tuple[Text, ...] = Field(min_length=MIN_HELDOUT_WORDINGS)

    @model_validator(mode="after")
    def _all_different(self) -> Self:
        wordings = Counter([*self.train, *self.heldout])
        [(wording, count)] = wordings.most_common(1)
        if count > 1:
            raise ValueError(f"wording given twice: {wording!r}, expected every wording once, train or heldout")
        return self


# what decides a score, by name: a field that is added to a model moves no hash until it stands here
_GRADED: dict[str, Any] = {
    **dict.fromkeys(("id", "title", "objective", "rewards_and_penalties"), True),
    "criteria": {
        "__all__": {
            **dict.fromkeys(("id", "title", "weight"), True),
            "descriptors": dict.fromkeys(GRADES, True),
            "measure": dict.fromkeys(("statistic", "start", "end"), True),
        }
    },
}


class Rubric(_Frozen):
    """A rubric with its criteria (in the order a judge reads them) and its system prompts per score level.

    `version` counts the editions of its system prompts: a wording that is rewritten makes a new one, whose responses
    are not compared with those of the old. `split` says whether its twins may train a student ("train") or are kept for
    measuring how well configurability carries over to rubrics never trained on ("heldout"). `system_prompts` has all
    levels, or none: a rubric without any can judge and be shown to teachers, but not configure a student.
    """

    id: Slug
    version: int = Field(default=1, ge=1)
    title: Text
    family: Slug
    split: Literal["train", "heldout"] = "train"
    objective: Text
    criteria: tuple[Criterion, ...] = Field(min_length=1)
    system_prompts: dict[ScoreLevel, Wordings] = Field(default_factory=dict)
    rewards_and_penalties: str | None = None
    licence: Text
    source: Text

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        total = sum(criterion.weight for criterion in self.criteria)
        if abs(total - 100) > 1e-9:
            raise ValueError(f"weights sum to {total:g}, expected 100")
        ids = [criterion.id for criterion in self.criteria]
        if len(set(ids)) < len(ids):
            raise ValueError(f"criterion ids {ids} repeat, expected each id once")
        if self.system_prompts and (
            missing := [str(level) for level in ScoreLevel if level not in self.system_prompts]
        ):
            raise ValueError(f"system_prompts lack {missing}, expected {[str(level) for level in ScoreLevel]}")
        return self

    def wordings(self, level: ScoreLevel, wording_split: WordingSplit) -> tuple[str, ...]:
        """The system prompts that ask for a level.

        Raises:
            ValueError: If the rubric has none.
        """
        if not self.system_prompts:
            remedy = "expected some for each level; `cpt rubric prompts` writes them"
            raise ValueError(f"rubric {self.id!r} has no system prompts, {remedy}")
        prompts = self.system_prompts[level]
        return prompts.train if wording_split == "train" else prompts.heldout

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of everything that decides a score (not of the system prompts)."""
        graded = self.model_dump(mode="json", include=_GRADED)
        return hashlib.sha256(json.dumps(graded, sort_keys=True).encode()).hexdigest()[:12]

    def render(self) -> str:
        """The rubric as the Markdown text that judges and full-rubric prompts read. Measures are not shown."""
        lines = [f"# {self.title}", "", f"Objective: {self.objective}", ""]
        for criterion in self.criteria:
            lines.append(f"## {criterion.title} (id: {criterion.id}, weight {criterion.weight:g}%)")
            grades = criterion.descriptors.model_dump()
            lines += [f"- {grade.replace('_', ' ').capitalize()}: {text}" for grade, text in grades.items()]
            lines.append("")
        if self.rewards_and_penalties:
            lines += ["## Rewards and penalties", self.rewards_and_penalties, ""]
        return "\n".join(lines).strip() + "\n"


def joint_system_prompt(wordings: Sequence[str]) -> str:
    """One system prompt that asks for several rubrics at once: all the wordings, in order, as paragraphs."""
    return "\n\n".join(wordings)


def problem_texts(error: ValueError) -> list[str]:
    """A sentence (field, expected, got) on everything that breaks a schema; of another error its text."""
    if not isinstance(error, ValidationError):
        return [str(error)]
    texts = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        got = "" if problem["type"] in ("value_error", "missing") else f", got {reprlib.repr(problem['input'])}"
        sentence = problem["msg"].removeprefix("Value error, ") + got
        texts.append(f"{where}: {sentence}" if where else sentence)
    return texts
