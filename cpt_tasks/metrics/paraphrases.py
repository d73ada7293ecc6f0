"""Statistics of `paraphrase_robustness`: how much depends on the wording, the place and the style of the request."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cpt_tasks.metrics.cell_means import Resamples
from cpt_tasks.metrics.cells import mean_of_known, ratio
from cpt_tasks.metrics.rows import NAN
from judges.agreement import Estimate
from rubrics import ScoreLevel

N_SHUFFLES = 200
Cell = tuple[str, ScoreLevel, str, str]


@dataclass(frozen=True)
class Worded:
    """One judged response, and how its system prompt was put.

    Attributes:
        rubric: Rubric id.
        level: Level asked for.
        user_prompt: Id of the user prompt.
        wording: Which paraphrase.
        position: Turn that the request stood in, "system" or "user".
        style: "descriptive" or "number".
        score: Judgment, 0-100.
    """

    rubric: str
    level: ScoreLevel
    user_prompt: str
    wording: str
    position: str
    style: str
    score: float

    @property
    def cell(self) -> Cell:
        """What should not depend on the wording."""
        return self.rubric, self.level, self.position, self.style

    @property
    def hit(self) -> float:
        """1 if the score is in the band asked for, else 0."""
        return float(ScoreLevel.of(self.score) is self.level)


@dataclass(frozen=True)
class CellWordings:
    """Accuracy, 0-1, in one cell by wording, over `n` user prompts."""

    cell: Cell
    n: int
    accuracy: dict[str, float]


def wording_statistics(rows: Sequence[Worded], n_resamples: int, seed: int) -> dict[str, Estimate]:
    """Statistics by name, with 95% intervals from resampling user prompts; nan where undefined.

    A cell is (rubric, level, position, style). Cells with fewer than two wordings are left out.

    - `wording_sd`: SD of the scores of one user prompt over wordings, score points: the root of the summed squared
      deviations from the mean of (cell, user prompt) over the summed degrees of freedom. A model that samples varies
      under one wording as well: this includes that.
    - `mean_accuracy`: accuracy, 0-1, over user prompts; mean over wordings, then over cells.
    - `worst_accuracy`: in each cell that of the wording with the lowest, then the mean over cells. The lowest of
      several noisy numbers is too low, the more so the fewer user prompts, and its interval with it; so beside it:
    - `worst_by_chance`: what `worst_accuracy` would be if wordings did not matter: the wordings of each user prompt
      shuffled, mean over 200 shuffles. Without interval.
    - `worst_drop`: mean_accuracy - worst_accuracy.
    """
    resamples = Resamples.draw((row.user_prompt for row in rows), n_resamples, seed)
    rows = _with_several_wordings(rows)
    means = resamples.cell_means(
        [(row.cell, row.wording) for row in rows], [row.user_prompt for row in rows], [row.hit for row in rows]
    )
    accuracies = [means.rows[:, columns] for columns in _columns_by_cell(rows, means.column).values()]
    nothing = np.full((len(means.rows), 1), NAN)
    mean = mean_of_known(np.stack([mean_of_known(each) for each in accuracies], axis=1) if accuracies else nothing)
    worst = mean_of_known(
        np.stack([np.fmin.reduce(each, axis=1) for each in accuracies], axis=1) if accuracies else nothing
    )
    return {
        "wording_sd": _wording_sd(rows, resamples),
        "mean_accuracy": resamples.estimate(mean),
        "worst_accuracy": resamples.estimate(worst),
        "worst_by_chance": Estimate(_worst_by_chance(rows, seed), NAN, NAN),
        "worst_drop": resamples.estimate(mean - worst),
    }


def contrast(
    rows: Sequence[Worded], by: Literal["position", "style"], n_resamples: int, seed: int
) -> dict[str, Estimate]:
    """What changes with position (user minus system) or style (number minus descriptive), all else equal.

    `accuracy`: difference of accuracies, -1 to 1, by (rubric, level), then averaged. `range`: difference of dynamic
    ranges (score at extremely_high minus score at low), score points, by rubric, then averaged. Only what was asked
    both ways and scored counts. nan without any.
    """
    before, after = {"position": ("system", "user"), "style": ("descriptive", "number")}[by]
    hits: dict[tuple[Hashable, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    scores: dict[tuple[Hashable, ...], dict[tuple[str, ScoreLevel], list[float]]]
    scores = defaultdict(lambda: defaultdict(list))
    for row in rows:
        way, other = (row.position, row.style) if by == "position" else (row.style, row.position)
        hits[row.rubric, row.level, row.user_prompt, row.wording, other][way].append(row.hit)
        # wordings belong to a level: a range is over the mean of the wordings
        scores[row.rubric, row.user_prompt, other][way, row.level].append(row.score)
    low, high = ScoreLevel.LOW, ScoreLevel.EXTREMELY_HIGH
    ends = [(after, high), (after, low), (before, high), (before, low)]
    changes = {key: _difference(ways, after, before) for key, ways in hits.items() if {after, before} <= set(ways)}
    ranges = {
        key: _difference(found, *ends[:2]) - _difference(found, *ends[2:])
        for key, found in scores.items()
        if set(ends) <= set(found)
    }
    resamples = Resamples.draw((row.user_prompt for row in rows), n_resamples, seed)
    return {
        "accuracy": resamples.cell_means(
            [key[:2] for key in changes], [str(key[2]) for key in changes], list(changes.values())
        ).macro(),
        "range": resamples.cell_means(
            [key[0] for key in ranges], [str(key[1]) for key in ranges], list(ranges.values())
        ).macro(),
    }


def cell_wordings(rows: Sequence[Worded]) -> list[CellWordings]:
    """Accuracy by wording of every cell, in the order of the rows."""
    hits: dict[Cell, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    prompts = defaultdict(set)
    for row in rows:
        hits[row.cell][row.wording].append(row.hit)
        prompts[row.cell].add(row.user_prompt)
    return [
        CellWordings(cell, len(prompts[cell]), {wording: float(np.mean(found)) for wording, found in wordings.items()})
        for cell, wordings in hits.items()
    ]


def _difference(found: Mapping[Any, list[float]], after: Hashable, before: Hashable) -> float:
    return float(np.mean(found[after]) - np.mean(found[before]))


def _with_several_wordings(rows: Sequence[Worded]) -> list[Worded]:
    wordings = defaultdict(set)
    for row in rows:
        wordings[row.cell].add(row.wording)
    return [row for row in rows if len(wordings[row.cell]) > 1]


def _columns_by_cell(rows: Sequence[Worded], column: Mapping[Hashable, int]) -> dict[Cell, list[int]]:
    found: dict[Cell, list[int]] = defaultdict(list)
    for cell, wording in dict.fromkeys((row.cell, row.wording) for row in rows):
        found[cell].append(column[cell, wording])
    return found


def _wording_sd(rows: Sequence[Worded], resamples: Resamples) -> Estimate:
    by_wording: dict[tuple[Cell, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_wording[row.cell, row.user_prompt][row.wording].append(row.score)
    squares, freedom = np.zeros((2, len(resamples.place)))
    for (_, prompt), wordings in by_wording.items():
        means = np.array([np.mean(scores) for scores in wordings.values()])
        squares[resamples.place[prompt]] += ((means - means.mean()) ** 2).sum()
        freedom[resamples.place[prompt]] += len(means) - 1
    return resamples.estimate(np.sqrt(ratio(resamples.weights @ squares, resamples.weights @ freedom)))


def _worst_by_chance(rows: Sequence[Worded], seed: int) -> float:
    rng = np.random.default_rng(seed)
    cells: dict[Cell, list[Worded]] = defaultdict(list)
    for row in rows:
        cells[row.cell].append(row)
    worst = []
    for members in cells.values():
        prompts, wordings = sorted({row.user_prompt for row in members}), sorted({row.wording for row in members})
        hits: dict[tuple[int, int], list[float]] = defaultdict(list)
        for row in members:
            hits[prompts.index(row.user_prompt), wordings.index(row.wording)].append(row.hit)
        grid = np.full((len(prompts), len(wordings)), NAN)
        for place, found in hits.items():
            grid[place] = np.mean(found)
        shuffled = rng.permuted(np.tile(grid, (N_SHUFFLES, 1, 1)), axis=2)
        worst.append(float(np.fmin.reduce(mean_of_known(np.swapaxes(shuffled, 1, 2)), axis=1).mean()))
    return float(np.mean(worst)) if worst else NAN
