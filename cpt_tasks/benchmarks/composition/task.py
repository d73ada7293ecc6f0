"""Can a model be asked for two things at once? Two rubrics in one system prompt, each at a level of its own.

    inspect eval cpt_tasks/composition --model hf/local -M model_path=DIR -T judge=measured -T rubrics=measured

The same run asks for each rubric alone, and for nothing, on the same user prompts, so that together and alone are
paired and a response has a base to have moved from. Sources: Chang et al., arXiv 2505.23816 (miscalibration,
orthogonality).
"""

import logging
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Metric, SampleScore, Value, metric
from inspect_ai.solver import generate

from cpt_tasks.options import JudgedBy, check_least, checked, levels_of, prompts_by_rubric, rubrics_of
from cpt_tasks.rendering import check_rendering
from cpt_tasks.samples import (
    ALONE,
    TOGETHER,
    WordingSplit,
    content_hash,
    sample_of,
    spread,
    unprompted_sample,
    user_turn,
    wording_at,
)
from cpt_tasks.scorer import scorer_of
from model_calls.call import content_of
from rubrics import Rubric, ScoreLevel, Split, joint_system_prompt

TASK_VERSION = "1-A"
Pair = tuple[Rubric, Rubric]
logger = logging.getLogger(__name__)


@task
@checked
def composition(
    rubrics: str | list[str] = "core",
    pairs: str | list[str] = "all",
    levels: str | list[str] = "low,extremely_high",
    user_prompts: Split = "test",
    wording_split: WordingSplit = "heldout",
    max_pairs: int = 6,
    seed: int = 0,
    limit_per_cell: int = 8,
    *,
    judging: JudgedBy,
) -> Task:
    """Rubric pair x levels x user prompt, judged by both rubrics; each rubric alone; and no system prompt.

    Parameters and errors are those of `rubric_adherence`, and:

    - `pairs`: "all" pairs within the selection, or pairs as RUBRIC+RUBRIC (comma-separated or a list). The user prompts
      are those of the first rubric's family.
    - `levels`: levels that each of the two is asked for, in all combinations; "all", or comma-separated or a list.
    - `max_pairs`: of "all" pairs at most this many, at least 1, drawn with `seed` if there are more; a warning says so.
    """
    chosen = rubric_pairs(rubrics_of(rubrics), pairs, max_pairs, seed)
    prompts = prompts_by_rubric([first for first, _ in chosen], user_prompts, limit_per_cell)
    dataset = composition_samples(chosen, levels_of(levels), prompts, wording_split)
    return Task(
        dataset=dataset,
        solver=[check_rendering(), generate()],
        scorer=scorer_of("composition", judging, dataset, rubrics),
        metrics=[composition_scores()],
        version=TASK_VERSION,
    )


def rubric_pairs(rubrics: Sequence[Rubric], pairs: str | list[str], max_pairs: int, seed: int) -> list[Pair]:
    """The pairs of a selection, in its order; ValueError if one is not two different rubrics, or there is none."""
    check_least(max_pairs, 1, "max_pairs")
    by_id = {rubric.id: rubric for rubric in rubrics}
    chosen = list(combinations(rubrics, 2))
    if pairs not in ("all", ["all"]):
        chosen = []
        for name in pairs.split(",") if isinstance(pairs, str) else pairs:
            first, _, second = (part.strip() for part in name.partition("+"))
            if first == second or not {first, second} <= set(by_id):
                expected = f"two different rubrics joined by + out of {sorted(by_id)}"
                raise ValueError(f"pairs: got {name.strip()!r}, expected {expected}")
            chosen.append((by_id[first], by_id[second]))
        max_pairs = len(chosen)
    if not chosen:
        raise ValueError(f"rubrics: got {sorted(by_id)}, expected at least two, to be asked for together")
    if len(chosen) <= max_pairs:
        return chosen
    logger.warning("composition: %d of %d pairs, drawn with seed %d; see max_pairs", max_pairs, len(chosen), seed)
    return [chosen[number] for number in sorted(random.Random(seed).sample(range(len(chosen)), max_pairs))]


def composition_samples(
    pairs: Sequence[Pair],
    levels: Sequence[ScoreLevel],
    user_prompts: Mapping[str, Mapping[str, str]],
    wording_split: WordingSplit,
) -> MemoryDataset:
    """The joint samples pair by pair, each rubric alone, and the user prompts without a system prompt, `spread`.

    The user prompts (first rubric's id -> id -> text) take the wordings in turn, as in `rubric_adherence`, and which of
    the two stands first; what is asked alone has the wording that it has in company. Nothing is asked twice that two
    pairs share.
    """
    together: list[Sample] = []
    alone: dict[tuple[str, str, str], Sample] = {}
    partners: dict[tuple[str, str], dict[str, Rubric]] = defaultdict(dict)
    judges: dict[tuple[str, str], dict[str, Rubric]] = defaultdict(dict)
    for pair in pairs:
        for position, (user_prompt_id, text) in enumerate(user_prompts[pair[0].id].items()):
            judges[user_prompt_id, text] |= {rubric.id: rubric for rubric in pair}
            asked = (user_prompt_id, text, wording_split, position)
            together += [_joint_sample(pair, two, *asked) for two in product(levels, repeat=2)]
            for (rubric, other), level in product((pair, pair[::-1]), levels):
                partners[rubric.id, user_prompt_id][other.id] = other
                wording, system = wording_at(rubric, level, wording_split, position)
                sample = sample_of(rubric, level, user_prompt_id, text, system, wording, suffix="alone-", cell=ALONE)
                alone.setdefault((rubric.id, level, user_prompt_id), sample)
    for (rubric_id, _, user_prompt_id), sample in alone.items():
        sample.metadata = (sample.metadata or {}) | {"also": list(partners[rubric_id, user_prompt_id])}
    unprompted = [unprompted_sample(*prompt, list(rubrics.values())) for prompt, rubrics in judges.items()]
    return MemoryDataset(spread([*together, *alone.values(), *unprompted], "cell"), name="composition")


@metric(scores="unreduced")
def composition_scores() -> Metric:
    """The statistics of composition with `_ci_low` and `_ci_high`, and the number of joint responses."""

    def compute(scores: list[SampleScore]) -> Value:
        from cpt_tasks.benchmarks.composition.statistics import BOUNDS, composition_statistics, joint_responses
        from cpt_tasks.statistics.frame import frame_of_scores, metric_values
        from judges.interval import estimates

        if not scores:
            return {"n_joint": 0}
        joints = joint_responses(frame_of_scores(scores))
        return {"n_joint": len(joints)} | metric_values(
            estimates(joints, composition_statistics, BOUNDS, stratum="rubrics")
        )

    return compute


def _joint_sample(
    pair: Pair,
    levels: tuple[ScoreLevel, ...],
    user_prompt_id: str,
    user_prompt: str,
    wording_split: WordingSplit,
    position: int,
) -> Sample:
    wordings = [wording_at(rubric, level, wording_split, position) for rubric, level in zip(pair, levels, strict=True)]
    texts = [text for _, text in wordings]
    system = joint_system_prompt(texts[::-1] if position % 2 else texts)
    (first, second), (level, with_level) = pair, levels
    shown = content_of(user_turn(user_prompt, user_prompt_id))
    asked, digest = f"{level}+{with_level}", content_hash(first.hash, second.hash, system, shown)
    facts: dict[str, Any] = {"with_rubric": second.id, "with_level": with_level.value, "also": [second.id]}
    facts["cell"] = f"{TOGETHER} {second.id} {with_level}"
    wording = "+".join(wording for wording, _ in wordings)
    sample = sample_of(first, level, user_prompt_id, user_prompt, system, wording, asked=asked, **facts)
    sample.id = f"{first.id}+{second.id}-{asked}-{user_prompt_id}-{digest}"
    return sample
