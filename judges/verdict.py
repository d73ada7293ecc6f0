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


def parse_verdict(rubric: Rubric, reply: str, response: str = "") -> tuple[tuple[CriterionJudgment, ...], float]:
    """Criterion judgments in the order of the rubric, and the holistic score, 0-100.

    The reply is one JSON object, alone or with words around it, in a code fence or not. With words around it, it must
    be the only thing in the reply that has braces, and must not stand in the judged response: a judge that quotes a
    verdict from the response and gives none of its own, or a second one, is refused rather than guessed at.

    Args:
        rubric: Whose criteria are expected.
        reply: What the judge wrote.
        response: What it judged.

    Raises:
        JudgeFailure: With mode malformed_json, missing_criterion, unknown_criterion or score_out_of_range.
    """
    try:
        verdict = Verdict.model_validate(_only_object(reply, response))
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
    return tuple(CriterionJudgment(id=c.id, score=c.score, reason=c.reason) for c in judgments), verdict.holistic_score


_FENCE = re.compile(r"```(?:json)?\s*(\{.*\})\s*```", re.DOTALL)


def _only_object(reply: str, response: str) -> Any:
    try:
        return _loads(reply)
    except json.JSONDecodeError:
        pass
    fence = _FENCE.search(reply)
    start, end = fence.span(1) if fence else (reply.find("{"), reply.rfind("}") + 1)
    if not 0 <= start < end:
        raise ValueError(f"no JSON object in a reply of {len(reply)} characters")
    outside = reply[:start] + reply[end:]
    if "{" in outside or "}" in outside:
        raise ValueError("braces beside the JSON object, expected one object and nothing like it around it")
    inner = reply[start:end]
    if "".join(inner.split()) in "".join(response.split()):
        raise ValueError("the only JSON object is one that the judged response wrote")
    return _loads(inner)


def _loads(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_repeats)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"an object names a key twice: {names}")
    return dict(pairs)
