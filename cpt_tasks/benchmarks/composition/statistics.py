"""Statistics of `composition`: is a rubric's level still met when another rubric is asked for as well?"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cpt_tasks.samples import ALONE, UNPROMPTED
from cpt_tasks.statistics.frame import answered, by_every_rubric, in_band
from cpt_tasks.statistics.ranks import ratio
from judges.interval import NAN, NO_INTERVAL, Bounds, Floats
from rubrics import ScoreLevel

DENOMINATOR_FLOOR = 1e-4  # of the length of the request, as in Chang et al.'s code
BOUNDS: dict[str, Bounds] = {
    name: (0, 1) for name in ("accuracy_alone", "accuracy_together", "both_right", "both_right_alone", "orthogonality")
} | {"miscalibration": NO_INTERVAL}


def joint_responses(frame: pd.DataFrame) -> pd.DataFrame:
    """The scored joint responses of a frame, each beside what was asked alone and not at all.

    Columns, first rubric first, nan where there is no score: `rubrics` and `levels` joined by +, `user_prompt_id`,
    `request_0`, `request_1` (middle of the band asked for), `together_*` (scores of the response by both rubrics),
    `base_*` (scores of the response without a system prompt), and `hit_together_*` and `hit_alone_*`: 1 where the score
    is in the band asked for, else 0, of the joint response, and of the two that were asked for that rubric and level
    only. Responses of one epoch go together. What is no response has no score, and is no hit.
    """
    scored = frame[frame["score"].notna()]
    scored = scored.assign(hit=in_band(scored).astype(float), answered=answered(scored))
    where = ["user_prompt_id", "epoch"]
    joint = scored[scored["with_rubric"] != ""]
    alone = scored[scored["cell"] == ALONE].groupby(["rubric", "level", *where])["hit"].first()
    scores = [also.get(rubric, NAN) for also, rubric in zip(joint["also"], joint["with_rubric"], strict=True)]
    second = joint.assign(score=np.array(scores, dtype=np.float64), level=joint["with_level"])
    unprompted = by_every_rubric(scored[scored["cell"] == UNPROMPTED])
    base = unprompted.groupby(["judged_by", *where])["score"].first()
    columns: dict[str, object] = {
        "rubrics": joint["rubric"] + "+" + joint["with_rubric"],
        "levels": joint["level"] + "+" + joint["with_level"],
        "user_prompt_id": joint["user_prompt_id"],
        "together_0": joint["score"].where(joint["answered"]),
        "together_1": second["score"].where(joint["answered"]),
        "hit_together_0": joint["hit"],
        "hit_together_1": in_band(second.dropna(subset="score")).astype(float).reindex(joint.index),
    }
    for place, (rubric, level) in enumerate((("rubric", "level"), ("with_rubric", "with_level"))):
        columns[f"request_{place}"] = [ScoreLevel(name).midpoint for name in joint[level]]
        columns[f"hit_alone_{place}"] = alone.reindex(
            pd.MultiIndex.from_frame(joint[[rubric, level, *where]])
        ).to_numpy()
        columns[f"base_{place}"] = base.reindex(pd.MultiIndex.from_frame(joint[[rubric, *where]])).to_numpy()
    return pd.DataFrame(columns)


def off_course(request: ArrayLike, achieved: ArrayLike, base: ArrayLike) -> tuple[Floats, Floats]:
    """Miscalibration and orthogonality of responses, 0 best; nan where nothing was asked or a score is missing.

    d = z* - z0 is what was asked (request minus base), e = z* - z what is missing (request minus achieved), z - z0 what
    moved.

    - Miscalibration |e . d| / |d|^2, at least 0, is how far a response over- or undershoots along what was asked, in
      units of the request; a model that does nothing has 1.
    - Orthogonality |e - proj_d e| / (|z - z0| + 1e-4 |d|), 0-1, is how much of what changed was not asked for: the part
      of the error at right angles to the request is also that part of the move. The floor in the denominator gives 0
      for a response that did not move.

    Source: Chang et al., arXiv 2505.23816; their code adds 1e-8 to the denominators instead of leaving d = 0 undefined.

    Shapes are (n, 2), by rubric. z* is the midpoint of the band asked for: a score in the band but off its middle
    counts as an error here. z are the scores of the response, z0 those of the one without a system prompt.
    """
    goal, reached, start = (np.asarray(scores, dtype=np.float64).reshape(-1, 2) for scores in (request, achieved, base))
    asked, error = goal - start, goal - reached
    along = ratio((error * asked).sum(axis=1), (asked**2).sum(axis=1))
    moved = np.linalg.norm(reached - start, axis=1) + DENOMINATOR_FLOOR * np.linalg.norm(asked, axis=1)
    return np.abs(along), ratio(np.linalg.norm(error - along[:, None] * asked, axis=1), moved)


def composition_statistics(joints: pd.DataFrame) -> dict[str, float]:
    """Statistics of joint responses by name; nan without any response.

    All are means within (rubric pair, levels, rubric) cells, then over cells. Accuracies, 0-1: share of scores in the
    band asked for. Alone and together are paired: a response counts where both are scored.

    - `accuracy_alone`, `accuracy_together`: of each rubric asked for alone, and in company.
    - `interference`: together minus alone; below 0 the other rubric is in the way.
    - `both_right`: share of joint responses with both scores in their bands; `both_right_alone`: share of user prompts
      with both responses alone in their bands, what two separate requests would give.
    - `miscalibration`, `orthogonality`: see `off_course`; over joint responses whose base is scored.
    """
    scores = {
        name: joints[[f"{name}_0", f"{name}_1"]].to_numpy(np.float64)
        for name in ("request", "together", "base", "hit_together", "hit_alone")
    }
    unknown = np.isnan(scores["hit_together"] + scores["hit_alone"])
    together, alone = (np.where(unknown, NAN, scores[name]) for name in ("hit_together", "hit_alone"))
    miscalibration, orthogonality = off_course(scores["request"], scores["together"], scores["base"])
    values = {
        "accuracy_alone": alone,
        "accuracy_together": together,
        "interference": together - alone,
        "both_right": together.prod(axis=1),
        "both_right_alone": alone.prod(axis=1),
        "miscalibration": miscalibration,
        "orthogonality": orthogonality,
    }
    cells = [joints["rubrics"].to_numpy(), joints["levels"].to_numpy()]
    # one column, or one for each of the two rubrics
    means = {name: pd.DataFrame(value).groupby(cells).mean().to_numpy() for name, value in values.items()}
    return {name: float(pd.Series(mean.ravel()).mean()) for name, mean in means.items()}
