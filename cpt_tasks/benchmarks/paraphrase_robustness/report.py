"""What a report says of `paraphrase_robustness`."""

from typing import Any

import numpy as np
import pandas as pd

from cpt_tasks.benchmarks.paraphrase_robustness import statistics
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import ModelSummaries, Section
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
    metrics = _statistics(rows, seed)
    for way in statistics.WAYS:
        if rows[way].nunique() > 1:
            differences = estimates(rows, lambda part, way=way: statistics.contrast(part, way), {})  # type: ignore[misc]
            metrics |= json_of(differences)
    return {
        "metrics": metrics,
        "by_condition": {
            f"{position}, {style}": _statistics(part, seed)
            for (position, style), part in rows.groupby(["position", "style"], sort=False)
        },
        "cells": [_cell(names, part) for names, part in rows.groupby(statistics.CELL, sort=False)],
    }


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """Statistics by model and condition; contrasts, where both ways were asked; the cells with the largest drop."""
    rows = [
        {"model": name, "condition": condition} | cells(metrics)
        for name, part in models.items()
        for condition, metrics in part["by_condition"].items()
    ]
    contrasts = [
        {"model": name}
        | cells({key: value for key, value in part["metrics"].items() if key.partition("_")[0] in statistics.WAYS})
        for name, part in models.items()
    ]
    worst = [
        {"model": name}
        | {key: entry[key] for key in ("rubric", "level", "position", "style", "n", "worst_wording")}
        | {key: f"{entry[key]:.2f}" for key in ("mean", "worst")}
        for name, part in models.items()
        for entry in sorted(part["cells"], key=lambda entry: entry["worst"] - entry["mean"])[:5]
    ]
    shown = {"Wordings": pd.DataFrame(rows)}
    if any(len(row) > 1 for row in contrasts):
        shown["Position and style"] = pd.DataFrame(contrasts)
    return shown | {"Cells with the largest drop from mean to worst wording": pd.DataFrame(worst)}


def _statistics(rows: pd.DataFrame, seed: int) -> dict[str, dict[str, float | None]]:
    values = estimates(rows, statistics.wording_statistics, statistics.BOUNDS)
    values["worst_by_chance"] = Estimate(statistics.worst_by_chance(rows, seed))
    return {
        name: (Estimate(estimate.value) if name in statistics.WITHOUT_INTERVAL else estimate).to_json()
        for name, estimate in values.items()
    }


def _cell(names: Any, part: pd.DataFrame) -> dict[str, Any]:
    accuracy = {
        str(wording): float(hits) for wording, hits in part.groupby("wording", sort=False)["hit"].mean().items()
    }
    return (
        dict(zip(statistics.CELL, names, strict=True))
        | {"n": part["user_prompt_id"].nunique()}
        | {"accuracy": {wording: jsonable(value) for wording, value in accuracy.items()}}
        | {"mean": jsonable(float(np.mean(list(accuracy.values())))), "worst": jsonable(min(accuracy.values()))}
        | {"worst_wording": min(accuracy, key=lambda wording: accuracy[wording])}
    )


SECTION = Section(
    "Robustness to wording", INTRO, summarise, tables, "cpt_tasks.benchmarks.paraphrase_robustness.charts"
)
