"""The vocabulary of configurable preference tuning: rubrics, criteria, score levels and user prompts. No model call."""

from rubrics.levels import LOW_MAX, MAX_SCORE, MIN_SCORE, MODERATE_MAX, ScoreLevel
from rubrics.load import Split, all_user_prompts, load_rubric, load_rubrics, load_user_prompts, rubric_ids
from rubrics.schema import Criterion, Descriptors, Measure, Rubric, Wordings, joint_system_prompt

__all__ = ["LOW_MAX", "MAX_SCORE", "MIN_SCORE", "MODERATE_MAX", "Criterion", "Descriptors", "Measure", "Rubric"]
__all__ += ["ScoreLevel", "Split", "Wordings", "all_user_prompts", "joint_system_prompt", "load_rubric"]
__all__ += ["load_rubrics", "load_user_prompts", "rubric_ids"]
