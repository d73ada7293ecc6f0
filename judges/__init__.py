"""What a judge is, without any task: the measured judge, the model judge and what they return."""

from judges.judgment import (
    NO_RESPONSE,
    FurtherJudgment,
    Judge,
    JudgeFailure,
    JudgeFailureRecord,
    Judgment,
    ScoreRecord,
    is_no_response,
    outcome_of,
    read_judgment,
)
from judges.measured import MEASURED, MeasuredJudge, check_measurable, measure, picture_problem
from judges.model import (
    DEFAULT_JUDGE,
    DEFAULT_STORE,
    JudgeProtocol,
    JudgeSettings,
    ModelJudge,
    grader_models,
    judge_hash,
    judge_model,
)
from judges.panel import Aggregate, Panel
from judges.prompts import PROMPT_VERSION, PromptVersion, judge_messages, prompt_version_of

__all__ = ["Aggregate", "DEFAULT_JUDGE", "DEFAULT_STORE", "FurtherJudgment", "Judge", "JudgeFailure"]
__all__ += ["JudgeFailureRecord", "JudgeProtocol", "JudgeSettings", "Judgment", "MEASURED", "MeasuredJudge"]
__all__ += ["ModelJudge", "NO_RESPONSE", "PROMPT_VERSION", "Panel", "PromptVersion", "ScoreRecord"]
__all__ += ["check_measurable", "grader_models", "is_no_response", "judge_hash", "judge_messages", "judge_model"]
__all__ += ["measure", "outcome_of", "picture_problem", "prompt_version_of", "read_judgment"]
