"""What a report says of `dose_response`: the curve of score on target, and what it lacks."""

from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.dose_response import statistics
from cpt_tasks.benchmarks.dose_response.statistics import DEAD_SHARE, SATURATION_SHARE
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import ModelSummaries, Section
from cpt_tasks.report.text import cell, json_of
from judges.interval import Estimate, Floats, estimates, jsonable

INTRO = f"""\
The system prompt asks for the rubric's attribute at a numeric target from 0 to 100 (or by an adverb of degree that
stands for one), which no model was trained on. `calibration_slope` is the slope of score on target within a user
prompt: 1 is calibrated, 0 ignores the target. `dead_zone` is the width of the widest stretch of targets whose
neighbours' mean scores differ by at most {DEAD_SHARE:.0%} of the targets' distance; all of the span if the score never
moves. `saturation_point` is the lowest target from which the mean stays at or above {SATURATION_SHARE:.0%} of its
range; the highest target says that nothing saturates before it, and it is undefined for a curve that does not move or
does not end at its top. `monotone_share` is the share of user prompts whose scores never fall from target to target (a
model that always scores the same has 1), `strict_monotone_share` that of those that rise at every step. All are
computed within rubric and averaged over the rubrics where they are defined. Intervals are 95% and take the user prompts
as drawn; dead zone and saturation point, which move in steps, have none."""
IN_POINTS = ("dynamic_range", "mean_absolute_error", "dead_zone", "saturation_point")


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """What summary.json holds of a run; see `INTRO`. `trained` says whether training asked for such a target: never."""
    prompts = statistics.by_prompt(run.scored)
    rubrics = statistics.by_rubric(prompts)
    return {
        "style": sorted(run.frame["style"].unique())[0],
        **_entry(prompts),
        "by_rubric": {
            rubric: _entry(part) | {"dead_zone_targets": _stretch_json(part)}
            for rubric, part in prompts.groupby("rubric")
        },
        "undefined_rubrics": {name: list(rubrics.index[rubrics[name].isna()]) for name in statistics.STATISTICS},
    }


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """By caption: mean scores by target, and the metrics."""
    curve_rows, metric_rows, rubric_rows = [], [], []
    for model, part in models.items():
        points = {f"target {point['target']:g}": cell(point | {"value": point["mean"]}, 1) for point in part["curve"]}
        curve_rows.append({"model": model, "style": part["style"]} | points)
        counts = {"n": part["n"], "unscored": part["unscored"]}
        metric_rows.append({"model": model} | counts | _metric_cells(part["metrics"], part))
        rubric_rows += [
            {"model": model, "rubric": rubric} | _metric_cells(entry["metrics"], {})
            for rubric, entry in part["by_rubric"].items()
        ]
    return {
        "Mean score by target": pd.DataFrame(curve_rows).fillna(""),
        "Metrics": pd.DataFrame(metric_rows),
        "By rubric": pd.DataFrame(rubric_rows),
    }


def _entry(prompts: pd.DataFrame) -> dict[str, Any]:
    """Metrics and curve of user prompts of one or more rubrics."""
    targets = statistics.targets_of(prompts)
    bounds = statistics.BOUNDS | {statistics.score_column(target): (0.0, 100.0) for target in targets}
    plain = {name: Estimate(value) for name, value in over_rubrics(statistics.by_rubric(prompts)).items()}
    numbers = plain | estimates(prompts, lambda part: over_rubrics(statistics.means_by_rubric(part)), bounds)
    curve = []
    for target in targets:
        mean = numbers[statistics.score_column(target)].to_json()
        point = {"mean" if key == "value" else key: number for key, number in mean.items()}
        n = int(prompts[statistics.score_column(target)].notna().sum())
        curve.append({"target": float(target), "trained": False} | point | {"n": n})
    return {
        "metrics": json_of({name: numbers[name] for name in statistics.STATISTICS}),
        "curve": curve,
    }


def over_rubrics(rubrics: pd.DataFrame) -> dict[str, float]:
    """Means over rubrics of the columns of `by_rubric`, nan left out."""
    return {str(name): float(value) for name, value in rubrics.mean().items()}


def _stretch_json(prompts: pd.DataFrame) -> list[float | None] | None:
    """The dead stretch of the mean curve of one rubric."""
    targets = statistics.targets_of(prompts)
    curve: Floats = prompts[[statistics.score_column(target) for target in targets]].mean().to_numpy()
    stretch = statistics.dead_stretch(targets, curve)
    return None if stretch is None else [jsonable(end) for end in stretch]


def _metric_cells(metrics: dict[str, Any], part: dict[str, Any]) -> dict[str, str]:
    cells = {name: cell(value, 1 if name in IN_POINTS else 2) for name, value in metrics.items()}
    for name, rubrics in part.get("undefined_rubrics", {}).items():
        if rubrics and metrics[name]["value"] is not None:
            cells[name] += f" (undefined for {len(rubrics)} of {len(part['by_rubric'])} rubrics)"
    return cells


SECTION = Section("Dose response", INTRO, summarise, tables, f"{__package__}.charts")
