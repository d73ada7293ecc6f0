"""Means by cell, and their bootstrap: one set of draws of user prompts for everything that is to be compared."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cpt_tasks.metrics.bootstrap import estimate, resample_weights
from judges.agreement import Estimate

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CellMeans:
    """Means of values by cell.

    Attributes:
        column: Column of each cell, in the order in which cells first came up.
        values: The means, shape (n_cells,), nan for a cell without a value.
        draws: The same in each resample of user prompts, shape (n_resamples, n_cells).
    """

    column: Mapping[Hashable, int]
    values: Floats
    draws: Floats

    def macro(self) -> Estimate:
        """Mean over cells, each weighing the same, with its 95% interval; nan without any."""
        return estimate(float(nan_mean(self.values)), nan_mean(self.draws))

    def of(self, cell: Hashable) -> Estimate:
        """Mean of one cell, with its 95% interval."""
        column = self.column[cell]
        return estimate(float(self.values[column]), self.draws[:, column])


@dataclass(frozen=True)
class Resamples:
    """How often each user prompt is drawn in each bootstrap resample.

    Attributes:
        row: Place of each user prompt.
        weights: Shape (n_resamples, n_prompts); (0, n_prompts) with fewer than two prompts.
    """

    row: Mapping[str, int]
    weights: Floats

    @classmethod
    def draw(cls, prompts: Iterable[str], n_resamples: int, seed: int) -> "Resamples":
        """Draws of user prompts with replacement, the same for the same prompts in any order."""
        names = sorted(set(prompts))
        weights = resample_weights(len(names), n_resamples, np.random.default_rng(seed))
        return cls({name: number for number, name in enumerate(names)}, weights.astype(np.float64))

    def cell_means(
        self, cells: Sequence[Hashable], prompts: Sequence[str], values: Sequence[float] | Floats
    ) -> CellMeans:
        """Mean of the values in each cell, nan values left out; in a resample each counts as often as its prompt.

        Args:
            cells: Cell of each value.
            prompts: User prompt of each value, one of those drawn from.
            values: The values.
        """
        column = {cell: number for number, cell in enumerate(dict.fromkeys(cells))}
        found = np.asarray(values, dtype=np.float64)
        kept = ~np.isnan(found)
        places = (
            np.array([self.row[prompt] for prompt in prompts], dtype=np.int64)[kept],
            np.array([column[cell] for cell in cells], dtype=np.int64)[kept],
        )
        sums, counts = np.zeros((2, len(self.row), len(column)))
        np.add.at(sums, places, found[kept])
        np.add.at(counts, places, 1.0)
        return CellMeans(
            column,
            ratio(sums.sum(axis=0), counts.sum(axis=0)),
            ratio(self.weights @ sums, self.weights @ counts),
        )


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotients, nan where the denominator is 0."""
    quotients: Floats = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=quotients, where=denominator != 0)
    return quotients


def nan_mean(values: Floats) -> Floats:
    """Mean over the last axis, nan values left out; nan where there is no other."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1).astype(np.float64))
