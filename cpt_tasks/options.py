"""What the parameters of the benchmarks mean, and the checks of them before any response is paid for."""

from collections.abc import Sequence
from typing import Literal

from cpt_tasks.scorers import JudgeKind
from judges import DEFAULT_JUDGE, check_measurable, grader_model
from model_calls.inspect_private import PrerequisiteError
from rubrics import Rubric, ScoreLevel, Split, load_user_prompts


def check_choice(value: str, choices: Sequence[str], parameter: str) -> None:
    """Raises ValueError, naming the parameter and the choices, unless the value is one of them."""
    if value not in choices:
        raise ValueError(f"{parameter}: got {value!r}, expected one of {sorted(choices)}")


def levels_of(selection: str | list[str]) -> list[ScoreLevel]:
    """The levels of a selection: "all", or names as a list or separated by commas.

    Raises:
        ValueError: If a name is unknown.
    """
    names = selection.split(",") if isinstance(selection, str) else selection
    if names == ["all"]:
        return list(ScoreLevel)
    for name in names:
        check_choice(name, [level.value for level in ScoreLevel], "levels")
    return [ScoreLevel(name) for name in names]


def prompts_by_rubric(rubrics: Sequence[Rubric], split: Split, limit: int) -> dict[str, dict[str, str]]:
    """Rubric id -> user prompt id -> text: the first `limit` user prompts that the rubric's family is asked.

    Raises:
        ValueError: If the limit is below 1.
    """
    if limit < 1:
        raise ValueError(f"limit_per_cell: got {limit}, expected 1 or more")
    return {rubric.id: dict(list(load_user_prompts(split, rubric.family).items())[:limit]) for rubric in rubrics}


def check_judge(task: str, judge: JudgeKind | Literal["none"], rubrics: Sequence[Rubric]) -> None:
    """Whether the judge of a task can judge its rubrics, before any response is paid for.

    Raises:
        ValueError: If judge is "measured" and a rubric cannot be measured.
        PrerequisiteError: If judge is "model" and there is no key for it.
    """
    if judge == "measured":
        for rubric in rubrics:
            check_measurable(rubric)
    if judge != "model":
        return
    try:
        grader_model()
    except PrerequisiteError as error:
        if "ANTHROPIC_API_KEY" not in str(error.message):
            raise
        raise PrerequisiteError(
            f"{task}: ANTHROPIC_API_KEY is not set and the default judge is {DEFAULT_JUDGE}; set it, or bind "
            "another judge with --model-role grader=PROVIDER/MODEL, or judge without a model and without a key by "
            "-T judge=measured -T rubrics=measured"
        ) from error
