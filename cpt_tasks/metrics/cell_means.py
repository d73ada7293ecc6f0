"""Means by cell, and their bootstrap: one set of draws of user prompts for everything that is to be compared."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cpt_tasks.metrics.bootstrap import bootstrap_estimate
from cpt_tasks.metrics.cells import mean_of_known, ratio, seeded_weights
from cpt_tasks.metrics.rows import Floats
from judges.interval import Estimate

N_FLIPS = 200


@dataclass(frozen=True)
class Resamples:
    """How often each user prompt counts in the data and in each resample.

    Attributes:
        place: Column of each user prompt.
        weights: `bootstrap_weights`, shape (n_rows, n_prompts): the data as they are, each prompt left out, the draws.
    """

    place: Mapping[str, int]
    weights: Floats

    @classmethod
    def draw(cls, prompts: Iterable[str], n_resamples: int, seed: int) -> "Resamples":
        """Draws of user prompts with replacement, the same for the same prompts in any order."""
        names = sorted(set(prompts))
        weights = seeded_weights(len(names), n_resamples, seed)
        return cls({name: number for number, name in enumerate(names)}, weights)

    def estimate(self, values: Floats) -> Estimate:
        """A statistic with its 95% interval, from its values on the rows of the weights."""
        return bootstrap_estimate(values, len(self.place))

    def cell_means(
        self, cells: Sequence[Hashable], prompts: Sequence[str], values: Sequence[float] | Floats
    ) -> "CellMeans":
        """Mean of the values in each cell, nan values left out; in a resample each counts as often as its prompt.

        Args:
            cells: Cell of each value.
            prompts: User prompt of each value, one of those drawn from.
            values: The values.
        """
        column, sums, counts = self._table(cells, prompts, values)
        return CellMeans(self, column, ratio(self.weights @ sums, self.weights @ counts))

    def flipped_means(
        self, cells: Sequence[Hashable], prompts: Sequence[str], values: Sequence[float] | Floats, seed: int
    ) -> Floats:
        """The means of differences if their sign were chance, shape (N_FLIPS, n_cells), cells as in `cell_means`.

        In each row the differences of every user prompt are kept or turned round together, by a toss of a coin: what is
        left of a statistic that cannot be negative is the part that noise gives it.
        """
        _, sums, counts = self._table(cells, prompts, values)
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(N_FLIPS, len(self.place)))
        return ratio(signs @ sums, np.broadcast_to(counts.sum(axis=0), (N_FLIPS, counts.shape[1])))

    def _table(
        self, cells: Sequence[Hashable], prompts: Sequence[str], values: Sequence[float] | Floats
    ) -> tuple[dict[Hashable, int], Floats, Floats]:
        """Column of each cell; sum and number of its values, (n_prompts, n_cells)."""
        column = {cell: number for number, cell in enumerate(dict.fromkeys(cells))}
        found = np.asarray(values, dtype=np.float64)
        kept = ~np.isnan(found)
        places = (
            np.array([self.place[prompt] for prompt in prompts], dtype=np.int64)[kept],
            np.array([column[cell] for cell in cells], dtype=np.int64)[kept],
        )
        sums, counts = np.zeros((2, len(self.place), len(column)))
        np.add.at(sums, places, found[kept])
        np.add.at(counts, places, 1.0)
        return column, sums, counts


@dataclass(frozen=True)
class CellMeans:
    """Means of values by cell.

    Attributes:
        resamples: What they were resampled with.
        column: Column of each cell, in the order in which cells first came up.
        rows: The means on each row of the weights, shape (n_rows, n_cells), nan for a cell without a value there.
    """

    resamples: Resamples
    column: Mapping[Hashable, int]
    rows: Floats

    def macro(self) -> Estimate:
        """Mean over cells, each weighing the same; nan without any."""
        return self.resamples.estimate(mean_of_known(self.rows))

    def of(self, cell: Hashable) -> Estimate:
        """Mean of one cell."""
        return self.resamples.estimate(self.rows[:, self.column[cell]])
