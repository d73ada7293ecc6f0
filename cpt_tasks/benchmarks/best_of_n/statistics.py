"""Statistics of `best_of_n`: what the best of k samples is worth, exactly, from n samples of each cell.

A cell is (rubric, level, user prompt). Nothing is sampled: of the C(n, k) subsets of a cell's samples, the share in
which each sample is the best has a closed form. What is best depends on the level asked for: at extremely_high the
highest score, elsewhere the one closest to the band; a sample without a response is the worst. Where that is selected
there is no hit, and no score: those are means over the selected responses.

Source: the unbiased estimator of the expected maximum of k, sum_i v_(i) C(i-1, k-1) / C(n, k) with v_(1) <= ... <=
v_(n); for 0-1 values it is pass@k of arXiv 2107.03374.
"""

from collections.abc import Callable, Sequence
from functools import cache
from math import comb
from typing import Any

import numpy as np
import pandas as pd

from cpt_tasks.statistics.frame import answered
from cpt_tasks.statistics.ranks import ratio
from judges.interval import NAN, Bounds, Floats
from rubrics import ScoreLevel

POOLED = "all"  # stands after the levels, the mean over all (rubric, level)
LEVEL_NAMES = (*(level.value for level in ScoreLevel), POOLED)
CELL = ["rubric", "level", "user_prompt_id"]
JUST_UNDER = -1e-9  # score points
ROUNDING = 1e-9

# of the response that is selected, from the level asked for and its score, 0-100
VALUES: dict[str, Callable[[ScoreLevel, float], float]] = {
    "score": lambda level, score: score,
    # 1 in the band, 0 outside: over responses, the probability that the selected one is in the band
    "band_hit": lambda level, score: float(ScoreLevel.of(score) is level),
    # score points to the band, 0 within it
    "band_error": lambda level, score: abs(level.distance(score)),
}
BOUNDS: dict[str, Bounds] = {"score": (0, 100), "band_hit": (0, 1), "band_error": (0, 100)}


def quality(level: ScoreLevel, score: float) -> float:
    """How good a score, 0-100, is at a level; higher is better, and equal means a coin decides.

    At extremely_high the score itself; elsewhere minus the distance to the band, so that all scores within it are
    equal. A score of exactly 40 touches the moderate band but is low: it ranks just under the band, or a hit could
    lose to it.
    """
    if level is ScoreLevel.EXTREMELY_HIGH:
        return score
    distance = abs(level.distance(score))
    return -distance if distance or ScoreLevel.of(score) is level else JUST_UNDER


def selection_shares(qualities: Sequence[float] | Floats, k: int) -> Floats:
    """Share of the C(n, k) subsets in which each sample is the best, shape (n,); sums to 1.

    Higher `qualities` are better; equal ones share what they win equally, as if a coin decided. `k` is 1 to n.
    """
    _, tied_with = np.unique(np.asarray(qualities), return_inverse=True)
    wins = np.zeros(len(qualities))
    wins[np.argsort(tied_with, kind="stable")] = _rank_shares(len(qualities), k)
    shares: Floats = (np.bincount(tied_with, weights=wins) / np.bincount(tied_with))[tied_with]
    return shares


def curve_sizes(n: int) -> list[int]:
    """The k of a curve: 1, 2, 4, ... and n itself."""
    return sorted({2**power for power in range(n.bit_length())} | {n})


def best_of_k_cells(rows: pd.DataFrame, n: int, select_by: str = "score") -> pd.DataFrame:
    """What is selected out of k, for every cell: indexed by `CELL`, with columns `NAME@k` for the names of `VALUES`.

    nan where only samples without a response can be selected, but for `band_hit`. `rows` are samples with a score, and
    one in `select_by`, the column that decides which is best. `n` were asked for per cell; k goes from 1 to n. A cell
    with m < n rows is nan above m.
    """
    cells: dict[Any, dict[str, float]] = {}
    for cell, part in rows.groupby(CELL):
        level = ScoreLevel(str(cell[1]))
        has_response = answered(part).to_numpy(np.bool_)
        qualities = np.where(has_response, [quality(level, score) for score in part[select_by]], -np.inf)
        shares = np.array([selection_shares(qualities, k) for k in range(1, len(part) + 1)])[:, has_response]
        for name, value in VALUES.items():
            best = shares @ np.array([value(level, score) for score in part["score"][has_response]])
            best = best if name == "band_hit" else ratio(best, shares.sum(axis=1))
            cells.setdefault(cell, {}).update({f"{name}@{k}": number for k, number in enumerate(best, start=1)})
    columns = [f"{name}@{k}" for name in VALUES for k in range(1, n + 1)]
    index = pd.MultiIndex.from_tuples(list(cells), names=CELL)
    return pd.DataFrame(list(cells.values()), index=index, columns=columns, dtype=np.float64)


def level_curves(cells: pd.DataFrame) -> pd.DataFrame:
    """Means of the columns of `best_of_k_cells`: a row per level that has cells, in ascending order, then `POOLED`.

    Mean over user prompts within (rubric, level), then over rubrics; pooled over all (rubric, level). nan is left out.
    """
    means = cells.groupby(["rubric", "level"]).mean()
    by_level = means.groupby("level").mean()
    by_level.loc[POOLED] = means.mean()
    return by_level.reindex([name for name in LEVEL_NAMES if name in by_level.index])


def samples_to_reach(curve: Floats, goal: float) -> tuple[float, str | None]:
    """Smallest k at which a curve reaches a goal, and whether it takes "at_most" or "at_least" so many, or just that.

    Interpolated linearly in log k; the first crossing counts. 1 "at_most" where the first sample is better already, n
    "at_least" where n are not enough; nan where the goal is nan or not above 0: there is nothing to reach.
    `curve` has the values at k = 1 ... n and need not rise throughout; k without a value are passed over.
    """
    if not goal > 0:
        return NAN, None
    known = np.flatnonzero(~np.isnan(curve))
    reached = known[curve[known] >= goal - ROUNDING]
    if not len(reached):
        return float(len(curve)), "at_least"
    first = reached[0]
    if first == known[0]:
        return float(first + 1), "at_most" if curve[first] > goal + ROUNDING else None
    around = [known[known < first][-1], first]
    return float(np.exp(np.interp(goal, curve[around], np.log(np.add(around, 1))))), None


@cache
def _rank_shares(n: int, k: int) -> Floats:
    # integers until the last division: the binomials of 200 samples do not fit a float product
    return np.array([comb(rank, k - 1) / comb(n, k) for rank in range(n)])
