"""Drafts a rubric from one sentence: a model proposes it, the schema and the linter of `rubrics` say what to mend.

    cpt rubric draft "How much the text sounds like a ship's log." --model anthropic/claude-sonnet-5-5

The draft has no system prompts yet: those are written by `cpt rubric prompts`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, ValidationError

from data_gen.drafting.calls import Author, Rejected, schema_problems
from data_gen.drafting.prompts import PROMPT_VERSION, draft_messages
from data_gen.generate.teachers import teacher_name
from rubrics import Rubric
from rubrics.lint import lint_rubric

CRITERIA = range(3, 9)  # about five are asked for
WEIGHT_SUM = 100


class DraftDescriptors(BaseModel):
    """The five descriptors as the model is asked to write them; without lengths, which providers do not enforce."""

    model_config = ConfigDict(extra="forbid")
    excellent: str
    good: str
    fair: str
    needs_improvement: str
    unsatisfactory: str


class DraftCriterion(BaseModel):
    """A criterion as the model is asked to write it; weights are percent."""

    model_config = ConfigDict(extra="forbid")
    id: str
    title: str
    weight: float
    descriptors: DraftDescriptors


class DraftedRubric(BaseModel):
    """The whole answer; its JSON schema goes to providers that enforce one."""

    model_config = ConfigDict(extra="forbid")
    id: str
    title: str
    objective: str
    criteria: list[DraftCriterion]
    rewards_and_penalties: str


@dataclass(frozen=True)
class DraftFields:
    """What the author of a rubric decides and no model.

    Attributes:
        id: Id of the rubric; None takes the one that the model proposes.
        family: Decides which user prompts are asked.
        licence: Goes into the file as it stands.
    """

    id: str | None
    family: str
    licence: str


async def draft_rubric(author: Author, sentence: str, fields: DraftFields) -> Rubric:
    """A valid rubric without lint errors, and without system prompts.

    Weights that do not sum to 100 are scaled, and that is said; what else is wrong goes back to the model.

    Raises:
        DraftError: If the last attempt still has problems.
    """
    source = f"Drafted by {teacher_name(str(author.model), {})} (draft prompt {PROMPT_VERSION}) from: {sentence}"

    def check(draft: DraftedRubric) -> Rubric:
        return checked_rubric(draft, fields, source, author.say)

    return await author.ask_until("draft", draft_messages(sentence), DraftedRubric, check)


def checked_rubric(draft: DraftedRubric, fields: DraftFields, source: str, say: Callable[[str], None]) -> Rubric:
    """The rubric that a draft makes.

    Args:
        draft: What the model wrote.
        fields: What it does not decide.
        source: Goes into the file.
        say: Is told of scaled weights and of lint warnings, which reject nothing.

    Raises:
        Rejected: With all problems found at once; lint warnings among them only if there is an error as well.
    """
    if len(draft.criteria) not in CRITERIA:
        least, most = CRITERIA[0], CRITERIA[-1]
        raise Rejected(
            [f"criteria: got {len(draft.criteria)}, expected about five, {least} at least and {most} at most"]
        )
    given = [criterion.weight for criterion in draft.criteria]
    weights = scaled_weights(given)
    content = draft.model_dump() | {"id": fields.id or draft.id, "family": fields.family}
    for criterion, weight in zip(content["criteria"], weights, strict=True):
        criterion["weight"] = weight
    content["rewards_and_penalties"] = draft.rewards_and_penalties.strip() or None
    try:
        rubric = Rubric.model_validate(content | {"licence": fields.licence, "source": source})
    except ValidationError as error:
        raise Rejected(schema_problems(error)) from error
    findings = lint_rubric(rubric)
    if any(finding.severity == "error" for finding in findings):
        raise Rejected([f"{finding.where}: {finding.message}" for finding in findings])
    if weights != given:
        say(f"weights {_listed(given)} sum to {sum(given):g}, not {WEIGHT_SUM}: scaled to {_listed(weights)}")
    for finding in findings:
        say(str(finding))
    return rubric


def scaled_weights(weights: Sequence[float]) -> list[float]:
    """Weights scaled to a sum of 100, in whole percent by largest remainder; as they are if they sum to 100.

    Weights that are not all above 0 are returned as they are, for the schema to refuse.
    """
    total = sum(weights)
    if abs(total - WEIGHT_SUM) < 1e-9 or not all(0 < weight < float("inf") for weight in weights):
        return list(weights)
    exact = [weight * WEIGHT_SUM / total for weight in weights]
    whole = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda position: whole[position] - exact[position])
    for position in by_remainder[: WEIGHT_SUM - sum(whole)]:
        whole[position] += 1
    return [float(share) for share in whole]


def _listed(weights: Sequence[float]) -> str:
    return ", ".join(f"{weight:g}" for weight in weights)
