"""What the template of the page shows: numbers as text, in the order of the page. Nothing here is HTML."""

import inspect
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS, mean_score

Summary = Mapping[str, Any]
HEADLINE = {
    "macro_accuracy": "Accuracy",
    "kendall_tau_b": "Kendall τ-b",
    "spearman_rho": "Spearman ρ",
    "order_accuracy": "Order accuracy",
    "calibration_slope": "Calibration slope",
    "weighted_kappa": "Weighted κ",
}
FACTS = {
    "task": "Benchmark",
    "judge": "Judge",
    "prompt_version": "Judge's prompt version",
    "judge_protocol": "Headline score",
    "judge_repeats": "Judgments per response",
    "split": "User prompts, split",
    "wording_split": "System prompts, wordings",
    "user_prompts": "User prompts",
}


@dataclass(frozen=True)
class Cell:
    """An estimate as the page shows it; `value` is None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def text(self) -> str:
        """The value, to two places."""
        return "undefined" if self.value is None else f"{self.value:.2f}".replace("-", "−")

    @property
    def interval(self) -> str:
        """The 95% interval, "" without one."""
        if self.value is None or self.low is None or self.high is None:
            return ""
        return f"{self.low:.2f} to {self.high:.2f}".replace("-", "−")

    def at(self, name: str) -> str:
        """Where on a line from 0 to 1 the value, low or high end lies, as SVG takes it."""
        number = getattr(self, name)
        return f"{100 * min(1.0, max(0.0, number)):.2f}%"

    @property
    def width(self) -> str:
        """Length of the interval on that line."""
        if self.low is None or self.high is None:
            return "0%"
        return f"{100 * (min(1.0, self.high) - max(0.0, self.low)):.2f}%"


@dataclass(frozen=True)
class LeaderboardRow:
    """One model of the leaderboard; `about` says what it is made of, `attainable` is the judge's ceiling or None."""

    model: str
    about: str
    cells: dict[str, Cell]
    chance: Cell
    attainable: Cell | None
    n: int
    unscored: int


@dataclass(frozen=True)
class Table:
    """A plain table; cells are texts, and numbers stand at the right."""

    caption: str
    columns: list[str]
    rows: list[list[str]]


def cell(estimate: Mapping[str, float | None] | None) -> Cell:
    """An estimate of summary.json, an undefined one for None."""
    found = estimate or {}
    return Cell(found.get("value"), found.get("ci_low"), found.get("ci_high"))


def leaderboard(summary: Summary, attainable: Mapping[str, float]) -> list[LeaderboardRow]:
    """Models that did `rubric_adherence`, the most accurate first; equal ones and undefined ones by name."""
    rows = [
        LeaderboardRow(
            model=model["name"],
            about=_about(model),
            cells={name: cell(part["metrics"].get(name)) for name in HEADLINE},
            chance=cell(part["metrics"].get("chance_accuracy")),
            attainable=Cell(attainable[model["name"]], None, None) if model["name"] in attainable else None,
            n=part["n"],
            unscored=part["unscored"],
        )
        for model in summary["models"]
        if (part := model["tasks"].get("rubric_adherence"))
    ]

    def rank(row: LeaderboardRow) -> tuple[float, str]:
        value = row.cells["macro_accuracy"].value
        return (2.0 if value is None else -value, row.model)

    return sorted(rows, key=rank)


def facts(summary: Summary) -> dict[str, str]:
    """What was run, by caption; what the summary does not say is left out."""
    run = next(iter(summary["tasks"].values()))
    found = {caption: str(run[key]) for key, caption in FACTS.items() if run.get(key) not in (None, "")}
    if run.get("rubrics"):
        found["Rubrics"] = ", ".join(f"{rubric} ({digest})" for rubric, digest in run["rubrics"].items())
    return found


def finding(rows: Sequence[LeaderboardRow]) -> str:
    """The result in one sentence; "" where no accuracy is defined."""
    if not rows or rows[0].cells["macro_accuracy"].value is None:
        return ""
    best, chance = rows[0], rows[0].chance
    accuracy = best.cells["macro_accuracy"]
    interval = f" (95% interval {accuracy.interval})" if accuracy.interval else ""
    versus = "" if chance.value is None else f"; a model that ignores the level gets at most {chance.text}"
    return (
        f"The most accurate is {best.model}: {accuracy.text} of its scores lie in the band asked for{interval}{versus}."
    )


def definitions(summary: Summary) -> dict[str, str]:
    """One line for each statistic that the summary holds and the package defines."""
    statistics = STATISTICS | {"mean_score": mean_score}
    parts = [part for model in summary["models"] for part in model["tasks"].values()]
    used = {name for part in parts for name in part.get("metrics") or ()} | {"mean_score"}
    return {
        name: (inspect.getdoc(statistic) or "").split("\n\n")[0].replace("\n", " ")
        for name, statistic in statistics.items()
        if name in used
    }


def plain_table(caption: str, frame: pd.DataFrame) -> Table:
    """A data frame as the page shows it."""
    rows = [[_text(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    return Table(caption, [str(column).replace("_", " ") for column in frame.columns], rows)


def metrics_table(task: str, summary: Summary) -> Table:
    """Every metric of a benchmark, one model per row; undefined and missing ones are said so."""
    parts = {model["name"]: model["tasks"][task] for model in summary["models"] if task in model["tasks"]}
    names = list(dict.fromkeys(name for part in parts.values() for name in part.get("metrics") or ()))
    rows = []
    for model, part in parts.items():
        found = [cell(part["metrics"].get(name)) if name in part["metrics"] else None for name in names]
        rows.append([model, str(part["n"]), str(part["unscored"]), *(_shown(estimate) for estimate in found)])
    return Table("Numbers", ["model", "n", "unscored", *(name.replace("_", " ") for name in names)], rows)


def commands(summary: Summary) -> list[dict[str, str]]:
    """How each model was run: command, settings and versions, as its log has them."""
    found = []
    for model in summary["models"]:
        for task, part in model["tasks"].items():
            details = part.get("details") or {}
            if details:
                shown = {key.replace("_", " "): _detail(value) for key, value in details.items()}
                found.append({"model": model["name"], "benchmark": task, **shown})
    return found


def _about(model: Mapping[str, Any]) -> str:
    parts = [model["base"]] if model["base"] != model["name"] else []
    if model.get("adapter"):
        parts.append(f"adapter {model['adapter']}")
    if model["prompting"] != "system_prompt":
        parts.append(model["prompting"].replace("_", " "))
    return " · ".join(parts)


def _shown(estimate: Cell | None) -> str:
    if estimate is None:
        return "not measured"
    return f"{estimate.text} ({estimate.interval})" if estimate.interval else estimate.text


def _text(value: object) -> str:
    if isinstance(value, float):
        return "undefined" if value != value else f"{value:.2f}"
    return "" if value is None else str(value)


def _detail(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={shlex.quote(str(item))}" for key, item in value.items())
    return str(value)
