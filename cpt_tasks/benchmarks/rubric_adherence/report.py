"""What a report says of `rubric_adherence`: its part of summary.json, its tables and charts."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.rubric_adherence import statistics
from cpt_tasks.benchmarks.rubric_adherence.side_effects import INTRO as SIDE_EFFECTS_INTRO
from cpt_tasks.benchmarks.rubric_adherence.side_effects import side_effect_tables, with_side_effects
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import ModelSummaries, Section
from cpt_tasks.report.text import cells, json_of
from cpt_tasks.statistics.table import Statistic, estimates_of
from judges.interval import Estimate
from rubrics import ScoreLevel

NAME = "rubric_adherence"
TABLE_STATISTICS = (
    "macro_accuracy",
    "weighted_kappa",
    "kendall_tau_b",
    "spearman_rho",
    "order_accuracy",
    "calibration_slope",
)
LEVEL_STATISTICS: dict[str, Statistic] = {
    "accuracy": statistics.macro_accuracy,
    "mean_score": statistics.mean_score,
    "band_error": statistics.band_error,
    "overshoot": statistics.overshoot,
    "undershoot": statistics.undershoot,
}
LEVEL_COLUMNS = ("accuracy", "mean_score", "band_error")


def intro(runs: Sequence[Run]) -> str:
    """What was judged, on what, and what chance gives."""
    protocol = runs[0].protocol
    chance = statistics.chance_accuracy(runs[0].asked)
    text = (
        f"Judge `{protocol['judge']}` (prompt version {protocol['prompt_version']}), split `{protocol['split']}` of "
        f"the user prompts ({protocol['user_prompts']}), `{protocol['wording_split']}` wordings of the system prompts. "
        "Values with 95% intervals that take the user prompts as drawn. A model that ignores the level reaches at most "
        f"a macro accuracy of {chance:.2f}."
    )
    return f"{text}\n\n{SIDE_EFFECTS_INTRO}" if any(run.further_rubrics for run in runs) else text


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """`metrics` over everything, the headline ones `by_rubric`, and `by_level` with what went wrong there."""
    rows = run.asked
    headline = {name: STATISTICS[name] for name in TABLE_STATISTICS}
    truncated = run.truncated
    levels = {level.value: rows[rows["level"] == level.value] for level in ScoreLevel}
    entry = {
        "metrics": json_of(estimates_of(rows, STATISTICS))
        | {"worst_wording_accuracy": Estimate(statistics.worst_wording_accuracy(rows)).to_json()},
        "by_rubric": {
            str(rubric): {
                "n": len(part),
                "user_prompts": part["user_prompt_id"].nunique(),
                "metrics": json_of(estimates_of(part, headline)),
            }
            for rubric, part in rows.groupby("rubric")
        },
        "by_level": {
            level: {
                "n": len(part),
                "unscored": run.unscored[level],
                "no_response": run.no_response[level],
                "truncated": None if truncated is None else truncated[level],
                "metrics": json_of(estimates_of(part, LEVEL_STATISTICS)),
            }
            for level, part in levels.items()
            if len(part) or run.unscored[level]
        },
    }
    return with_side_effects(entry, run, seed)


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """The headline statistics by model, by level with the counts of what went wrong, and by rubric."""
    overall, by_level, by_rubric = [], [], []
    for name, part in models.items():
        counts = {"n": part["n"], "unscored": part["unscored"]}
        overall.append({"model": name} | counts | _shown(part["metrics"], TABLE_STATISTICS))
        for level, entry in part["by_level"].items():
            problems = {key: entry[key] for key in ("unscored", "no_response", "truncated")}
            if problems["truncated"] is None:
                problems["truncated"] = "not reported"
            row = {"model": name, "level": level, "n": entry["n"]} | _shown(entry["metrics"], LEVEL_COLUMNS)
            by_level.append(row | problems)
        for rubric, entry in part["by_rubric"].items():
            row = {"model": name, "rubric": rubric, "n": entry["n"]}
            by_rubric.append(row | _shown(entry["metrics"], TABLE_STATISTICS))
    shown = {"Overall": overall, "By level": by_level, "By rubric": by_rubric}
    return {caption: pd.DataFrame(rows) for caption, rows in shown.items()} | side_effect_tables(models)


def _shown(metrics: dict[str, Any], names: Sequence[str]) -> dict[str, str]:
    return cells({name: metrics[name] for name in names})


SECTION = Section("Rubric adherence", intro, summarise, tables, f"{__package__}.charts")
