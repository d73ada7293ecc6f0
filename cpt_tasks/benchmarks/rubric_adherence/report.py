"""What a report says of `rubric_adherence`: its part of summary.json, its tables and charts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from cpt_tasks.benchmarks.rubric_adherence import statistics
from cpt_tasks.benchmarks.rubric_adherence.side_effects import INTRO as SIDE_EFFECTS_INTRO
from cpt_tasks.benchmarks.rubric_adherence.side_effects import side_effect_tables, with_side_effects
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import Charts, ModelSummaries, Section
from cpt_tasks.report.text import cell, json_of
from cpt_tasks.statistics.frame import answered, in_band
from cpt_tasks.statistics.table import Statistic, estimates_of
from judges.interval import Estimate
from rubrics import LOW_MAX, MODERATE_MAX, ScoreLevel

if TYPE_CHECKING:
    from altair.typing import ChartType

NAME = "rubric_adherence"
# order and calibration apart, with accuracy, which takes both
HEADLINE = {"macro_accuracy": "accuracy", "somers_d": "order", "band_error": "calibration"}
COLUMNS = HEADLINE | {name: name for name in ("kendall_tau_b", "spearman_rho")}
CEILINGS = ("kendall_tau_b_ceiling", "spearman_rho_ceiling")
LINE_CAPTION = "Line of score on the middle of the band asked for, points"
POINTS = ("band_error", "signed_error", "mean_score", "calibration_intercept", "dynamic_range")
LINE = ("calibration_slope", "calibration_intercept", "dynamic_range")
LEVEL_STATISTICS: dict[str, Statistic] = {
    "accuracy": statistics.macro_accuracy,
    "mean_score": statistics.mean_score,
    "band_error": statistics.band_error,
    "signed_error": statistics.signed_error,
    "overshoot": statistics.overshoot,
    "undershoot": statistics.undershoot,
}
LEVEL_COLUMNS = {name: name for name in ("accuracy", "band_error", "signed_error", "mean_score")}
LEVEL_COLUMNS["band_error"] = "calibration"
COLUMNS_INTRO = (
    "`accuracy` (`macro_accuracy`) is the share of scores in the band asked for; a model that ignores the level gets "
    "{chance}. `order` (`somers_d`) is the share of pairs of levels in the right order minus that in "
    "the wrong one: 1 is best, 0 ignores the level. `calibration` (`band_error`) is the mean distance to the band in "
    'points: 0 is best. Behind "of" stands the most that `kendall_tau_b` and `spearman_rho` can be, given the ties of '
    "levels and scores."
)
MAX_POINTS = 1500  # with more responses a chart has boxes only
QUARTILES = {0.0: "lowest", 0.25: "quarter", 0.5: "median", 0.75: "three", 1.0: "highest"}


def intro(runs: Sequence[Run]) -> str:
    """What was judged, on what, what the columns are, and what chance gives."""
    protocol = runs[0].protocol
    by_chance = statistics.chance_accuracy(runs[0].asked)
    is_whole = set(runs[0].asked["level"]) == set(ScoreLevel)
    chance = f"{by_chance:.2f} on average" if is_whole else f"at most {by_chance:.2f}"
    text = (
        f"Judge `{protocol['judge']}` (judge version {protocol['prompt_version']}), split `{protocol['split']}` of "
        f"the user prompts ({protocol['user_prompts']}), `{protocol['wording_split']}` wordings of the system prompts. "
        f"Values with 95% intervals that take the user prompts as drawn.\n\n{COLUMNS_INTRO.format(chance=chance)}"
    )
    return f"{text}\n\n{SIDE_EFFECTS_INTRO}" if any(run.further_rubrics for run in runs) else text


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """`metrics` over everything, the headline ones `by_rubric`, and `by_level` with what went wrong there."""
    rows, truncated = run.asked, run.truncated
    headline = {name: STATISTICS[name] for name in (*COLUMNS, *CEILINGS, *LINE)}
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
    """The headline by model and by rubric, by level with the counts of what went wrong, and the line through levels."""
    overall, lines, by_level, by_rubric = [], [], [], []
    for name, part in models.items():
        counts = {"n": part["n"], "unscored": part["unscored"]}
        overall.append({"model": name} | counts | shown_statistics(part["metrics"], COLUMNS))
        lines.append({"model": name} | shown_statistics(part["metrics"], {one: one for one in LINE}))
        for level, entry in part["by_level"].items():
            row = {"model": name, "level": level, "n": entry["n"]} | shown_statistics(entry["metrics"], LEVEL_COLUMNS)
            row |= {"unscored": entry["unscored"], "no_response": entry["no_response"]}
            by_level.append(row | {"truncated": "not reported" if entry["truncated"] is None else entry["truncated"]})
        for rubric, entry in part["by_rubric"].items():
            row = {"model": name, "rubric": rubric, "n": entry["n"]}
            by_rubric.append(row | shown_statistics(entry["metrics"], COLUMNS))
    shown = {"Overall": pd.DataFrame(overall), "By level": pd.DataFrame(by_level), LINE_CAPTION: pd.DataFrame(lines)}
    return shown | {"By rubric": pd.DataFrame(by_rubric)} | side_effect_tables(models)


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


def shown_statistics(metrics: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, str]:
    """Cells of a table by the names of its columns: a statistic, and "of" its ceiling where it has one."""
    shown = {column: cell(metrics.get(name), 1 if name in POINTS else 2) for name, column in columns.items()}
    for name, column in columns.items():
        ceiling = metrics.get(f"{name}_ceiling")
        if ceiling and metrics[name]["value"] is not None:
            shown[column] += f" of {cell(ceiling)}"
    return shown


SECTION = Section("Rubric adherence", intro, summarise, tables, charts)
