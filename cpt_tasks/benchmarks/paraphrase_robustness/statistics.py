"""Statistics of `paraphrase_robustness`: how much depends on the wording, the place and the style of the request."""

from typing import Literal

import numpy as np
import pandas as pd

from cpt_tasks.statistics.frame import answered, in_band
from judges.interval import NAN, NO_INTERVAL, Bounds
from rubrics import ScoreLevel

N_SHUFFLES = 200
CELL = ["rubric", "level", "position", "style"]  # what should not depend on the wording
WAYS: dict[Literal["position", "style"], tuple[str, str]] = {
    "position": ("system", "user"),
    "style": ("descriptive", "number"),
}
BOUNDS: dict[str, Bounds] = {"mean_accuracy": (0, 1)}
# the lowest of several shares has no normal limit, and a root mean square is never below 0
BOUNDS |= dict.fromkeys(("worst_accuracy", "worst_drop", "wording_sd"), NO_INTERVAL)


def with_hits(frame: pd.DataFrame) -> pd.DataFrame:
    """The scored rows with a column `hit`: 1 if the score is in the band asked for, else 0.

    What is no response is no hit, and its score is nan.
    """
    scored = frame[frame["score"].notna()]
    return scored.assign(hit=in_band(scored).astype(float), score=scored["score"].where(answered(scored)))


def wording_statistics(rows: pd.DataFrame) -> dict[str, float]:
    """Statistics by name, from rows of `with_hits`; cells with fewer than two wordings are left out, nan without any.

    - `wording_sd`: SD of the scores of one user prompt over wordings, score points: the root of the summed squared
      deviations from the mean of (cell, user prompt) over the summed degrees of freedom. A model that samples varies
      under one wording as well: this includes that.
    - `mean_accuracy`: accuracy, 0-1, over user prompts; mean over wordings, then over cells.
    - `worst_accuracy`: in each cell that of the wording with the lowest, then the mean over cells. The lowest of
      several noisy numbers is too low, the more so the fewer user prompts: read it against `worst_by_chance`.
    - `worst_drop`: mean_accuracy - worst_accuracy.
    """
    rows = _with_several_wordings(rows)
    accuracy = rows.groupby([*CELL, "wording"])["hit"].mean().groupby(level=CELL)
    mean, worst = accuracy.mean().mean(), accuracy.min().mean()
    means = rows.groupby([*CELL, "user_prompt_id", "wording"])["score"].mean().dropna()
    scores = means.groupby(level=[*CELL, "user_prompt_id"])
    freedom = float((scores.size() - 1).sum())
    squares = float((scores.var(ddof=0) * scores.size()).sum())
    return {
        "wording_sd": float(np.sqrt(squares / freedom)) if freedom else NAN,
        "mean_accuracy": float(mean),
        "worst_accuracy": float(worst),
        "worst_drop": float(mean - worst),
    }


def worst_by_chance(rows: pd.DataFrame, seed: int) -> float:
    """What `worst_accuracy` would be if wordings did not matter.

    The wordings of each user prompt are shuffled within the cell; mean over 200 shuffles.
    """
    rng = np.random.default_rng(seed)
    worst = []
    for _, members in _with_several_wordings(rows).groupby(CELL, sort=False):
        grid = members.pivot_table(index="user_prompt_id", columns="wording", values="hit").to_numpy(np.float64)
        shuffled = rng.permuted(np.tile(grid, (N_SHUFFLES, 1, 1)), axis=2)
        worst.append(float(np.nanmin(np.nanmean(shuffled, axis=1), axis=1).mean()))
    return float(np.mean(worst)) if worst else NAN


def contrast(rows: pd.DataFrame, by: Literal["position", "style"]) -> dict[str, float]:
    """What changes with position (user minus system) or style (number minus descriptive), all else equal.

    `BY_accuracy`: difference of accuracies, -1 to 1, by (rubric, level), then averaged. `BY_range`: difference of
    dynamic ranges (score at extremely_high minus score at low), score points, by rubric, then averaged. Only what was
    asked both ways and scored counts. nan without any.
    """
    before, after = WAYS[by]
    other = "style" if by == "position" else "position"
    same = ["rubric", "level", "user_prompt_id", "wording", other]
    hits = rows.pivot_table(index=same, columns=by, values="hit").reindex(columns=[after, before])
    changes = (hits[after] - hits[before]).dropna()
    # wordings belong to a level: a range is over the mean of the wordings
    scores = rows.pivot_table(index=["rubric", "user_prompt_id", other], columns=[by, "level"], values="score")
    low, high = ScoreLevel.LOW.value, ScoreLevel.EXTREMELY_HIGH.value
    ends = scores.reindex(columns=pd.MultiIndex.from_product([(after, before), (high, low)])).dropna()
    ranges = (ends[after, high] - ends[after, low]) - (ends[before, high] - ends[before, low])
    return {
        f"{by}_accuracy": float(changes.groupby(level=["rubric", "level"]).mean().mean()),
        f"{by}_range": float(ranges.groupby(level="rubric").mean().mean()),
    }


def _with_several_wordings(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows.groupby(CELL)["wording"].transform("nunique") > 1]
