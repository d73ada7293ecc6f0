"""What the parameters of the benchmarks mean, and the checks of them before any response is paid for."""

import logging
from collections.abc import Sequence
from typing import Literal, cast

from inspect_ai.scorer import Scorer

from cpt_tasks.samples import WordingSplit
from cpt_tasks.scorer import JudgeKind, rubric_judge
from judges import DEFAULT_JUDGE, DEFAULT_STORE, check_measurable, grader_model
from judges.model import JudgeProtocol
from judges.panel import Aggregate
from model_calls.inspect_private import PrerequisiteError
from rubrics import Rubric, ScoreLevel, Split, load_rubrics, load_user_prompts

JudgeOption = JudgeKind | Literal["none"]
logger = logging.getLogger(__name__)


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


def wording_split_of(wording_split: WordingSplit, paraphrases: str | None) -> WordingSplit:
    """The split of the wordings; `paraphrases` is the parameter's name before version 0.2, accepted until 0.3.

    Raises:
        ValueError: If it is neither "train" nor "heldout".
    """
    if paraphrases is not None:
        logger.warning("paraphrases is called wording_split since version 0.2; the old name goes in 0.3")
    check_choice(paraphrases or wording_split, ("train", "heldout"), "wording_split")
    return cast(WordingSplit, paraphrases or wording_split)


def scorer_of(
    task: str,
    judge: JudgeOption,
    rubrics: str | list[str],
    protocol: JudgeProtocol = "criteria",
    judge_repeats: int = 1,
    panel: Aggregate = "mean",
    call_store: str = DEFAULT_STORE,
    also: str | list[str] = "",
) -> Scorer | None:
    """`rubric_judge` with the parameters of a task, after checking that it can judge; None for judge "none".

    Raises:
        ValueError: If a parameter is unknown, or judge is "measured" and a rubric cannot be measured.
        PrerequisiteError: If judge is "model" and there is no key for it.
    """
    check_choice(judge, ("model", "measured", "none"), "judge")
    if judge == "none":
        return None
    check_judge(task, judge, [*load_rubrics(rubrics), *(load_rubrics(also) if also else [])])
    return rubric_judge(judge, rubrics, protocol, judge_repeats, panel, call_store, also)


def check_judge(task: str, judge: JudgeOption, rubrics: Sequence[Rubric]) -> None:
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
