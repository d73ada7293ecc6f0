"""What a judge returns, what it raises, and the interface every judge has."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from judges.measures import words
from rubrics import Rubric

MIN_RESPONSE_WORDS = 15
NO_RESPONSE = "no_response"

FailureMode = Literal[
    "refusal", "truncated", "malformed_json", "missing_criterion", "unknown_criterion", "score_out_of_range"
]


@dataclass(frozen=True)
class CriterionJudgment:
    """One criterion's score, 0-100, and the judge's reason for it (the measured value, for the measured judge)."""

    id: str
    score: float
    reason: str


@dataclass(frozen=True)
class Rating:
    """One asking of one judge about one response, where there were several.

    Attributes:
        seat: Which judge of the panel, from 0.
        judge: Its name.
        repeat: Which asking of it, from 0.
        score: Headline score, 0-100, or None if it failed.
        total: Weighted total of its criteria, 0-100, or None.
        holistic: Its overall score, 0-100, or None.
        failure_mode: How it failed, "" if it did not.
    """

    seat: int
    judge: str
    repeat: int
    score: float | None = None
    total: float | None = None
    holistic: float | None = None
    failure_mode: str = ""


@dataclass(frozen=True)
class Judgment:
    """A judge's view of one response.

    Attributes:
        score: Headline score, 0-100: the weighted total of the criteria, or the holistic score, by protocol.
        criteria: One entry per criterion, in the order of the rubric; empty when `reason` is set. Of the first asking
            that worked, where there were several.
        holistic: The judge's own overall score, 0-100 (the paper's protocol), or None for a judge without one.
        reason: "no_response" when the text was empty or under 15 words and scored 0 without being read, else "".
        judge: Which judge it was, e.g. "measured" or "anthropic/claude-sonnet-5-5".
        prompt_version: Version of the judge's prompt or of its counting rules.
        rubric_hash: `Rubric.hash` of the rubric judged by.
        served_model: Model name the provider reported; "" for the measured judge.
        attempts: Replies read, the failed ones included; 0 when nothing was asked.
        usage: Tokens of all attempts by kind (input_tokens, output_tokens, ...); empty when nothing was asked.
        protocol: "criteria" or "holistic": which of the two is the headline.
        total: Criterion scores weighted by the rubric, 0-100, computed by us; None when nothing was read.
        prompt_hash: Hash of the judge's prompt without rubric and response; "" for the measured judge.
        judge_hash: Hash of the model, its arguments and settings: what makes two judges of one name different; "" for
            the measured judge.
        usage_paid: The part of `usage` that this run paid for; the rest came from the call store.
        cost_usd: What all replies cost at the prices of `judges/prices.yaml`, in US dollars; None if they lack the
            model.
        ratings: Each asking, when a response was judged more than once or by several judges.
    """

    score: float
    criteria: tuple[CriterionJudgment, ...]
    holistic: float | None
    reason: str
    judge: str
    prompt_version: str
    rubric_hash: str
    served_model: str = ""
    attempts: int = 0
    usage: Mapping[str, int] = field(default_factory=dict)
    protocol: str = "criteria"
    total: float | None = None
    prompt_hash: str = ""
    judge_hash: str = ""
    usage_paid: Mapping[str, int] = field(default_factory=dict)
    cost_usd: float | None = None
    ratings: tuple[Rating, ...] = ()


class JudgeFailure(Exception):
    """The judge gave no usable verdict after all its attempts. The sample stays unscored; it is never a number.

    Attributes:
        mode: How the last attempt failed.
        detail: The rest of the message.
        attempts: Replies read.
        usage: Tokens of all attempts by kind.
        cost_usd: What they cost, as in `Judgment`.
        ratings: As in `Judgment`: the askings that worked are not lost with those that did not.
    """

    def __init__(
        self,
        mode: FailureMode,
        detail: str,
        attempts: int = 1,
        usage: Mapping[str, int] | None = None,
        cost_usd: float | None = None,
        ratings: tuple[Rating, ...] = (),
    ):
        super().__init__(f"{mode}: {detail}")
        self.mode: FailureMode = mode
        self.detail = detail
        self.attempts = attempts
        self.usage = dict(usage or {})
        self.cost_usd = cost_usd
        self.ratings = ratings


class Judge(Protocol):
    """Scores one response by one rubric."""

    async def judge(self, rubric: Rubric, user_prompt: str, response: str) -> Judgment:
        """Judgment of the response; raises JudgeFailure when there is none to be had."""
        ...


def is_no_response(response: str) -> bool:
    """Whether a text is too short to be judged: fewer than 15 words."""
    return len(words(response)) < MIN_RESPONSE_WORDS


def no_response(judge: str, prompt_version: str, rubric: Rubric) -> Judgment:
    """The judgment of an empty or too short text: score 0, with the reason, and no judge asked."""
    return Judgment(0.0, (), None, NO_RESPONSE, judge, prompt_version, rubric.hash, cost_usd=0.0)


def weighted_total(rubric: Rubric, scores: Mapping[str, float]) -> float:
    """Score, 0-100, of the whole rubric from the scores, 0-100, of its criteria by id."""
    total = math.fsum(criterion.weight * scores[criterion.id] for criterion in rubric.criteria) / 100
    return round(total, 9)  # weights such as 3.02 would carry a total of 100 beyond it, or one of 40 over the cut
