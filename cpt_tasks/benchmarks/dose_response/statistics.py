"""Statistics of `dose_response`: how the judged score follows a numeric target on a scale from 0 to 100.

`by_prompt` makes a row per rubric and user prompt of the scored responses, `by_rubric` a row per rubric of those, with
the statistics as columns; over rubrics a statistic is their mean, rubrics left out on which it is undefined (nan).

- `calibration_slope`: least-squares slope of score on target within a user prompt scored at two or more targets, points
  per point; mean over user prompts. 1 moves as far as asked, with an offset or without, 0 ignores the target.
- `dynamic_range`: mean score at the highest target minus that at the lowest, score points, -100 to 100.
- `mean_absolute_error`: mean distance of a score from its target, score points, 0-100; every target weighs the same.
- `dead_zone` and `saturation_point`: see the functions.
- `monotone_share`: share, 0-1, of user prompts scored at every target whose scores never fall from a target to the
  next. A model that always scores the same has 1: read it beside
- `strict_monotone_share`: share, 0-1, of those whose scores rise from every target to the next.

A target without a response breaks the order of its user prompt; all other statistics leave it out.
"""

import numpy as np
import pandas as pd

from cpt_tasks.statistics.frame import answered
from judges.interval import NAN, NO_INTERVAL, Bounds, Floats

DEAD_SHARE = 0.25  # a step that moves the mean by at most this share of the ideal does not count as movement
SATURATION_SHARE = 0.9
ROUNDING = 1e-9  # or rounding of means would decide at the very edge

# statistic -> the lowest and highest value that it can take, None without bounds
STATISTICS: dict[str, Bounds | None] = {
    "calibration_slope": None,
    "dynamic_range": (-100.0, 100.0),
    "mean_absolute_error": (0.0, 100.0),
    "dead_zone": NO_INTERVAL,
    "saturation_point": NO_INTERVAL,
    "monotone_share": (0.0, 1.0),
    "strict_monotone_share": (0.0, 1.0),
}


def by_prompt(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per (rubric, user_prompt_id), from scored rows with a target, `reason` too.

    Columns: `score@TARGET`, the mean score, 0-100, and `error@TARGET`, the mean distance from the target, for every
    target in ascending order, nan where no response was scored (several responses, as from epochs, are averaged); and
    `calibration_slope`, `monotone_share` and `strict_monotone_share` of the user prompt alone.
    """
    scored = rows["score"].where(answered(rows))
    rows = rows.assign(score=scored, error=(scored - rows["target"]).abs(), answered=answered(rows))
    cells = rows.groupby(["rubric", "user_prompt_id", "target"])
    table = pd.DataFrame(cells[["score", "error"]].mean().unstack())
    targets = table["score"].columns.to_numpy(np.float64)
    scores: Floats = table["score"].to_numpy(np.float64)
    steps = np.diff(scores, axis=1)
    asked: Floats = cells["answered"].mean().unstack().to_numpy(np.float64)
    complete, has_all = ~np.isnan(asked).any(axis=1) & (len(targets) > 1), (asked == 1).all(axis=1)
    table.columns = table.columns.map(lambda column: "{}@{:g}".format(*column))
    return table.assign(
        calibration_slope=[slope(targets, line) for line in scores],
        monotone_share=np.where(complete, (steps >= 0).all(axis=1) & has_all, NAN),
        strict_monotone_share=np.where(complete, (steps > 0).all(axis=1) & has_all, NAN),
    ).reset_index()


def by_rubric(prompts: pd.DataFrame) -> pd.DataFrame:
    """A row per rubric, from rows of `by_prompt`: the mean of each `score@TARGET`, and `STATISTICS`."""
    means = prompts.drop(columns="user_prompt_id").groupby("rubric").mean()
    errors, targets = means.filter(like="error@"), targets_of(prompts)
    curves = means.filter(like="score@").to_numpy(np.float64)
    return means.drop(columns=errors.columns).assign(
        dynamic_range=curves[:, -1] - curves[:, 0] if len(targets) > 1 else NAN,
        mean_absolute_error=errors.mean(axis=1, skipna=False),
        dead_zone=[dead_zone(targets, curve) for curve in curves],
        saturation_point=[saturation_point(targets, curve) for curve in curves],
    )


def over_rubrics(prompts: pd.DataFrame) -> dict[str, float]:
    """Means over rubrics of the columns of `by_rubric`, nan left out."""
    return {str(name): float(value) for name, value in by_rubric(prompts).mean().items()}


def targets_of(prompts: pd.DataFrame) -> Floats:
    """The targets of the columns of `by_prompt`, in ascending order."""
    return np.array([float(name.removeprefix("score@")) for name in map(str, prompts.filter(like="score@"))])


def slope(places: Floats, values: Floats) -> float:
    """Least-squares slope of values on their places, those not known left out; nan with fewer than two."""
    known = ~np.isnan(values)
    return float(np.polyfit(places[known], values[known], 1)[0]) if known.sum() > 1 else NAN


def dead_zone(targets: Floats, curve: Floats) -> float:
    """Width, in points of the target, of the widest stretch of targets over which the mean score does not move.

    A step between neighbouring targets does not move if it changes the mean, up or down, by at most `DEAD_SHARE` of
    the distance between the targets. The stretch is made of such steps in a row. 0 if every step moves; the whole
    span of the targets if none does; nan if a mean is missing or there are fewer than two targets. A step in the wrong
    direction is movement. Noise of the means can only shorten it, so with few user prompts it is a lower bound.
    """
    if len(targets) < 2 or np.isnan(curve).any():
        return NAN
    widest, start = 0.0, 0
    for end in range(1, len(targets)):
        if abs(curve[end] - curve[end - 1]) > DEAD_SHARE * (targets[end] - targets[end - 1]) + ROUNDING:
            start = end
        widest = max(widest, float(targets[end] - targets[start]))
    return widest


def saturation_point(targets: Floats, curve: Floats) -> float:
    """Lowest target from which the mean score has reached `SATURATION_SHARE` of its range, and stays there.

    The range is that of the means, lowest to highest. The highest target says that nothing saturates before it. nan
    if the mean never moves (its range is at most `DEAD_SHARE` of the span of the targets), or does not end in the top
    of its range: then more of the dose takes away what less of it gave.
    """
    low, high = curve.min(), curve.max()
    if not high - low > DEAD_SHARE * (targets[-1] - targets[0]):
        return NAN
    reached = curve >= low + SATURATION_SHARE * (high - low) - ROUNDING
    stays = np.logical_and.accumulate(reached[::-1])[::-1]
    return float(targets[np.argmax(stays)]) if stays.any() else NAN
