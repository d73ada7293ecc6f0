"""A frame as arrays, and statistics written once for many weightings of its user prompts.

Leaving a user prompt out, or letting one of two models answer it, are weights; so the jackknife and the permutations of
`paired` share one implementation of every statistic.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpt_tasks.statistics.frame import answered
from judges.interval import Bounds, Estimate, Floats, can_leave_out, jackknife, leave_one_out
from rubrics import ScoreLevel

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Table:
    """Rows as arrays of shape (n_rows,): rubrics and user prompts (clusters) as indices into their sorted ids.

    `level` is the rank of the level asked for, 0-2, `score` 0-100, `words` the length of the response, `answered` False
    where there is none.
    """

    rubric: Indices
    level: Indices
    cluster: Indices
    score: Floats
    words: Floats
    answered: NDArray[np.bool_]
    n_rubrics: int
    n_clusters: int

    def only(self, kept: NDArray[np.bool_]) -> "Table":
        """Some of the rows; the indices stay what they are."""
        names = ("rubric", "level", "cluster", "score", "words", "answered")
        return replace(self, **{name: getattr(self, name)[kept] for name in names})

    @property
    def can_leave_out(self) -> bool:
        """Whether no rubric has only one user prompt, with which it would be gone."""
        return can_leave_out(pd.Series(self.rubric), pd.Series(self.cluster))

    def totals(self, weights: Floats, values: NDArray[Any], groups: Indices, n_groups: int) -> Floats:
        """Sums of values (n_rows,) within groups (n_rows,) when clusters have weights: (n_weightings, n_groups)."""
        flat = np.bincount(self.cluster * n_groups + groups, values, self.n_clusters * n_groups)
        return weights @ flat.reshape(self.n_clusters, n_groups)


def table_of(frame: pd.DataFrame) -> Table:
    """The rows as arrays, in their order; every row is scored and asks for a level (see `frame.with_level`)."""
    if frame.empty:
        nothing, numbers = np.zeros(0, dtype=np.int64), np.zeros(0)
        return Table(nothing, nothing, nothing, numbers, numbers, np.zeros(0, dtype=np.bool_), 0, 0)
    rubric, rubrics = pd.factorize(frame["rubric"], sort=True)
    cluster, prompts = pd.factorize(frame["user_prompt_id"], sort=True)
    return Table(
        rubric=rubric.astype(np.int64),
        level=np.array([ScoreLevel(level).rank for level in frame["level"]], dtype=np.int64),
        cluster=cluster.astype(np.int64),
        score=frame["score"].to_numpy(np.float64),
        words=frame["words"].to_numpy(np.float64),
        answered=answered(frame).to_numpy(np.bool_),
        n_rubrics=len(rubrics),
        n_clusters=len(prompts),
    )


@dataclass(frozen=True, eq=False)
class Statistic:
    """A statistic of a frame, written for many weightings at a time.

    Attributes:
        function: From a table and weights, see `weighted`, to values.
        bounds: The lowest and highest value it can take; None for one without bounds.
        has_interval: False for a number that data do not make uncertain.
        misses: Whether rows without a response count, as misses; otherwise they are left out.
        ceiling: Statistic of the highest value that ties of levels and scores allow; None where it is the upper bound.
    """

    function: Callable[[Table, Floats], Floats]
    bounds: Bounds | None
    has_interval: bool
    misses: bool
    ceiling: "Statistic | None"

    def weighted(self, table: Table, weights: Floats) -> Floats:
        """Values, shape (n_weightings,), nan where undefined.

        `weights`, shape (n_weightings, n_clusters), say how often each user prompt counts: twice is two prompts.
        """
        return self.function(self.rows(table), weights)

    def rows(self, table: Table) -> Table:
        """The rows that count."""
        return table if self.misses else table.only(table.answered)

    def __call__(self, frame: pd.DataFrame) -> float:
        """The plain value: every user prompt once."""
        table = table_of(frame)
        return float(self.weighted(table, np.ones((1, table.n_clusters)))[0])

    def left_out(self, table: Table) -> Floats:
        """The value, then that without each user prompt that has a row which counts, for `judges.interval`.

        The value alone where it has no interval or a rubric has one user prompt.
        """
        rows, weights = self.rows(table), leave_one_out(table.n_clusters)
        if not (self.has_interval and rows.can_leave_out):
            return self.function(rows, weights[:1])
        return self.function(rows, weights[[0, *np.unique(rows.cluster) + 1]])

    def estimate(self, table: Table) -> Estimate:
        """The value with its 95% interval, see `judges.interval`; none where a rubric has one user prompt."""
        bounds = self.bounds
        if bounds and self.ceiling:
            bounds = (bounds[0], self.ceiling.estimate(table).value)
        return jackknife(self.left_out(table), bounds)


def statistic(
    bounds: Bounds | None = None,
    *,
    has_interval: bool = True,
    misses: bool = False,
    ceiling: Statistic | None = None,
) -> Callable[[Callable[[Table, Floats], Floats]], Statistic]:
    """Decorates `f(table, weights)` with the attributes of the statistic."""
    return lambda function: Statistic(function, bounds, has_interval, misses, ceiling)


def estimates_of(frame: pd.DataFrame, statistics: Mapping[str, Statistic]) -> dict[str, Estimate]:
    """Statistics by name, each with its interval."""
    table = table_of(frame)
    return {name: one.estimate(table) for name, one in statistics.items()}
