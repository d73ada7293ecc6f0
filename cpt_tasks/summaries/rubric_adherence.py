"""What a report says of the main benchmark: its part of summary.json, its tables and its page of Markdown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cpt_tasks.metrics import STATISTICS, Judged, Statistic, clustered_bootstrap
from cpt_tasks.metrics.adherence import band_error, macro_accuracy, mean_score, overshoot, undershoot
from cpt_tasks.runs import ModelRun
from cpt_tasks.summaries import leakage
from cpt_tasks.summaries.estimates import cell, json_estimate
from cpt_tasks.summaries.markdown import image, tables_markdown
from rubrics import ScoreLevel

ADHERENCE = "rubric_adherence"
TABLE_STATISTICS = ("macro_accuracy", "weighted_kappa", "kendall_tau_b", "spearman_rho", "order_accuracy", "gain")
LEVEL_STATISTICS: dict[str, Statistic] = {
    "accuracy": macro_accuracy,
    "mean_score": mean_score,
    "band_error": band_error,
    "overshoot": overshoot,
    "undershoot": undershoot,
}
LEVEL_COLUMNS = ("accuracy", "mean_score", "band_error")


def summarise_adherence(run: ModelRun, n_resamples: int, seed: int) -> dict[str, Any]:
    """A model's own entry of summary.json, beside its names and what other benchmarks say of it."""

    def estimates(rows: list[Judged], statistics: dict[str, Statistic]) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        found = clustered_bootstrap(rows, statistics.values(), rng, n_resamples)
        return {name: json_estimate(estimate) for name, estimate in zip(statistics, found, strict=True)}

    rubrics = sorted({row.rubric for row in run.rows})
    by_rubric = {rubric: [row for row in run.rows if row.rubric == rubric] for rubric in rubrics}
    by_level = {level: [row for row in run.rows if row.level is level] for level in ScoreLevel}
    entry = {
        "n": len(run.rows),
        "unscored": run.unscored.total(),
        "details": run.details,
        "metrics": estimates(run.rows, STATISTICS),
        "by_rubric": {
            rubric: {"n": len(rows), "metrics": estimates(rows, {name: STATISTICS[name] for name in TABLE_STATISTICS})}
            for rubric, rows in by_rubric.items()
        },
        "by_level": {
            level.value: {
                "n": len(rows),
                "unscored": run.unscored[level.value],
                "no_response": run.no_response[level.value],
                "truncated": None if run.truncated is None else run.truncated[level.value],
                "metrics": estimates(rows, LEVEL_STATISTICS),
            }
            for level, rows in by_level.items()
            if rows or run.unscored[level.value]
        },
    }
    return leakage.with_leakage(entry, run, n_resamples, seed)


def table(summary: dict[str, Any]) -> pd.DataFrame:
    """One row per model: n, unscored and the headline statistics as `value [low, high]`."""
    rows = []
    for model in summary["models"]:
        if not model["metrics"]:
            continue
        cells = {name: cell(model["metrics"][name]) for name in TABLE_STATISTICS}
        rows.append({"model": model["name"], "n": model["n"], "unscored": model["unscored"]} | cells)
    return pd.DataFrame(rows)


def level_table(summary: dict[str, Any]) -> pd.DataFrame:
    """One row per model and level: accuracy, mean score and band error, and the counts of what went wrong."""
    rows = []
    for model in summary["models"]:
        for level, found in model["by_level"].items():
            cells = {name: cell(found["metrics"][name]) for name in LEVEL_COLUMNS}
            counts = {name: found[name] for name in ("unscored", "no_response")}
            counts["truncated"] = "not reported" if found["truncated"] is None else found["truncated"]
            rows.append({"model": model["name"], "level": level, "n": found["n"]} | cells | counts)
    return pd.DataFrame(rows)


def rubric_table(summary: dict[str, Any]) -> pd.DataFrame:
    """One row per model and rubric with the headline statistics."""
    rows = []
    for model in summary["models"]:
        for rubric, found in model["by_rubric"].items():
            cells = {name: cell(found["metrics"][name]) for name in TABLE_STATISTICS}
            rows.append({"model": model["name"], "rubric": rubric, "n": found["n"]} | cells)
    return pd.DataFrame(rows)


def adherence_markdown(summary: dict[str, Any], runs: Sequence[ModelRun], out: Path) -> list[str]:
    """The paragraphs of report.md on the benchmark; draws its figures into `out`."""
    from cpt_tasks.figures import draw_figures, save_figure

    figures = draw_figures(runs, out)
    run = summary["run"]
    chance = next(model["metrics"]["chance_accuracy"]["value"] for model in summary["models"] if model["metrics"])
    intro = (
        f"Judge `{run['judge']}` (prompt version {run['prompt_version']}), split `{run['split']}` of the user prompts "
        f"({run['user_prompts']}), `{run['paraphrases']}` wordings of the system prompts. Values with 95% intervals "
        f"from {run['n_resamples']} bootstrap resamples of user prompts, seed {run['seed']}. A model that ignores the "
        f"level reaches at most a macro accuracy of {chance:.2f}."
    )
    parts = ["## Rubric adherence", intro, table(summary).to_markdown(index=False)]
    if noise := noise_lines(runs):
        parts.append("\n".join(f"- {line}" for line in noise))
    parts += ["### By level", level_table(summary).to_markdown(index=False)]
    parts += ["### By rubric", rubric_table(summary).to_markdown(index=False)]
    parts += [image(Path(figure).stem, figure) for figure in figures]
    found = {model["name"]: model for model in summary["models"] if "leakage" in model}
    if found:
        parts += ["### Leakage", leakage.INTRO, *tables_markdown(leakage.leakage_tables(found))]
        parts.append(image("leakage", save_figure(leakage.leakage_figure(found), out, "leakage")))
    return parts


def noise_lines(runs: Sequence[ModelRun]) -> list[str]:
    """What repeats and panels say of the judges, model by model."""
    return [f"{run.name}: {line}" for run in runs for line in run.judging.noise]
