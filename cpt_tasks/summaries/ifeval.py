"""How a report reads a log of IFEval as others wrote it (`inspect_evals/ifeval`): is a tuned model still able?

Only the results in the log are read, its samples are not. The commands that make such a log are in
`cpt_tasks/drift.py`.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from cpt_tasks.metrics.rows import NAN
from cpt_tasks.outside_runs import IFEVAL_HEADLINE
from cpt_tasks.sections import ModelSummaries, Section
from cpt_tasks.summaries.bases import base_of
from cpt_tasks.summaries.estimates import cell, json_estimates
from judges.agreement import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cpt_tasks.runs import ModelRun

# metric in the log -> its standard error there; inspect_evals 0.26
STANDARD_ERRORS = {
    "final_acc": "final_stderr",
    "prompt_strict_acc": "prompt_strict_stderr",
    "prompt_loose_acc": "prompt_loose_stderr",
    "inst_strict_acc": "inst_strict_stderr",
    "inst_loose_acc": "inst_loose_stderr",
}
INTRO = (
    "IFEval (arXiv 2311.07911) as inspect_evals runs it: instructions that a program can check. `final_acc` is the "
    "mean of its four accuracies; intervals are 1.96 standard errors of the log. A fall from the base is damage done "
    "by training. The difference takes the two runs as independent, which overstates its interval, since they share "
    "their prompts."
)


def summarise(run: "ModelRun", n_resamples: int, seed: int) -> dict[str, Any]:
    """`metrics` with intervals of the log's standard errors; nothing is resampled."""
    results = run.details["results"]
    metrics = {
        name: _interval(results[name], results.get(error, NAN))
        for name, error in STANDARD_ERRORS.items()
        if name in results
    }
    return {"n": run.details["n"], "metrics": json_estimates(metrics)}


def compare(runs: "Sequence[ModelRun]", n_resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """For each adapter with a base among the runs: the change of the headline."""
    found = {}
    for run in runs:
        base = base_of(run, runs)
        if base is None:
            continue
        before, after = base.details["results"], run.details["results"]
        error = math.hypot(*(results.get(STANDARD_ERRORS[IFEVAL_HEADLINE], NAN) for results in (before, after)))
        change = _interval(after[IFEVAL_HEADLINE] - before[IFEVAL_HEADLINE], error)
        found[run.name] = {"compared_with": base.name, "drift": {"metrics": json_estimates({IFEVAL_HEADLINE: change})}}
    return found


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """The accuracies by model, and the change of the headline from the base."""
    rows = []
    for name, found in models.items():
        row = {"model": name, "n": found["n"]} | {key: cell(value) for key, value in found["metrics"].items()}
        row["compared with"] = found.get("compared_with", "")
        if "drift" in found:
            row["change"] = cell(found["drift"]["metrics"][IFEVAL_HEADLINE])
        rows.append(row)
    return {"Accuracy": pd.DataFrame(rows).fillna("")}


def figures(models: ModelSummaries) -> "dict[str, Figure]":
    """None: a table says it."""
    return {}


def _interval(value: float, standard_error: float) -> Estimate:
    return Estimate(value, value - 1.96 * standard_error, value + 1.96 * standard_error)


SECTION = Section("Instruction following (IFEval)", INTRO, summarise, tables, figures, compare)
