"""What a report says of `drift`: scores without a system prompt, and how far each adapter is from its base.

And of logs of IFEval as others wrote it (`inspect_evals/ifeval`): is a tuned model still able? Only the results in the
log are read, its samples are not. The commands that make such a log are in `task.py`.
"""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.drift.statistics import drift_between, mean_scores, mean_words
from cpt_tasks.report.logs import IFEVAL_HEADLINE
from cpt_tasks.report.run import Run, with_bases
from cpt_tasks.report.section import ModelSummaries, Section
from cpt_tasks.report.text import cell, cells, counted, json_of
from cpt_tasks.statistics.frame import by_every_rubric
from judges.interval import NAN, Estimate

INTRO = (
    "No system prompt: mean score by each rubric, and length. Beside an adapter, its difference from the base on the "
    "same user prompts, in score points and words: what training moved although nothing asked for it. `total_drift` "
    "is the root mean square of the differences over rubrics; it has no interval: read it against `total_by_chance`, "
    "what noise alone would give if the two were one model."
)


# metric in the log -> its standard error there; inspect_evals 0.26
STANDARD_ERRORS = {
    "final_acc": "final_stderr",
    "prompt_strict_acc": "prompt_strict_stderr",
    "prompt_loose_acc": "prompt_loose_stderr",
    "inst_strict_acc": "inst_strict_stderr",
    "inst_loose_acc": "inst_loose_stderr",
}
IFEVAL_INTRO = (
    "IFEval (arXiv 2311.07911) as inspect_evals runs it: instructions that a program can check. `final_acc` is the "
    "mean of its four accuracies; intervals are 1.96 standard errors of the log. A fall from the base is damage done "
    "by training. The difference takes the two runs as independent, which overstates its interval, since they share "
    "their prompts."
)


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """`by_rubric` the mean score, `metrics` the mean length; what a comparison adds is in `compare`."""
    rows = by_every_rubric(run.scored)
    return {
        "metrics": {"mean_words": mean_words(rows).to_json()},
        "by_rubric": {rubric: {"score": estimate.to_json()} for rubric, estimate in mean_scores(rows).items()},
        "further_failures": run.judging.further_failures,
    }


def compare(runs: Sequence[Run], seed: int) -> dict[str, dict[str, Any]]:
    """For each adapter with a base among the runs: `compared_with`, and the differences under `drift`."""
    compared = {}
    for run, base in with_bases(runs):
        drift = drift_between(by_every_rubric(base.scored), by_every_rubric(run.scored), seed)
        totals = {"total_drift": drift.total, "total_by_chance": drift.total_by_chance, "words_change": drift.words}
        compared[run.name] = {
            "compared_with": base.name,
            "drift": {
                "n": drift.n,
                "metrics": json_of(totals),
                "by_rubric": json_of(drift.shifts),
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
            row |= cells(drift["metrics"], 1)
        overview.append(row | {"failed judgments": counted(part["further_failures"])})
        for rubric, scores in part["by_rubric"].items():
            row = {"model": name, "rubric": rubric, "score": cell(scores["score"], 1)}
            if drift:
                row["difference from base"] = cell(drift["by_rubric"].get(rubric), 1)
            by_rubric.append(row)
    return {
        "Drift": pd.DataFrame(overview).fillna(""),
        "Scores without a system prompt": pd.DataFrame(by_rubric).fillna(""),
    }


def summarise_ifeval(run: Run, seed: int) -> dict[str, Any]:
    """`metrics` with intervals of the log's standard errors; nothing is resampled."""
    results = run.details["results"]
    known = {name: error for name, error in STANDARD_ERRORS.items() if name in results}
    metrics = {name: _interval(results[name], results.get(error, NAN)) for name, error in known.items()}
    return {"n": run.details["n"], "metrics": json_of(metrics)}


def compare_ifeval(runs: Sequence[Run], seed: int) -> dict[str, dict[str, Any]]:
    """For each adapter with a base among the runs: the change of the headline."""
    compared = {}
    for run, base in with_bases(runs):
        before, after = base.details["results"], run.details["results"]
        error = math.hypot(*(results.get(STANDARD_ERRORS[IFEVAL_HEADLINE], NAN) for results in (before, after)))
        change = _interval(after[IFEVAL_HEADLINE] - before[IFEVAL_HEADLINE], error)
        compared[run.name] = {"compared_with": base.name, "drift": {"metrics": {IFEVAL_HEADLINE: change.to_json()}}}
    return compared


def tables_ifeval(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """The accuracies by model, and the change of the headline from the base."""
    rows = []
    for name, part in models.items():
        row = {"model": name, "n": part["n"]} | cells(part["metrics"])
        row["compared with"] = part.get("compared_with", "")
        if "drift" in part:
            row["change"] = cell(part["drift"]["metrics"][IFEVAL_HEADLINE])
        rows.append(row)
    return {"Accuracy": pd.DataFrame(rows).fillna("")}


def _interval(value: float, standard_error: float) -> Estimate:
    return Estimate(value, value - 1.96 * standard_error, value + 1.96 * standard_error)


SECTION = Section(
    "Drift: no system prompt", INTRO, summarise, tables, "cpt_tasks.benchmarks.drift.charts", compare=compare
)
IFEVAL_SECTION = Section(
    "Instruction following (IFEval)", IFEVAL_INTRO, summarise_ifeval, tables_ifeval, compare=compare_ifeval
)
