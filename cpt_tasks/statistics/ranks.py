"""Rank correlations of clustered rows for many weightings at a time; `weights` as in `table.Statistic`.

All are nan on weightings where a variable has one value only.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpt_tasks.statistics.table import Indices, Table
from judges.interval import NAN, Floats

RANKS_AT_A_TIME = 2_000_000  # 16 MB for the ranks of one slice of weightings


def tau_b(table: Table, weights: Floats, x: NDArray[Any], y: NDArray[Any]) -> Floats:
    """Kendall's tau-b of x and y, shape (n_rows,): (n_weightings,).

    With the sign product <x, y> = sum over pairs of sign(xi - xj) sign(yi - yj), tau-b is <x, y> / sqrt(<x, x> <y, y>):
    ratios of quadratic forms in the weights, exact also for copies, since a row and its copy are tied in everything.
    Source: Kendall 1945, in the form of Daniels 1944.
    """
    xy, xx, yy = (_sign_products(table, weights, *pair) for pair in ((x, y), (x, x), (y, y)))
    return ratio(xy, np.sqrt(xx * yy))


def partial_tau(table: Table, weights: Floats, x: Indices, y: Floats, given: Floats) -> Floats:
    """Kendall's partial rank correlation of x and y given a third variable, from the three tau-b: (n_weightings,).

    (tau_xy - tau_xz tau_yz) / sqrt((1 - tau_xz^2) (1 - tau_yz^2)); nan where z orders x or y completely.
    Source: Kendall 1942; with tau-b as in R's ppcor (Kim 2015).
    """
    xx, yy, zz = (_sign_products(table, weights, variable, variable) for variable in (x, y, given))
    xy = ratio(_sign_products(table, weights, x, y), np.sqrt(xx * yy))
    xz = ratio(_sign_products(table, weights, x, given), np.sqrt(xx * zz))
    yz = ratio(_sign_products(table, weights, y, given), np.sqrt(yy * zz))
    left = (1 - xz**2) * (1 - yz**2)
    left[left < 1e-12] = 0  # a tau of 1 can come out a rounding error below it
    return ratio(xy - xz * yz, np.sqrt(left))


def spearman(table: Table, weights: Floats, level: Indices, values: Floats, n_levels: int) -> Floats:
    """Spearman's rho of levels, 0 to n_levels - 1, and values, with mean ranks for ties: (n_weightings,).

    Pearson's correlation of ranks in the weighting; a value with c copies has the mean of their c ranks.
    """
    distinct, index = np.unique(values, return_inverse=True)
    rows_at_a_time = max(1, RANKS_AT_A_TIME // max(1, len(values)))
    slices = [weights[start : start + rows_at_a_time] for start in range(0, len(weights), rows_at_a_time)]
    return np.concatenate([_spearman(table, part, level, index, n_levels, len(distinct)) for part in slices])


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Element by element, nan where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    quotients: Floats = np.divide(numerator, denominator, out=np.full(numerator.shape, NAN), where=denominator != 0)
    return quotients


def _spearman(table: Table, weights: Floats, level: Indices, index: Indices, n_levels: int, n_distinct: int) -> Floats:
    ones = np.ones(len(index))
    levels, level_variance = _centred_ranks(table.totals(weights, ones, level, n_levels))
    values, value_variance = _centred_ranks(table.totals(weights, ones, index, n_distinct))
    of_level = (level[:, None] == np.arange(n_levels)).astype(np.float64)
    weighted = weights[:, table.cluster] * values[:, index]
    covariance = ((weighted @ of_level) * levels).sum(axis=1)
    return ratio(covariance, np.sqrt(level_variance * value_variance))


def _centred_ranks(counts: Floats) -> tuple[Floats, Floats]:
    """Mean rank, minus the mean of all, of each distinct value, from its counts in ascending order; n times variance.

    Halves of integers, hence exact: a constant has variance 0 to the last bit.
    """
    ranks = np.cumsum(counts, axis=1) - counts / 2 - counts.sum(axis=1, keepdims=True) / 2
    return ranks, (counts * ranks**2).sum(axis=1)


def _sign_products(table: Table, weights: Floats, x: NDArray[Any], y: NDArray[Any]) -> Floats:
    sums = _cluster_sign_products(x.astype(np.float64), y.astype(np.float64), table.cluster, table.n_clusters)
    return np.asarray(((weights @ sums) * weights).sum(axis=1))


def _cluster_sign_products(x: Floats, y: Floats, cluster: Indices, n_clusters: int) -> Floats:
    """Sum of sign(xi - xj) sign(yi - yj) over the rows i of one cluster and j of another: (n_clusters, n_clusters)."""
    sums = np.zeros((n_clusters, n_clusters))
    order = np.argsort(cluster, kind="stable")
    x, y = x[order], y[order]
    present, counts = np.unique(cluster, return_counts=True)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    for place, number in enumerate(present):
        rows = slice(bounds[place], bounds[place + 1])  # a cluster at a time, so that memory stays linear in the rows
        products = np.sign(x[rows, None] - x) * np.sign(y[rows, None] - y)
        sums[number, present] = np.add.reduceat(products.sum(axis=0), bounds[:-1])
    return sums
