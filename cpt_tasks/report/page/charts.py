"""What the charts draw: flat rows taken from summary.json. A chart whose rows are missing is not on the page."""

from collections.abc import Iterator, Mapping
from typing import Any

Row = dict[str, Any]
Summary = Mapping[str, Any]
INTERVAL = ("value", "ci_low", "ci_high")
ALL_RUBRICS = "all rubrics"


def chart_rows(summary: Summary) -> dict[str, list[Row]]:
    """Rows by name of the chart, each with the name of its model; charts without rows are left out."""
    found = {
        "levels": list(_levels(summary)),
        "rubrics": list(_rubrics(summary)),
        "best_of_k": list(_best_of_k(summary)),
        "dose": list(_dose(summary)),
        "leakage": list(_leakage(summary)),
        "wordings": list(_wordings(summary)),
        "drift": list(_drift(summary)),
    }
    return {name: rows for name, rows in found.items() if rows}


def _levels(summary: Summary) -> Iterator[Row]:
    for model in summary["models"]:
        for level, found in _part(model)["by_level"].items():
            mean, accuracy = (found["metrics"].get(name) or {} for name in ("mean_score", "accuracy"))
            if mean.get("value") is not None:
                interval = {"mean": mean["value"], "ci_low": mean.get("ci_low"), "ci_high": mean.get("ci_high")}
                yield {"model": model["name"], "level": level, **interval, "accuracy": accuracy.get("value")}


def _rubrics(summary: Summary) -> Iterator[Row]:
    for model in summary["models"]:
        for rubric, found in _part(model)["by_rubric"].items():
            estimate = found["metrics"].get("macro_accuracy") or {}
            if estimate.get("value") is not None:
                yield {"model": model["name"], "rubric": rubric, **_interval(estimate)}


def _best_of_k(summary: Summary) -> Iterator[Row]:
    for model in summary["models"]:
        for row in (model["tasks"].get("best_of_n") or {}).get("curves") or ():
            yield {"model": model["name"], **row}


def _leakage(summary: Summary) -> Iterator[Row]:
    """The matrix of a benchmark's responses stands with that benchmark, `rubric_adherence`'s with the model."""
    for model in summary["models"]:
        for benchmark, part in model["tasks"].items():
            for row in part.get("side_effects") or ():
                yield {"model": model["name"], "benchmark": benchmark, **row}


def _dose(summary: Summary) -> Iterator[Row]:
    for model in summary["models"]:
        found = model["tasks"].get("dose_response") or {}
        for row in found.get("curve") or ():
            yield {"model": model["name"], "rubric": ALL_RUBRICS, **row}
        for rubric, part in (found.get("by_rubric") or {}).items():
            for row in (part.get("curve") if isinstance(part, dict) else part) or ():
                yield {"model": model["name"], "rubric": rubric, **row}


def _wordings(summary: Summary) -> Iterator[Row]:
    """A row per cell and wording."""
    for model in summary["models"]:
        for found in (model["tasks"].get("paraphrase_robustness") or {}).get("cells") or ():
            cell = {key: value for key, value in found.items() if key != "accuracy"}
            for wording, accuracy in found["accuracy"].items():
                yield {"model": model["name"], **cell, "wording": wording, "accuracy": accuracy}


def _drift(summary: Summary) -> Iterator[Row]:
    """Mean scores without a system prompt, and where there is a base the differences from it."""
    for model in summary["models"]:
        found = model["tasks"].get("drift") or {}
        for rubric, part in (found.get("by_rubric") or {}).items():
            yield {"model": model["name"], "rubric": rubric, "statistic": "mean score", **_interval(part["score"])}
        for rubric, estimate in ((found.get("drift") or {}).get("by_rubric") or {}).items():
            yield {"model": model["name"], "rubric": rubric, "statistic": "difference from base", **_interval(estimate)}


def _part(model: Mapping[str, Any]) -> Mapping[str, Any]:
    return model["tasks"].get("rubric_adherence") or {"by_level": {}, "by_rubric": {}}


def _interval(estimate: Mapping[str, Any]) -> Row:
    return {name: estimate.get(name) for name in INTERVAL}
