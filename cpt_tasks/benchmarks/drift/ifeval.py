"""What a report says of logs of IFEval as others wrote it (`inspect_evals/ifeval`): is a tuned model still able?

Only the results in the log are read, its samples are not. The commands that make such a log are in `task.py`.
"""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cpt_tasks.report.logs import IFEVAL_HEADLINE
from cpt_tasks.report.run import Run, base_of
from cpt_tasks.report.section import ModelSummaries, Section
from cpt_tasks.report.text import cell
from judges.interval import NAN, Estimate

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


def intro(runs: Sequence[Run]) -> str:
    """What the numbers mean."""
    return INTRO


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """`metrics` with intervals of the log's standard errors; nothing is resampled."""
    results = run.details["results"]
    metrics = {
        name: _interval(results[name], results.get(error, NAN))
        for name, error in STANDARD_ERRORS.items()
        if name in results
    }
    return {"n": run.details["n"], "metrics": {name: estimate.to_json() for name, estimate in metrics.items()}}


def compare(runs: Sequence[Run], seed: int) -> dict[str, dict[str, Any]]:
    """For each adapter with a base among the runs: the change of the headline."""
    compared = {}
    for run in runs:
        base = base_of(run, runs)
        if base is None:
            continue
        before, after = base.details["results"], run.details["results"]
        error = math.hypot(*(results.get(STANDARD_ERRORS[IFEVAL_HEADLINE], NAN) for results in (before, after)))
        change = _interval(after[IFEVAL_HEADLINE] - before[IFEVAL_HEADLINE], error)
        compared[run.name] = {"compared_with": base.name, "drift": {"metrics": {IFEVAL_HEADLINE: change.to_json()}}}
    return compared


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """The accuracies by model, and the change of the headline from the base."""
    rows = []
    for name, part in models.items():
        row = {"model": name, "n": part["n"]} | {key: cell(value) for key, value in part["metrics"].items()}
        row["compared with"] = part.get("compared_with", "")
        if "drift" in part:
            row["change"] = cell(part["drift"]["metrics"][IFEVAL_HEADLINE])
        rows.append(row)
    return {"Accuracy": pd.DataFrame(rows).fillna("")}


def _interval(value: float, standard_error: float) -> Estimate:
    return Estimate(value, value - 1.96 * standard_error, value + 1.96 * standard_error)


SECTION = Section(
    "Instruction following (IFEval)", intro, summarise, tables, charts=lambda models, runs: {}, compare=compare
)
