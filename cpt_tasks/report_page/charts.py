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
        "best_of_k": list(_listed(summary, "curves")),
        "dose": list(_dose(summary)),
        "leakage": list(_listed(summary, "leakage")),
        "wordings": list(_wordings(summary)),
        "drift": list(_drift(summary)),
    }
    return {name: rows for name, rows in found.items() if rows}


def _levels(summary: Summary) -> Iterator[Row]:
    for model in summary["models"]:
        for level, found in model["by_level"].items():
            mean, accuracy = (found["metrics"].get(name) or {} for name in ("mean_score", "accuracy"))
            if mean.get("value") is not None:
                interval = {"mean": mean["value"], "ci_low": mean.get("ci_low"), "ci_high": mean.get("ci_high")}
                yield {"model": model["name"], "level": level, **interval, "accuracy": accuracy.get("value")}


def _rubrics(summary: Summary) -> Iterator[Row]:
    for model in summary["models"]:
        for rubric, found in model["by_rubric"].items():
            estimate = found["metrics"].get("macro_accuracy") or {}
            if estimate.get("value") is not None:
                yield {"model": model["name"], "rubric": rubric, **{name: estimate.get(name) for name in INTERVAL}}


def _listed(summary: Summary, key: str) -> Iterator[Row]:
    """The lists of flat rows that a model's own entry or any of its benchmarks holds under a key."""
    for model in summary["models"]:
        for found in _parts(model):
            rows = found.get(key)
            for row in rows if isinstance(rows, list) else ():
                yield {"model": model["name"], **row}


def _dose(summary: Summary) -> Iterator[Row]:
    for model in summary["models"]:
        found = model["tasks"].get("dose_response") or {}
        for row in found.get("curve") or ():
            yield {"model": model["name"], "rubric": ALL_RUBRICS, **row}
        for rubric, part in (found.get("by_rubric") or {}).items():
            for row in (part.get("curve") if isinstance(part, dict) else part) or ():
                yield {"model": model["name"], "rubric": rubric, **row}


def _wordings(summary: Summary) -> Iterator[Row]:
    for model in summary["models"]:
        found = model["tasks"].get("paraphrase_robustness") or {}
        for row in found.get("cells") or ():
            yield {"model": model["name"], **row}


def _drift(summary: Summary) -> Iterator[Row]:
    for model in summary["models"]:
        found = model["tasks"].get("drift") or {}
        for rubric, part in (found.get("by_rubric") or {}).items():
            estimates = part.get("metrics") or part
            yield from (
                {"model": model["name"], "rubric": rubric, "statistic": name}
                | {key: estimate.get(key) for key in INTERVAL}
                for name, estimate in estimates.items()
                if isinstance(estimate, dict) and estimate.get("value") is not None
            )


def _parts(model: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield model
    yield from model["tasks"].values()
