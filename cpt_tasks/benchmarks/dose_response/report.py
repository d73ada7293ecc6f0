"""What a report says of `dose_response`: the curve of score on target, and what it lacks."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.dose_response import statistics
from cpt_tasks.benchmarks.dose_response.statistics import DEAD_SHARE, SATURATION_SHARE, STATISTICS
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import Charts, ModelSummaries, Section
from cpt_tasks.report.text import cell, cells, json_of
from judges.interval import estimates

INTRO = f"""\
The system prompt asks for the rubric's attribute at a numeric target from 0 to 100 (or by an adverb that stands for
one), which no model was trained on. `calibration_slope` is the slope of score on target within a user prompt: 1 moves
as far as asked, be it at the right height or not (`mean_absolute_error`), 0 ignores the target. `dead_zone` is the
width of the widest stretch of targets whose neighbours' scores differ by at most {DEAD_SHARE:.0%} of the targets'
distance. `saturation_point` is the lowest target from which the mean stays at {SATURATION_SHARE:.0%} of its range or
above; undefined for a curve that does not move or does not end at its top.
`monotone_share` is the share of user prompts whose scores never fall from target to target (1 for a constant
score), `strict_monotone_share` that of those that rise at every step. All are computed within rubric and averaged over
the rubrics where they are defined; dead zone and saturation point move in steps and have no interval."""
IN_POINTS = ("dynamic_range", "mean_absolute_error", "dead_zone", "saturation_point")


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """`metrics` and `curve` over all rubrics and `by_rubric`."""
    prompts = statistics.by_prompt(run.scored)
    by_rubric = {rubric: _entry(part) for rubric, part in prompts.groupby("rubric")}
    return {"style": sorted(run.frame["style"].unique())[0], **_entry(prompts), "by_rubric": by_rubric}


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """By caption: mean scores by target, and the metrics."""
    curves, metrics, by_rubric = [], [], []
    for name, part in models.items():
        points = {f"target {point['target']:g}": cell(point | {"value": point["mean"]}, 1) for point in part["curve"]}
        curves.append({"model": name, "style": part["style"]} | points)
        counts = {"n": part["n"], "unscored": part["unscored"]}
        metrics.append({"model": name} | counts | cells(part["metrics"], IN_POINTS))
        for rubric, entry in part["by_rubric"].items():
            by_rubric.append({"model": name, "rubric": rubric} | cells(entry["metrics"], IN_POINTS))
    return {
        "Mean score by target": pd.DataFrame(curves).fillna(""),
        "Metrics": pd.DataFrame(metrics),
        "By rubric": pd.DataFrame(by_rubric),
    }


def charts(models: ModelSummaries, runs: Sequence[Run]) -> Charts:
    """Mean score on target over all rubrics."""
    import altair as alt

    from cpt_tasks.report import figures

    rows = [{"model": name} | point for name, part in models.items() for point in part["curve"]]
    columns = {"model": "model", "target": "target", "mean": "mean score"} | figures.INTERVAL | {"n": "n"}
    scale, title = figures.SCORE_SCALE, "mean judged score (0-100)"
    x = figures.at(alt.X, "target asked for (0-100)", scale)("target")
    ideal = alt.Chart(pd.DataFrame({"target": [0, 100], "mean": [0, 100]})).mark_line(strokeDash=[5, 4])
    chart = alt.layer(
        ideal.encode(x=x, y=figures.at(alt.Y, title, scale)("mean"), color=alt.value(figures.RULE)),
        *figures.curves(x, "mean", title, scale, figures.tips(columns)),
        data=figures.chart_data(row for row in rows if row["mean"] is not None),
    ).properties(width=420, height=380)
    note = "Mean judged score at each target, with 95% intervals; the dashed line is a model that hits every target."
    return {"dose_response": figures.titled(chart, "Score asked for and score written", note, columns)}


def _entry(prompts: pd.DataFrame) -> dict[str, Any]:
    """Metrics and curve of user prompts of one or more rubrics."""
    scores = {f"score@{target:g}": target for target in statistics.targets_of(prompts)}
    bounds = {name: one for name, one in STATISTICS.items() if one} | dict.fromkeys(scores, (0.0, 100.0))
    numbers = estimates(prompts, statistics.over_rubrics, bounds, stratum="rubric")
    curve = []
    for name, target in scores.items():
        mean = numbers[name].to_json()
        point = {"target": target, "mean": mean.pop("value")} | mean
        curve.append(point | {"n": int(prompts[name].notna().sum())})
    return {"metrics": json_of({name: numbers[name] for name in STATISTICS}), "curve": curve}


SECTION = Section("Dose response", INTRO, summarise, tables, charts)
