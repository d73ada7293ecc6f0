"""The charts of `best_of_n`, from its part of summary.json."""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from cpt_tasks.report import figures
from cpt_tasks.report.figures import LEVELS, Charts, ChartType, chart_data, shown_name, titled
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import ModelSummaries
from rubrics import ScoreLevel

COLUMNS = {"model": "model", "level": "asked for", "k": "k", "value": "value"} | figures.INTERVAL
COLUMNS |= {"mean_tokens": "cost"}
BANDS = pd.DataFrame({shown_name(level.value): level.band for level in ScoreLevel}, index=["band_from", "band_to"]).T


def charts(models: ModelSummaries, runs: Sequence[Run]) -> Charts:
    """Band-hit of the best of k against k and against cost, and its score by level."""
    return {"best_of_k_band_hit": band_hit(models), "best_of_k_score": score(models)}


def band_hit(models: ModelSummaries) -> ChartType:
    """Chance, 0-1, that the best of k lies in the band, over samples and over what they cost, by level."""
    points = _points(models, "band_hit")
    unit = " or ".join(sorted({part["cost_unit"] for part in models.values()}))
    levels = list(dict.fromkeys(points["level"]))
    costs = {"k": "samples k", "mean_tokens": f"{unit} written"}
    by_cost = [
        points.assign(cost=points[column], panel=points["level"] + f", by {caption}")
        for column, caption in costs.items()
    ]
    # model by model, as `chart_data` takes them
    rows = pd.concat(by_cost).sort_values("model", kind="stable", key=lambda names: names.map(list(models).index))
    order = [f"{level}, by {caption}" for caption in costs.values() for level in levels]
    layers = figures.curves(_cost("cost"), "value", "band-hit (0-1)", figures.SHARE_SCALE, figures.tips(COLUMNS))
    chart = alt.layer(*layers, data=chart_data(rows)).properties(width=190, height=180)
    drawn = figures.panels(chart, "panel", len(levels), order).resolve_scale(x="independent")
    note = "Chance that the best of k samples is in the band asked for, exact from all samples, with 95% intervals."
    return titled(drawn, "Best of k samples: in the band", note, COLUMNS)


def score(models: ModelSummaries) -> ChartType:
    """Score, 0-100, of the best of k by level, with the band to hit."""
    rows = _points(models, "score").join(BANDS, on="level", how="inner")
    title = "score of the best of k (0-100)"
    band = alt.Chart().mark_rect(color=figures.BAND)
    y = figures.at(alt.Y, title, figures.SCORE_SCALE)("min(band_from)")
    layers = figures.curves(_cost("k", "samples k"), "value", title, figures.SCORE_SCALE, figures.tips(COLUMNS))
    chart = alt.layer(band.encode(y=y, y2="max(band_to):Q"), *layers, data=chart_data(rows))
    drawn = figures.panels(chart.properties(width=230, height=230), "level", 3, LEVELS)
    note = "Expected score of the best of k samples, exact from all samples; the shading is the band to hit."
    return titled(drawn, "Best of k samples: score", note, COLUMNS)


def _points(models: ModelSummaries, statistic: str) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"model": name} | point | {"level": "all levels" if point["level"] == "all" else shown_name(point["level"])}
            for name, part in models.items()
            for point in part["curves"]
            if point["statistic"] == statistic and point["value"] is not None
        ]
    )


def _cost(field: str, title: str | None = None) -> alt.X:
    axis = alt.Axis(grid=False, tickCount=5, format="~s", labelOverlap=True)
    return alt.X(f"{field}:Q", title=title, axis=axis, scale=alt.Scale(type="log", base=2, nice=False))
