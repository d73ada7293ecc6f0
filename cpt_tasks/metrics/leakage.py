"""What asking for one rubric does to the others: the leakage matrix.

Cell (r, q) of the matrix is what happens to the score by rubric q when a model that is asked for rubric r is asked for
extremely_high instead of low. Its diagonal is the dynamic range; the rest is leakage.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cpt_tasks.metrics.cell_means import CellMeans, Resamples
from cpt_tasks.metrics.cells import mean_of_known, ratio
from cpt_tasks.metrics.rows import NAN, Floats
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
            no other, 1 when it changes others as much. nan without a cell off the diagonal, or if the diagonal's mean
            is not above 0. The noise of a finite sample keeps it above 0, so beside it:
        leakage_by_chance: What `leakage` would be with this diagonal if the shifts off it were noise around 0 (each
            user prompt's turned round or not by chance, mean over 200 times). Without interval.
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
    leakage_by_chance: Estimate
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
    found = list(dict.fromkeys(cells))
    resamples, values = Resamples.draw(prompts, n_resamples, seed), list(differences.values())
    means = resamples.cell_means(cells, prompts, values)
    relative = _relative(found, means, means.rows)
    by_chance = _relative(found, means, resamples.flipped_means(cells, prompts, values, seed))
    return Leakage(
        [
            Shift(steered, scored, cells.count((steered, scored)), means.of((steered, scored)))
            for steered, scored in found
        ],
        resamples.estimate(relative),
        Estimate(float(mean_of_known(by_chance)), NAN, NAN),
        _percentile(found, means, along=0),
        _percentile(found, means, along=1),
    )


def _relative(cells: Sequence[Cell], means: CellMeans, off_diagonal: Floats) -> Floats:
    """Leakage on each row of the shifts given, over the diagonal of the same row; for other rows, that of the data."""
    own = [means.column[cell] for cell in cells if cell[0] == cell[1]]
    others = [means.column[cell] for cell in cells if cell[0] != cell[1]]
    diagonal = mean_of_known(means.rows[:, own])
    if off_diagonal is not means.rows:
        diagonal = np.full(len(off_diagonal), diagonal[0])
    return ratio(mean_of_known(np.abs(off_diagonal[:, others])), np.where(diagonal > 0, diagonal, 0.0))


def _percentile(cells: Sequence[Cell], means: CellMeans, along: int) -> Estimate:
    """Mean percentile rank of the diagonal cells among those with the same rubric at place `along` of the cell."""
    ranks = []
    for own in (cell for cell in cells if cell[0] == cell[1]):
        line = [means.column[cell] for cell in cells if cell[along] == own[along]]
        if len(line) > 1:
            among, diagonal = means.rows[:, line], means.rows[:, [means.column[own]]]
            rank = ratio((among <= diagonal).sum(axis=1).astype(np.float64), (~np.isnan(among)).sum(axis=1))
            ranks.append(np.where(np.isnan(diagonal[:, 0]), NAN, rank))
    return means.resamples.estimate(mean_of_known(np.stack(ranks, axis=1)) if ranks else np.full(len(means.rows), NAN))
