"""Intervals from resampling user prompts: responses to one user prompt are not independent of one another."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from cpt_tasks.metrics.rows import NAN, Judged, Rows, Statistic
from judges.agreement import Estimate


def resample_weights(n_clusters: int, n_resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each cluster is drawn, shape (n_resamples, n_clusters): n_clusters draws with replacement a row.

    With fewer than two clusters there is nothing to resample: shape (0, n_clusters).
    """
    if n_clusters < 2:
        return np.zeros((0, n_clusters), dtype=np.int64)
    return rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n_resamples)


def clustered_bootstrap(
    rows: Rows, statistics: Iterable[Statistic], rng: np.random.Generator, n_resamples: int = 1000
) -> list[Estimate]:
    """Each statistic with its 95% percentile interval from resampling user prompts with replacement.

    All responses to one user prompt, over rubrics and levels, are drawn together, since they are not independent.
    Resamples on which a statistic is undefined are left out for it; with fewer than two prompts the bounds are nan.

    Source: cluster (pairs) bootstrap, Field and Welsh 2007. scipy's bootstrap has no clusters of unequal size.
    """
    wanted = list(statistics)
    clusters: dict[str, list[Judged]] = defaultdict(list)
    for row in rows:
        clusters[row.user_prompt].append(row)
    groups = list(clusters.values())
    draws: list[list[float]] = [[] for _ in wanted]
    if len(groups) > 1:
        for _ in range(n_resamples):
            sample = _relabelled(groups, rng.integers(len(groups), size=len(groups)))
            for values, statistic in zip(draws, wanted, strict=True):
                values.append(statistic(sample))
    return [estimate(statistic(rows), values) for statistic, values in zip(wanted, draws, strict=True)]


def _relabelled(groups: Sequence[Rows], drawn: np.ndarray) -> list[Judged]:
    # a prompt drawn twice is two prompts, or its copies would merge into one in the within-prompt statistics
    return [
        Judged(row.rubric, row.level, f"{copy}", row.score, row.words)
        for copy, index in enumerate(drawn)
        for row in groups[index]
    ]


def estimate(value: float, draws: Sequence[float] | NDArray[np.float64]) -> Estimate:
    """A value with the 2.5% and 97.5% quantiles of its draws; nan draws are left out; without any, nan bounds."""
    defined = np.asarray(draws, dtype=np.float64)
    defined = defined[~np.isnan(defined)]
    if np.isnan(value) or not len(defined):
        return Estimate(value, NAN, NAN)
    low, high = np.quantile(defined, [0.025, 0.975])
    return Estimate(value, float(low), float(high))
