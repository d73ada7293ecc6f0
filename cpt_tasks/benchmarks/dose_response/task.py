"""Does the judged score follow a numeric target that no model was trained on?

    inspect eval cpt_tasks/dose_response --model hf/local -M model_path=DIR -T judge=measured -T rubrics=measured

The system prompt is a wording of the rubric's extremely_high system prompt, followed by how intensely to do it: a
number on a stated scale from 0 to 100, or an adverb of degree. A model that has learnt three levels by heart moves in
steps or not at all; one that has learnt the attribute moves in proportion.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any, Literal

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.solver import generate

from cpt_tasks.options import JudgedBy, check_choice, checked, prompts_by_rubric, rubrics_of
from cpt_tasks.rendering import check_rendering
from cpt_tasks.samples import WordingSplit, sample_of, spread, wording_at
from cpt_tasks.scorer import scorer_of
from rubrics import MAX_SCORE, MIN_SCORE, ScoreLevel, Split

TASK_VERSION = "1-A"
DoseStyle = Literal["number", "adjective"]
TEMPLATES: dict[DoseStyle, str] = {
    "number": "{system}\n\nDo all of this at an intensity of {dose}, on a scale from 0 (not at all) to 100 (fully).",
    "adjective": "{system}\n\nDo all of this {dose}. The degrees are, from least to most: not at all, slightly, "
    "moderately, strongly, fully.",
}
# five words cut the scale into fifths; a word's target is the middle of its fifth
ADVERBS = {10.0: "not at all", 30.0: "slightly", 50.0: "moderately", 70.0: "strongly", 90.0: "fully"}


@task
@checked
def dose_response(
    rubrics: str | list[str] = "core",
    targets: str | float | list[str | float] = "10,30,50,70,90",
    style: DoseStyle = "number",
    user_prompts: Split = "test",
    wording_split: WordingSplit = "heldout",
    limit_per_cell: int = 8,
    *,
    judging: JudgedBy,
) -> Task:
    """Rubric x target x user prompt, one response each, judged by the rubric.

    Parameters and errors are those of `rubric_adherence`, and:

    - `targets`: the scores to ask for, 0-100, each once; comma-separated or a list.
    - `style`: "number" asks for the target itself on a scale from 0 to 100; "adjective" by the adverb of degree that
      stands for it in `ADVERBS` (10 is "not at all", 90 is "fully").
    - `wording_split`: of the extremely_high system prompt, whose wordings the user prompts take in turn.
    """
    check_choice(style, tuple(TEMPLATES), "style")
    selected = rubrics_of(rubrics)
    prompts = prompts_by_rubric(selected, user_prompts, limit_per_cell)
    samples = []
    for rubric, target in product(selected, parse_targets(targets, style)):
        level, number = ScoreLevel.of(target), f"{target:g}"
        facts: dict[str, Any] = {"target": target, "style": style}
        # at every target a user prompt has the same wording
        for position, (user_prompt_id, text) in enumerate(prompts[rubric.id].items()):
            wording, full = wording_at(rubric, ScoreLevel.EXTREMELY_HIGH, wording_split, position)
            system = TEMPLATES[style].format(system=full, dose=ADVERBS[target] if style == "adjective" else number)
            samples.append(sample_of(rubric, level, user_prompt_id, text, system, wording, asked=number, **facts))
    return Task(
        dataset=MemoryDataset(spread(samples), name="dose_response"),
        solver=[check_rendering(), generate()],
        scorer=scorer_of("dose_response", judging, samples, rubrics),
        version=TASK_VERSION,
    )


def parse_targets(selection: str | float | Sequence[str | float], style: DoseStyle) -> list[float]:
    """The targets of a selection, in ascending order; ValueError if one cannot be asked for in the style, or twice."""
    parts = str(selection).split(",") if isinstance(selection, str | int | float) else selection
    try:
        targets = sorted(float(part) for part in parts)
    except ValueError as error:
        raise ValueError(f"targets: got {selection!r}, expected numbers from 0 to 100") from error
    if not targets or len(set(targets)) < len(targets):
        raise ValueError(f"targets: got {selection!r}, expected at least one number, each once")
    for target in targets:
        if not MIN_SCORE <= target <= MAX_SCORE:
            raise ValueError(f"targets: got {target:g}, expected a number from 0 to 100")
        if style == "adjective" and target not in ADVERBS:
            choices = ", ".join(f"{known:g}" for known in ADVERBS)
            raise ValueError(f"targets: got {target:g} with style=adjective, expected some of {choices}")
    return targets
