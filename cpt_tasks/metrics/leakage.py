"""What asking for one rubric does to the others: the leakage matrix.

Cell (r, q) of the matrix is what happens to the score by rubric q when a model that is asked for rubric r is asked for
extremely_high instead of low. Its diagonal is the dynamic range; the rest is leakage.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cpt_tasks.metrics.bootstrap import estimate
from cpt_tasks.metrics.cell_means import CellMeans, Floats, Resamples, nan_mean, ratio
from cpt_tasks.metrics.rows import NAN
from judges.agreement import Estimate
from rubrics import ScoreLevel

Cell = tuple[str, str]


@dataclass(frozen=True)
class CrossScore:
    """One judgment of a response by a rubric, its own or another.

    Attributes:
        steered: Rubric that the system prompt asked for.
        scored: Rubric that judged.
        level: Level that was asked for.
        user_prompt: Id of the user prompt.
        score: Judgment, 0-100.
    """

    steered: str
    scored: str
    level: ScoreLevel
    user_prompt: str
    score: float


@dataclass(frozen=True)
class Shift:
    """One cell of the matrix: `shift` in score points over `n` user prompts."""

    steered: str
    scored: str
    n: int
    shift: Estimate


@dataclass(frozen=True)
class Leakage:
    """The leakage matrix and its summary.

    Attributes:
        shifts: The cells that have a user prompt scored at both levels, in the order of the scores.
        leakage: Mean absolute shift off the diagonal over the mean of the diagonal; 0 when asking for a rubric changes
            no other, 1 when it changes others as much. The noise of a finite sample keeps it above 0. nan without a
            cell off the diagonal, or if the diagonal's mean is not above 0.
        sensibility: Percentile rank, 0-1, of the diagonal cell among the shifts of its row (of all rubrics, does the
            one asked for move most?), mean over rows; 1 is best, 1 / n what the worst gets. nan with fewer than two
            cells.
        specificity: The same within its column (of all that could be asked for, does this rubric's own request move it
            most?).

    Source of sensibility and specificity: Plastic Labs, steerability-eval (2024); percentile ranks give ties the
    highest rank.
    """

    shifts: list[Shift]
    leakage: Estimate
    sensibility: Estimate
    specificity: Estimate


def leakage_matrix(scores: Sequence[CrossScore], n_resamples: int, seed: int) -> Leakage:
    """The leakage matrix: mean over user prompts of score at extremely_high minus score at low, with 95% intervals.

    Repeated responses are averaged within prompt; a prompt that lacks one of the two levels is left out of the cell.
    """
    by_prompt: dict[tuple[Cell, str], dict[ScoreLevel, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in scores:
        by_prompt[(row.steered, row.scored), row.user_prompt][row.level].append(row.score)
    differences = {
        key: float(np.mean(levels[ScoreLevel.EXTREMELY_HIGH]) - np.mean(levels[ScoreLevel.LOW]))
        for key, levels in by_prompt.items()
        if ScoreLevel.LOW in levels and ScoreLevel.EXTREMELY_HIGH in levels
    }
    cells, prompts = [cell for cell, _ in differences], [prompt for _, prompt in differences]
    means = Resamples.draw(prompts, n_resamples, seed).cell_means(cells, prompts, list(differences.values()))
    found = list(dict.fromkeys(cells))
    return Leakage(
        [
            Shift(steered, scored, cells.count((steered, scored)), means.of((steered, scored)))
            for steered, scored in found
        ],
        _relative(found, means),
        _percentile(found, means, along=0),
        _percentile(found, means, along=1),
    )


def _relative(cells: Sequence[Cell], means: CellMeans) -> Estimate:
    own = [means.column[cell] for cell in cells if cell[0] == cell[1]]
    others = [means.column[cell] for cell in cells if cell[0] != cell[1]]

    def over(shifts: Floats) -> Floats:
        diagonal = nan_mean(shifts[..., own])
        return ratio(nan_mean(np.abs(shifts[..., others])), np.where(diagonal > 0, diagonal, 0.0))

    return estimate(float(over(means.values)), over(means.draws))


def _percentile(cells: Sequence[Cell], means: CellMeans, along: int) -> Estimate:
    """Mean percentile rank of the diagonal cells among those with the same rubric at place `along` of the cell."""

    def rank(shifts: Floats) -> Floats:
        ranks = []
        for own in (cell for cell in cells if cell[0] == cell[1]):
            line = [means.column[cell] for cell in cells if cell[along] == own[along]]
            if len(line) > 1:
                among, diagonal = shifts[..., line], shifts[..., [means.column[own]]]
                below = (among <= diagonal).sum(axis=-1) / np.maximum(1, (~np.isnan(among)).sum(axis=-1))
                ranks.append(np.where(np.isnan(diagonal[..., 0]), NAN, below))
        return nan_mean(np.stack(ranks, axis=-1)) if ranks else np.full(shifts.shape[:-1], NAN)

    return estimate(float(rank(means.values)), rank(means.draws))
