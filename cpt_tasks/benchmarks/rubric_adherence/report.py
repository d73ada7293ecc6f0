"""What a report says of `rubric_adherence`: its part of summary.json, its tables and charts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from cpt_tasks.benchmarks.rubric_adherence import statistics
from cpt_tasks.benchmarks.rubric_adherence.side_effects import INTRO as SIDE_EFFECTS_INTRO
from cpt_tasks.benchmarks.rubric_adherence.side_effects import side_effect_tables, with_side_effects
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import Charts, ModelSummaries, Section
from cpt_tasks.report.text import cells, json_of
from cpt_tasks.statistics.frame import answered, in_band
from cpt_tasks.statistics.table import Statistic, estimates_of
from judges.interval import Estimate
from rubrics import LOW_MAX, MODERATE_MAX, ScoreLevel

if TYPE_CHECKING:
    from altair.typing import ChartType

NAME = "rubric_adherence"
TABLE_STATISTICS = ["macro_accuracy", "weighted_kappa", "kendall_tau_b", "spearman_rho", "order_accuracy"]
TABLE_STATISTICS += ["calibration_slope"]
LEVEL_STATISTICS: dict[str, Statistic] = {
    "accuracy": statistics.macro_accuracy,
    "mean_score": statistics.mean_score,
    "band_error": statistics.band_error,
    "overshoot": statistics.overshoot,
    "undershoot": statistics.undershoot,
}
LEVEL_COLUMNS = ("accuracy", "mean_score", "band_error")
MAX_POINTS = 1500  # with more responses a chart has boxes only
QUARTILES = {0.0: "lowest", 0.25: "quarter", 0.5: "median", 0.75: "three", 1.0: "highest"}


def intro(runs: Sequence[Run]) -> str:
    """What was judged, on what, and what chance gives."""
    protocol = runs[0].protocol
    chance = statistics.chance_accuracy(runs[0].asked)
    text = (
        f"Judge `{protocol['judge']}` (prompt version {protocol['prompt_version']}), split `{protocol['split']}` of "
        f"the user prompts ({protocol['user_prompts']}), `{protocol['wording_split']}` wordings of the system prompts. "
        "Values with 95% intervals that take the user prompts as drawn. A model that ignores the level reaches at most "
        f"a macro accuracy of {chance:.2f}."
    )
    return f"{text}\n\n{SIDE_EFFECTS_INTRO}" if any(run.further_rubrics for run in runs) else text


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """`metrics` over everything, the headline ones `by_rubric`, and `by_level` with what went wrong there."""
    rows, truncated = run.asked, run.truncated
    headline = {name: STATISTICS[name] for name in TABLE_STATISTICS}
    levels = {level.value: rows[rows["level"] == level.value] for level in ScoreLevel}
    entry = {
        "metrics": json_of(estimates_of(rows, STATISTICS))
        | {"worst_wording_accuracy": Estimate(statistics.worst_wording_accuracy(rows)).to_json()},
        "by_rubric": {
            str(rubric): {
                "n": len(part),
                "user_prompts": part["user_prompt_id"].nunique(),
                "metrics": json_of(estimates_of(part, headline)),
            }
            for rubric, part in rows.groupby("rubric")
        },
        "by_level": {
            level: {
                "n": len(part),
                "unscored": run.unscored[level],
                "no_response": run.no_response[level],
                "truncated": None if truncated is None else truncated[level],
                "metrics": json_of(estimates_of(part, LEVEL_STATISTICS)),
            }
            for level, part in levels.items()
            if len(part) or run.unscored[level]
        },
    }
    return with_side_effects(entry, run, seed)


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """The headline statistics by model, by level with the counts of what went wrong, and by rubric."""
    overall, by_level, by_rubric = [], [], []
    for name, part in models.items():
        counts = {"n": part["n"], "unscored": part["unscored"]}
        overall.append({"model": name} | counts | _shown(part["metrics"], TABLE_STATISTICS))
        for level, entry in part["by_level"].items():
            row = {"model": name, "level": level, "n": entry["n"]} | _shown(entry["metrics"], LEVEL_COLUMNS)
            row |= {"unscored": entry["unscored"], "no_response": entry["no_response"]}
            by_level.append(row | {"truncated": "not reported" if entry["truncated"] is None else entry["truncated"]})
        for rubric, entry in part["by_rubric"].items():
            row = {"model": name, "rubric": rubric, "n": entry["n"]}
            by_rubric.append(row | _shown(entry["metrics"], TABLE_STATISTICS))
    shown = {"Overall": pd.DataFrame(overall), "By level": pd.DataFrame(by_level), "By rubric": pd.DataFrame(by_rubric)}
    return shown | side_effect_tables(models)


def charts(models: ModelSummaries, runs: Sequence[Run]) -> Charts:
    """Mean score by model, and scores by level."""
    return {"levels_by_model": levels_by_model(models), "score_by_level": score_by_level(runs)}


def levels_by_model(models: ModelSummaries) -> "ChartType":
    """Mean score, 0-100, at each level asked for, model by model in the order given.

    With the checkpoints of one training run as models it is the curve of score by level over training.
    """
    import altair as alt

    from cpt_tasks.report import figures

    rows = [
        {"model": name, "level": figures.shown_name(level), "n": entry["n"]}
        | {"accuracy": entry["metrics"]["accuracy"]["value"]}
        | entry["metrics"]["mean_score"]
        for name, part in models.items()
        for level, entry in part["by_level"].items()
    ]
    scale = alt.Scale(domain=figures.LEVELS, range=figures.LEVEL_COLOURS)
    base = alt.Chart().encode(
        y=alt.Y("model:N", sort=None, title=None, axis=figures.PLAIN_AXIS),
        color=alt.Color("level:N", sort=figures.LEVELS, scale=scale, title="asked for"),
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
        data=figures.chart_data(rows),
    ).properties(width=560, height=30 * len(models))
    note = (
        "The mean judged score when a low, a moderate and an extremely high score is asked for, with 95% intervals; "
        "dotted lines part the bands. A model that ignores its system prompt has its marks on one spot."
    )
    return figures.titled(chart, "Mean score by level asked for", note, columns, all_models=True)


def score_by_level(runs: Sequence[Run]) -> "ChartType":
    """Scores, 0-100, by rubric, level asked for and model: quartiles and range, and if they are few every response."""
    import altair as alt

    from cpt_tasks.report import figures

    scores = pd.concat([run.asked[["rubric", "level", "score", "reason"]].assign(model=run.name) for run in runs])
    scores = scores.assign(inside=in_band(scores), score=scores["score"].where(answered(scores)))
    scores[["rubric", "level"]] = scores[["rubric", "level"]].map(figures.shown_name)
    cells_of = scores.groupby(["model", "rubric", "level"], sort=False)
    boxes = cells_of["score"].quantile(pd.Index(list(QUARTILES))).unstack(sort=False).rename(columns=QUARTILES)
    boxes = boxes.assign(inside=cells_of["inside"].mean(), n=cells_of.size()).reset_index()
    points = scores[["model", "rubric", "level", "score"]].dropna() if len(scores) <= MAX_POINTS else scores[:0]
    bands = pd.DataFrame([(figures.shown_name(level.value), *level.band) for level in ScoreLevel])
    columns = {"model": "model", "rubric": "rubric", "level": "asked for", "n": "n", "lowest": "lowest"}
    columns |= {"quarter": "first quartile", "median": "median", "three": "third quartile", "highest": "highest"}
    columns |= {"inside": "share in the band"}
    x = alt.X("level:N", sort=figures.LEVELS, title=None, axis=figures.LINES)
    y = figures.at(alt.Y, "judged score (0-100)", figures.SCORE_SCALE)
    offset = alt.XOffset("model:N", sort=None, scale=alt.Scale(paddingOuter=0.4))
    base = alt.Chart().encode(x=x, xOffset=offset, color=figures.model_colour())
    box = base.mark_bar(filled=False, strokeWidth=1.5).encode(tooltip=figures.tips(columns))
    chart = alt.layer(
        alt.Chart(bands.set_axis(["level", "from", "to"], axis=1))
        .mark_rect(color=figures.BAND)
        .encode(x=x, y=y("from"), y2="to:Q"),
        base.mark_tick(opacity=0.45, thickness=1).encode(y=y("score")),
        base.mark_rule().encode(y=y("lowest"), y2="highest:Q"),
        box.encode(y=y("quarter"), y2="three:Q"),
        base.mark_tick(thickness=3).encode(y=y("median")),
        data=figures.chart_data(pd.concat([boxes, points])),
    ).properties(width=max(200, 33 * len(runs)), height=260)
    faceted = chart.facet(alt.Facet("rubric:N", title=None), columns=4)
    note = "Quartiles, median and range of the scores; the shaded step is the band to hit."
    return figures.titled(faceted, "Where the scores fall", note, columns)


def _shown(metrics: dict[str, Any], names: Sequence[str]) -> dict[str, str]:
    return cells({name: metrics[name] for name in names})


SECTION = Section("Rubric adherence", intro, summarise, tables, charts_in=__name__)
