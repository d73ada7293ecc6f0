r"""Does it matter how a request is put? The same cell under several wordings, in two places, in words or as a number.

    inspect eval cpt_tasks/paraphrase_robustness --model hf/local -M model_path=DIR -T judge=measured \
        -T rubrics=measured -T position=both -T style=both

With a model that samples, take --temperature 0, or what varies between wordings is partly the sampling.
"""

from itertools import product
from typing import Literal

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.solver import generate

from cpt_tasks.options import (
    JudgedBy,
    check_choice,
    check_least,
    checked,
    levels_of,
    prompts_by_rubric,
    rubrics_of,
)
from cpt_tasks.rendering import check_rendering
from cpt_tasks.samples import WordingSplit, content_hash, sample_of, spread, user_turn
from cpt_tasks.scorer import scorer_of
from model_calls.call import content_of
from rubrics import Split

TASK_VERSION = "1-A"
POSITIONS = ("system", "user")
STYLES = ("descriptive", "number")
NUMBER_SENTENCE = "Aim for {score:.0f} out of 100."


@task
@checked
def paraphrase_robustness(
    rubrics: str | list[str] = "core",
    levels: str | list[str] = "all",
    user_prompts: Split = "test",
    wording_split: WordingSplit = "heldout",
    max_wordings: int = 0,
    position: Literal["system", "user", "both"] = "system",
    style: Literal["descriptive", "number", "both"] = "descriptive",
    limit_per_cell: int = 3,
    *,
    judging: JudgedBy,
) -> Task:
    """Rubric x level x user prompt x wording (x position x style), one response each, judged by the rubric.

    Parameters and errors are those of `rubric_adherence`, and:

    - `max_wordings`: at most this many wordings per rubric and level, the first ones of the split; 0 for all.
    - `position`: the request in the "system" turn, at the head of the "user" turn (and no system turn), or "both". The
      judge reads the user prompt alone.
    - `style`: the wording as it is ("descriptive"), with "Aim for N out of 100." after it ("number"; N is the middle of
      the band asked for, rounded: 20, 66, 96), or "both".
    """
    check_choice(position, (*POSITIONS, "both"), "position")
    check_choice(style, (*STYLES, "both"), "style")
    check_least(max_wordings, 0, "max_wordings")
    selected = rubrics_of(rubrics)
    prompts = prompts_by_rubric(selected, user_prompts, limit_per_cell)
    positions = POSITIONS if position == "both" else (position,)
    styles = STYLES if style == "both" else (style,)
    samples = []
    for rubric, level in product(selected, levels_of(levels)):
        wordings = list(enumerate(rubric.wordings(level, wording_split)))[: max_wordings or None]
        grid = product(prompts[rubric.id].items(), wordings, positions, styles)
        for (user_prompt_id, text), (number, wording), turn, manner in grid:
            request = f"{wording} {NUMBER_SENTENCE.format(score=level.midpoint)}" if manner == "number" else wording
            ways = (f"{wording_split}-{number}", turn, manner)
            asked = (rubric, level, user_prompt_id, text, request, ways[0])
            digest = content_hash(rubric.hash, turn, request, content_of(user_turn(text, user_prompt_id)))
            sample = sample_of(*asked, suffix=f"{'-'.join(ways)}-", digest=digest)
            facts = {"position": turn, "style": manner, "user_prompt": text, "cell": " ".join(ways)}
            sample.metadata = (sample.metadata or {}) | facts
            if turn == "user":
                sample.input = [user_turn(f"{request}\n\n{text}", user_prompt_id)]
            samples.append(sample)
    return Task(
        dataset=MemoryDataset(spread(samples), name="paraphrase_robustness"),
        solver=[check_rendering(), generate()],
        scorer=scorer_of("paraphrase_robustness", judging, samples, rubrics),
        version=TASK_VERSION,
    )
