"""Statistics of `composition`: is a rubric's level still met when another rubric is asked for as well?"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from cpt_tasks.samples import ALONE, UNPROMPTED
from cpt_tasks.statistics.frame import by_every_rubric
from cpt_tasks.statistics.ranks import ratio
from judges.interval import NAN, Bounds, Floats
from rubrics import LOW_MAX, MODERATE_MAX, ScoreLevel

DENOMINATOR_FLOOR = 1e-4  # of the length of the request, as in Chang et al.'s code
BOUNDS: dict[str, Bounds] = {
    name: (0, 1) for name in ("accuracy_alone", "accuracy_together", "both_right", "both_right_alone", "orthogonality")
}


def joint_responses(frame: pd.DataFrame) -> pd.DataFrame:
    """The scored joint responses of a frame, each beside what was asked alone and not at all.

    Columns, first rubric first, nan where there is no score: `rubrics` and `levels` joined by +, `user_prompt_id`,
    `request_0`, `request_1` (middle of the band asked for), `together_*` (scores of the response by both rubrics),
    `alone_*` (scores, each by its own rubric, of the two responses that were asked for that rubric and level only),
    `base_*` (scores of the response without a system prompt). Responses of one epoch go together.
    """
    scored = frame[frame["score"].notna()]
    where = ["user_prompt_id", "epoch"]
    joint = scored[scored["with_rubric"] != ""]
    alone = scored[scored["cell"] == ALONE].groupby(["rubric", "level", *where])["score"].first()
    unprompted = by_every_rubric(scored[scored["cell"] == UNPROMPTED])
    base = unprompted.groupby(["judged_by", *where])["score"].first()
    columns: dict[str, object] = {
        "rubrics": joint["rubric"] + "+" + joint["with_rubric"],
        "levels": joint["level"] + "+" + joint["with_level"],
        "user_prompt_id": joint["user_prompt_id"],
        "together_0": joint["score"],
        "together_1": [also.get(rubric, NAN) for also, rubric in zip(joint["also"], joint["with_rubric"], strict=True)],
    }
    for place, (rubric, level) in enumerate((("rubric", "level"), ("with_rubric", "with_level"))):
        columns[f"request_{place}"] = [ScoreLevel(name).midpoint for name in joint[level]]
        columns[f"alone_{place}"] = alone.reindex(pd.MultiIndex.from_frame(joint[[rubric, level, *where]])).to_numpy()
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

    Args:
        request: z*, shape (n, 2): the midpoint of the band asked for, by rubric. A point inside a band, so that a score
            in the band but off its middle counts as an error here.
        achieved: z, same shape: the scores of the response.
        base: z0, same shape: the scores of the response without a system prompt.
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
        for name in ("request", "together", "alone", "base")
    }
    bands = {name: np.digitize(values, [LOW_MAX, MODERATE_MAX], right=True) for name, values in scores.items()}
    unknown = np.isnan(scores["together"] + scores["alone"])
    together, alone = (np.where(unknown, NAN, bands[name] == bands["request"]) for name in ("together", "alone"))
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
