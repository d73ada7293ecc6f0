"""The chart of `drift`, from its part of summary.json."""

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from cpt_tasks.report import figures
from cpt_tasks.report.figures import Charts, chart_data, shown_name, titled
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import ModelSummaries

STATISTICS = ["mean score (0-100)", "difference from the base, points"]


def charts(models: ModelSummaries, runs: Sequence[Run]) -> Charts:
    """Mean scores without a system prompt, and where there is a base the differences from it, in score points."""
    frame = chart_data(list(_rows(models)))
    columns = {"model": "model", "rubric": "rubric", "statistic": "statistic", "value": "value", **figures.INTERVAL}
    bars, points = figures.intervals(figures.row_layer("rubric"), figures.at(alt.X, "score points"))
    points = points.encode(shape=figures.model_shape(), tooltip=figures.tips(columns))
    chart = alt.layer(bars, points, data=frame).properties(width=330, height=figures.rows_height(frame, "rubric"))
    drawn = figures.panels(chart, "statistic", 2, STATISTICS).resolve_scale(x="independent")
    note = "Nothing is asked for: what a model writes by itself, and what training moved, with 95% intervals."
    return {"drift": titled(drawn, "Scores without a system prompt", note, columns)}


def _rows(models: ModelSummaries) -> Iterator[dict[str, Any]]:
    for name, part in models.items():
        differences = (part.get("drift") or {}).get("by_rubric") or {}
        scores = {rubric: entry["score"] for rubric, entry in part["by_rubric"].items()}
        for statistic, estimates in zip(STATISTICS, (scores, differences), strict=True):
            for rubric, estimate in estimates.items():
                yield {"model": name, "rubric": shown_name(rubric), "statistic": statistic} | estimate
