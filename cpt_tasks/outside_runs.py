"""Reads logs of benchmarks that others wrote and that a report shows beside ours: so far IFEval.

Only the results in such a log are read, its samples are not. The commands that make one are in `drift.py`.
"""

import math
from collections import Counter
from pathlib import Path

from inspect_ai.log import EvalLog

from cpt_tasks.runs import Judging, ModelRun, details_of, shown, task_name

IFEVAL = "ifeval"
IFEVAL_HEADLINE = "final_acc"


def ifeval_run(log: EvalLog) -> ModelRun:
    """The run in a log of `inspect_evals/ifeval`, its results under `details`.

    Raises:
        ValueError: If the headline metric is not in the log.
    """
    name, about = shown(log.eval.model.split("/", 1)[-1]), log.eval.metadata or {}
    n = log.results.completed_samples if log.results else 0
    return ModelRun(
        task=task_name(log),
        name=name,
        base=str(about.get("base", name)),
        adapter=about.get("adapter"),
        prompting="system_prompt",
        protocol={"task": task_name(log), "task_version": str(log.eval.task_version), "n": n},
        samples=[],
        rows=[],
        unscored=Counter(),
        no_response=Counter(),
        truncated=None,
        judging=Judging(Counter(), 0, Counter(), None, []),
        details=details_of(log) | {"n": n, "results": _ifeval_results(log)},
    )


def _ifeval_results(log: EvalLog) -> dict[str, float]:
    """The accuracies and standard errors, by the names they have in the log."""
    found = {
        name: float(metric.value)
        for score in (log.results.scores if log.results else [])
        for name, metric in score.metrics.items()
        if not math.isnan(metric.value)
    }
    if IFEVAL_HEADLINE not in found:
        raise ValueError(
            f"{Path(log.location).name}: no metric {IFEVAL_HEADLINE!r} in it, expected one of inspect_evals/ifeval"
        )
    return found
