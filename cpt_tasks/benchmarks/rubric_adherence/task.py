"""Does a model's behaviour follow the system prompt? The main benchmark of configurability.

    inspect eval cpt_tasks/rubric_adherence --model anthropic/claude-haiku-5-5
    inspect eval cpt_tasks/rubric_adherence --model hf/local -M model_path=DIR -T judge=measured -T rubrics=measured

Every rubric of the selection is asked for at every level, on every user prompt of the split, by a short system prompt;
the response is judged 0-100 by the rubric. Source: Configurable Preference Tuning, arXiv 2506.11702.
"""

from dataclasses import dataclass, replace
from typing import Literal

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.solver import generate

from cpt_tasks.options import JudgedBy, JudgeOption, check_choice, checked, levels_of, prompts_by_rubric, rubrics_of
from cpt_tasks.rendering import check_rendering
from cpt_tasks.samples import PictureShown, Prompting, WordingSplit, adherence_samples
from cpt_tasks.scorer import scorer_of
from judges import JudgeProtocol
from rubrics import Split

TASK_VERSION = "1-A"
PresetName = Literal["core", "full", "paper", "measured"]


@dataclass(frozen=True)
class Preset:
    """What the parameters of the same names are where they are not given."""

    rubrics: str
    limit_per_cell: int
    wordings: int
    protocol: JudgeProtocol
    judge: JudgeOption = "model"


PRESETS: dict[str, Preset] = {
    "core": Preset("core", limit_per_cell=8, wordings=1, protocol="criteria"),
    "full": Preset("core", limit_per_cell=24, wordings=3, protocol="criteria"),
    "paper": Preset("film_reviews", limit_per_cell=24, wordings=1, protocol="holistic"),
    "measured": Preset("measured,measured_more", limit_per_cell=24, wordings=1, protocol="criteria", judge="measured"),
}


@task
@checked
def rubric_adherence(
    rubrics: str | list[str] | None = None,
    levels: str | list[str] = "all",
    user_prompts: Split = "test",
    wording_split: WordingSplit = "heldout",
    judge: JudgeOption | None = None,
    prompting: Prompting = "system_prompt",
    limit_per_cell: int | None = None,
    protocol: JudgeProtocol | None = None,
    wordings: int | None = None,
    preset: PresetName = "core",
    also: str | list[str] = "",
    family: str = "",
    picture: PictureShown = "own",
    judge_sees_image: bool = False,
    *,
    judging: JudgedBy,
) -> Task:
    """Rubric x level x user prompt, one response each, judged by the rubric.

    What is not given of rubrics, judge, limit_per_cell, wordings and protocol is the preset's. Lists may be
    comma-separated.

    Args:
        rubrics: "core" (the library without human_ratings, measured_more and pictures), its split "train" or "heldout",
            "all", families, ids or paths of .yaml files.
        levels: "all", or some of low, moderate, extremely_high.
        user_prompts: Split of the user prompts, "test" or "train".
        wording_split: Split of the system prompts' wordings, "heldout" or "train".
        judge: "model" (role `grader`, default Claude), "measured" (no key; rubrics whose criteria carry measures), or
            "none" to write responses only, for `inspect score` to judge later.
        prompting: "system_prompt", or "full_rubric" for the baseline that puts the whole rubric in the system turn.
        limit_per_cell: At most this many user prompts per (rubric, level), at least 1; the first ones of the split.
        protocol: Headline of a model judge, "criteria" or "holistic"; see `rubric_judge`.
        wordings: Under how many wordings of the system prompt each user prompt is asked, at least 1; no effect on
            "full_rubric".
        preset: "core", "full", "paper": the rubrics of film photography of arXiv 2506.11702 (here written anew), or
            "measured": the twelve that text statistics can judge, so without a key.
        also: Further rubrics that each response is judged by too, selected as `rubrics`; "" for none. The report then
            has the matrix of side effects: what asking for one rubric does to the others.
        family: Family of rubrics whose user prompts all are asked, such as "pictures"; "" for each rubric's own.
        picture: Which picture a user prompt of the family pictures shows: its "own", or as a control the "wrong" one,
            that of the next user prompt, or "none". Responses are judged by its own.
        judge_sees_image: Whether a model judge is shown the picture too.
        judging: `judge_repeats`, `panel`, `call_store` and `prompt_version`, see `rubric_judge`.

    Raises:
        ValueError: If a parameter is unknown or a rubric cannot be measured.
        PrerequisiteError: If judge is "model" and there is no key for it. The judge is looked up when the task is made,
            before any response is paid for, so from Python bind it by name: `eval("cpt_tasks/rubric_adherence",
            model_roles=...)`.
    """
    asked = (levels, user_prompts, wording_split, prompting, limit_per_cell, wordings, preset, family, picture)
    dataset = adherence_grid(rubrics, *asked)
    if also and not {"low", "extremely_high"} <= {*levels_of(levels)}:
        raise ValueError(f"also: got levels {levels!r}, expected low and extremely_high, which side effects compare")
    chosen = PRESETS[preset]
    judging = replace(judging, judge=judge or chosen.judge, protocol=protocol or chosen.protocol)
    return Task(
        dataset=dataset,
        solver=[check_rendering(), generate()],
        scorer=scorer_of("rubric_adherence", judging, dataset, rubrics or chosen.rubrics, also, judge_sees_image),
        version=TASK_VERSION,
    )


def adherence_grid(
    rubrics: str | list[str] | None = None,
    levels: str | list[str] = "all",
    user_prompts: Split = "test",
    wording_split: WordingSplit = "heldout",
    prompting: Prompting = "system_prompt",
    limit_per_cell: int | None = None,
    wordings: int | None = None,
    preset: PresetName = "core",
    family: str = "",
    picture: PictureShown = "own",
) -> MemoryDataset:
    """The samples of the task, from its parameters of the same names.

    Raises:
        ValueError: If a parameter is unknown.
    """
    check_choice(preset, list(PRESETS), "preset")
    chosen = PRESETS[preset]
    selected = rubrics_of(rubrics or chosen.rubrics)
    limit = chosen.limit_per_cell if limit_per_cell is None else limit_per_cell
    prompts = prompts_by_rubric(selected, user_prompts, limit, family)
    wordings = chosen.wordings if wordings is None else wordings
    check_choice(prompting, ("system_prompt", "full_rubric"), "prompting")
    check_choice(picture, ("own", "wrong", "none"), "picture")
    return adherence_samples(selected, levels_of(levels), prompts, wording_split, prompting, wordings, picture)
