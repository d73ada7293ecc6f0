"""Statistics of `best_of_n`: what the best of k samples is worth, exactly, from n samples of each cell.

A cell is (rubric, level, user prompt). Nothing is sampled: of the C(n, k) subsets of a cell's samples, the share in
which each sample is the best has a closed form. What is best depends on the level asked for: at extremely_high the
highest score, elsewhere the one closest to the band.

Source: the unbiased estimator of the expected maximum of k, sum_i v_(i) C(i-1, k-1) / C(n, k) with v_(1) <= ... <=
v_(n); for 0-1 values it is pass@k of arXiv 2107.03374.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import comb

import numpy as np

from cpt_tasks.metrics.cells import mean_of_known, prompt_means
from cpt_tasks.metrics.rows import Floats
from rubrics import ScoreLevel

LEVELS = list(ScoreLevel)
POOLED = "all"  # stands after the levels, the mean over all (rubric, level)
JUST_UNDER = -1e-9  # score points


@dataclass(frozen=True)
class Sampled:
    """One of the samples of a cell.

    Attributes:
        rubric: Rubric id.
        level: Level that the system prompt asked for.
        user_prompt: Id of the user prompt, the cluster of the bootstrap.
        score: What the report's judge gave, 0-100.
        selection: What the judge that selects gave, 0-100; the same as score if there is only one judge.
    """

    rubric: str
    level: ScoreLevel
    user_prompt: str
    score: float
    selection: float


def is_hit(level: ScoreLevel, score: float) -> bool:
    """Whether a score, 0-100, lies in the band of a level."""
    return ScoreLevel.of(score) is level


STATISTICS: dict[str, Callable[[ScoreLevel, float], float]] = {
    # score points, of the response that is selected
    "score": lambda level, score: score,
    # 0-1, the probability that the selected response is in the band
    "band_hit": lambda level, score: float(is_hit(level, score)),
    # score points from the selected response to the band, 0 within it
    "band_error": lambda level, score: abs(level.distance(score)),
}


def quality(level: ScoreLevel, score: float) -> float:
    """How good a score, 0-100, is at a level; higher is better, and equal means a coin decides.

    At extremely_high the score itself; elsewhere minus the distance to the band, so that all scores within it are
    equal. A score of exactly 40 touches the moderate band but is low: it ranks just under the band, or a hit could
    lose to it.
    """
    if level is ScoreLevel.EXTREMELY_HIGH:
        return score
    distance = abs(level.distance(score))
    return -distance if distance or is_hit(level, score) else JUST_UNDER


def selection_shares(qualities: Sequence[float], k: int) -> Floats:
    """Share of the C(n, k) subsets in which each sample is the best, shape (n,); sums to 1.

    Samples of equal quality share what they win equally, as if a coin decided.

    Args:
        qualities: Higher is better, length n.
        k: Size of the subsets, 1 to n.

    Raises:
        ValueError: If k is not from 1 to n.
    """
    n = len(qualities)
    if not 1 <= k <= n:
        raise ValueError(f"k: got {k}, expected 1 to the number of samples {n}")
    _, tied_with = np.unique(np.asarray(qualities), return_inverse=True)
    wins = np.zeros(n)
    wins[np.argsort(tied_with, kind="stable")] = _rank_shares(n, k)
    sums, counts = np.bincount(tied_with, weights=wins), np.bincount(tied_with)
    shares: Floats = (sums / counts)[tied_with]
    return shares


def best_of_k(values: Sequence[float], qualities: Sequence[float], k: int) -> float:
    """Expected value of the sample of the highest quality among k drawn without replacement from n."""
    return float(selection_shares(qualities, k) @ np.asarray(values, dtype=np.float64))


def curve_sizes(n: int) -> list[int]:
    """The k of a curve: 1, 2, 4, ... and n itself."""
    return sorted({2**power for power in range(n.bit_length()) if 2**power <= n} | {n})


@dataclass(frozen=True)
class Cells:
    """Every statistic for every cell and k.

    Attributes:
        rubrics: Sorted ids, axis 0.
        user_prompts: Ids, axis 2; axis 1 is `LEVELS`.
        values: By statistic, shape (rubrics, levels, user prompts, n); the last axis is k = 1 ... n. nan for a cell
            with fewer than k samples.
    """

    rubrics: list[str]
    user_prompts: list[str]
    values: dict[str, Floats]

    def counts(self) -> dict[str, list[int]]:
        """Cells that count at k = 1 ... n, by level and for `POOLED`."""
        known = (~np.isnan(self.values["score"])).sum(axis=(0, 2))
        by_level = {level.value: known[level.rank].tolist() for level in LEVELS}
        return by_level | {POOLED: known.sum(axis=0).tolist()}


def best_of_k_cells(samples: Sequence[Sampled], n: int, user_prompts: Sequence[str], *, by_selection: bool) -> Cells:
    """Every statistic of the selected response, for every cell and k from 1 to n.

    Args:
        samples: Scored samples, in any order.
        n: Samples asked for per cell. Of a cell with m < n scored ones, k counts up to m.
        user_prompts: Ids, at least all of the samples'; two models whose resamples are to be paired need the same.
        by_selection: Whether `Sampled.selection` decides which is best, else `Sampled.score`.
    """
    cells: dict[tuple[str, ScoreLevel, str], list[Sampled]] = defaultdict(list)
    for sample in samples:
        cells[sample.rubric, sample.level, sample.user_prompt].append(sample)
    rubrics = sorted({rubric for rubric, _, _ in cells})
    prompts = list(user_prompts)
    shape = (len(rubrics), len(LEVELS), len(prompts), n)
    values = {name: np.full(shape, np.nan) for name in STATISTICS}
    for (rubric, level, prompt), found in cells.items():
        place = (rubrics.index(rubric), level.rank, prompts.index(prompt))
        qualities = [quality(level, sample.selection if by_selection else sample.score) for sample in found]
        shares = np.array([selection_shares(qualities, k) for k in range(1, len(found) + 1)])
        for name, statistic in STATISTICS.items():
            values[name][place][: len(found)] = shares @ [statistic(level, sample.score) for sample in found]
    return Cells(rubrics, prompts, values)


def level_curves(cells: Floats, weights: Floats) -> Floats:
    """Means by level and pooled, shape (rows of weights, levels + 1, n).

    Mean over user prompts within (rubric, level), then over rubrics; pooled over all (rubric, level) last.

    Args:
        cells: One statistic of `Cells.values`.
        weights: Shape (rows, user prompts), as from `bootstrap_weights`.
    """
    rubrics, levels, prompts, n = cells.shape
    means = prompt_means(cells.reshape(rubrics * levels, prompts, n), weights)
    by_level = mean_of_known(means.reshape(len(weights), rubrics, levels, n), axis=1)
    return np.concatenate([by_level, mean_of_known(means, axis=1)[:, None]], axis=1)


@cache
def _rank_shares(n: int, k: int) -> Floats:
    # integers until the last division: the binomials of 200 samples do not fit a float product
    return np.array([comb(rank, k - 1) / comb(n, k) for rank in range(n)])
