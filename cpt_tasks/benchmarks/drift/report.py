"""What a report says of `drift`: scores without a system prompt, and how far each adapter is from its base."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.drift.statistics import drift_between, mean_scores, mean_words
from cpt_tasks.report.run import Run, base_of
from cpt_tasks.report.section import Charts, ModelSummaries, Section
from cpt_tasks.report.text import cell
from cpt_tasks.statistics.frame import by_every_rubric

INTRO = (
    "No system prompt: mean score by each rubric, and length. Beside an adapter, its difference from the base on the "
    "same user prompts, in score points and words: what training moved although nothing asked for it. `total_drift` "
    "is the root mean square of the differences over rubrics; it has no interval: read it against `total_by_chance`, "
    "what noise alone would give if the two were one model."
)


def intro(runs: Sequence[Run]) -> str:
    """What the numbers mean."""
    return INTRO


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """`by_rubric` the mean score, `metrics` the mean length; what a comparison adds is in `compare`."""
    rows = by_every_rubric(run.scored)
    return {
        "metrics": {"mean_words": mean_words(rows).to_json()},
        "by_rubric": {rubric: {"score": estimate.to_json()} for rubric, estimate in mean_scores(rows).items()},
        "further_failures": run.judging.further_failure_counts(),
    }


def compare(runs: Sequence[Run], seed: int) -> dict[str, dict[str, Any]]:
    """For each adapter with a base among the runs: `compared_with`, and the differences under `drift`."""
    compared = {}
    for run in runs:
        base = base_of(run, runs)
        if base is None:
            continue
        drift = drift_between(by_every_rubric(base.scored), by_every_rubric(run.scored), seed)
        totals = {"total_drift": drift.total, "total_by_chance": drift.total_by_chance, "words_change": drift.words}
        compared[run.name] = {
            "compared_with": base.name,
            "drift": {
                "n": drift.n,
                "metrics": {name: estimate.to_json() for name, estimate in totals.items()},
                "by_rubric": {rubric: estimate.to_json() for rubric, estimate in drift.shifts.items()},
            },
        }
    return compared


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """Length and total drift by model; scores and differences by rubric."""
    overview, by_rubric = [], []
    for name, part in models.items():
        drift = part.get("drift")
        row = {"model": name, "n": part["n"], "unscored": part["unscored"]}
        row |= {"mean_words": cell(part["metrics"]["mean_words"], 0), "compared with": part.get("compared_with", "")}
        if drift:
            row |= {metric: cell(estimate, 1) for metric, estimate in drift["metrics"].items()}
        failures = ", ".join(f"{what} {count}" for what, count in part["further_failures"].items())
        overview.append(row | {"failed judgments": failures or "none"})
        for rubric, scores in part["by_rubric"].items():
            row = {"model": name, "rubric": rubric, "score": cell(scores["score"], 1)}
            if drift:
                row["difference from base"] = cell(drift["by_rubric"].get(rubric), 1)
            by_rubric.append(row)
    return {
        "Drift": pd.DataFrame(overview).fillna(""),
        "Scores without a system prompt": pd.DataFrame(by_rubric).fillna(""),
    }


def charts(models: ModelSummaries, runs: Sequence[Run]) -> Charts:
    """Mean score by rubric and model, and how far each adapter is from its base."""
    from cpt_tasks.benchmarks.drift import charts as draw

    return draw.charts(models, runs)


SECTION = Section("Drift: no system prompt", intro, summarise, tables, charts, compare=compare)
