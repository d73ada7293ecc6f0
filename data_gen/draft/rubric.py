"""Drafts a rubric from a sentence, or from a rubric written in prose; schema and linter say what to correct.

The draft has no system prompts yet: those are written by `cpt rubric prompts`.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from data_gen.draft.author import Author, Rejected
from data_gen.draft.prompts import PROMPT_VERSION, PROMPTS
from data_gen.generate.teachers import teacher_name
from rubrics import Rubric
from rubrics.lint import lint_rubric
from rubrics.schema import problem_texts

CRITERIA = range(3, 9)  # about five are asked for
ANY_CRITERIA = range(1, 31)  # of a rubric that somebody has written
WEIGHT_SUM = 100


# as the model is asked to write them: without lengths, patterns and bounds, which providers do not enforce
_STRICT = ConfigDict(extra="forbid")


class DraftDescriptors(BaseModel):
    """The five descriptors, best to worst."""

    model_config = _STRICT
    excellent: str
    good: str
    fair: str
    needs_improvement: str
    unsatisfactory: str


class DraftCriterion(BaseModel):
    """A criterion as the model is asked to write it; weights are percent."""

    model_config = _STRICT
    id: str
    title: str
    weight: float
    descriptors: DraftDescriptors


class DraftedRubric(BaseModel):
    """The whole answer; its JSON schema goes to providers that enforce one."""

    model_config = _STRICT
    id: str
    title: str
    objective: str
    criteria: list[DraftCriterion]
    rewards_and_penalties: str


async def draft_rubric(author: Author, text: str, fields: Mapping[str, str], file: str = "") -> Rubric:
    """A valid rubric without lint errors, and without system prompts.

    Weights that do not sum to 100 are scaled, and that is said; what else is wrong goes back to the model.

    Args:
        author: Who drafts.
        text: The sentence on a direction; or, with `file`, a rubric in prose.
        fields: What no model decides, by name: family, licence; the id, if it is given.
        file: Name of the file that the text was read from, for the source.

    Raises:
        DraftError: If the last attempt still has problems.
    """
    by = f"{teacher_name(str(author.model), {})} (draft prompt {PROMPT_VERSION})"
    if file:
        question = PROMPTS["from_text"].substitute(text=text)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        source, counts = f"Put into this form by {by} from {file} (SHA-256 {digest})", ANY_CRITERIA
    else:
        question, source, counts = PROMPTS["draft"].substitute(sentence=text), f"Drafted by {by} from: {text}", CRITERIA

    def check(draft: DraftedRubric) -> Rubric:
        if len(draft.criteria) not in counts:
            least, most = counts[0], counts[-1]
            raise Rejected(f"criteria: got {len(draft.criteria)}, expected {least} at least and {most} at most")
        return checked_rubric(draft, {**fields, "source": source}, author.say)

    return await author.ask_until("draft", question, DraftedRubric, check)


def checked_rubric(draft: DraftedRubric, fields: Mapping[str, str], say: Callable[[str], None]) -> Rubric:
    """The rubric that a draft makes; `say` takes scaled weights and lint warnings, which reject nothing.

    Raises:
        Rejected: With all problems at once; lint warnings among them only if there is an error as well.
    """
    given = [criterion.weight for criterion in draft.criteria]
    weights = scaled_weights(given)
    content = draft.model_dump() | dict(fields)
    for criterion, weight in zip(content["criteria"], weights, strict=True):
        criterion["weight"] = weight
    content["rewards_and_penalties"] = draft.rewards_and_penalties.strip() or None
    try:
        rubric = Rubric.model_validate(content)
    except ValidationError as error:
        raise Rejected(*problem_texts(error)) from error
    findings = lint_rubric(rubric)
    if any(finding.severity == "error" for finding in findings):
        raise Rejected(*(f"{finding.where}: {finding.message}" for finding in findings))
    if weights != given:
        shown = [", ".join(f"{weight:g}" for weight in row) for row in (given, weights)]
        say(f"weights {shown[0]} sum to {sum(given):g}, not {WEIGHT_SUM}: scaled to {shown[1]}")
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
