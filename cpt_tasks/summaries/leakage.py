"""The leakage matrix in a report: of `rubric_adherence` judged by further rubrics (`also`), and of `composition`.

Not a section of its own: it stands with the benchmark whose responses it is made of.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cpt_tasks.dataset import NO_LEVEL
from cpt_tasks.metrics.leakage import CrossScore, leakage_matrix
from cpt_tasks.sections import ModelSummaries
from cpt_tasks.summaries.estimates import cell, json_estimate, json_estimates
from rubrics import ScoreLevel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cpt_tasks.runs import ModelRun

METRICS = ("leakage", "leakage_by_chance", "sensibility", "specificity")
INTRO = (
    "Leakage: what asking for a rubric at extremely_high instead of low does to the scores by every rubric, in score "
    "points, on the same user prompts. The diagonal is the dynamic range. `leakage` is the mean absolute shift off the "
    "diagonal over the mean of the diagonal (0 is best); read it against `leakage_by_chance`, what noise alone would "
    "give. `sensibility` and `specificity` are the percentile rank of the diagonal in its row and in its column (1 is "
    "best)."
)


def cross_scores(run: "ModelRun") -> list[CrossScore]:
    """All judgments, own and further, of the responses of a run that were asked for one rubric alone."""
    from cpt_tasks.composition import scores_by_rubric

    return [
        CrossScore(
            sample.metadata["rubric"], scored, ScoreLevel(sample.metadata["level"]), sample.metadata["prompt_id"], value
        )
        for sample, score in run.samples
        if sample.metadata["level"] != NO_LEVEL and "with_rubric" not in sample.metadata
        for scored, value in scores_by_rubric(sample.metadata, score).items()
    ]


def with_leakage(entry: dict[str, Any], run: "ModelRun", n_resamples: int, seed: int) -> dict[str, Any]:
    """An entry of summary.json with the cells under `leakage` and the summary numbers in its `metrics`.

    The entry as it is, for a run that was judged by no further rubric.
    """
    scores = cross_scores(run)
    if all(score.steered == score.scored for score in scores):
        return entry
    found = leakage_matrix(scores, n_resamples, seed)
    return entry | {
        "leakage": [
            {"steered": each.steered, "scored": each.scored, "n": each.n, "shift": shift["value"]}
            | {"ci_low": shift["ci_low"], "ci_high": shift["ci_high"]}
            for each in found.shifts
            for shift in [json_estimate(each.shift)]
        ],
        "metrics": entry["metrics"] | json_estimates({name: getattr(found, name) for name in METRICS}),
        "further_failures": {
            f"{rubric} {mode}": count for (mode, rubric), count in sorted(run.judging.further_failures.items())
        },
    }


def leakage_tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """The summary numbers of every model, and each model's matrix, steered rubrics as rows; {} without any."""
    leaking = {name: found for name, found in models.items() if found.get("leakage")}
    if not leaking:
        return {}
    rows = []
    for name, found in leaking.items():
        failures = ", ".join(f"{what} {count}" for what, count in found["further_failures"].items())
        metrics = {metric: cell(found["metrics"][metric]) for metric in METRICS}
        rows.append({"model": name} | metrics | {"failed judgments": failures or "none"})
    tables = {"Leakage in a few numbers": pd.DataFrame(rows)}
    for name, found in leaking.items():
        shown = [
            {"asked for": each["steered"], "judged by": each["scored"]}
            | {"shift": cell(each | {"value": each["shift"]}, 1)}
            for each in found["leakage"]
        ]
        table = pd.DataFrame(shown).pivot(index="asked for", columns="judged by", values="shift")
        tables[f"Leakage of {name}: asked for (row), judged by (column), score points"] = (
            table.fillna("").rename_axis(columns=None).reset_index()
        )
    return tables


def leakage_figure(models: ModelSummaries) -> "Figure":
    """A heat map of the matrix for each model that has one."""
    import matplotlib.pyplot as plt

    leaking = {name: found["leakage"] for name, found in models.items() if found.get("leakage")}
    steered = sorted({each["steered"] for cells in leaking.values() for each in cells})
    scored = sorted({each["scored"] for cells in leaking.values() for each in cells})
    width, height = 1.8 + 0.62 * len(scored), 1.6 + 0.5 * len(steered)
    figure, axes = plt.subplots(
        1, len(leaking), figsize=(width * len(leaking), height), squeeze=False, layout="constrained"
    )
    for axis, (name, cells) in zip(axes[0], leaking.items(), strict=True):
        grid = np.full((len(steered), len(scored)), np.nan)
        for each in cells:
            if each["shift"] is not None:
                grid[steered.index(each["steered"]), scored.index(each["scored"])] = each["shift"]
        axis.imshow(grid, cmap="RdBu_r", vmin=-100, vmax=100)
        for (row, column), shift in np.ndenumerate(grid):
            if not np.isnan(shift):
                colour = "white" if abs(shift) > 60 else "black"
                axis.text(column, row, f"{shift:.0f}", ha="center", va="center", color=colour, fontsize=8)
        axis.set_title(name, fontsize=10)
        axis.set_xticks(range(len(scored)), scored, rotation=45, ha="right", fontsize=8)
        axis.set_yticks(range(len(steered)), steered, fontsize=8)
        axis.set_xlabel("judged by")
    axes[0][0].set_ylabel("asked for")
    return figure
