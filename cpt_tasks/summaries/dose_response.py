"""What a report says of `dose_response`: the curve of score on target, and what it lacks."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cpt_tasks.metrics.bootstrap import bootstrap_estimate
from cpt_tasks.metrics.cells import mean_of_known, seeded_weights
from cpt_tasks.metrics.dose import DEAD_SHARE, SATURATION_SHARE, STATISTICS, Dosed, Doses, curves, dead_stretch, doses
from cpt_tasks.metrics.rows import Floats
from cpt_tasks.sections import ModelSummaries, Section, jsonable
from cpt_tasks.summaries.dose_figures import figures
from cpt_tasks.summaries.estimates import cell, json_estimate

if TYPE_CHECKING:
    from cpt_tasks.runs import ModelRun

INTRO = f"""\
The system prompt asks for the rubric's attribute at a numeric target from 0 to 100 (or by an adverb of degree that
stands for one), which no model was trained on. `gain` is the slope of score on target within a user prompt: 1 is
calibrated, 0 ignores the target. `dead_zone` is the width of the widest stretch of targets whose neighbours' mean
scores differ by at most {DEAD_SHARE:.0%} of the targets' distance; all of the span if the score never moves.
`saturation_point` is the lowest target from which the mean stays at or above {SATURATION_SHARE:.0%} of its range; the
highest target says that nothing saturates before it, and it is undefined for a curve that does not move or does not
end at its top. `monotone_share` is the share of user prompts whose scores never fall from target to target (a model
that always scores the same has 1), `strict_monotone_share` that of those that rise at every step. All are computed
within rubric and averaged over the rubrics where they are defined; intervals are 95%, from a bootstrap of the user
prompts."""


def summarise(run: "ModelRun", n_resamples: int, seed: int) -> dict[str, Any]:
    """What summary.json holds of a run; see `INTRO`. `trained` says whether training asked for such a target: never."""
    data = doses(dosed(run))
    weights = seeded_weights(len(data.user_prompts), n_resamples, seed)
    n_prompts = len(data.user_prompts)
    found = {name: statistic(data, weights) for name, statistic in STATISTICS.items()}
    means = curves(data, weights)
    scored = ~np.isnan(data.scores)
    return {
        "style": sorted({str(sample.metadata.get("style")) for sample, _ in run.samples})[0],
        "metrics": {
            name: json_estimate(bootstrap_estimate(mean_of_known(v, axis=1), n_prompts)) for name, v in found.items()
        },
        "curve": _curve_json(data, mean_of_known(means, axis=1), scored.sum(axis=(0, 1))),
        "by_rubric": {
            rubric: {
                "metrics": {
                    name: json_estimate(bootstrap_estimate(values[:, place], n_prompts))
                    for name, values in found.items()
                },
                "dead_zone_targets": _stretch_json(data, means[0, place]),
                "curve": _curve_json(data, means[:, place], scored[place].sum(axis=0)),
            }
            for place, rubric in enumerate(data.rubrics)
        },
        "undefined_rubrics": {
            name: [rubric for place, rubric in enumerate(data.rubrics) if np.isnan(values[0, place])]
            for name, values in found.items()
        },
    }


def dosed(run: "ModelRun") -> list[Dosed]:
    """The scored samples as rows of the statistics."""
    return [
        Dosed(row.rubric, row.user_prompt, float(sample.metadata["target"]), row.score)
        for row, (sample, _) in zip(run.rows, run.samples, strict=True)
    ]


def _estimates(found: dict[str, Floats], n_prompts: int) -> dict[str, dict[str, float | None]]:
    return {name: json_estimate(bootstrap_estimate(values, n_prompts)) for name, values in found.items()}


def _curve_json(data: Doses, means: Floats, counts: np.ndarray) -> list[dict[str, Any]]:
    points = []
    for place, target in enumerate(data.targets):
        found = json_estimate(bootstrap_estimate(means[:, place], len(data.user_prompts)))
        point = {"target": float(target), "trained": False, "mean": found["value"]}
        points.append(point | {"ci_low": found["ci_low"], "ci_high": found["ci_high"], "n": int(counts[place])})
    return points


def _stretch_json(data: Doses, curve: Floats) -> list[float | None] | None:
    stretch = dead_stretch(data.targets, curve)
    return None if stretch is None else [jsonable(end) for end in stretch]


def tables(found: ModelSummaries) -> dict[str, pd.DataFrame]:
    """By caption: mean scores by target, and the metrics."""
    curve_rows, metric_rows, rubric_rows = [], [], []
    for model, summary in found.items():
        points = {f"target {point['target']:g}": _point_cell(point) for point in summary["curve"]}
        curve_rows.append({"model": model, "style": summary["style"]} | points)
        counts = {"n": summary["n"], "unscored": summary["unscored"]}
        metric_rows.append({"model": model} | counts | _metric_cells(summary["metrics"], summary))
        rubric_rows += [
            {"model": model, "rubric": rubric} | _metric_cells(part["metrics"], {})
            for rubric, part in summary["by_rubric"].items()
        ]
    return {
        "Mean score by target": pd.DataFrame(curve_rows).fillna(""),
        "Metrics": pd.DataFrame(metric_rows),
        "By rubric": pd.DataFrame(rubric_rows),
    }


def _point_cell(point: dict[str, Any]) -> str:
    return cell({"value": point["mean"], "ci_low": point["ci_low"], "ci_high": point["ci_high"]}, digits=1)


def _metric_cells(metrics: dict[str, Any], summary: dict[str, Any]) -> dict[str, str]:
    in_points = ("dynamic_range", "mean_absolute_error", "dead_zone", "saturation_point")
    cells = {name: cell(value, digits=1 if name in in_points else 2) for name, value in metrics.items()}
    for name, rubrics in summary.get("undefined_rubrics", {}).items():
        if rubrics and metrics[name]["value"] is not None:
            cells[name] += f" (undefined for {len(rubrics)} of {len(summary['by_rubric'])} rubrics)"
    return cells


SECTION = Section(title="Dose response", intro=INTRO, summarise=summarise, tables=tables, figures=figures)
