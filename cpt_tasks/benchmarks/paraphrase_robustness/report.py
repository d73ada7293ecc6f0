"""What a report says of `paraphrase_robustness`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.paraphrase_robustness import statistics
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import Charts, ModelSummaries, Section
from cpt_tasks.report.text import cells, json_of
from judges.interval import Estimate, estimates, jsonable

INTRO = (
    "The same request in several wordings. `wording_sd` is the SD of the scores of one user prompt over wordings, in "
    "score points (it includes what sampling adds). `mean_accuracy` is over wordings, `worst_accuracy` takes in each "
    "(rubric, level) the wording that does worst. The lowest of a few noisy numbers is too low, the more so the fewer "
    "the user prompts, and has no interval: read it against `worst_by_chance`, what it would be if wordings did not "
    "matter. `position_*` is user turn minus system turn, `style_*` a number added minus words alone, paired: "
    "`_accuracy` in shares, `_range` (score at extremely_high minus score at low) in score points."
)


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """`metrics` over everything, `by_condition` (position and style) and the `cells` with their accuracy by wording."""
    rows = statistics.with_hits(run.frame)
    metrics = _metrics(rows, seed)
    for way in statistics.WAYS:
        if rows[way].nunique() > 1:
            metrics |= json_of(estimates(rows, partial(statistics.contrast, by=way), {}, stratum="rubric"))
    return {
        "metrics": metrics,
        "by_condition": {
            f"{position}, {style}": _metrics(part, seed)
            for (position, style), part in rows.groupby(["position", "style"], sort=False)
        },
        "cells": [_cell(names, part) for names, part in rows.groupby(statistics.CELL, sort=False)],
    }


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """Statistics by model and condition; contrasts, where both ways were asked."""
    rows = [
        {"model": name, "condition": condition} | cells(metrics)
        for name, part in models.items()
        for condition, metrics in part["by_condition"].items()
    ]
    shown = {"Wordings": pd.DataFrame(rows)}
    contrasts = []
    for name, part in models.items():
        differences = {key: one for key, one in part["metrics"].items() if key.startswith(tuple(statistics.WAYS))}
        contrasts += [{"model": name} | cells(differences)] if differences else []
    return shown | ({"Position and style": pd.DataFrame(contrasts)} if contrasts else {})


def charts(models: ModelSummaries, runs: Sequence[Run]) -> Charts:
    """Share of scores, 0-1, in the band by every wording, cell by cell, with range and mean, by turn and style."""
    import altair as alt

    from cpt_tasks.report import figures
    from cpt_tasks.report.figures import shown_name

    rows = [
        {"model": name, "rubric": shown_name(cell["rubric"])}
        | {"cell": f"{shown_name(cell['rubric'])}, {shown_name(cell['level'])}"}
        | {"condition": f"{cell['position']} turn, {shown_name(cell['style'])}"}
        | {"wording": wording, "accuracy": accuracy, "mean": cell["mean"], "n": cell["n"]}
        for name, part in models.items()
        for cell in part["cells"]
        for wording, accuracy in cell["accuracy"].items()
    ]
    frame = figures.chart_data(rows)
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
    drawn = figures.panels(chart, "condition", 2)
    return {"paraphrases": figures.titled(drawn, "Spread over wordings of the system prompt", note, columns)}


def _metrics(rows: pd.DataFrame, seed: int) -> dict[str, dict[str, float | None]]:
    numbers = estimates(rows, statistics.wording_statistics, statistics.BOUNDS, stratum="rubric")
    return json_of(numbers | {"worst_by_chance": Estimate(statistics.worst_by_chance(rows, seed))})


def _cell(names: Any, part: pd.DataFrame) -> dict[str, Any]:
    accuracy = part.groupby("wording", sort=False)["hit"].mean()
    return dict(zip(statistics.CELL, names, strict=True)) | {
        "n": part["user_prompt_id"].nunique(),
        "accuracy": {str(wording): jsonable(value) for wording, value in accuracy.items()},
        "mean": jsonable(accuracy.mean()),
        "worst": jsonable(accuracy.min()),
        "worst_wording": str(accuracy.idxmin()),
    }


SECTION = Section("Robustness to wording", INTRO, summarise, tables, charts)
