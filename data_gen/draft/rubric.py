"""Drafts a rubric from a sentence, or from a rubric written in prose; schema and linter say what to correct."""

import hashlib
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from data_gen.draft.author import PROMPT_VERSION, PROMPTS, Author, Rejected
from rubrics import Rubric
from rubrics.lint import lint_rubric
from rubrics.schema import problem_texts

CRITERIA = range(3, 9)  # about five are asked for
ANY_CRITERIA = range(1, 31)  # of a rubric that somebody has written


# as the model is asked to write them: without lengths, patterns and bounds, which providers do not enforce
class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DraftDescriptors(_Strict):
    """The five descriptors, best to worst."""

    excellent: str
    good: str
    fair: str
    needs_improvement: str
    unsatisfactory: str


class DraftCriterion(_Strict):
    """A criterion; its weight is percent."""

    id: str
    title: str
    weight: float
    descriptors: DraftDescriptors


class DraftedRubric(_Strict):
    """The whole answer; its JSON schema goes to providers that enforce one."""

    id: str
    title: str
    objective: str
    criteria: list[DraftCriterion]
    rewards_and_penalties: str


async def draft_rubric(author: Author, text: str, fields: Mapping[str, str], file: str = "") -> Rubric:
    """A valid rubric without lint errors, and without system prompts; lint warnings are said.

    Args:
        author: Who drafts.
        text: The sentence on a direction; or, with `file`, a rubric in prose.
        fields: What no model decides, by name: family, licence; the id, if it is given.
        file: Name of the file that the text was read from, for the source.

    Raises:
        DraftError: If the last attempt still has problems.
    """
    by = f"{author.teacher.name} (draft prompt {PROMPT_VERSION})"
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
        return _checked(draft, {**fields, "source": source})

    rubric = await author.ask_until("draft", question, DraftedRubric, check)
    for finding in lint_rubric(rubric):
        author.say(str(finding))
    return rubric


def _checked(draft: DraftedRubric, fields: Mapping[str, str]) -> Rubric:
    content = draft.model_dump() | dict(fields)
    content["rewards_and_penalties"] = draft.rewards_and_penalties.strip() or None
    try:
        rubric = Rubric.model_validate(content)
    except ValidationError as error:
        raise Rejected(*problem_texts(error)) from error
    findings = lint_rubric(rubric)
    if any(finding.severity == "error" for finding in findings):
        raise Rejected(*(f"{finding.where}: {finding.message}" for finding in findings))
    return rubric
