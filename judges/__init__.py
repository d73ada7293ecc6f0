"""What a judge is, without any task: the measured judge, the model judge and what they return."""

from judges.judgment import NO_RESPONSE, CriterionJudgment, FailureMode, Judge, JudgeFailure, Judgment
from judges.measured import MEASURED, MeasuredJudge, check_measurable, measure
from judges.measures import MEASURES
from judges.model import DEFAULT_JUDGE, ModelJudge, grader_model, judge_messages

__all__ = [
    "DEFAULT_JUDGE",
    "MEASURED",
    "MEASURES",
    "NO_RESPONSE",
    "CriterionJudgment",
    "FailureMode",
    "Judge",
    "JudgeFailure",
    "Judgment",
    "MeasuredJudge",
    "ModelJudge",
    "check_measurable",
    "grader_model",
    "judge_messages",
    "measure",
]
