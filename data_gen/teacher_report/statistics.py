"""Means of judged scores and of other numbers of responses, per rubric and level, with intervals: for `cpt teachers`.

Pure numpy and scipy; no text, no file. Rows are responses. A mean without rows is nan, and so is the interval of what
fewer than two user prompts say; a table shows both as "–".

Intervals are 95% percentile intervals of a bootstrap that draws user prompts with replacement: the responses to one
prompt, over rubrics and levels, are drawn together, since they are not independent. A mean weighs responses, not
prompts, so where prompts have different numbers of responses, those with more weigh more, in the mean and in every
draw. scipy.stats.bootstrap draws single values: the same thing for the per-prompt means of one cell with equally many
responses per prompt, but not with unequal numbers, nor for an average over rubrics or a difference of levels that
share their prompts. So the draws are made here, in one way for all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from data_gen.responses import CONTROL
from judges.agreement import Estimate
from rubrics import ScoreLevel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NAN = float("nan")
LEVELS: tuple[str, ...] = (CONTROL, *(level.value for level in ScoreLevel))
LOW, EXTREMELY_HIGH = LEVELS.index(ScoreLevel.LOW), LEVELS.index(ScoreLevel.EXTREMELY_HIGH)
WEIGHTS_AT_ONCE = 4_000_000  # 32 MB


@dataclass(frozen=True)
class Cells:
    """Which cell and prompt each response belongs to; the arrays have shape (n_responses,).

    Attributes:
        rubric: Index of the rubric, 0 to n_rubrics - 1.
        level: Index in `LEVELS`.
        prompt: Index of the user prompt, 0 to n_prompts - 1.
        n_rubrics: Rubrics.
        n_prompts: User prompts: what the bootstrap draws from.
    """

    rubric: Ints
    level: Ints
    prompt: Ints
    n_rubrics: int
    n_prompts: int

    @property
    def index(self) -> Ints:
        """Cell of each response in a flattened table of shape (n_rubrics, n_levels)."""
        return self.rubric * len(LEVELS) + self.level


@dataclass(frozen=True)
class CellMeans:
    """Means of one statistic per rubric (rows) and level (columns, as `LEVELS`), nan where there is nothing to average.

    Attributes:
        value: Means, shape (n_rubrics, n_levels).
        draws: The same in each bootstrap draw, shape (n_resamples, n_rubrics, n_levels).
        n: Responses averaged.
        prompts: User prompts they answer.
        level_prompts: User prompts per level, over all rubrics, shape (n_levels,).
    """

    value: Floats
    draws: Floats
    n: Ints
    prompts: Ints
    level_prompts: Ints

    def of(self, rubric: int, level: int) -> Estimate:
        """Mean of one cell."""
        return interval(self.value[rubric, level], self.draws[:, rubric, level], self.prompts[rubric, level])

    def macro(self, level: int) -> Estimate:
        """Mean over rubrics of the cell means of a level: each rubric weighs the same, those without a cell nothing."""
        draws = mean_known(self.draws[:, :, level], axis=1)
        return interval(float(mean_known(self.value[:, level], axis=0)), draws, self.level_prompts[level])


def cell_means(
    statistics: Mapping[str, Floats], cells: Cells, seed: Sequence[int], n_resamples: int
) -> dict[str, CellMeans]:
    """Means of several statistics over the same responses and the same draws.

    Args:
        statistics: Name -> value per response, nan where it has none: such a response is not averaged.
        cells: Where each response belongs.
        seed: Of the draws; equal seeds and numbers of prompts give equal draws, which makes differences paired.
        n_resamples: Draws.
    """
    totals = [_totals(values, cells) for values in statistics.values()]
    table = sparse.hstack([part for pair in totals for part in pair], format="csr")
    draws = np.concatenate([weights @ table for weights in prompt_weights(cells.n_prompts, n_resamples, seed)])
    shape = (len(statistics), 2, cells.n_rubrics, len(LEVELS))
    once = np.asarray(table.sum(axis=0)).reshape(shape)
    draws = draws.reshape(-1, *shape)
    found = {}
    for place, (name, values) in enumerate(statistics.items()):
        known = ~np.isnan(values)
        found[name] = CellMeans(
            value=_ratio(once[place, 0], once[place, 1]),
            draws=_ratio(draws[:, place, 0], draws[:, place, 1]),
            n=once[place, 1].astype(np.int64),
            prompts=_count_prompts(cells.index[known], cells.prompt[known], cells.n_rubrics * len(LEVELS)).reshape(
                cells.n_rubrics, len(LEVELS)
            ),
            level_prompts=_count_prompts(cells.level[known], cells.prompt[known], len(LEVELS)),
        )
    return found


def dynamic_range(scores: CellMeans) -> tuple[Estimate, dict[int, Estimate]]:
    """Mean score at extremely_high minus mean score at low, in score points (-100 to 100).

    Averaged over the rubrics that have both levels, and by rubric; nan without such a rubric.
    """
    value = scores.value[:, EXTREMELY_HIGH] - scores.value[:, LOW]
    draws = scores.draws[:, :, EXTREMELY_HIGH] - scores.draws[:, :, LOW]
    prompts = np.minimum(scores.prompts[:, EXTREMELY_HIGH], scores.prompts[:, LOW])
    overall = int(np.minimum(scores.level_prompts[EXTREMELY_HIGH], scores.level_prompts[LOW]))
    by_rubric = {
        int(rubric): interval(value[rubric], draws[:, rubric], prompts[rubric])
        for rubric in np.flatnonzero(~np.isnan(value))
    }
    return interval(float(mean_known(value, axis=0)), mean_known(draws, axis=1), overall), by_rubric


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho of level and a number, -1 to 1, by rubric; nan where it is undefined.

    Attributes:
        value: Per rubric, shape (n_rubrics,).
        draws: The same in each bootstrap draw, shape (n_resamples, n_rubrics).
        prompts: User prompts per rubric.
        all_prompts: User prompts over all rubrics.
    """

    value: Floats
    draws: Floats
    prompts: Ints
    all_prompts: int

    def macro(self) -> Estimate:
        """Mean over the rubrics where it is defined."""
        return interval(float(mean_known(self.value, axis=0)), mean_known(self.draws, axis=1), self.all_prompts)


def level_correlation(values: Floats, cells: Cells, seed: Sequence[int], n_resamples: int) -> RankCorrelation:
    """Spearman's rho of level asked for and a number, within each rubric; controls are not asked for a level.

    Ties get mean ranks. nan for a rubric with one level or one value only.

    Args:
        values: Number per response, shape (n_responses,), with few different values, such as lengths in words.
        cells: Where each response belongs.
        seed: Of the draws.
        n_resamples: Draws.
    """
    asked = cells.level >= LOW
    value = np.full(cells.n_rubrics, NAN)
    draws = np.full((n_resamples, cells.n_rubrics), NAN)
    for rubric in range(cells.n_rubrics):
        mine = asked & (cells.rubric == rubric)
        if not mine.any():
            continue
        different, rank = np.unique(values[mine], return_inverse=True)
        shape = (len(LEVELS) - LOW, len(different))
        column = (cells.level[mine] - LOW) * len(different) + rank
        counts = _by_prompt(np.ones(len(column)), cells.prompt[mine], column, cells.n_prompts, shape[0] * shape[1])
        value[rubric] = spearman_of_counts(np.asarray(counts.sum(axis=0), dtype=np.float64).reshape(1, *shape))[0]
        blocks = prompt_weights(cells.n_prompts, n_resamples, seed)
        draws[:, rubric] = np.concatenate([spearman_of_counts((w @ counts).reshape(-1, *shape)) for w in blocks])
    prompts = _count_prompts(cells.rubric[asked], cells.prompt[asked], cells.n_rubrics)
    return RankCorrelation(value, draws, prompts, len(np.unique(cells.prompt[asked])))


def spearman_of_counts(counts: Floats) -> Floats:
    """Spearman's rho, -1 to 1, of contingency tables, shape (n_tables, n_rows, n_columns), in ascending order.

    The same as on rows written out `counts` times, with mean ranks for ties; nan where all rows or columns are tied.
    """
    n = counts.sum(axis=(1, 2))
    rows, columns = (_centred_ranks(counts.sum(axis=axis), n) for axis in (2, 1))
    covariance = np.einsum("tij,ti,tj->t", counts, rows, columns)
    variances = [(counts.sum(axis=axis) * ranks**2).sum(axis=1) for axis, ranks in ((2, rows), (1, columns))]
    return _ratio(covariance, np.sqrt(variances[0] * variances[1]))


def prompt_weights(n_prompts: int, n_resamples: int, seed: Sequence[int]) -> Iterator[Floats]:
    """How often each user prompt is drawn in each bootstrap draw: blocks of shape (at most n_resamples, n_prompts)."""
    rng = np.random.default_rng(list(seed))
    block = max(1, WEIGHTS_AT_ONCE // n_prompts)
    for start in range(0, n_resamples, block):
        size = min(block, n_resamples - start)
        drawn = rng.integers(n_prompts, size=(size, n_prompts)) + np.arange(size)[:, None] * n_prompts
        counts = np.bincount(drawn.ravel(), minlength=size * n_prompts)
        yield counts.reshape(size, n_prompts).astype(np.float64)


def interval(value: float, draws: Floats, n_prompts: int) -> Estimate:
    """Value with the 2.5% and 97.5% quantiles of its draws, undefined ones left out; bounds nan under two prompts."""
    known = draws[~np.isnan(draws)]
    if np.isnan(value) or n_prompts < 2 or not len(known):
        return Estimate(float(value), NAN, NAN)
    low, high = np.quantile(known, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high))


def mean_known(values: Floats, axis: int) -> Floats:
    """Mean along an axis of what is not nan; nan where nothing is left."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=axis), known.sum(axis=axis).astype(np.float64))


def _totals(values: Floats, cells: Cells) -> "tuple[sparse.csr_array, sparse.csr_array]":
    known = ~np.isnan(values)
    prompt, cell, n_cells = cells.prompt[known], cells.index[known], cells.n_rubrics * len(LEVELS)
    return (
        _by_prompt(values[known], prompt, cell, cells.n_prompts, n_cells),
        _by_prompt(np.ones(known.sum()), prompt, cell, cells.n_prompts, n_cells),
    )


def _by_prompt(values: Floats, prompt: Ints, column: Ints, n_prompts: int, n_columns: int) -> "sparse.csr_array":
    # entries at one place are summed
    return sparse.coo_array((values, (prompt, column)), shape=(n_prompts, n_columns)).tocsr()


def _count_prompts(group: Ints, prompt: Ints, n_groups: int) -> Ints:
    pairs = np.unique(np.stack([group, prompt]), axis=1)
    return np.bincount(pairs[0], minlength=n_groups)


def _centred_ranks(margin: Floats, n: Floats) -> Floats:
    before = np.cumsum(margin, axis=1) - margin
    return before + margin / 2 - n[:, None] / 2


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    out: Floats = np.full(np.shape(numerator), NAN)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)
