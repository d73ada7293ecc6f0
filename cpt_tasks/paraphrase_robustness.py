r"""Does it matter how a request is put? The same cell under several wordings, in two places, in words or as a number.

    inspect eval cpt_tasks/paraphrase_robustness --model anthropic/claude-haiku-5-5
    inspect eval cpt_tasks/paraphrase_robustness --model hf/local -M model_path=DIR -T judge=measured \
        -T rubrics=measured -T position=both -T style=both

With a model that samples, take --temperature 0, or what varies between wordings is partly the sampling.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Literal

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser
from inspect_ai.solver import generate

from cpt_tasks.dataset import ParaphraseSplit, content_hash
from cpt_tasks.parameters import check_choice, check_judge, levels_of, prompts_by_rubric
from cpt_tasks.rendering import check_rendering
from cpt_tasks.scorers import JudgeKind, rubric_judge
from judges import DEFAULT_STORE
from judges.model import JudgeProtocol
from judges.panel import Aggregate
from rubrics import Rubric, ScoreLevel, Split, load_rubrics

TASK_VERSION = "1-A"
POSITIONS = ("system", "user")
STYLES = ("descriptive", "number")
NUMBER_SENTENCE = "Aim for {score:.0f} out of 100."


@task
def paraphrase_robustness(
    rubrics: str | list[str] = "core",
    levels: str | list[str] = "all",
    user_prompts: Split = "test",
    paraphrases: ParaphraseSplit = "heldout",
    judge: JudgeKind | Literal["none"] = "model",
    max_wordings: int = 0,
    position: Literal["system", "user", "both"] = "system",
    style: Literal["descriptive", "number", "both"] = "descriptive",
    limit_per_cell: int = 3,
    protocol: JudgeProtocol = "criteria",
    judge_repeats: int = 1,
    panel: Aggregate = "mean",
    call_store: str = DEFAULT_STORE,
) -> Task:
    """Rubric x level x user prompt x wording (x position x style), one response each, judged by the rubric.

    Args:
        rubrics: As in `rubric_adherence`.
        levels: As there.
        user_prompts: Split of the user prompts, "test" or "train".
        paraphrases: Split of the system prompts' wordings, "heldout" or "train".
        judge: "model", "measured" or "none", as in `rubric_adherence`.
        max_wordings: At most this many wordings per rubric and level, the first ones of the split; 0 for all.
        position: The request in the "system" turn, at the head of the "user" turn (and no system turn), or "both". The
            judge reads the user prompt alone.
        style: The wording as it is ("descriptive"), with "Aim for N out of 100." after it ("number"; N is the middle of
            the band asked for, rounded: 20, 66, 96), or "both".
        limit_per_cell: At most this many user prompts per rubric and level, at least 1; the first ones of the split.
            The defaults stay under 500 responses.
        protocol: As in `rubric_judge`, as are the next three.
        judge_repeats: See there.
        panel: See there.
        call_store: See there.

    Raises:
        ValueError: If a parameter is unknown or a rubric cannot be measured.
        PrerequisiteError: If judge is "model" and there is no key for it.
    """
    check_choice(judge, ("model", "measured", "none"), "judge")
    check_choice(paraphrases, ("train", "heldout"), "paraphrases")
    check_choice(position, (*POSITIONS, "both"), "position")
    check_choice(style, (*STYLES, "both"), "style")
    if max_wordings < 0:
        raise ValueError(f"max_wordings: got {max_wordings}, expected 0 (all) or more")
    selected = load_rubrics(rubrics)
    check_judge("paraphrase_robustness", judge, selected)
    scorer = rubric_judge(judge, rubrics, protocol, judge_repeats, panel, call_store) if judge != "none" else None
    dataset = worded_samples(
        selected,
        levels_of(levels),
        prompts_by_rubric(selected, user_prompts, limit_per_cell),
        paraphrases,
        max_wordings,
        POSITIONS if position == "both" else (position,),
        STYLES if style == "both" else (style,),
    )
    return Task(dataset=dataset, solver=[check_rendering(), generate()], scorer=scorer, version=TASK_VERSION)


def worded_samples(
    rubrics: Sequence[Rubric],
    levels: Sequence[ScoreLevel],
    user_prompts: Mapping[str, Mapping[str, str]],
    paraphrases: ParaphraseSplit = "heldout",
    max_wordings: int = 0,
    positions: Sequence[str] = ("system",),
    styles: Sequence[str] = ("descriptive",),
) -> MemoryDataset:
    """One sample per (rubric, level, user prompt, wording, position, style); arguments as the task's parameters."""
    samples = []
    for rubric, level in product(rubrics, levels):
        wordings = rubric.wordings(level, paraphrases)[: max_wordings or None]
        for (prompt_id, text), (number, wording) in product(user_prompts[rubric.id].items(), enumerate(wordings)):
            for position, style in product(positions, styles):
                request = wording
                if style == "number":
                    request += " " + NUMBER_SENTENCE.format(score=level.midpoint)
                samples.append(
                    _sample(rubric, level, prompt_id, text, f"{paraphrases}-{number}", request, position, style)
                )
    return MemoryDataset(samples, name="paraphrase_robustness")


def _sample(
    rubric: Rubric,
    level: ScoreLevel,
    prompt_id: str,
    user_prompt: str,
    paraphrase: str,
    request: str,
    position: str,
    style: str,
) -> Sample:
    chat: list[ChatMessage] = [ChatMessageSystem(content=request), ChatMessageUser(content=user_prompt)]
    if position == "user":
        chat = [ChatMessageUser(content=f"{request}\n\n{user_prompt}")]
    digest = content_hash(rubric.hash, position, request, user_prompt)
    return Sample(
        id=f"{rubric.id}-{level}-{prompt_id}-{paraphrase}-{position}-{style}-{digest}",
        input=chat,
        target=level.value,
        metadata={
            "rubric": rubric.id,
            "rubric_hash": rubric.hash,
            "level": level.value,
            "prompt_id": prompt_id,
            "paraphrase": paraphrase,
            "position": position,
            "style": style,
            "user_prompt": user_prompt,
            "cell": f"{paraphrase} {position} {style}",
        },
    )
