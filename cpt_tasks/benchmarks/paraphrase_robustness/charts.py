"""The chart of `paraphrase_robustness`, from its part of summary.json."""

from collections.abc import Sequence

import altair as alt

from cpt_tasks.report import figures
from cpt_tasks.report.figures import Charts, chart_data, shown_name, titled
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import ModelSummaries


def charts(models: ModelSummaries, runs: Sequence[Run]) -> Charts:
    """Share of scores, 0-1, in the band by every wording, cell by cell, with range and mean, by turn and style."""
    rows = [
        {"model": name, "rubric": shown_name(cell["rubric"])}
        | {"cell": f"{shown_name(cell['rubric'])}, {shown_name(cell['level'])}"}
        | {"condition": f"{cell['position']} turn, {shown_name(cell['style'])}"}
        | {"wording": wording, "accuracy": accuracy, "mean": cell["mean"], "n": cell["n"]}
        for name, part in models.items()
        for cell in part["cells"]
        for wording, accuracy in cell["accuracy"].items()
    ]
    frame = chart_data(rows)
    columns = {"model": "model", "condition": "asked in", "cell": "cell", "wording": "wording"}
    columns |= {"accuracy": "accuracy", "mean": "mean of the wordings", "n": "n"}
    order = [f"{rubric}, {level}" for rubric in sorted(frame["rubric"].unique()) for level in figures.LEVELS]
    base, x = figures.row_layer("cell", order), figures.at(alt.X, "share in the band", figures.SHARE_SCALE)
    points = base.mark_point(filled=True, size=34, opacity=0.8).encode(shape=figures.model_shape())
    chart = alt.layer(
        base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(x=x("min(accuracy)"), x2="max(accuracy):Q"),
        points.encode(x=x("accuracy"), tooltip=figures.tips(columns)),
        base.mark_tick(thickness=2, size=10).encode(x=x("mean")),
        data=frame,
    ).properties(width=330, height=figures.rows_height(frame, "cell"))
    note = "The same level asked for in other words: a mark per wording, a line from the worst to the best, their mean."
    drawn = titled(figures.panels(chart, "condition", 2), "Spread over wordings of the system prompt", note, columns)
    return {"paraphrases": drawn}
