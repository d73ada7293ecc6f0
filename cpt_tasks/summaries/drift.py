"""How a report reads logs of `drift`: scores without a system prompt, and how far each adapter is from its base."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from cpt_tasks.composition import scores_by_rubric
from cpt_tasks.metrics.drift import Unprompted, drift_between, mean_words, unprompted_scores
from cpt_tasks.sections import ModelSummaries, Section
from cpt_tasks.summaries.bases import base_of
from cpt_tasks.summaries.estimates import cell, json_estimate, json_estimates

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cpt_tasks.runs import ModelRun

INTRO = (
    "No system prompt: mean score by each rubric, and length. Beside an adapter, its difference from the base on the "
    "same user prompts, in score points and words: what training moved although nothing asked for it. `total_drift` "
    "is the root mean square of the differences over rubrics; read it against `total_by_chance`, what noise alone "
    "would give if the two were one model."
)


def unprompted_rows(run: "ModelRun") -> list[Unprompted]:
    """Every judgment of every response; those that failed are left out."""
    return [
        Unprompted(rubric, sample.metadata["prompt_id"], value, (score.metadata or {})["words"])
        for sample, score in run.samples
        for rubric, value in scores_by_rubric(sample.metadata, score).items()
    ]


def summarise(run: "ModelRun", n_resamples: int, seed: int) -> dict[str, Any]:
    """`by_rubric` the mean score, `metrics` the mean length; what a comparison adds is in `compare`."""
    rows = unprompted_rows(run)
    scores = unprompted_scores(rows, n_resamples, seed)
    return {
        "metrics": {"mean_words": json_estimate(mean_words(rows, n_resamples, seed))},
        "by_rubric": {rubric: {"score": json_estimate(estimate)} for rubric, estimate in scores.items()},
        "further_failures": {
            f"{rubric} {mode}": count for (mode, rubric), count in sorted(run.judging.further_failures.items())
        },
    }


def compare(runs: "Sequence[ModelRun]", n_resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """For each adapter with a base among the runs: `compared_with`, and the differences under `drift`."""
    found = {}
    for run in runs:
        base = base_of(run, runs)
        if base is None:
            continue
        drift = drift_between(unprompted_rows(base), unprompted_rows(run), n_resamples, seed)
        found[run.name] = {
            "compared_with": base.name,
            "drift": {
                "n": drift.n,
                "metrics": json_estimates(
                    {
                        "total_drift": drift.total,
                        "total_by_chance": drift.total_by_chance,
                        "words_change": drift.words,
                    }
                ),
                "by_rubric": json_estimates(drift.shifts),
            },
        }
    return found


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """Length and total drift by model; scores and differences by rubric."""
    overview = []
    for name, found in models.items():
        row = {"model": name, "n": found["n"], "unscored": found["unscored"]}
        row |= {"mean_words": cell(found["metrics"]["mean_words"], 0), "compared with": found.get("compared_with", "")}
        if "drift" in found:
            row |= {metric: cell(estimate, 1) for metric, estimate in found["drift"]["metrics"].items()}
        failures = ", ".join(f"{what} {count}" for what, count in found["further_failures"].items())
        overview.append(row | {"failed judgments": failures or "none"})
    by_rubric = []
    for name, found in models.items():
        for rubric, scores in found["by_rubric"].items():
            row = {"model": name, "rubric": rubric, "score": cell(scores["score"], 1)}
            if "drift" in found:
                row["difference from base"] = cell(found["drift"]["by_rubric"].get(rubric), 1)
            by_rubric.append(row)
    return {
        "Drift": pd.DataFrame(overview).fillna(""),
        "Scores without a system prompt": pd.DataFrame(by_rubric).fillna(""),
    }


def figures(models: ModelSummaries) -> "dict[str, Figure]":
    """Mean score by rubric and model, with intervals."""
    import matplotlib.pyplot as plt

    from cpt_tasks.figures import COLOURS

    rubrics = list(dict.fromkeys(rubric for found in models.values() for rubric in found["by_rubric"]))
    figure, axis = plt.subplots(figsize=(6.5, 1.4 + 0.32 * len(rubrics)), layout="constrained")
    for number, (name, found) in enumerate(models.items()):
        rows, values, low, high = [], [], [], []
        for rubric, scores in found["by_rubric"].items():
            estimate = scores["score"]
            rows.append(rubrics.index(rubric) + (number - (len(models) - 1) / 2) * 0.5 / len(models))
            values.append(math.nan if estimate["value"] is None else estimate["value"])
            low.append(values[-1] if estimate["ci_low"] is None else estimate["ci_low"])
            high.append(values[-1] if estimate["ci_high"] is None else estimate["ci_high"])
        colour = COLOURS[number % len(COLOURS)]
        axis.hlines(rows, low, high, color=colour, linewidth=1.2)
        axis.scatter(values, rows, s=24, color=colour, label=name)
    axis.set_yticks(range(len(rubrics)), rubrics, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(-3, 103)
    axis.set_xlabel("mean score without a system prompt (0-100)")
    figure.legend(loc="outside upper center", ncols=len(models), frameon=False)
    return {"drift": figure}


SECTION = Section("Drift: no system prompt", INTRO, summarise, tables, figures, compare)
