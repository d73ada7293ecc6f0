"""Statistics of `dose_response`: how the judged score follows a numeric target on a scale from 0 to 100.

Everything is computed within rubric and then averaged over the rubrics on which it is defined. `Doses` holds the mean
score of each (rubric, user prompt, target); a function takes it with weights of the user prompts, shape (rows, user
prompts) as from `bootstrap_weights`, and returns a value per row and rubric, shape (rows, rubrics).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cpt_tasks.metrics.cells import mean_of_known, prompt_means
from cpt_tasks.metrics.rows import Floats

DEAD_SHARE = 0.25  # a step that moves the mean by at most this share of the ideal does not count as movement
SATURATION_SHARE = 0.9


@dataclass(frozen=True)
class Dosed:
    """One judged response.

    Attributes:
        rubric: Rubric id.
        user_prompt: Id of the user prompt, the cluster of the bootstrap.
        target: What the system prompt asked for, 0-100.
        score: Judgment, 0-100.
    """

    rubric: str
    user_prompt: str
    target: float
    score: float


@dataclass(frozen=True)
class Doses:
    """Judged responses as arrays, nan where a cell has no scored response.

    Attributes:
        rubrics: Sorted ids, axis 0.
        user_prompts: Sorted ids, axis 1.
        targets: In ascending order, axis 2.
        scores: Mean score of the responses of a cell, 0-100.
        errors: Mean distance of their scores from the target, score points, at least 0.
    """

    rubrics: list[str]
    user_prompts: list[str]
    targets: Floats
    scores: Floats
    errors: Floats


DoseStatistic = Callable[[Doses, Floats], Floats]


def doses(rows: Sequence[Dosed]) -> Doses:
    """The rows as arrays; several responses of a cell, as from epochs, are averaged."""
    cells: dict[tuple[str, str, float], list[float]] = defaultdict(list)
    for row in rows:
        cells[row.rubric, row.user_prompt, row.target].append(row.score)
    rubrics = sorted({rubric for rubric, _, _ in cells})
    prompts = sorted({prompt for _, prompt, _ in cells})
    targets = sorted({target for _, _, target in cells})
    scores = np.full((len(rubrics), len(prompts), len(targets)), np.nan)
    errors = scores.copy()
    for (rubric, prompt, target), found in cells.items():
        place = (rubrics.index(rubric), prompts.index(prompt), targets.index(target))
        scores[place] = np.mean(found)
        errors[place] = np.mean(np.abs(np.array(found) - target))
    return Doses(rubrics, prompts, np.array(targets, dtype=np.float64), scores, errors)


def curves(data: Doses, weights: Floats) -> Floats:
    """Mean score at each target, 0-100, shape (rows, rubrics, targets)."""
    return prompt_means(data.scores, weights)


def gain(data: Doses, weights: Floats) -> Floats:
    """Least-squares slope of score on target within each user prompt, in points per point; mean over user prompts.

    1 is calibrated, 0 ignores the target, below 0 is reversed. User prompts scored at fewer than two targets are left
    out.
    """
    known = ~np.isnan(data.scores)
    middles = mean_of_known(np.where(known, data.targets, np.nan), axis=2)[:, :, None]
    centred = np.where(known, data.targets - middles, 0.0)
    slopes = (centred * np.where(known, data.scores, 0.0)).sum(axis=2)
    spread = (centred**2).sum(axis=2)
    slopes = np.divide(slopes, spread, out=np.full(slopes.shape, np.nan), where=spread > 0)
    return prompt_means(slopes, weights)


def dynamic_range(data: Doses, weights: Floats) -> Floats:
    """Mean score at the highest target minus mean score at the lowest, in score points, -100 to 100."""
    found = curves(data, weights)
    difference: Floats = found[:, :, -1] - found[:, :, 0]
    return difference if len(data.targets) > 1 else np.full(difference.shape, np.nan)


def mean_absolute_error(data: Doses, weights: Floats) -> Floats:
    """Mean distance of a score from its target, in score points, at least 0; every target weighs the same.

    nan if nothing was scored at one of the targets.
    """
    found: Floats = prompt_means(data.errors, weights).mean(axis=2)
    return found


def monotone_share(data: Doses, weights: Floats) -> Floats:
    """Share, 0-1, of user prompts whose scores never fall from a target to the next; ties are allowed.

    A model that ignores the target and always scores the same gets 1: read it beside `strict_monotone_share`. User
    prompts that lack a target are left out.
    """
    return _share_of_prompts(data, weights, lambda steps: steps >= 0)


def strict_monotone_share(data: Doses, weights: Floats) -> Floats:
    """Share, 0-1, of user prompts whose scores rise from every target to the next. As `monotone_share`."""
    return _share_of_prompts(data, weights, lambda steps: steps > 0)


def dead_zone(data: Doses, weights: Floats) -> Floats:
    """Width, in points of the target, of the widest stretch of targets over which the mean score does not move.

    A step between neighbouring targets does not move if it changes the mean, up or down, by at most `DEAD_SHARE` of
    the distance between the targets. The stretch is made of such steps in a row. 0 if every step moves; the whole
    span of the targets if none does. A step in the wrong direction is movement. Noise of the means can only shorten
    a dead zone, so with few user prompts it is a lower bound.
    """
    return _per_curve(data, weights, lambda curve: _width(dead_stretch(data.targets, curve)))


def saturation_point(data: Doses, weights: Floats) -> Floats:
    """Lowest target from which the mean score has reached `SATURATION_SHARE` of its range, and stays there.

    The range is that of the means, lowest to highest. The highest target says that nothing saturates before it. nan
    if the mean never moves (its range is at most `DEAD_SHARE` of the span of the targets), or does not end in the top
    of its range: then more of the dose takes away what less of it gave.
    """
    return _per_curve(data, weights, lambda curve: _saturation(data.targets, curve))


STATISTICS: dict[str, DoseStatistic] = {
    statistic.__name__: statistic
    for statistic in (
        gain,
        dynamic_range,
        mean_absolute_error,
        dead_zone,
        saturation_point,
        monotone_share,
        strict_monotone_share,
    )
}


def dead_stretch(targets: Floats, curve: Floats) -> tuple[float, float] | None:
    """Lowest and highest target of the widest dead stretch (see `dead_zone`), the lowest one of equal width.

    None if there is none; (nan, nan) if a mean is missing or there are fewer than two targets.
    """
    if len(targets) < 2 or np.isnan(curve).any():
        return float("nan"), float("nan")
    widest: tuple[float, float] | None = None
    start = 0
    for end in range(1, len(targets)):
        # a hair of slack, or rounding of means would decide at the very edge
        if abs(curve[end] - curve[end - 1]) > DEAD_SHARE * (targets[end] - targets[end - 1]) + 1e-9:
            start = end
        elif widest is None or targets[end] - targets[start] > widest[1] - widest[0]:
            widest = float(targets[start]), float(targets[end])
    return widest


def _width(stretch: tuple[float, float] | None) -> float:
    return 0.0 if stretch is None else stretch[1] - stretch[0]


def _saturation(targets: Floats, curve: Floats) -> float:
    low, high = curve.min(), curve.max()
    if not high - low > DEAD_SHARE * (targets[-1] - targets[0]):
        return float("nan")
    reached = curve >= low + SATURATION_SHARE * (high - low) - 1e-9
    stays = np.logical_and.accumulate(reached[::-1])[::-1]
    return float(targets[np.argmax(stays)]) if stays.any() else float("nan")


def _per_curve(data: Doses, weights: Floats, statistic: Callable[[Floats], float]) -> Floats:
    found = curves(data, weights)
    return np.array([[statistic(curve) for curve in row] for row in found], dtype=np.float64).reshape(found.shape[:2])


def _share_of_prompts(data: Doses, weights: Floats, holds: Callable[[Floats], np.ndarray]) -> Floats:
    steps = np.diff(data.scores, axis=2)
    complete = ~np.isnan(data.scores).any(axis=2) & (steps.shape[2] > 0)
    return prompt_means(np.where(complete, holds(steps).all(axis=2), np.nan), weights)
