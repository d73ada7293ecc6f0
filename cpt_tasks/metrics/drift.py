"""Statistics of `drift`: how a model writes when nothing is asked of its style, and how far training moved that."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cpt_tasks.metrics.cell_means import Resamples
from cpt_tasks.metrics.cells import mean_of_known
from cpt_tasks.metrics.rows import NAN
from judges.agreement import Estimate


@dataclass(frozen=True)
class Unprompted:
    """A response without a system prompt, as one rubric judged it.

    Attributes:
        rubric: Rubric id.
        user_prompt: Id of the user prompt.
        score: Judgment, 0-100.
        words: Length of the response in words.
    """

    rubric: str
    user_prompt: str
    score: float
    words: int


@dataclass(frozen=True)
class Drift:
    """What differs between a base and an adapter on the same user prompts.

    Attributes:
        shifts: Rubric -> mean of adapter minus base, score points.
        total: Root mean square of the shifts over rubrics, score points. The noise of a finite sample keeps it above 0,
            so beside it:
        total_by_chance: What it would be if base and adapter were one model: the two exchanged or not by chance for
            each user prompt, mean over 200 times. Without interval.
        words: Mean change of length, words.
        n: User prompts that both answered and at least one rubric scored twice.
    """

    shifts: dict[str, Estimate]
    total: Estimate
    total_by_chance: Estimate
    words: Estimate
    n: int


def unprompted_scores(rows: Sequence[Unprompted], n_resamples: int, seed: int) -> dict[str, Estimate]:
    """Mean score s0, 0-100, by rubric, in the order of the rows, with 95% intervals from resampling user prompts."""
    prompts = [row.user_prompt for row in rows]
    means = Resamples.draw(prompts, n_resamples, seed).cell_means(
        [row.rubric for row in rows], prompts, [row.score for row in rows]
    )
    return {rubric: means.of(rubric) for rubric in dict.fromkeys(row.rubric for row in rows)}


def mean_words(rows: Sequence[Unprompted], n_resamples: int, seed: int) -> Estimate:
    """Mean length of the responses in words, each user prompt weighing the same; nan without any."""
    words = _by_prompt(rows)
    return Resamples.draw(words, n_resamples, seed).cell_means(["words"] * len(words), *_columns(words)).macro()


def drift_between(base: Sequence[Unprompted], adapter: Sequence[Unprompted], n_resamples: int, seed: int) -> Drift:
    """How far the adapter moved, paired by user prompt: what only one of the two has is left out."""
    before, after = _by_rubric_and_prompt(base), _by_rubric_and_prompt(adapter)
    shifts = {key: after[key] - before[key] for key in after if key in before}
    prompts = [prompt for _, prompt in shifts]
    words_before, words_after = _by_prompt(base), _by_prompt(adapter)
    words = {prompt: words_after[prompt] - words_before[prompt] for prompt in dict.fromkeys(prompts)}
    resamples = Resamples.draw(prompts, n_resamples, seed)
    rubrics = [rubric for rubric, _ in shifts]
    means = resamples.cell_means(rubrics, prompts, list(shifts.values()))
    exchanged = resamples.flipped_means(rubrics, prompts, list(shifts.values()), seed)
    return Drift(
        shifts={rubric: means.of(rubric) for rubric in dict.fromkeys(rubrics)},
        total_by_chance=Estimate(float(mean_of_known(np.sqrt(mean_of_known(exchanged**2)))), NAN, NAN),
        total=resamples.estimate(np.sqrt(mean_of_known(means.rows**2))),
        words=resamples.cell_means(["words"] * len(words), *_columns(words)).macro(),
        n=len(words),
    )


def _by_rubric_and_prompt(rows: Sequence[Unprompted]) -> dict[tuple[str, str], float]:
    scores: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        scores.setdefault((row.rubric, row.user_prompt), []).append(row.score)
    return {key: float(np.mean(found)) for key, found in scores.items()}


def _by_prompt(rows: Sequence[Unprompted]) -> dict[str, float]:
    words: dict[str, list[int]] = {}
    for row in rows:
        words.setdefault(row.user_prompt, []).append(row.words)
    return {prompt: float(np.mean(found)) for prompt, found in words.items()}


def _columns(values: dict[str, float]) -> tuple[list[str], list[float]]:
    return list(values), list(values.values())
