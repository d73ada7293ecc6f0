"""The charts of `composition`, from its part of summary.json."""

from collections.abc import Sequence

import altair as alt

from cpt_tasks.report import figures
from cpt_tasks.report.figures import Charts, ChartType, chart_data, titled
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import ModelSummaries

BARS = {"accuracy_alone": "alone", "accuracy_together": "together", "both_right": "both right"}
REQUESTS = {"same_levels": "same level of both", "different_levels": "different levels"}


def charts(models: ModelSummaries, runs: Sequence[Run]) -> Charts:
    """Accuracy alone and together."""
    return {"composition": alone_and_together(models)}


def alone_and_together(models: ModelSummaries) -> ChartType:
    """Share of scores, 0-1, in the band asked for: each rubric alone, in company, and both at once."""
    rows = [
        {"model": name, "request": request, "share": share} | part["by_request"][subset]["metrics"][metric]
        for name, part in models.items()
        for subset, request in REQUESTS.items()
        for metric, share in BARS.items()
    ]
    columns = {"model": "model", "request": "request", "share": "share", "value": "value", **figures.INTERVAL}
    x = alt.X("share:N", sort=list(BARS.values()), title=None, axis=figures.LINES)
    y = figures.at(alt.Y, "share in the band asked for", figures.SHARE_SCALE)
    base = alt.Chart().encode(x=x, xOffset=alt.XOffset("model:N", sort=None))
    chart = alt.layer(
        base.mark_bar().encode(y=y("value"), color=figures.model_colour(), tooltip=figures.tips(columns)),
        base.mark_rule(strokeWidth=1.5, color=figures.INK).encode(y=y("ci_low"), y2="ci_high:Q"),
        data=chart_data(rows),
    ).properties(width=max(240, 30 * len(models)), height=240)
    note = "Share of scores in the band asked for, with 95% intervals; both right: the two scores of one response."
    drawn = figures.panels(chart, "request", 2, list(REQUESTS.values()))
    return titled(drawn, "Two rubrics: alone and together", note, columns)
