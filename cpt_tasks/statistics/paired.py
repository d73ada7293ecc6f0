"""Two models on the same cells: differences with intervals, permutation p-values, and Holm's adjustment.

Rows of the two models stand in the same order and agree in rubric, level and user prompt. Both models' responses are
put in one table with a cluster per user prompt and model, so that choosing who answers a prompt is a matter of weights:
every `Statistic` serves here as it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpt_tasks.statistics.table import Statistic, Table, table_of
from judges.interval import NAN, Estimate, Floats, jackknife, jsonable, leave_one_out

N_FLIPS = 200
ROUNDING = 1e-12  # sums in another order differ by this much although they are equal


@dataclass(frozen=True)
class PairedDifference:
    """A statistic on two models; `difference` is second minus first, `p` nan where that is undefined."""

    first: float
    second: float
    difference: Estimate
    p: float

    def to_json(self) -> dict[str, Any]:
        """`{a, b, difference, p}`, None for nan."""
        values = {"a": jsonable(self.first), "b": jsonable(self.second)}
        return values | {"difference": self.difference.to_json(), "p": jsonable(self.p)}


def paired_differences(
    first: pd.DataFrame,
    second: pd.DataFrame,
    statistics: Mapping[str, Statistic],
    rng: np.random.Generator,
    n_permutations: int = 10_000,
) -> dict[str, PairedDifference]:
    """Each statistic on two models, their difference with its 95% interval, and a two-sided permutation p-value.

    The p-value is the share of permutations whose difference is at least as far from 0, where a permutation swaps the
    two models' responses to a user prompt, to all of its rubrics and levels at once. All 2^n permutations are taken if
    they are at most `n_permutations`; otherwise so many are drawn, and the share is (1 + count) / (1 + draws), which
    keeps the test exact (Phipson and Smyth 2010). A permutation on which the statistic is undefined counts as far from
    0. The interval is that of an unbounded statistic, see `judges.interval`.

    Raises:
        ValueError: If the two do not agree row by row in rubric, level and user prompt.
    """
    table = _paired_table(first, second)
    n_clusters = table.n_clusters // 2
    weights = leave_one_out(n_clusters)
    nothing = np.zeros_like(weights)
    swaps, exact = swaps_of(n_clusters, n_permutations, rng)
    differences = {}
    for name, statistic in statistics.items():
        first_values = statistic.weighted(table, np.hstack([weights, nothing]))
        second_values = statistic.weighted(table, np.hstack([nothing, weights]))
        swapped = [statistic.weighted(table, np.hstack(part)) for part in ((1 - swaps, swaps), (swaps, 1 - swaps))]
        difference = jackknife(second_values - first_values)
        p = _p_value(difference.value, swapped[1] - swapped[0], exact)
        differences[name] = PairedDifference(float(first_values[0]), float(second_values[0]), difference, p)
    return differences


def swaps_of(n_clusters: int, n_permutations: int, rng: np.random.Generator) -> tuple[Floats, bool]:
    """Which clusters each permutation swaps, 0 or 1, shape (n_permutations, n_clusters); whether these are all."""
    if n_clusters < 63 and 2**n_clusters <= n_permutations:
        numbers = np.arange(2**n_clusters)[:, None]
        return (numbers >> np.arange(n_clusters) & 1).astype(np.float64), True
    return rng.integers(0, 2, (n_permutations, n_clusters)).astype(np.float64), False


def flipped_means(differences: pd.DataFrame, seed: int) -> Floats:
    """Means of the columns if the sign of a user prompt's differences were chance, shape (N_FLIPS, n_columns).

    In each row the differences of every user prompt are kept or turned round together, by a toss of a coin: what is
    left of a statistic that cannot be negative is the part that noise gives it. `differences` has a row per user
    prompt, sorted by id; nan where there is none.
    """
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(N_FLIPS, len(differences)))
    counts = differences.notna().sum().to_numpy(np.float64)
    return np.asarray(signs @ differences.fillna(0.0).to_numpy(np.float64) / counts)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given; nan are left as they are and do not count as tests.

    Source: Holm 1979; scipy has no step-down adjustment.
    """
    adjusted = np.array(p_values, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(adjusted))
    order = tested[np.argsort(adjusted[tested], kind="stable")]
    steps = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(value) for value in adjusted]


def _paired_table(first: pd.DataFrame, second: pd.DataFrame) -> Table:
    """The rows of both: cluster k is user prompt k answered by the first, cluster n + k by the second."""
    names = ["rubric", "level", "user_prompt_id"]
    if first[names].to_numpy().tolist() != second[names].to_numpy().tolist():
        raise ValueError("rows: the two models' rows differ in rubric, level or user prompt, expected the same cells")
    sides = [rows.assign(user_prompt_id=name + rows["user_prompt_id"]) for name, rows in (("a", first), ("b", second))]
    return table_of(pd.concat(sides))


def _p_value(observed: float, permuted: NDArray[np.float64], exact: bool) -> float:
    if math.isnan(observed):
        return NAN
    far = int(np.sum(~(np.abs(permuted) < abs(observed) - ROUNDING)))
    return far / len(permuted) if exact else (1 + far) / (1 + len(permuted))
