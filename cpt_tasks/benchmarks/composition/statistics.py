"""Statistics of `composition`: is a rubric's level still met when another rubric is asked for as well?"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cpt_tasks.samples import ALONE, TOGETHER, UNPROMPTED
from cpt_tasks.statistics.frame import by_every_rubric
from cpt_tasks.statistics.ranks import ratio
from judges.interval import NAN, Bounds, Floats
from rubrics import ScoreLevel

DENOMINATOR_FLOOR = 1e-4  # of the length of the request, as in Chang et al.'s code
BOUNDS: dict[str, Bounds] = {
    name: (0, 1) for name in ("accuracy_alone", "accuracy_together", "both_right", "both_right_alone", "orthogonality")
}
_REQUEST = ["rubrics", "levels"]


def joint_responses(frame: pd.DataFrame) -> pd.DataFrame:
    """The scored joint responses of a frame, each beside what was asked alone and not at all.

    Columns, first rubric first, nan where there is no score: `rubrics` and `levels` joined by +, `user_prompt_id`,
    `request_0`, `request_1` (middle of the band asked for), `together_*` (scores of the response by both rubrics),
    `alone_*` (scores, each by its own rubric, of the two responses that were asked for that rubric and level only),
    `base_*` (scores of the response without a system prompt). Responses of one epoch go together.
    """
    scored = frame[frame["score"].notna()]
    joint = scored[scored["with_rubric"] != ""]
    alone = _lookup(scored[scored["cell"] == ALONE], ["rubric", "level", "user_prompt_id", "epoch"])
    base = _lookup(by_every_rubric(scored[scored["cell"] == UNPROMPTED]), ["judged_by", "user_prompt_id", "epoch"])
    columns: dict[str, object] = {
        "rubrics": joint["rubric"] + "+" + joint["with_rubric"],
        "levels": joint["level"] + "+" + joint["with_level"],
        "user_prompt_id": joint["user_prompt_id"],
        "together_0": joint["score"],
        "together_1": [also.get(rubric, NAN) for also, rubric in zip(joint["also"], joint["with_rubric"], strict=True)],
    }
    for place, prefix in enumerate(("", "with_")):
        rubric, level, where = (
            joint[f"{prefix}rubric"],
            joint[f"{prefix}level"],
            [joint["user_prompt_id"], joint["epoch"]],
        )
        columns[f"request_{place}"] = [ScoreLevel(name).midpoint for name in level]
        columns[f"alone_{place}"] = alone(rubric, level, *where)
        columns[f"base_{place}"] = base(rubric, *where)
    return pd.DataFrame(columns)


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


def composition_statistics(joints: pd.DataFrame) -> dict[str, float]:
    """Statistics of joint responses by name.

    All are means within (rubric pair, levels, rubric) cells, then over cells. Accuracies, 0-1: share of scores in the
    band asked for. Alone and together are paired: a response counts where both are scored.

    - `accuracy_alone`, `accuracy_together`: of each rubric asked for alone, and in company.
    - `interference`: together minus alone; below 0 the other rubric is in the way.
    - `both_right`: share of joint responses with both scores in their bands; `both_right_alone`: share of user prompts
      with both responses alone in their bands, what two separate requests would give.
    - `miscalibration`, `orthogonality`: see there; over joint responses whose base is scored.

    nan without any response.
    """
    together, alone = _hits(joints, TOGETHER), _hits(joints, ALONE)
    known = ~(np.isnan(together) | np.isnan(alone))
    together, alone = np.where(known, together, NAN), np.where(known, alone, NAN)
    return {
        "accuracy_alone": _by_rubric(joints, alone),
        "accuracy_together": _by_rubric(joints, together),
        "interference": _by_rubric(joints, together - alone),
        "both_right": _by_pair(joints, together.prod(axis=1)),
        "both_right_alone": _by_pair(joints, alone.prod(axis=1)),
        "miscalibration": _by_pair(joints, _of_joints(joints, miscalibration)),
        "orthogonality": _by_pair(joints, _of_joints(joints, orthogonality)),
    }


def _lookup(frame: pd.DataFrame, names: list[str]) -> Callable[..., Floats]:
    scores = frame.groupby(names)["score"].first()

    def find(*columns: "pd.Series[str]") -> Floats:
        return scores.reindex(pd.MultiIndex.from_arrays(columns)).to_numpy(np.float64)

    return find


def _columns(joints: pd.DataFrame, name: str) -> Floats:
    return joints[[f"{name}_0", f"{name}_1"]].to_numpy(np.float64)


def _hits(joints: pd.DataFrame, name: str) -> Floats:
    """1 in the band asked for, 0 outside, nan unscored; shape (n, 2)."""
    scores, requests = _columns(joints, name), _columns(joints, "request")
    judged = [
        [NAN if np.isnan(score) else float(ScoreLevel.of(score) is ScoreLevel.of(request)) for score, request in pair]
        for pair in np.stack([scores, requests], axis=2)
    ]
    return np.array(judged, dtype=np.float64).reshape(-1, 2)


def _by_rubric(joints: pd.DataFrame, values: Floats) -> float:
    """Mean over (pair, levels, place) cells; values of shape (n, 2)."""
    means = pd.DataFrame(values).groupby([joints[name].to_numpy() for name in _REQUEST]).mean().to_numpy(np.float64)
    return float(pd.Series(means.ravel()).mean())


def _by_pair(joints: pd.DataFrame, values: Floats) -> float:
    """Mean over (pair, levels) cells; values of shape (n,)."""
    return float(pd.Series(values).groupby([joints[name].to_numpy() for name in _REQUEST]).mean().mean())


def _of_joints(joints: pd.DataFrame, statistic: Callable[[ArrayLike, ArrayLike, ArrayLike], Floats]) -> Floats:
    return statistic(*(_columns(joints, name) for name in ("request", TOGETHER, "base")))


def _vectors(request: ArrayLike, achieved: ArrayLike, base: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """What was asked, what is missing, what moved."""
    goal, reached, start = (np.asarray(scores, dtype=np.float64).reshape(-1, 2) for scores in (request, achieved, base))
    return goal - start, goal - reached, reached - start
