"""Can a model be asked for two things at once? Two rubrics in one system prompt, each at a level of its own.

    inspect eval cpt_tasks/composition --model anthropic/claude-haiku-5-5
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
from inspect_ai.model import ChatMessageSystem, ChatMessageUser
from inspect_ai.scorer import Metric, SampleScore, Value, metric
from inspect_ai.solver import generate

from cpt_tasks.options import check_least, levels_of, prompts_by_rubric, wording_split_of
from cpt_tasks.rendering import check_rendering
from cpt_tasks.samples import ALONE, TOGETHER, WordingSplit, content_hash, sample_of, unprompted_sample, wording_at
from cpt_tasks.scorer import JudgeOption, scorer_of
from judges import DEFAULT_STORE
from judges.model import JudgeProtocol
from judges.panel import Aggregate
from rubrics import Rubric, ScoreLevel, Split, joint_system_prompt, load_rubrics

TASK_VERSION = "1-A"
Pair = tuple[Rubric, Rubric]
logger = logging.getLogger(__name__)


@task
def composition(
    rubrics: str | list[str] = "core",
    pairs: str | list[str] = "all",
    levels: str | list[str] = "low,extremely_high",
    user_prompts: Split = "test",
    wording_split: WordingSplit = "heldout",
    judge: JudgeOption = "model",
    max_pairs: int = 6,
    seed: int = 0,
    limit_per_cell: int = 8,
    protocol: JudgeProtocol = "criteria",
    judge_repeats: int = 1,
    panel: Aggregate = "mean",
    call_store: str = DEFAULT_STORE,
    paraphrases: str | None = None,
) -> Task:
    """Rubric pair x levels x user prompt, judged by both rubrics; each rubric alone; and no system prompt.

    Parameters are those of `rubric_adherence`, and:

    - `pairs`: "all" pairs within the selection, or pairs as RUBRIC+RUBRIC (comma-separated or a list). The user prompts
      are those of the first rubric's family.
    - `levels`: levels that each of the two is asked for, in all combinations; "all", or comma-separated or a list.
    - `max_pairs`: at most this many pairs, at least 1. Of more, that many are drawn with `seed`, and a warning says so.
    - `limit_per_cell`: at most this many user prompts per pair and levels, at least 1; the first ones of the split. The
      defaults stay under 500 responses.

    Raises:
        ValueError: If a parameter is unknown or a rubric cannot be measured.
        PrerequisiteError: If judge is "model" and there is no key for it.
    """
    split = wording_split_of(wording_split, paraphrases)
    chosen = rubric_pairs(load_rubrics(rubrics), pairs, max_pairs, seed)
    prompts = prompts_by_rubric([first for first, _ in chosen], user_prompts, limit_per_cell)
    return Task(
        dataset=composition_samples(chosen, levels_of(levels), prompts, split),
        solver=[check_rendering(), generate()],
        scorer=scorer_of("composition", judge, rubrics, protocol, judge_repeats, panel, call_store),
        metrics=[composition_scores()],
        version=TASK_VERSION,
    )


def rubric_pairs(rubrics: Sequence[Rubric], pairs: str | list[str], max_pairs: int, seed: int) -> list[Pair]:
    """The pairs of a selection, in its order.

    Raises:
        ValueError: If a pair is not two different rubrics of the selection, or there is none, or max_pairs is below 1.
    """
    check_least(max_pairs, 1, "max_pairs")
    names = pairs.split(",") if isinstance(pairs, str) else pairs
    by_id = {rubric.id: rubric for rubric in rubrics}
    every = names == ["all"]
    chosen = list(combinations(rubrics, 2)) if every else [_named_pair(name.strip(), by_id) for name in names]
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
    wording_split: WordingSplit = "heldout",
) -> MemoryDataset:
    """The joint samples pair by pair, then each rubric alone, then the user prompts without a system prompt.

    The user prompts take the wordings in turn, as in `rubric_adherence`, and which of the two stands first; what is
    asked alone has the wording that it has in company. Nothing is asked twice that two pairs share.

    Args:
        pairs: The rubrics to ask for together.
        levels: Levels to ask of each, in all combinations.
        user_prompts: First rubric's id -> user prompt's id -> text.
        wording_split: Which wordings.
    """
    together: list[Sample] = []
    alone: dict[tuple[str, ScoreLevel, str], Sample] = {}
    further: dict[tuple[str, ScoreLevel, str], list[str]] = {}
    judges: dict[str, dict[str, Rubric]] = defaultdict(dict)
    texts: dict[str, str] = {}
    for pair in pairs:
        first, second = pair
        for position, (user_prompt_id, text) in enumerate(user_prompts[first.id].items()):
            texts[user_prompt_id] = text
            judges[user_prompt_id] |= {first.id: first, second.id: second}
            together += [
                _joint_sample(pair, asked, user_prompt_id, text, position, wording_split)
                for asked in product(levels, repeat=2)
            ]
            for (rubric, other), level in product((pair, (second, first)), levels):
                key = (rubric.id, level, user_prompt_id)
                others = further.setdefault(key, [])
                others += [other.id] * (other.id not in others)
                wording, system = wording_at(rubric, level, wording_split, position)
                facts: dict[str, Any] = {"suffix": "alone-", "also": others, "cell": ALONE}
                alone.setdefault(key, sample_of(rubric, level, user_prompt_id, text, system, wording, **facts))
    unprompted = [unprompted_sample(prompt, text, list(judges[prompt].values())) for prompt, text in texts.items()]
    return MemoryDataset([*together, *alone.values(), *unprompted], name="composition")


@metric(scores="unreduced")
def composition_scores() -> Metric:
    """The statistics of composition with `_ci_low` and `_ci_high`, and the number of joint responses."""

    def compute(scores: list[SampleScore]) -> Value:
        from cpt_tasks.benchmarks.composition.statistics import BOUNDS, composition_statistics, joint_responses
        from cpt_tasks.statistics.frame import frame_of_scores, metric_values
        from judges.interval import estimates

        joints = joint_responses(frame_of_scores(scores))
        return {"n_joint": len(joints)} | metric_values(estimates(joints, composition_statistics, BOUNDS))

    return compute


def _named_pair(name: str, rubrics: Mapping[str, Rubric]) -> Pair:
    ids = [part.strip() for part in name.split("+")]
    if len(set(ids)) != 2 or len(ids) != 2 or not set(ids) <= set(rubrics):
        raise ValueError(f"pairs: got {name!r}, expected two different rubrics joined by + out of {sorted(rubrics)}")
    return rubrics[ids[0]], rubrics[ids[1]]


def _joint_sample(
    pair: Pair,
    levels: tuple[ScoreLevel, ...],
    user_prompt_id: str,
    user_prompt: str,
    position: int,
    wording_split: WordingSplit,
) -> Sample:
    wordings = [wording_at(rubric, level, wording_split, position) for rubric, level in zip(pair, levels, strict=True)]
    texts = [text for _, text in wordings]
    system = joint_system_prompt(texts[::-1] if position % 2 else texts)
    first, second = pair
    digest = content_hash(first.hash, second.hash, system, user_prompt)
    return Sample(
        id=f"{first.id}+{second.id}-{levels[0]}+{levels[1]}-{user_prompt_id}-{digest}",
        input=[ChatMessageSystem(content=system), ChatMessageUser(content=user_prompt)],
        target=f"{levels[0]}+{levels[1]}",
        metadata={
            "rubric": first.id,
            "rubric_hash": first.hash,
            "level": levels[0].value,
            "with_rubric": second.id,
            "with_level": levels[1].value,
            "user_prompt_id": user_prompt_id,
            "wording": "+".join(wording for wording, _ in wordings),
            "also": [second.id],
            "cell": f"{TOGETHER} {second.id} {levels[1]}",
        },
    )
