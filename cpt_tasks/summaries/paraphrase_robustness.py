"""How a report reads a log of `paraphrase_robustness`."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from cpt_tasks.metrics.paraphrases import Worded, cell_wordings, contrast, wording_statistics
from cpt_tasks.sections import ModelSummaries, Section, jsonable
from cpt_tasks.summaries.estimates import cell, json_estimates
from rubrics import ScoreLevel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cpt_tasks.runs import ModelRun

INTRO = (
    "The same request in several wordings. `wording_sd` is the SD of the scores of one user prompt over wordings, in "
    "score points (it includes what sampling adds). `mean_accuracy` is over wordings, `worst_accuracy` takes in each "
    "(rubric, level) the wording that does worst. The lowest of a few noisy numbers is too low, the more so the fewer "
    "the user prompts: read it against `worst_by_chance`, what it would be if wordings did not matter. `position_*` "
    "is user turn minus system turn, `style_*` a number added minus words alone, paired: `_accuracy` in shares, "
    "`_range` (score at extremely_high minus score at low) in score points."
)
WAYS: tuple[Literal["position", "style"], ...] = ("position", "style")


def worded_rows(run: "ModelRun") -> list[Worded]:
    """The rows that the statistics are computed on."""
    return [
        Worded(
            rubric=sample.metadata["rubric"],
            level=ScoreLevel(sample.metadata["level"]),
            user_prompt=sample.metadata["prompt_id"],
            wording=sample.metadata["paraphrase"],
            position=sample.metadata["position"],
            style=sample.metadata["style"],
            score=score.as_float(),
        )
        for sample, score in run.samples
    ]


def summarise(run: "ModelRun", n_resamples: int, seed: int) -> dict[str, Any]:
    """`metrics` over everything, `by_condition` (position and style) and the `cells` with their accuracy by wording."""
    rows = worded_rows(run)
    conditions = list(dict.fromkeys((row.position, row.style) for row in rows))
    found = wording_statistics(rows, n_resamples, seed)
    for number, way in enumerate(WAYS):
        if len({condition[number] for condition in conditions}) > 1:
            differences = contrast(rows, way, n_resamples, seed)
            found |= {f"{way}_{name}": estimate for name, estimate in differences.items()}
    cells = []
    for each in cell_wordings(rows):
        rubric, level, position, style = each.cell
        values = list(each.accuracy.values())
        cells.append(
            {"rubric": rubric, "level": level.value, "position": position, "style": style, "n": each.n}
            | {"accuracy": {wording: jsonable(value) for wording, value in each.accuracy.items()}}
            | {"mean": jsonable(float(np.mean(values))), "worst": jsonable(min(values))}
            | {"worst_wording": min(each.accuracy, key=lambda wording: each.accuracy[wording])}
        )
    return {
        "metrics": json_estimates(found),
        "by_condition": {
            f"{position}, {style}": json_estimates(
                wording_statistics(
                    [row for row in rows if (row.position, row.style) == (position, style)], n_resamples, seed
                )
            )
            for position, style in conditions
        },
        "cells": cells,
    }


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """Statistics by model and condition; contrasts, where both ways were asked; the cells with the largest drop."""
    rows = [
        {"model": name, "condition": condition} | {metric: cell(estimate) for metric, estimate in statistics.items()}
        for name, found in models.items()
        for condition, statistics in found["by_condition"].items()
    ]
    shown = {"Wordings": pd.DataFrame(rows)}
    contrasts = [
        {"model": name}
        | {key: cell(value) for key, value in found["metrics"].items() if key.startswith(tuple(f"{w}_" for w in WAYS))}
        for name, found in models.items()
    ]
    if any(len(row) > 1 for row in contrasts):
        shown["Position and style"] = pd.DataFrame(contrasts)
    worst = [
        {"model": name}
        | {key: each[key] for key in ("rubric", "level", "position", "style", "n", "worst_wording")}
        | {key: f"{each[key]:.2f}" for key in ("mean", "worst")}
        for name, found in models.items()
        for each in sorted(found["cells"], key=lambda each: each["worst"] - each["mean"])[:5]
    ]
    return shown | {"Cells with the largest drop from mean to worst wording": pd.DataFrame(worst)}


def figures(models: ModelSummaries) -> "dict[str, Figure]":
    """Accuracy of every wording, cell by cell, and their mean; of the first position and style only."""
    import matplotlib.pyplot as plt

    from cpt_tasks.figures import COLOURS

    first = next(iter(models.values()))["cells"][0]
    cells = {
        name: [each for each in found["cells"] if all(each[key] == first[key] for key in WAYS)]
        for name, found in models.items()
    }
    labels = sorted({(each["rubric"], each["level"]) for found in cells.values() for each in found})
    labels.sort(key=lambda label: (label[0], ScoreLevel(label[1]).rank))
    figure, axis = plt.subplots(figsize=(6.5, 1.2 + 0.26 * len(labels)), layout="constrained")
    for number, (name, found) in enumerate(cells.items()):
        offset = (number - (len(models) - 1) / 2) * 0.6 / len(models)
        colour = COLOURS[number % len(COLOURS)]
        for shown, each in enumerate(found):
            row = labels.index((each["rubric"], each["level"])) + offset
            values = list(each["accuracy"].values())
            axis.plot([min(values), max(values)], [row, row], color=colour, linewidth=1)
            axis.scatter(values, [row] * len(values), s=12, color=colour, alpha=0.6, linewidths=0)
            axis.scatter([each["mean"]], [row], s=30, marker="|", color=colour, label=name if shown == 0 else None)
    axis.set_yticks(range(len(labels)), [f"{rubric}, {level}" for rubric, level in labels], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(-0.03, 1.03)
    axis.set_xlabel(f"accuracy; a dot per wording, a bar at their mean ({first['position']} turn, {first['style']})")
    figure.legend(loc="outside upper center", ncols=len(models), frameon=False)
    return {"paraphrases": figure}


SECTION = Section("Robustness to wording", INTRO, summarise, tables, figures)
