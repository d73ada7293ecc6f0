"""Turns what a judge model replied into criterion scores, or says which way the reply is unusable. Pure."""

import json
import math
from typing import Any

from pydantic import BaseModel, ConfigDict

from judges.judgment import CriterionJudgment, JudgeFailure
from rubrics import Rubric


class CriterionVerdict(BaseModel):
    """One criterion as the judge is asked to write it: the reason before the score, 0-100."""

    model_config = ConfigDict(extra="forbid")
    id: str
    reason: str
    score: float


class Verdict(BaseModel):
    """The whole reply of a judge; its JSON schema goes to providers that enforce one."""

    model_config = ConfigDict(extra="forbid")
    criteria: list[CriterionVerdict]
    holistic_score: float


def parse_verdict(rubric: Rubric, reply: str) -> tuple[tuple[CriterionJudgment, ...], float]:
    """Criterion judgments in the order of the rubric, and the holistic score, 0-100.

    The verdict is the last JSON object with a `criteria` key in the reply, so that text around it does no harm.

    Raises:
        JudgeFailure: With mode malformed_json, missing_criterion, unknown_criterion or score_out_of_range.
    """
    try:
        verdict = Verdict.model_validate(_last_object(reply))
    except ValueError as error:
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


def _last_object(reply: str) -> dict[str, Any]:
    decoder = json.JSONDecoder()
    found: dict[str, Any] | None = None
    position = reply.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(reply, position)
        except json.JSONDecodeError:
            position = reply.find("{", position + 1)
            continue
        if isinstance(value, dict) and "criteria" in value:
            found = value
        position = reply.find("{", end)
    if found is None:
        raise ValueError(f"no JSON object with criteria in a reply of {len(reply)} characters")
    return found
