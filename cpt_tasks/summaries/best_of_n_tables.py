"""The tables of `best_of_n`."""

from typing import Any

import pandas as pd

from cpt_tasks.metrics.best_of_k import POOLED
from cpt_tasks.sections import ModelSummaries
from cpt_tasks.summaries.estimates import cell


def tables(found: ModelSummaries) -> dict[str, pd.DataFrame]:
    """By caption: the curves, the samples behind them, and what adapters save."""
    result = {
        "Band-hit of the best of k": _curve_table(found, "band_hit"),
        "Score of the best of k": _curve_table(found, "score"),
        "Samples": _samples_table(found),
    }
    saved = _saved_table(found)
    if not saved.empty:
        result["Samples that an adapter needs for what its base reaches with n"] = saved
    return result


def _curve_table(found: ModelSummaries, statistic: str) -> pd.DataFrame:
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for model, summary in found.items():
        for point in summary["curves"]:
            # the levels want different scores, so their mean says nothing
            if not point["statistic"].endswith(statistic) or (statistic, point["level"]) == ("score", POOLED):
                continue
            selected_by = _selection_label(point["statistic"].removesuffix(statistic), summary)
            key = (model, point["level"], selected_by)
            row = rows.setdefault(key, dict(zip(("model", "level", "selected by"), key, strict=True)))
            row[f"k={point['k']}"] = cell(point, digits=2 if statistic == "band_hit" else 1)
    return pd.DataFrame(list(rows.values())).fillna("")


def _selection_label(prefix: str, summary: dict[str, Any]) -> str:
    if prefix == "oracle_" or (not prefix and summary["upper_bound"]):
        return "report's judge (upper bound)"
    return "optimism of that" if prefix == "optimism_" else str(summary["selected_by"])


def _samples_table(found: ModelSummaries) -> pd.DataFrame:
    rows = []
    for model, summary in found.items():
        n, unit = summary["samples_per_cell"], summary["cost_unit"]
        [cost] = [
            point["mean_tokens"]
            for point in summary["curves"]
            if (point["level"], point["k"], point["statistic"]) == (POOLED, 1, "band_hit")
        ]
        left_out = [
            f"{cells['left_out']} at k={cells['k']}"
            for cells in summary["cells"]
            if cells["level"] == POOLED and cells["left_out"]
        ]
        rows.append(
            {
                "model": model,
                "scored": summary["n"],
                "unscored": summary["unscored"],
                "scored but not by the selecting judge": summary["unselected"],
                "cells left out": ", ".join(left_out) or "none",
                "distinct responses per cell": f"{summary['distinct_responses']:.1f} of {n}",
                f"{unit} per response": f"{cost:.0f}",
            }
        )
    return pd.DataFrame(rows).fillna("")


def _saved_table(found: ModelSummaries) -> pd.DataFrame:
    rows = [
        {
            "adapter": model,
            "base": row["base"],
            "level": row["level"],
            "k of the base": row["base_samples"],
            "its band-hit": _goal_cell(row),
            "samples of the adapter": _needed_cell(row["samples"]),
            "ratio": cell(row["ratio"]),
            "cost of the base": f"{row['base_cost']:.0f} {row['cost_unit']}",
            "cost of the adapter": _cost_cell(row),
        }
        for model, summary in found.items()
        for row in summary.get("against", [])
    ]
    return pd.DataFrame(rows)


def _goal_cell(row: dict[str, Any]) -> str:
    if row["goal"] is None:
        return "undefined"
    return f"{row['goal']:.2f} (ceiling)" if row["ceiling"] else f"{row['goal']:.2f}"


def _needed_cell(samples: dict[str, Any]) -> str:
    if samples["value"] is None:
        return "nothing to reach: the base never hits"
    notes = {"at_most": " (fewer than 1 sample)", "at_least": " (not reached)"}
    return cell(samples) + notes.get(samples["censored"].get("value", ""), "")


def _cost_cell(row: dict[str, Any]) -> str:
    if row["cost"] is None:
        return "undefined"
    sign = {"at_most": "<=", "at_least": ">="}.get(row["samples"]["censored"].get("value", ""), "")
    return f"{sign}{row['cost']:.0f} {row['cost_unit']}"
