"""95% intervals clustered on user prompts, and how they are written.

Responses to one user prompt are not independent of one another, so the user prompt is the unit. The interval is the
delete-one-cluster jackknife with Student's t on n - 1 degrees of freedom (Efron and Tibshirani 1993, chapter 11; CR3 in
econometrics); a bounded statistic has Wilson's form with the effective number of prompts p(1 - p) / SE^2 (Korn and
Graubard 1998; Franco et al. 2019), so it neither leaves its range nor has width 0. No draws, no seed, no clip.
`make coverage` prints how often such intervals hold the truth.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy  # its parts are imported when first used: `scipy.stats` takes a second
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bounds = tuple[float, float]
NAN = float("nan")
NO_INTERVAL: Bounds = (NAN, NAN)  # of a statistic that cannot be 0 with noise, or moves in jumps: none holds there
CONFIDENCE = 0.95
MIN_CLUSTERS = 6  # below it no distribution-free 95% interval exists: 2 / 2^5 = .0625
FEW_CLUSTERS = 12  # below it an interval is printed with a note
ROUNDING = 1e-9  # a spread, or a distance from a bound, below this is none


@dataclass(frozen=True)
class Estimate:
    """A statistic with the bounds of its 95% interval; nan where it is undefined, nan bounds where it has none."""

    value: float
    ci_low: float = NAN
    ci_high: float = NAN

    def to_json(self) -> dict[str, float | None]:
        """`{value, ci_low, ci_high}`, each as `jsonable` has it."""
        return {name: jsonable(value) for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, numbers: Mapping[str, Any]) -> "Estimate":
        """The estimate that `to_json` wrote."""
        return cls(*(NAN if numbers[name] is None else numbers[name] for name in ("value", "ci_low", "ci_high")))

    def text(self, digits: int = 2, sign: bool = False) -> str:
        """`0.33 [0.31, 0.35]`; the value alone without an interval; "undefined" where it is. `sign` writes plus too."""
        if math.isnan(self.value):
            return "undefined"
        form = f"{'+' if sign else ''}z.{digits}f"  # z: never -0.0
        value, low, high = (format(number, form) for number in (self.value, self.ci_low, self.ci_high))
        return value if math.isnan(self.ci_low) else f"{value} [{low}, {high}]"


def jsonable(value: float) -> float | None:
    """A number as JSON files hold it: rounded to six digits, None for nan."""
    return None if math.isnan(value) else round(float(value), 6)


def leave_one_out(n_clusters: int) -> Floats:
    """Weights of the clusters, shape (1 + n_clusters, n_clusters): the data, then each cluster left out."""
    return np.vstack([np.ones((1, n_clusters)), 1 - np.eye(n_clusters)])


def can_leave_out(strata: pd.Series, clusters: pd.Series) -> bool:
    """Whether no stratum has only one cluster, with which it would be gone; the values of rows."""
    return bool((clusters.groupby(strata.to_numpy()).nunique() != 1).all())


def jackknife(values: Iterable[float] | Floats, bounds: Bounds | None = None) -> Estimate:
    """The estimate from a statistic's values on the rows of `leave_one_out`.

    `bounds` are the lowest and highest value that the statistic can take on such rows, or `NO_INTERVAL`; None for one
    without bounds, and for every difference. Adding a constant to an unbounded statistic adds it to the interval. There
    is none (nan bounds) below 6 clusters, where the statistic is undefined without one of the clusters, and for an
    unbounded statistic that no cluster moves.
    """
    value, *left_out = (float(number) for number in values)
    n, error = len(left_out), standard_error([value, *left_out])
    if n < MIN_CLUSTERS or math.isnan(error) or bounds is NO_INTERVAL:
        return Estimate(value)
    t = float(scipy.stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    if bounds is not None:
        return Estimate(value, *_wilson(value, error, t, n, bounds))
    spread = ROUNDING * max(1.0, abs(value))
    return Estimate(value, value - t * error, value + t * error) if error > spread else Estimate(value)


def standard_error(values: Iterable[float] | Floats) -> float:
    """The jackknife's standard error of a statistic, from its values on the rows of `leave_one_out`.

    nan with fewer than two clusters, or where the statistic is undefined on the data or without one of them.
    """
    value, *rest = (float(number) for number in values)
    left_out = np.array(rest, dtype=np.float64)
    n = len(left_out)
    if n < 2 or math.isnan(value) or np.isnan(left_out).any():
        return NAN
    return math.sqrt((n - 1) / n * float(((left_out - left_out.mean()) ** 2).sum()))


def estimates(
    frame: pd.DataFrame,
    statistics: Callable[[pd.DataFrame], Mapping[str, float]],
    bounds: Mapping[str, Bounds],
    cluster: str = "user_prompt_id",
    stratum: str | None = None,
) -> dict[str, Estimate]:
    """Every statistic of a frame with its interval, from computing all of them again without each cluster.

    `bounds`, by name, are as in `jackknife`, or missing; `cluster` is the name of a column, and `stratum` that of one
    over whose values the statistics are means: no interval unless `can_leave_out`. A cluster without a row for a
    statistic is not counted: it moves nothing and gives no value alone (unless all are so: a correlation of 1).
    """
    whole, names = statistics(frame), frame[cluster].unique()
    counted: dict[str, list[float]] = {name: [] for name in whole}
    others: dict[str, list[float]] = {name: [] for name in whole}
    if len(names) >= MIN_CLUSTERS and (stratum is None or can_leave_out(frame[stratum], frame[cluster])):
        for is_one in (frame[cluster] == name for name in names):
            rest, alone = statistics(frame[~is_one]), None
            for name, value in whole.items():
                left_out = rest.get(name, NAN)
                is_idle = abs(left_out - value) < ROUNDING
                if is_idle:
                    alone = statistics(frame[is_one]) if alone is None else alone
                    is_idle = math.isnan(alone.get(name, NAN))
                (others if is_idle else counted)[name].append(left_out)
    return {
        name: jackknife([value, *(counted[name] or others[name])], bounds.get(name)) for name, value in whole.items()
    }


def cluster_note(n_clusters: int) -> str:
    """What a table must say of its number of user prompts: no interval below 6, care below 12, else ""."""
    if n_clusters < MIN_CLUSTERS:
        return f"{n_clusters} user prompt{'' if n_clusters == 1 else 's'}: too few for an interval"
    if n_clusters < FEW_CLUSTERS:
        return f"{n_clusters} user prompts are few: where they differ much, 95% intervals hold the truth less often"
    return ""


def _wilson(value: float, error: float, t: float, n_clusters: int, bounds: Bounds) -> tuple[float, float]:
    low, high = bounds
    share, error = (value - low) / (high - low), error / (high - low)
    varies = error > ROUNDING and ROUNDING < share < 1 - ROUNDING
    size = share * (1 - share) / error**2 if varies else n_clusters
    centre = (share + t**2 / (2 * size)) / (1 + t**2 / size)
    half = t * math.sqrt(share * (1 - share) / size + t**2 / (4 * size**2)) / (1 + t**2 / size)
    ends = max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))  # around it, rounding or not
    return low + (high - low) * ends[0], low + (high - low) * ends[1]
