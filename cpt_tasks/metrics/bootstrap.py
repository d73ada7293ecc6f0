"""Intervals from resampling user prompts: responses to one user prompt are not independent of one another."""

from collections.abc import Iterable, Sequence

import numpy as np
import scipy  # its parts are imported when first used: `scipy.stats` takes a second
from numpy.typing import NDArray

from cpt_tasks.metrics.rows import NAN, Floats, Rows, Statistic, table_of
from judges.interval import Estimate

TAIL = 0.025
MAX_SKEWNESS = 3.0  # beyond it the expansion does not hold, and no correction is better than a wild one


def resample_weights(n_clusters: int, n_resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each cluster is drawn, shape (n_resamples, n_clusters): n_clusters draws with replacement a row.

    With fewer than two clusters there is nothing to resample: shape (0, n_clusters).
    """
    if n_clusters < 2:
        return np.zeros((0, n_clusters), dtype=np.int64)
    return rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=n_resamples)


def bootstrap_weights(n_clusters: int, n_resamples: int, rng: np.random.Generator) -> Floats:
    """All that an interval needs, shape (1 + n_clusters + n_resamples, n_clusters), for `bootstrap_estimate`.

    First every cluster once (the plain value), then each cluster left out, then the resamples.
    """
    left_out = 1 - np.eye(n_clusters)
    return np.vstack([np.ones((1, n_clusters)), left_out, resample_weights(n_clusters, n_resamples, rng)])


def bootstrap_estimate(values: Floats, n_clusters: int) -> Estimate:
    """The estimate from a statistic's values on the rows of `bootstrap_weights`."""
    plain, left_out, draws = np.split(values, [1, 1 + n_clusters])
    return estimate(float(plain[0]), draws, left_out)


def clustered_bootstrap(
    rows: Rows, statistics: Iterable[Statistic], rng: np.random.Generator, n_resamples: int = 1000
) -> list[Estimate]:
    """Each statistic with its 95% interval (see `estimate`) from resampling user prompts with replacement.

    All responses to one user prompt, over rubrics and levels, are drawn together, since they are not independent; a
    prompt drawn twice is two prompts. Resamples on which a statistic is undefined are left out for it; with fewer than
    two prompts the bounds are nan.

    Source: cluster (pairs) bootstrap, Field and Welsh 2007. scipy's bootstrap has no clusters of unequal size.
    """
    table = table_of(rows)
    weights = bootstrap_weights(table.n_clusters, n_resamples, rng)
    return [bootstrap_estimate(statistic.resampled(table, weights), table.n_clusters) for statistic in statistics]


def estimate(
    value: float, draws: Sequence[float] | NDArray[np.float64], left_out: Sequence[float] | NDArray[np.float64] = ()
) -> Estimate:
    """A value with its 95% interval: quantiles of its draws. nan draws are left out; without any, nan bounds.

    Args:
        value: The statistic on the data.
        draws: The statistic on resamples of the data.
        left_out: The statistic with each cluster left out in turn. Without it the interval lies between the 2.5% and
            97.5% quantiles. With it it is corrected, because 95% intervals from 24 prompts would else hold the truth in
            89% to 93% of benchmarks (`tests/test_metrics_resampling.py` holds them between 92% and 97%):
            - Bias: the draws are shifted by twice their mean distance from the value, once for their bias and once for
              that of the value (Efron and Tibshirani 1993, chapter 10). Statistics that are means within prompts have
              none; tau-b has, because pairs within a prompt are in better order than pairs across, and copies of a
              prompt make more of them. BCa would look for it in quantiles that a thousand draws do not have. A distance
              within twice its own standard error, that of a mean of so many draws, is no bias, and where mean and
              median are further apart than the middle 95% of the draws spread, a few far ones made it, as in ratios.
            - Skewness: the quantiles are those of BCa (Efron 1987), the distance of mean and median of the draws from
              their skewness (its first Edgeworth term, skewness / 6).
            - Few clusters: the normal quantile of BCa becomes sqrt(n / (n - 1)) times Student's t, so that the interval
              of a mean is as wide as that of t (Hesterberg 2015, The American Statistician 69(4), expanded interval).
            Of draws from 0 to 1 the interval does not leave 0 to 1, and of draws that are never negative not 0.
    """
    defined = np.asarray(draws, dtype=np.float64)
    defined = defined[~np.isnan(defined)]
    if np.isnan(value) or not len(defined):
        return Estimate(value, NAN, NAN)
    if not len(left_out):
        low, high = np.quantile(defined, [TAIL, 1 - TAIL])
        return Estimate(value, float(low), float(high))
    low, high = np.quantile(defined, corrected_tails(defined, np.asarray(left_out))) - 2 * _bias(value, defined)
    if min(value, defined.min()) >= 0:
        low, high = max(low, 0.0), min(high, 1.0) if max(value, defined.max()) <= 1 else high
    return Estimate(value, float(low), float(high))


def _bias(value: float, draws: Floats) -> float:
    """Mean distance of the draws from the value; 0 where that is noise or the doing of a few draws."""
    bias = float(draws.mean()) - value
    low, high = np.quantile(draws, [TAIL, 1 - TAIL])
    spread = float(high - low) / (2 * scipy.stats.norm.ppf(1 - TAIL))
    is_noise = abs(bias) <= 2 * float(draws.std()) / np.sqrt(len(draws))
    return 0.0 if is_noise or abs(float(draws.mean() - np.median(draws))) > spread else bias


def corrected_tails(draws: Floats, left_out: Floats) -> tuple[float, float]:
    """The quantiles of the draws, 0-1, at which a 95% interval ends; see `estimate`. nan in `left_out` is left out."""
    n = len(left_out)
    width = -np.sqrt(n / (n - 1)) * scipy.stats.t.ppf(TAIL, n - 1)
    # counting draws below their mean would do the same, but where they have few different values it jumps
    varies = np.ptp(draws) > 1e-9 * max(1.0, float(np.abs(draws).max()))  # rounding has no skewness
    skewness = float(scipy.stats.skew(draws)) if varies else 0.0
    median_bias = skewness / 6 if abs(skewness) <= MAX_SKEWNESS else 0.0
    influence = np.nanmean(left_out) - left_out[~np.isnan(left_out)] if not np.isnan(left_out).all() else np.zeros(1)
    spread = np.sum(influence**2) ** 1.5
    acceleration = np.sum(influence**3) / (6 * spread) if spread else 0.0
    reach = median_bias + np.array([-width, width])
    low, high = scipy.stats.norm.cdf(median_bias + reach / np.maximum(1 - acceleration * reach, 1e-9))
    return float(low), float(high)
