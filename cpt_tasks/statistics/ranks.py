"""Rank correlations of clustered rows for many weightings at a time; `weights` as in `table.Statistic`.

All are nan on weightings where a variable has one value only.
"""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpt_tasks.statistics.table import Indices, Table
from judges.interval import NAN, Floats
from rubrics import ScoreLevel

# of pairs of some rows with all rows, as 1, 0 or -1: which of the two is higher in a variable
Signs = Callable[[Indices], Floats]


def tau_b(table: Table, weights: Floats, same_prompt: bool = False) -> Floats:
    """Kendall's tau-b of level and score over pairs of rows of different user prompts: (n_weightings,).

    A row without a response is in the wrong order to all rows of other levels, and below those of its own.

    With the sign product <x, y> = sum over pairs of sign(xi - xj) sign(yi - yj), tau-b is <x, y> / sqrt(<x, x> <y, y>):
    ratios of quadratic forms in the weights, exact also for copies, since a row and its copy are tied in everything.
    Responses to one user prompt are easier to order, and their pairs are the fewer the more user prompts there are; so
    with them (`same_prompt`) the expected value depends on the number of user prompts, and without them it does not.
    Source: Kendall 1945, in the form of Daniels 1944.
    """
    in_both, in_level, in_score = _order_products(table, weights, same_prompt)
    return ratio(in_both, np.sqrt(in_level * in_score))


def tau_b_ceiling(table: Table, weights: Floats) -> Floats:
    """The highest `tau_b` that the ties of these levels and scores leave room for: (n_weightings,).

    <level, score> is at most the smaller of <level, level> and <score, score>.
    """
    _, in_level, in_score = _order_products(table, weights, same_prompt=False)
    return ratio(np.minimum(in_level, in_score), np.sqrt(in_level * in_score))


def somers_d(table: Table, weights: Floats) -> Floats:
    """Somers' d of score given level, over the pairs of `tau_b` whose levels differ: (n_weightings,).

    <level, score> / <level, level>: the share of those pairs in the right order minus that in the wrong one. Ties of
    the level do not count, so its maximum is 1. Rows without a response count as in `tau_b`. Source: Somers 1962.
    """
    in_both, in_level, _ = _order_products(table, weights, same_prompt=False)
    return ratio(in_both, in_level)


def partial_tau(table: Table, weights: Floats) -> Floats:
    """Kendall's partial rank correlation of level and score given the words, from the three tau-b: (n_weightings,).

    Over pairs of rows of different user prompts: (tau_xy - tau_xz tau_yz) / sqrt((1 - tau_xz^2) (1 - tau_yz^2)), nan
    where z orders x or y completely. Source: Kendall 1942; with tau-b as in R's ppcor (Kim 2015).
    """
    variables = [_signs(variable) for variable in (table.level, table.score, table.words)]
    xx, yy, zz = (_sign_products(table, weights, variable, variable) for variable in variables)
    xy, xz, yz = (_sign_products(table, weights, *pair) for pair in combinations(variables, 2))
    xy, xz, yz = ratio(xy, np.sqrt(xx * yy)), ratio(xz, np.sqrt(xx * zz)), ratio(yz, np.sqrt(yy * zz))
    left = (1 - xz**2) * (1 - yz**2)
    left[left < 1e-12] = 0  # a tau of 1 can come out a rounding error below it
    return ratio(xy - xz * yz, np.sqrt(left))


def spearman(table: Table, weights: Floats, values: Floats) -> Floats:
    """Spearman's rho of level and the values of the rows, with mean ranks for ties: (n_weightings,).

    Pearson's correlation of ranks in the weighting; a value with c copies has the mean of their c ranks.
    """
    distinct, index = np.unique(values, return_inverse=True)
    ones, n_levels = np.ones(len(index)), len(ScoreLevel)
    levels, level_variance = _centred_ranks(table.totals(weights, ones, table.level, n_levels))
    places, place_variance = _centred_ranks(table.totals(weights, ones, index, len(distinct)))
    of_level = (table.level[:, None] == np.arange(n_levels)).astype(np.float64)
    weighted = weights[:, table.cluster] * places[:, index]
    covariance = ((weighted @ of_level) * levels).sum(axis=1)
    return ratio(covariance, np.sqrt(level_variance * place_variance))


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Element by element, nan where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    quotients: Floats = np.divide(numerator, denominator, out=np.full(numerator.shape, NAN), where=denominator != 0)
    return quotients


def _centred_ranks(counts: Floats) -> tuple[Floats, Floats]:
    """Mean rank, minus the mean of all, of each distinct value, from its counts in ascending order; n times variance.

    Halves of integers, hence exact: a constant has variance 0 to the last bit.
    """
    ranks = np.cumsum(counts, axis=1) - counts / 2 - counts.sum(axis=1, keepdims=True) / 2
    return ranks, (counts * ranks**2).sum(axis=1)


def _signs(values: NDArray[Any]) -> Signs:
    numbers = values.astype(np.float64)
    return lambda rows: np.asarray(np.sign(numbers[rows, None] - numbers))


def _order_products(table: Table, weights: Floats, same_prompt: bool) -> tuple[Floats, Floats, Floats]:
    """Sign products of level and score, of level with itself, and of score with itself."""
    level, score = _signs(table.level), _signs(np.where(table.answered, table.score, -1))

    def in_order(rows: Indices) -> Floats:
        levels = level(rows)
        is_lost = ~(table.answered[rows, None] & table.answered) & (levels != 0)
        return np.where(is_lost, -levels, score(rows))

    pairs = ((level, in_order), (level, level), (in_order, in_order))
    xy, xx, yy = (_sign_products(table, weights, x, y, same_prompt) for x, y in pairs)
    return xy, xx, yy


def _sign_products(table: Table, weights: Floats, x: Signs, y: Signs, same_prompt: bool = False) -> Floats:
    """Sum over pairs of rows of the products of their signs in x and y: (n_weightings,)."""
    sums = np.zeros((table.n_clusters, table.n_clusters))
    for number in np.unique(table.cluster):  # a cluster at a time, so that memory stays linear in the rows
        rows = np.flatnonzero(table.cluster == number)
        sums[number] = np.bincount(table.cluster, (x(rows) * y(rows)).sum(axis=0), table.n_clusters)
    all_pairs = ((weights @ sums) * weights).sum(axis=1)
    # a prompt of weight 2 is two prompts: of its 4 products with itself 2 are of different ones
    return np.asarray(all_pairs if same_prompt else all_pairs - weights @ np.diag(sums))
