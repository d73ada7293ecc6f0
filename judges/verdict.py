"""Turns what a judge model replied into criterion scores, or says which way the reply is unusable. Pure."""

import json
import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from judges.judgment import CriterionJudgment, JudgeFailure
from rubrics import Rubric


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("got true or false, expected a number")
    return value


Points = Annotated[float, BeforeValidator(_no_bool)]


class CriterionVerdict(BaseModel):
    """One criterion as the judge is asked to write it: the reason before the score, 0-100."""

    model_config = ConfigDict(extra="forbid")
    id: str
    reason: str
    score: Points


class Verdict(BaseModel):
    """The whole reply of a judge; its JSON schema goes to providers that enforce one."""

    model_config = ConfigDict(extra="forbid")
    criteria: list[CriterionVerdict]
    holistic_score: Points


def parse_verdict(rubric: Rubric, reply: str) -> tuple[tuple[CriterionJudgment, ...], float]:
    """Criterion judgments in the order of the rubric, and the holistic score, 0-100.

    A reply holds exactly one JSON object: alone, in a code fence, or with prose without braces around it. A reply with
    two verdicts, or one with braces in its prose, is refused rather than guessed at: the second object could be one
    that the judged text wrote and the judge quoted.

    Raises:
        JudgeFailure: With mode malformed_json, missing_criterion, unknown_criterion or score_out_of_range.
    """
    try:
        verdict = Verdict.model_validate(_only_object(reply))
    except (ValueError, RecursionError) as error:
        raise JudgeFailure("malformed_json", f"{error}".splitlines()[0]) from error
    by_id = {criterion.id: criterion for criterion in verdict.criteria}
    expected = [criterion.id for criterion in rubric.criteria]
    unknown = [entry.id for entry in verdict.criteria if entry.id not in expected]
    if unknown or len(by_id) < len(verdict.criteria):
        raise JudgeFailure(
            "unknown_criterion", f"got {[c.id for c in verdict.criteria]}, expected {expected} once each"
        )
    missing = [criterion_id for criterion_id in expected if criterion_id not in by_id]
    if missing:
        raise JudgeFailure("missing_criterion", f"reply lacks {missing}")
    scores = [*(by_id[criterion_id].score for criterion_id in expected), verdict.holistic_score]
    if not all(math.isfinite(score) and 0 <= score <= 100 for score in scores):
        raise JudgeFailure("score_out_of_range", f"got {scores}, expected numbers from 0 to 100")
    judgments = (by_id[criterion_id] for criterion_id in expected)
    return tuple(CriterionJudgment(c.id, c.score, c.reason) for c in judgments), verdict.holistic_score


_FENCE = re.compile(r"```(?:json)?\s*(\{.*\})\s*```", re.DOTALL)


def _only_object(reply: str) -> Any:
    fences = _FENCE.findall(reply)
    start, end = reply.find("{"), reply.rfind("}")
    if len(fences) == 1:
        text = fences[0]
    elif start >= 0 and end > start:
        text = reply[start : end + 1]
    else:
        raise ValueError(f"no JSON object in a reply of {len(reply)} characters")
    return json.loads(text, object_pairs_hook=_without_repeats)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"an object names a key twice: {names}")
    return dict(pairs)
