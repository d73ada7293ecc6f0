"""What a judge returns, what it raises, the interface every judge has, and the record that a log keeps of it all."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from judges.counting import words
from rubrics import Rubric
from rubrics.pictures import Picture
from rubrics.schema import problem_texts

SCHEMA = 1  # of the records below; those of logs from before it was written have the same keys
MIN_RESPONSE_WORDS = 15
NO_RESPONSE = "no_response"

FailureMode = Literal[
    "refusal", "truncated", "malformed_json", "missing_criterion", "unknown_criterion", "score_out_of_range"
]
Points = Annotated[float, Field(ge=0, le=100)]  # nan is neither


class _Record(BaseModel):
    """Keys that a record does not know are ignored: a scorer may keep more beside it."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )


_Read = TypeVar("_Read", bound=_Record)


class CriterionJudgment(_Record):
    """One criterion's score, 0-100, and the judge's reason for it (the measured value, for the measured judge)."""

    id: str
    score: Points
    reason: str


class Rating(_Record):
    """One asking of one judge about one response, where there were several.

    Attributes:
        seat: Which judge of the panel, from 0.
        repeat: Which asking of it, from 0.
        score: Headline score, None if it failed; total and holistic as in `Judgment`.
        failure_mode: How it failed, "" if it did not.
    """

    seat: int
    judge: str
    repeat: int
    score: Points | None = None
    total: Points | None = None
    holistic: Points | None = None
    failure_mode: str = ""


class _Outcome(_Record):
    """What asking a judge leaves behind, whether it worked or not.

    Attributes:
        schema_version: Version of this record; `schema` in files.
        rubric_hash: `Rubric.hash` of the rubric judged by.
        attempts: Replies read, the failed ones included; 0 when nothing was asked.
        usage: Tokens of all attempts by kind (input_tokens, output_tokens, ...); empty when nothing was asked.
        cost_usd: What all replies cost, US dollars; None if `judges/prices.yaml` has no price of the model.
        ratings: Each asking, when a response was judged more than once or by several judges.
    """

    schema_version: int = Field(default=SCHEMA, alias="schema", ge=1, le=SCHEMA)
    rubric_hash: str
    attempts: int = 0
    usage: dict[str, int] = Field(default_factory=dict)
    cost_usd: float | None = None
    ratings: tuple[Rating, ...] = ()


class Judgment(_Outcome):
    """A judge's view of one response.

    Attributes:
        score: Headline score, 0-100: the weighted total of the criteria, or the holistic score, by protocol.
        criteria: One entry per criterion, in the order of the rubric; empty when `reason` is set. Of the first asking
            that worked, where there were several.
        holistic: The judge's own overall score, 0-100 (the paper's protocol), or None for a judge without one.
        reason: "no_response" when the text was empty or under 15 words and scored 0 without being read, else "".
        judge: Which judge it was, e.g. "measured" or "anthropic/claude-sonnet-5-5".
        prompt_version: Version of the judge's prompt or of its counting rules.
        served_model: Model name the provider reported; "" for the measured judge.
        protocol: "criteria" or "holistic": which of the two is the headline.
        total: Criterion scores weighted by the rubric, 0-100, computed by us; None when nothing was read.
        prompt_hash: Hash of the judge's prompt without rubric and response; "" for the measured judge.
        judge_hash: Hash of model, arguments and settings: tells judges of one name apart; "" for the measured judge.
    """

    score: Points
    criteria: tuple[CriterionJudgment, ...] = ()
    holistic: Points | None = None
    reason: str = ""
    judge: str
    prompt_version: str
    served_model: str = ""
    protocol: str = "criteria"
    total: Points | None = None
    prompt_hash: str = ""
    judge_hash: str = ""


@dataclass(eq=False)
class JudgeFailure(Exception):
    """The judge gave no usable verdict after all its attempts. The sample stays unscored; it is never a number.

    `mode` is how the last attempt failed; attempts, usage, cost and ratings are as in `Judgment`, so the askings that
    worked are not lost.
    """

    mode: FailureMode
    detail: str
    attempts: int = 1
    usage: Mapping[str, int] = field(default_factory=dict)
    cost_usd: float | None = None
    ratings: tuple[Rating, ...] = ()

    def __str__(self) -> str:
        return f"{self.mode}: {self.detail}"


class Judge(Protocol):
    """Scores one response by one rubric."""

    async def judge(self, rubric: Rubric, user_prompt: str, response: str, picture: Picture | None = None) -> Judgment:
        """Judgment of the response to a user prompt, and to the picture it shows, if it does.

        Raises:
            JudgeFailure: When there is none to be had.
        """
        ...


class JudgeFailureRecord(_Outcome):
    """What a log keeps of a `JudgeFailure`; the response has no score.

    In lm-eval the mode is "call_failed" where the call could not be made, and "judge_stopped" for every response of a
    run whose judge grades on another scale.
    """

    failure_mode: str = Field(min_length=1)
    failure: str = ""

    @classmethod
    def of(cls, failure: JudgeFailure, rubric: Rubric) -> "JudgeFailureRecord":
        """The record of a failure to judge by the rubric."""
        return cls(failure_mode=failure.mode, failure=str(failure), **_spent(failure, rubric))


class FurtherJudgment(_Record):
    """What is kept of the judgment by a rubric that is not the response's own: no score, but how, if it failed."""

    score: Points | None
    failure_mode: str = ""
    rubric_hash: str
    attempts: int = 0
    usage: dict[str, int] = Field(default_factory=dict)
    cost_usd: float | None = None

    @classmethod
    def of(cls, outcome: Judgment | JudgeFailure, rubric: Rubric) -> "FurtherJudgment":
        """The entry of a judgment, or of its failure, by the rubric."""
        if isinstance(outcome, JudgeFailure):
            return cls(score=None, failure_mode=outcome.mode, **_spent(outcome, rubric))
        return cls(score=outcome.score, **_spent(outcome, rubric))


class ScoreRecord(_Record):
    """What a scorer keeps of one response in `Score.metadata`, flat: the fields of its judgment, and these.

    Attributes:
        epoch: Which response to its sample, from 1.
        words: Length of the visible answer in words.
        thought_words: Length of the chain of thought before it, which no judge reads.
        stop_reason: Why the student stopped, as inspect names it; None where the log does not say.
        judge_repeats: How often each model judge was asked.
        also: Judgments by further rubrics, by rubric id.
    """

    judgment: Judgment | JudgeFailureRecord
    epoch: int = 1
    words: int
    thought_words: int = 0
    stop_reason: str | None = None
    judge_repeats: int = 1
    also: dict[str, FurtherJudgment] = Field(default_factory=dict)

    def to_metadata(self) -> dict[str, Any]:
        """The record as a log keeps it, one flat object; without further judgments there is no key `also`."""
        own = self.model_dump(exclude={"judgment"} | ({"also"} if not self.also else set()))
        return own | self.judgment.model_dump()

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> "ScoreRecord":
        """The record that `to_metadata` wrote, of this or an earlier version; other keys are ignored.

        Raises:
            ValueError: If it is no such record, or one of a later version.
        """
        return _read(cls, dict(metadata) | {"judgment": read_judgment(metadata)})


def read_judgment(metadata: Mapping[str, Any]) -> Judgment | JudgeFailureRecord:
    """The judgment in the metadata of a score, or how the judge failed.

    Raises:
        ValueError: If the metadata holds neither, or a record of a later version.
    """
    if metadata.get("failure_mode"):
        return _read(JudgeFailureRecord, metadata)
    return _read(Judgment, metadata)


async def outcome_of(
    judge: Judge, rubric: Rubric, user_prompt: str, response: str, picture: Picture | None = None
) -> Judgment | JudgeFailure:
    """The judgment of a response, or the failure in its place, for callers that go on with the next response."""
    try:
        return await judge.judge(rubric, user_prompt, response, picture)
    except JudgeFailure as failure:
        return failure


def is_no_response(response: str) -> bool:
    """Whether a text is too short to be judged: fewer than 15 words, in whatever script."""
    return len(words(response)) < MIN_RESPONSE_WORDS


def weighted_total(rubric: Rubric, scores: Mapping[str, float]) -> float:
    """Score, 0-100, of the whole rubric from the scores, 0-100, of its criteria by id."""
    total = math.fsum(criterion.weight * scores[criterion.id] for criterion in rubric.criteria) / 100
    return round(total, 9)  # weights such as 3.02 would carry a total of 100 beyond it, or one of 40 over the cut


def _spent(outcome: Judgment | JudgeFailure, rubric: Rubric) -> dict[str, Any]:
    return {
        "rubric_hash": rubric.hash,
        "attempts": outcome.attempts,
        "usage": dict(outcome.usage),
        "cost_usd": outcome.cost_usd,
        "ratings": outcome.ratings,
    }


def _read(kind: type[_Read], values: Mapping[str, Any]) -> _Read:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        expected = f"what the scorer rubric_judge writes (schema {SCHEMA} or older)"
        raise ValueError(f"judgment: {problem_texts(error)[0]}, expected {expected}") from error
