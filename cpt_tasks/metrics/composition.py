"""Statistics of `composition`: is a rubric's level still met when another rubric is asked for as well?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cpt_tasks.metrics.cell_means import Resamples
from cpt_tasks.metrics.cells import ratio
from cpt_tasks.metrics.rows import NAN, Floats
from judges.agreement import Estimate
from rubrics import ScoreLevel

DENOMINATOR_FLOOR = 1e-4  # of the length of the request, as in Chang et al.'s code


@dataclass(frozen=True)
class Joint:
    """A response to a system prompt that asks for two rubrics, beside the responses to each alone and to neither.

    Scores are 0-100, first rubric first, nan where there is none.

    Attributes:
        rubrics: The two rubrics.
        levels: Level asked of each.
        user_prompt: Id of the user prompt.
        together: Scores of the response by both.
        alone: Scores, each by its own rubric, of the two responses that were asked for that rubric and level only.
        base: Scores by both of the response without a system prompt.
    """

    rubrics: tuple[str, str]
    levels: tuple[ScoreLevel, ScoreLevel]
    user_prompt: str
    together: tuple[float, float]
    alone: tuple[float, float] = (NAN, NAN)
    base: tuple[float, float] = (NAN, NAN)


def miscalibration(request: ArrayLike, achieved: ArrayLike, base: ArrayLike) -> Floats:
    """How far a response over- or undershoots along what was asked: |e . d| / |d|^2, at least 0, 0 best.

    d = z* - z0 is what was asked (request minus base), e = z* - z what is missing (request minus achieved): the length
    of the projection of the error on the request, in units of the request. A model that does nothing has 1. nan where
    nothing was asked (d = 0) or a score is missing.

    Source: Chang et al., arXiv 2505.23816; their code adds 1e-8 to the denominators instead of leaving d = 0 undefined.

    Args:
        request: z*, shape (n, 2): the midpoint of the band asked for, by rubric. A point inside a band, so that a score
            in the band but off its middle counts as an error here.
        achieved: z, same shape: the scores of the response.
        base: z0, same shape: the scores of the response without a system prompt.
    """
    asked, error, _ = _vectors(request, achieved, base)
    return ratio(np.abs((error * asked).sum(axis=1)), (asked**2).sum(axis=1))


def orthogonality(request: ArrayLike, achieved: ArrayLike, base: ArrayLike) -> Floats:
    """How much of what a response changed was not asked for: |e - proj_d e| / (|z - z0| + 1e-4 |d|), 0-1, 0 best.

    The part of the error at right angles to the request, which is also that part of the move, over all that moved; so
    never above 1. The floor in the denominator, 1e-4 of the request's length, gives 0 for a response that did not move.
    nan as `miscalibration`.

    Source, arguments and letters: as there.
    """
    asked, error, moved = _vectors(request, achieved, base)
    along = ratio((error * asked).sum(axis=1), (asked**2).sum(axis=1))[:, None] * asked
    floor = DENOMINATOR_FLOOR * np.linalg.norm(asked, axis=1)
    return ratio(np.linalg.norm(error - along, axis=1), np.linalg.norm(moved, axis=1) + floor)


def composition_statistics(joints: Sequence[Joint], n_resamples: int, seed: int) -> dict[str, Estimate]:
    """Statistics by name, with 95% intervals from resampling user prompts.

    All are means within (rubric pair, levels, rubric) cells, then over cells. Accuracies, 0-1: share of scores in the
    band asked for. Alone and together are paired: a response counts where both are scored.

    - `accuracy_alone`, `accuracy_together`: of each rubric asked for alone, and in company.
    - `interference`: together minus alone; below 0 the other rubric is in the way.
    - `both_right`: share of joint responses with both scores in their bands; `both_right_alone`: share of user prompts
      with both responses alone in their bands, what two separate requests would give.
    - `miscalibration`, `orthogonality`: see there; over joint responses whose base is scored.

    nan without any response.
    """
    resamples = Resamples.draw((joint.user_prompt for joint in joints), n_resamples, seed)
    together, alone = (_hits(joints, which) for which in ("together", "alone"))
    paired = np.isnan(together) | np.isnan(alone)
    together_paired, alone_paired = np.where(paired, NAN, together), np.where(paired, NAN, alone)

    def by_rubric(values: Floats) -> Estimate:
        cells = [(joint.rubrics, joint.levels, place) for joint in joints for place in (0, 1)]
        prompts = [joint.user_prompt for joint in joints for _ in (0, 1)]
        return resamples.cell_means(cells, prompts, values.reshape(-1)).macro()

    def by_pair(values: Floats) -> Estimate:
        cells = [(joint.rubrics, joint.levels) for joint in joints]
        return resamples.cell_means(cells, [joint.user_prompt for joint in joints], values).macro()

    return {
        "accuracy_alone": by_rubric(alone_paired),
        "accuracy_together": by_rubric(together_paired),
        "interference": by_rubric(together_paired - alone_paired),
        "both_right": by_pair(together_paired.prod(axis=1)),
        "both_right_alone": by_pair(alone_paired.prod(axis=1)),
        "miscalibration": by_pair(_of_joints(joints, miscalibration)),
        "orthogonality": by_pair(_of_joints(joints, orthogonality)),
    }


def _hits(joints: Sequence[Joint], which: str) -> Floats:
    """1 in the band asked for, 0 outside, nan unscored; shape (n, 2)."""

    def hit(score: float, level: ScoreLevel) -> float:
        return NAN if np.isnan(score) else float(ScoreLevel.of(score) is level)

    hits = [[hit(*pair) for pair in zip(getattr(joint, which), joint.levels, strict=True)] for joint in joints]
    return np.array(hits, dtype=np.float64).reshape(-1, 2)


def _of_joints(joints: Sequence[Joint], statistic: Callable[[ArrayLike, ArrayLike, ArrayLike], Floats]) -> Floats:
    request = [[level.midpoint for level in joint.levels] for joint in joints]
    return statistic(request, [joint.together for joint in joints], [joint.base for joint in joints])


def _vectors(request: ArrayLike, achieved: ArrayLike, base: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """What was asked, what is missing, what moved."""
    goal, reached, start = (np.asarray(scores, dtype=np.float64).reshape(-1, 2) for scores in (request, achieved, base))
    return goal - start, goal - reached, reached - start
