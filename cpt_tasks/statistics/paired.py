"""Two models on the same cells: differences with intervals, permutation p-values, and Holm's adjustment.

Rows of the two models stand in the same order and agree in rubric, level and user prompt. Both models' responses are
put in one table with a cluster per user prompt and model, so that choosing who answers a prompt is a matter of weights:
every `Statistic` serves here as it is.
"""

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpt_tasks.statistics.ranks import ratio
from cpt_tasks.statistics.table import Statistic, Table, table_of
from judges.interval import NAN, Estimate, Floats, jackknife, jsonable, leave_one_out

N_FLIPS = 200
SIGNIFICANT = 0.05
ROUNDING = 1e-12  # sums in another order differ by this much although they are equal


@dataclass(frozen=True)
class PairedDifference:
    """A statistic on two models; `difference` is second minus first, `p` nan where that is undefined or not tested.

    `user_prompts` is the number of those with a row that counts.
    """

    first: float
    second: float
    difference: Estimate
    p: float
    user_prompts: int

    def to_json(self) -> dict[str, Any]:
        """`{a, b, user_prompts, difference, p}`, None for nan."""
        values = {"a": jsonable(self.first), "b": jsonable(self.second), "user_prompts": self.user_prompts}
        return values | {"difference": self.difference.to_json(), "p": jsonable(self.p)}


def paired_differences(
    first: pd.DataFrame,
    second: pd.DataFrame,
    statistics: Mapping[str, Statistic],
    rng: np.random.Generator,
    n_permutations: int = 10_000,
    tested: Container[str] | None = None,
) -> dict[str, PairedDifference]:
    """Each statistic on two models, their difference with its 95% interval, and a two-sided permutation p-value.

    The p-value is the share of permutations whose difference is at least as far from 0, where a permutation swaps the
    two models' responses to a user prompt, to all of its rubrics and levels at once. All 2^n permutations are taken if
    they are at most `n_permutations`; otherwise so many are drawn, and the share is (1 + count) / (1 + draws), which
    keeps the test exact (Phipson and Smyth 2010). A permutation on which the statistic is undefined counts as far from
    0. Only what is `tested` has one, by default all. The interval is that of an unbounded statistic, see
    `judges.interval`.

    Raises:
        ValueError: If the two do not agree row by row in rubric, level and user prompt.
    """
    table = _paired_table(first, second)
    sides, n_clusters = (table_of(first), table_of(second)), table.n_clusters // 2
    swaps, exact = swaps_of(n_clusters, n_permutations, rng)
    differences = {}
    for name, statistic in statistics.items():
        counted = [statistic.rows(side) for side in sides]
        prompts = np.unique(np.concatenate([rows.cluster for rows in counted]))
        weights = leave_one_out(n_clusters)[[0, *prompts + 1]]
        nothing = np.zeros_like(weights)
        first_values = statistic.weighted(table, np.hstack([weights, nothing]))
        second_values = statistic.weighted(table, np.hstack([nothing, weights]))
        values, p = second_values - first_values, NAN
        difference = jackknife(values if all(rows.can_leave_out for rows in counted) else values[:1])
        if tested is None or name in tested:
            swapped = [statistic.weighted(table, np.hstack(part)) for part in ((1 - swaps, swaps), (swaps, 1 - swaps))]
            p = _p_value(difference.value, swapped[1] - swapped[0], exact)
        of_each = float(first_values[0]), float(second_values[0])
        differences[name] = PairedDifference(*of_each, difference, p, len(prompts))
    return differences


def swaps_of(n_clusters: int, n_permutations: int, rng: np.random.Generator) -> tuple[Floats, bool]:
    """Which clusters each permutation swaps, 0 or 1, shape (n_permutations, n_clusters); whether these are all."""
    if 2**n_clusters <= n_permutations:
        numbers = np.arange(2**n_clusters)[:, None]
        return (numbers >> np.arange(n_clusters) & 1).astype(np.float64), True
    return rng.integers(0, 2, (n_permutations, n_clusters)).astype(np.float64), False


def flipped_means(differences: pd.DataFrame, seed: int) -> Floats:
    """Means of the columns as noise around a true mean of 0 would make them, shape (N_FLIPS, n_columns).

    In each row what the differences of a user prompt are off their column's mean is kept or turned round together, by a
    toss of a coin, times sqrt(n / (n - 1)), since what is off a mean of n varies less than the noise. Without noise it
    is 0, however large the means. `differences` has a row per user prompt, sorted by id; nan where there is none. nan
    for a column with one user prompt, whose noise nothing shows.
    """
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(N_FLIPS, len(differences)))
    counts = differences.notna().sum().to_numpy(np.float64)
    noise = (differences - differences.mean()).fillna(0.0).to_numpy(np.float64)
    return ratio(signs @ noise, np.sqrt(counts * (counts - 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given; nan are left as they are, but count as tests.

    What is tested is settled before the data are seen. Source: Holm 1979; scipy has no step-down adjustment.
    """
    adjusted = np.array(p_values, dtype=np.float64)
    tested = np.flatnonzero(~np.isnan(adjusted))
    order = tested[np.argsort(adjusted[tested], kind="stable")]
    steps = adjusted[order] * np.arange(len(adjusted), len(adjusted) - len(order), -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(value) for value in adjusted]


def least_p_note(n_clusters: int, n_tests: int, n_permutations: int) -> str:
    """What a table must say where no p-value, or none that `holm` adjusted, can be `SIGNIFICANT`; else "".

    Of all 2^n permutations, none and all of them always are as far from 0 as the data: no p is below 2 / 2^n.
    """
    least = 2 / 2**n_clusters if 2**n_clusters <= n_permutations else 1 / (1 + n_permutations)
    if n_tests * least <= SIGNIFICANT:
        return ""
    what, value = ("p", least) if least > SIGNIFICANT else (f"p (Holm, {n_tests} tests)", n_tests * least)
    return f"{n_clusters} user prompts: no {what} can be below {min(value, 1):.3g}, however far apart the models are"


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
