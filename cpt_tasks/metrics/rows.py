"""What statistics of configurability are computed on: judged responses, as rows and as arrays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rubrics import ScoreLevel

NAN = float("nan")
Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """One judged response.

    Attributes:
        rubric: Rubric id.
        level: Level that the system prompt asked for.
        user_prompt: Id of the user prompt: the cluster of the bootstrap and the unit of within-prompt statistics.
        score: Judgment, 0-100.
        words: Length of the response in words.
        paraphrase: Id of the system prompt's wording; "" where there is only one.
    """

    rubric: str
    level: ScoreLevel
    user_prompt: str
    score: float
    words: int
    paraphrase: str = ""


Rows = Sequence[Judged]


@dataclass(frozen=True, eq=False)
class Table:
    """Rows as arrays of shape (n_rows,), rubrics, user prompts and wordings as indices into their sorted names.

    Attributes:
        rubric: Index of the rubric.
        level: Rank of the level asked for, 0-2.
        cluster: Index of the user prompt.
        wording: Index of the paraphrase.
        score: Judgment, 0-100.
        words: Length of the response in words.
        half: Shape (n_clusters,): which half, 0 or 1, a user prompt belongs to where one half chooses and the other
            half measures; user prompts in the order of their names belong to them by turns.
        n_rubrics: Number of rubrics.
        n_wordings: Number of paraphrase ids.
    """

    rubric: Indices
    level: Indices
    cluster: Indices
    wording: Indices
    score: Floats
    words: Floats
    half: Indices
    n_rubrics: int
    n_wordings: int

    @property
    def n_clusters(self) -> int:
        """Number of user prompts."""
        return len(self.half)

    def of_rubric(self, rubric: int) -> "Table":
        """The rows of one rubric; the indices stay what they are."""
        kept = self.rubric == rubric
        names = ("rubric", "level", "cluster", "wording", "score", "words")
        return replace(self, **{name: getattr(self, name)[kept] for name in names})

    def totals(self, weights: Floats, values: NDArray[Any], groups: Indices, n_groups: int) -> Floats:
        """Sums of values (n_rows,) within groups (n_rows,) when clusters have weights: (n_resamples, n_groups)."""
        flat = np.bincount(self.cluster * n_groups + groups, values, self.n_clusters * n_groups)
        return weights @ flat.reshape(self.n_clusters, n_groups)


def table_of(rows: Rows) -> Table:
    """The rows as arrays, in their order."""
    rubrics, rubric = _indices([row.rubric for row in rows])
    prompts, cluster = _indices([row.user_prompt for row in rows])
    wordings, wording = _indices([row.paraphrase for row in rows])
    return Table(
        rubric=rubric,
        level=np.array([row.level.rank for row in rows], dtype=np.int64),
        cluster=cluster,
        wording=wording,
        score=np.array([row.score for row in rows], dtype=np.float64),
        words=np.array([row.words for row in rows], dtype=np.float64),
        half=np.arange(prompts) % 2,
        n_rubrics=rubrics,
        n_wordings=wordings,
    )


def _indices(names: Sequence[str]) -> tuple[int, Indices]:
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return len(numbers), np.array([numbers[name] for name in names], dtype=np.int64)


class Statistic:
    """A statistic, written once for many resamples at a time: decorates `f(table, weights) -> values`.

    `weights` has shape (n_resamples, n_clusters) and says how often each user prompt stands in each resample; a prompt
    that stands twice is two prompts. `values` has shape (n_resamples,). Called on rows, the statistic is its plain
    value: every user prompt once.
    """

    def __init__(self, resampled: Callable[[Table, Floats], Floats]) -> None:
        self.resampled = resampled
        self.__name__ = resampled.__name__
        self.__doc__ = resampled.__doc__

    def __call__(self, rows: Rows) -> float:
        """The plain value on the rows."""
        table = table_of(rows)
        return float(self.resampled(table, np.ones((1, table.n_clusters)))[0])

    def __repr__(self) -> str:
        return f"Statistic({self.__name__})"
