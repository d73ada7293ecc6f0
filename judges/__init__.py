"""What a judge is, without any task: the measured judge, the model judge and what they return."""

from judges.judgment import (
    NO_RESPONSE,
    FurtherJudgment,
    Judge,
    JudgeFailure,
    JudgeFailureRecord,
    Judgment,
    ScoreRecord,
    outcome_of,
    read_judgment,
)
from judges.measured import MEASURED, MeasuredJudge, check_measurable, measure
from judges.model import (
    DEFAULT_JUDGE,
    DEFAULT_STORE,
    ModelJudge,
    grader_models,
    judge_hash,
    judge_model,
)
from judges.panel import Panel
from judges.prompts import judge_messages

__all__ = [
    "DEFAULT_JUDGE",
    "DEFAULT_STORE",
    "MEASURED",
    "NO_RESPONSE",
    "FurtherJudgment",
    "Judge",
    "JudgeFailure",
    "JudgeFailureRecord",
    "Judgment",
    "MeasuredJudge",
    "ModelJudge",
    "Panel",
    "ScoreRecord",
    "check_measurable",
    "grader_models",
    "judge_hash",
    "judge_messages",
    "judge_model",
    "measure",
    "outcome_of",
    "read_judgment",
]
