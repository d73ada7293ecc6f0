"""Intervals from resampling user prompts: responses to one user prompt are not independent of one another."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cpt_tasks.metrics.rows import NAN, Floats, Rows, Statistic, table_of
from judges.agreement import Estimate

LEVEL = 0.95


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
    """Each statistic with its 95% interval from resampling user prompts with replacement.

    All responses to one user prompt, over rubrics and levels, are drawn together, since they are not independent; a
    prompt drawn twice is two prompts. Intervals are expanded for the number of prompts, see `estimate`. Resamples on
    which a statistic is undefined are left out for it; with fewer than two prompts the bounds are nan.

    Source: cluster (pairs) bootstrap, Field and Welsh 2007. scipy's bootstrap has no clusters of unequal size.
    """
    table = table_of(rows)
    weights = with_plain(resample_weights(table.n_clusters, n_resamples, rng))
    found = [statistic.resampled(table, weights) for statistic in statistics]
    return [estimate(float(values[0]), values[1:], table.n_clusters) for values in found]


def with_plain(weights: NDArray[np.int64]) -> Floats:
    """The weights under a first row of ones, which gives the plain value: (1 + n_resamples, n_clusters)."""
    return np.vstack([np.ones((1, weights.shape[1])), weights])


def estimate(value: float, draws: Sequence[float] | NDArray[np.float64], n_clusters: int | None = None) -> Estimate:
    """A value with its 95% interval: quantiles of its draws. nan draws are left out; without any, nan bounds.

    Args:
        value: The statistic on the data.
        draws: The statistic on resamples of the data.
        n_clusters: How many clusters were resampled. Given, the interval is expanded: it reaches to the quantiles at
            which the interval of a mean would be as wide as that of Student's t, because quantiles of few clusters lie
            too close to the value (with 24 clusters the 1.7% and 98.3% quantiles stand in for 2.5% and 97.5%).
            Source: Hesterberg 2015, The American Statistician 69(4), expanded percentile interval.
    """
    defined = np.asarray(draws, dtype=np.float64)
    defined = defined[~np.isnan(defined)]
    if np.isnan(value) or not len(defined):
        return Estimate(value, NAN, NAN)
    tail = (1 - LEVEL) / 2
    if n_clusters is not None:
        widening = np.sqrt(n_clusters / (n_clusters - 1))
        tail = float(stats.norm.cdf(widening * stats.t.ppf(tail, n_clusters - 1)))
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))
