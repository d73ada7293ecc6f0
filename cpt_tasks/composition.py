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
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product
from typing import Any, Literal

import numpy as np
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser
from inspect_ai.scorer import Metric, SampleScore, Score, Value, metric
from inspect_ai.solver import generate

from cpt_tasks.dataset import ParaphraseSplit, content_hash, unprompted_sample
from cpt_tasks.metrics.composition import Joint, composition_statistics
from cpt_tasks.parameters import check_choice, check_judge, levels_of, prompts_by_rubric
from cpt_tasks.rendering import check_rendering
from cpt_tasks.scorers import BOOTSTRAP_SEED, JudgeKind, rubric_judge
from judges import DEFAULT_STORE
from judges.model import JudgeProtocol
from judges.panel import Aggregate
from rubrics import Rubric, ScoreLevel, Split, joint_system_prompt, load_rubrics

TASK_VERSION = "1-A"
N_RESAMPLES = 1000
TOGETHER, ALONE, UNPROMPTED = "together", "alone", "unprompted"
Pair = tuple[Rubric, Rubric]
logger = logging.getLogger(__name__)


@task
def composition(
    rubrics: str | list[str] = "core",
    pairs: str | list[str] = "all",
    levels: str | list[str] = "low,extremely_high",
    user_prompts: Split = "test",
    paraphrases: ParaphraseSplit = "heldout",
    judge: JudgeKind | Literal["none"] = "model",
    max_pairs: int = 6,
    seed: int = 0,
    limit_per_cell: int = 8,
    protocol: JudgeProtocol = "criteria",
    judge_repeats: int = 1,
    panel: Aggregate = "mean",
    call_store: str = DEFAULT_STORE,
) -> Task:
    """Rubric pair x levels x user prompt, judged by both rubrics; each rubric alone; and no system prompt.

    Args:
        rubrics: As in `rubric_adherence`.
        pairs: "all" pairs within the selection, or pairs as RUBRIC+RUBRIC (comma-separated or a list). The user prompts
            are those of the first rubric's family.
        levels: Levels that each of the two is asked for, in all combinations; "all", or comma-separated or a list.
        user_prompts: Split of the user prompts, "test" or "train".
        paraphrases: Split of the system prompts' wordings, "heldout" or "train".
        judge: "model", "measured" or "none", as in `rubric_adherence`.
        max_pairs: At most this many pairs, at least 1. Of more, that many are drawn, and a warning says so.
        seed: Of that draw.
        limit_per_cell: At most this many user prompts per pair and levels, at least 1; the first ones of the split. The
            defaults stay under 500 responses.
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
    selected = load_rubrics(rubrics)
    chosen = rubric_pairs(selected, pairs, max_pairs, seed)
    prompts = prompts_by_rubric([first for first, _ in chosen], user_prompts, limit_per_cell)
    check_judge("composition", judge, [rubric for pair in chosen for rubric in pair])
    scorer = rubric_judge(judge, rubrics, protocol, judge_repeats, panel, call_store) if judge != "none" else None
    return Task(
        dataset=composition_samples(chosen, levels_of(levels), prompts, paraphrases),
        solver=[check_rendering(), generate()],
        scorer=scorer,
        metrics=[composition_scores()],
        version=TASK_VERSION,
    )


def rubric_pairs(rubrics: Sequence[Rubric], pairs: str | list[str], max_pairs: int, seed: int) -> list[Pair]:
    """The pairs of a selection, in its order.

    Raises:
        ValueError: If a pair is not two different rubrics of the selection, or there is none, or max_pairs is below 1.
    """
    if max_pairs < 1:
        raise ValueError(f"max_pairs: got {max_pairs}, expected 1 or more")
    names = pairs.split(",") if isinstance(pairs, str) else pairs
    by_id = {rubric.id: rubric for rubric in rubrics}
    every = names == ["all"]
    found = list(combinations(rubrics, 2)) if every else [_named_pair(name.strip(), by_id) for name in names]
    if not found:
        raise ValueError(f"rubrics: got {sorted(by_id)}, expected at least two, to be asked for together")
    if len(found) <= max_pairs:
        return found
    logger.warning("composition: %d of %d pairs, drawn with seed %d; see max_pairs", max_pairs, len(found), seed)
    return [found[number] for number in sorted(random.Random(seed).sample(range(len(found)), max_pairs))]


def composition_samples(
    pairs: Sequence[Pair],
    levels: Sequence[ScoreLevel],
    user_prompts: Mapping[str, Mapping[str, str]],
    paraphrases: ParaphraseSplit = "heldout",
) -> MemoryDataset:
    """The joint samples pair by pair, then each rubric alone, then the user prompts without a system prompt.

    The user prompts take the wordings in turn, as in `rubric_adherence`, and which of the two stands first; what is
    asked alone has the wording that it has in company. Nothing is asked twice that two pairs share.

    Args:
        pairs: The rubrics to ask for together.
        levels: Levels to ask of each, in all combinations.
        user_prompts: First rubric's id -> user prompt's id -> text.
        paraphrases: Which wordings.
    """
    together: list[Sample] = []
    alone: dict[tuple[str, ScoreLevel, str], Sample] = {}
    judges: dict[str, dict[str, Rubric]] = defaultdict(dict)
    texts: dict[str, str] = {}
    for pair in pairs:
        first, second = pair
        for position, (prompt_id, text) in enumerate(user_prompts[first.id].items()):
            texts[prompt_id] = text
            judges[prompt_id] |= {first.id: first, second.id: second}
            together += [
                _joint_sample(pair, asked, prompt_id, text, position, paraphrases)
                for asked in product(levels, repeat=2)
            ]
            for (rubric, other), level in product((pair, (second, first)), levels):
                key = (rubric.id, level, prompt_id)
                single = alone.setdefault(key, _single_sample(rubric, level, prompt_id, text, position, paraphrases))
                others = single.metadata["also"] if single.metadata else []
                others += [other.id] * (other.id not in others)
    unprompted = [
        unprompted_sample(prompt_id, text, list(judges[prompt_id].values())) for prompt_id, text in texts.items()
    ]
    return MemoryDataset([*together, *alone.values(), *unprompted], name="composition")


@metric(scores="unreduced")
def composition_scores() -> Metric:
    """The statistics of `metrics.composition` with `_ci_low` and `_ci_high`, and the number of joint responses."""

    def compute(scores: list[SampleScore]) -> Value:
        joints = joint_responses((score.sample_metadata or {}, score.score) for score in scores)
        found: dict[str, str | int | float | bool | None] = {"n_joint": len(joints)}
        for name, estimate in composition_statistics(joints, N_RESAMPLES, BOOTSTRAP_SEED).items():
            found |= {name: estimate.value, f"{name}_ci_low": estimate.ci_low, f"{name}_ci_high": estimate.ci_high}
        return found

    return compute


def joint_responses(judged: Iterable[tuple[Mapping[str, Any], Score]]) -> list[Joint]:
    """The joint responses among samples (metadata, score), each beside what was asked alone and not at all.

    What is unscored is nan. Responses of one epoch go together.
    """
    read = [(metadata, scores_by_rubric(metadata, score), _epoch(score)) for metadata, score in judged]
    alone: dict[tuple[str, str, str, int], float] = {}
    base: dict[tuple[str, int], dict[str, float]] = {}
    for metadata, scores, epoch in read:
        if metadata["cell"] == ALONE:
            asked = (metadata["rubric"], metadata["level"], metadata["prompt_id"], epoch)
            alone[asked] = scores.get(metadata["rubric"], np.nan)
        elif metadata["cell"] == UNPROMPTED:
            base[metadata["prompt_id"], epoch] = scores
    found = []
    for metadata, scores, epoch in read:
        if "with_rubric" not in metadata:
            continue
        rubrics = (metadata["rubric"], metadata["with_rubric"])
        levels = (ScoreLevel(metadata["level"]), ScoreLevel(metadata["with_level"]))
        prompt_id = metadata["prompt_id"]
        singles = [alone.get((*asked, prompt_id, epoch), np.nan) for asked in zip(rubrics, levels, strict=True)]
        start = [base.get((prompt_id, epoch), {}).get(rubric, np.nan) for rubric in rubrics]
        reached = [scores.get(rubric, np.nan) for rubric in rubrics]
        found.append(Joint(rubrics, levels, prompt_id, *((pair[0], pair[1]) for pair in (reached, singles, start))))
    return found


def scores_by_rubric(metadata: Mapping[str, Any], score: Score) -> dict[str, float]:
    """All scores of a response: rubric id -> score, its own first; judgments that failed are left out."""
    further = (score.metadata or {}).get("also") or {}
    scores = {metadata["rubric"]: score.as_float()} | {rubric: entry["score"] for rubric, entry in further.items()}
    return {rubric: value for rubric, value in scores.items() if value is not None and not np.isnan(value)}


def _epoch(score: Score) -> int:
    return int((score.metadata or {}).get("epoch", 1))


def _named_pair(name: str, rubrics: Mapping[str, Rubric]) -> Pair:
    ids = [part.strip() for part in name.split("+")]
    if len(set(ids)) != 2 or len(ids) != 2 or not set(ids) <= set(rubrics):
        raise ValueError(f"pairs: got {name!r}, expected two different rubrics joined by + out of {sorted(rubrics)}")
    return rubrics[ids[0]], rubrics[ids[1]]


def _joint_sample(
    pair: Pair,
    levels: tuple[ScoreLevel, ...],
    prompt_id: str,
    user_prompt: str,
    position: int,
    paraphrases: ParaphraseSplit,
) -> Sample:
    wordings = [rubric.wordings(level, paraphrases) for rubric, level in zip(pair, levels, strict=True)]
    texts = [found[position % len(found)] for found in wordings]
    system = joint_system_prompt(texts[::-1] if position % 2 else texts)
    first, second = pair
    digest = content_hash(first.hash, second.hash, system, user_prompt)
    return Sample(
        id=f"{first.id}+{second.id}-{levels[0]}+{levels[1]}-{prompt_id}-{digest}",
        input=[ChatMessageSystem(content=system), ChatMessageUser(content=user_prompt)],
        target=f"{levels[0]}+{levels[1]}",
        metadata={
            "rubric": first.id,
            "rubric_hash": first.hash,
            "level": levels[0].value,
            "with_rubric": second.id,
            "with_level": levels[1].value,
            "prompt_id": prompt_id,
            "paraphrase": "+".join(f"{paraphrases}-{position % len(found)}" for found in wordings),
            "also": [second.id],
            "cell": f"{TOGETHER} {second.id} {levels[1]}",
        },
    )


def _single_sample(
    rubric: Rubric, level: ScoreLevel, prompt_id: str, user_prompt: str, position: int, paraphrases: ParaphraseSplit
) -> Sample:
    wordings = rubric.wordings(level, paraphrases)
    system = wordings[position % len(wordings)]
    return Sample(
        id=f"{rubric.id}-{level}-{prompt_id}-alone-{content_hash(rubric.hash, system, user_prompt)}",
        input=[ChatMessageSystem(content=system), ChatMessageUser(content=user_prompt)],
        target=level.value,
        metadata={
            "rubric": rubric.id,
            "rubric_hash": rubric.hash,
            "level": level.value,
            "prompt_id": prompt_id,
            "paraphrase": f"{paraphrases}-{position % len(wordings)}",
            "also": [],
            "cell": ALONE,
        },
    )
