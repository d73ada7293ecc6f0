"""The charts of `dose_response`, from its part of summary.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from cpt_tasks.report import figures
from cpt_tasks.report.figures import Charts, chart_data, shown_name, titled
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import ModelSummaries

COLUMNS = {"model": "model", "target": "target", "trained": "trained", "mean": "mean score"} | figures.INTERVAL
COLUMNS |= {"n": "n"}
NOTE = (
    "Mean judged score at each target, with 95% intervals; the dashed line is a model that hits every target, hollow "
    "marks are targets that were never trained."
)


def charts(models: ModelSummaries, runs: Sequence[Run]) -> Charts:
    """Mean score on target over all rubrics, and the same rubric by rubric."""
    overall = [row for name, part in models.items() for row in _rows(name, part["curve"])]
    by_rubric = [
        row | {"rubric": shown_name(rubric)}
        for name, part in models.items()
        for rubric, entry in part["by_rubric"].items()
        for row in _rows(name, entry["curve"])
    ]
    title = "Score asked for and score written"
    chart = _curves(overall).properties(width=420, height=380)
    drawn: Charts = {"dose_response": titled(chart, title, NOTE, COLUMNS)}
    if by_rubric:
        panel = _curves(by_rubric).properties(width=190, height=190)
        by_panel = panel.facet(alt.Facet("rubric:N", title=None), columns=4)
        drawn["dose_response_by_rubric"] = titled(by_panel, f"{title}, by rubric", NOTE, {"rubric": "rubric"} | COLUMNS)
    return drawn


def _rows(name: str, curve: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    shown = {True: "yes", False: "no"}
    return [
        {"model": name} | dict(row) | {"trained": shown[row["trained"]]} for row in curve if row["mean"] is not None
    ]


def _curves(rows: list[dict[str, Any]]) -> alt.LayerChart | alt.FacetChart:
    scale, title = figures.SCORE_SCALE, "mean judged score (0-100)"
    x = figures.at(alt.X, "target asked for (0-100)", scale)("target")
    ideal = alt.Chart(pd.DataFrame({"target": [0, 100], "mean": [0, 100]})).mark_line(strokeDash=[5, 4])
    *layers, points = figures.curves(x, "mean", title, scale, figures.tips(COLUMNS))
    hollow = points.transform_filter("datum.trained == 'no'").mark_point(fill=figures.PAPER, size=45, opacity=1)
    return alt.layer(
        ideal.encode(x=x, y=figures.at(alt.Y, title, scale)("mean"), color=alt.value(figures.RULE)),
        *layers,
        points.transform_filter("datum.trained == 'yes'"),
        hollow,
        data=chart_data(rows),
    )
