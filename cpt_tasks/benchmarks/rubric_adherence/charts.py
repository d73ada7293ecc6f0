"""The charts of `rubric_adherence`, from its part of summary.json and the scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from cpt_tasks.report import figures
from cpt_tasks.report.figures import LEVELS, Charts, ChartType, chart_data, shown_name, titled
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import ModelSummaries
from rubrics import LOW_MAX, MODERATE_MAX, ScoreLevel

MAX_POINTS = 1500  # with more responses only boxes are drawn
QUARTILES = {0.0: "lowest", 0.25: "quarter", 0.5: "median", 0.75: "three", 1.0: "highest"}


def charts(models: ModelSummaries, runs: Sequence[Run]) -> Charts:
    """Mean score by model, scores by level, judged against asked level, accuracy by rubric, side effects if any."""
    return {
        "levels_by_model": levels_by_model(models),
        "score_by_level": score_by_level(runs),
        "confusion": confusion(runs),
        "accuracy_by_rubric": accuracy_by_rubric(models),
    } | side_effect_chart(models, "side_effects")


def levels_by_model(models: ModelSummaries) -> ChartType:
    """Mean score, 0-100, at each level asked for, model by model in the order given.

    With the checkpoints of one training run as models it is the curve of score by level over training.
    """
    rows = [
        {"model": name, "level": shown_name(level), "n": entry["n"], "accuracy": entry["metrics"]["accuracy"]["value"]}
        | entry["metrics"]["mean_score"]
        for name, part in models.items()
        for level, entry in part["by_level"].items()
    ]
    scale = alt.Scale(domain=LEVELS, range=figures.LEVEL_COLOURS)
    base = alt.Chart().encode(
        y=alt.Y("model:N", sort=None, title=None, axis=figures.PLAIN_AXIS),
        color=alt.Color("level:N", sort=LEVELS, scale=scale, title="asked for"),
    )
    columns = {"model": "model", "level": "asked for", "value": "mean score", **figures.INTERVAL}
    columns |= {"accuracy": "share in the band", "n": "n"}
    x = figures.at(alt.X, "mean score (0-100)", figures.SCORE_SCALE)
    bars, points = figures.intervals(base, x, width=6, size=90)
    chart = alt.layer(
        alt.Chart(pd.DataFrame({"edge": [LOW_MAX, MODERATE_MAX]})).mark_rule(strokeDash=[2, 3]).encode(x=x("edge")),
        base.mark_line(strokeWidth=1, opacity=0.5)
        .encode(x=x("value"), order="index:Q")
        .transform_window(index="row_number()"),
        bars,
        points.encode(tooltip=figures.tips(columns)),
        data=chart_data(rows),
    ).properties(width=560, height=30 * len(models))
    note = (
        "The mean judged score when a low, a moderate and an extremely high score is asked for, with 95% intervals; "
        "dotted lines part the bands. A model that ignores its system prompt has its marks on one spot."
    )
    return titled(chart, "Mean score by level asked for", note, columns, all_models=True)


def score_by_level(runs: Sequence[Run]) -> ChartType:
    """Scores, 0-100, by rubric, level asked for and model: quartiles and range, and if they are few every response."""
    scores = _scores(runs)
    cells = scores.groupby(["model", "rubric", "level"], sort=False)
    boxes = cells["score"].quantile(np.array(list(QUARTILES))).unstack(sort=False).rename(columns=QUARTILES)
    boxes = boxes.assign(inside=cells["inside"].mean(), n=cells.size()).reset_index()
    points = scores[["model", "rubric", "level", "score"]] if len(scores) <= MAX_POINTS else scores[:0]
    bands = pd.DataFrame(
        [{"level": shown_name(level.value), "from": level.band[0], "to": level.band[1]} for level in ScoreLevel]
    )
    columns = {"model": "model", "rubric": "rubric", "level": "asked for", "n": "n", "lowest": "lowest"}
    columns |= {"quarter": "first quartile", "median": "median", "three": "third quartile", "highest": "highest"}
    columns |= {"inside": "share in the band"}
    x = alt.X("level:N", sort=LEVELS, title=None, axis=figures.LINES)
    y = figures.at(alt.Y, "judged score (0-100)", figures.SCORE_SCALE)
    offset = alt.XOffset("model:N", sort=None, scale=alt.Scale(paddingOuter=0.4))
    base = alt.Chart().encode(x=x, xOffset=offset, color=figures.model_colour())
    box = base.mark_bar(filled=False, strokeWidth=1.5).encode(tooltip=figures.tips(columns))
    chart = alt.layer(
        alt.Chart(bands).mark_rect(color=figures.BAND).encode(x=x, y=y("from"), y2="to:Q"),
        base.mark_tick(opacity=0.45, thickness=1).encode(y=y("score")),
        base.mark_rule().encode(y=y("lowest"), y2="highest:Q"),
        box.encode(y=y("quarter"), y2="three:Q"),
        base.mark_tick(thickness=3).encode(y=y("median")),
        data=chart_data(pd.concat([boxes, points])),
    ).properties(width=max(200, 33 * len(runs)), height=260)
    faceted = chart.facet(alt.Facet("rubric:N", title=None), columns=4)
    note = "Quartiles, median and range of the scores; the shaded step is the band to hit."
    return titled(faceted, "Where the scores fall", note, columns)


def confusion(runs: Sequence[Run]) -> ChartType:
    """Share of responses in each judged level, per level asked for; one matrix per model, rows sum to 1."""
    scores = _scores(runs)
    counts = scores.groupby(["model", "level", "judged"], sort=False).size().unstack(fill_value=0, sort=False)
    counts = counts.reindex(columns=LEVELS, fill_value=0)
    shares = counts.div(counts.sum(axis=1), axis=0).reset_index().melt(["model", "level"], LEVELS, "judged", "share")
    x = alt.X("judged:N", sort=LEVELS, title="judged level", axis=figures.LINES, scale=alt.Scale(domain=LEVELS))
    y = alt.Y("level:N", sort=LEVELS, title="level asked for", axis=figures.PLAIN_AXIS)
    columns = {"model": "model", "level": "asked for", "judged": "judged", "share": "share"}
    chart = figures.heatmap(chart_data(shares), x, y, "share", columns).properties(width=190, height=120)
    drawn = figures.panels(chart, "model", 4)
    return titled(drawn, "Level asked for and level judged", "Rows sum to 1; the diagonal is right.", columns)


def accuracy_by_rubric(models: ModelSummaries) -> ChartType:
    """Macro accuracy, 0-1, of each model by each rubric."""
    rows = [
        {"model": name, "rubric": shown_name(rubric)} | entry["metrics"]["macro_accuracy"]
        for name, part in models.items()
        for rubric, entry in part["by_rubric"].items()
    ]
    columns = {"model": "model", "rubric": "rubric", "value": "accuracy", **figures.INTERVAL}
    x = alt.X("rubric:N", title=None, axis=figures.LINES)
    y = alt.Y("model:N", sort=None, title=None, axis=figures.PLAIN_AXIS)
    chart = figures.heatmap(chart_data(rows), x, y, "value", columns).properties(width=560, height=30 * len(models))
    note = "Share of responses in the band asked for, averaged over levels."
    return titled(chart, "Accuracy by rubric", note, columns, all_models=True)


def side_effect_chart(models: ModelSummaries, stem: str) -> Charts:
    """The matrix of side effects, in score points, of each model that has one; {} if none has."""
    rows = [
        {"model": name} | entry | {"steered": shown_name(entry["steered"]), "scored": shown_name(entry["scored"])}
        for name, part in models.items()
        for entry in part.get("side_effects") or ()
        if entry["shift"] is not None
    ]
    if not rows:
        return {}
    frame = chart_data(rows)
    columns = {"model": "model", "steered": "asked for", "scored": "judged by", "shift": "shift", **figures.INTERVAL}
    x = alt.X("scored:N", title="judged by", axis=figures.LINES)
    y = alt.Y("steered:N", title="asked for", axis=figures.PLAIN_AXIS)
    size = {"width": 70 * frame["scored"].nunique(), "height": 30 * frame["steered"].nunique()}
    chart = figures.heatmap(frame, x, y, "shift", columns, top=100, form="+.0f").properties(**size)
    note = "Shift of the score, in points, when a rubric is asked for at extremely high instead of low."
    return {stem: titled(figures.panels(chart, "model", 3), "Side effects of asking for a rubric", note, columns)}


def differences(comparison: Mapping[str, Any], headline: str) -> ChartType:
    """Difference of two models, see `report.compare`, of every statistic and of the headline by rubric."""
    panels = {"all rubrics": comparison["statistics"]} | {
        f"{shown_name(headline)} by rubric": {
            rubric: entry["statistics"][headline] for rubric, entry in comparison["by_rubric"].items()
        }
    }
    rows = [
        {"model": comparison["b"]["name"], "panel": panel, "name": shown_name(name)} | entry["difference"]
        for panel, entries in panels.items()
        for name, entry in entries.items()
    ]
    y = alt.Y("name:N", sort=None, title=None, axis=figures.PLAIN_AXIS)
    base = alt.Chart().encode(y=y, color=alt.value(figures.ABOVE))
    x = figures.at(alt.X, "difference, with 95% interval")
    chart = alt.layer(
        alt.Chart(pd.DataFrame({"value": [0]})).mark_rule().encode(x=x("value")),
        *figures.intervals(base, x),
        data=chart_data(rows),
    ).properties(width=330, height=26 * max(map(len, panels.values())))
    drawn = figures.panels(chart, "panel", 2, list(panels)).resolve_scale(y="independent")
    return titled(drawn, f"{comparison['b']['name']} minus {comparison['a']['name']}", "", {"name": "of"})


def _scores(runs: Sequence[Run]) -> pd.DataFrame:
    """Scored responses with the levels asked for and judged as charts write them, and whether they are the same."""
    parts = [run.asked[["rubric", "level", "score"]].assign(model=run.name) for run in runs]
    frame = pd.concat(parts, ignore_index=True)
    judged = frame["score"].map(ScoreLevel.of)
    return frame.assign(
        inside=judged == frame["level"],
        rubric=frame["rubric"].map(shown_name),
        level=frame["level"].map(shown_name),
        judged=judged.map(shown_name),
    )
