"""What the template of the page shows: numbers as text, in the order of the page. Nothing here is HTML."""

import inspect
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS, mean_score
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import Charts, ModelSummaries, Section
from cpt_tasks.report.text import models_note
from judges.interval import NAN, Estimate

Summary = Mapping[str, Any]
ADHERENCE = "rubric_adherence"
UNDEFINED = Estimate(NAN).to_json()
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
class LeaderboardRow:
    """One model of the leaderboard; `about` says what it is made of, `attainable` is the judge's ceiling or nan."""

    model: str
    about: str
    cells: dict[str, Estimate]
    chance: float
    attainable: float
    n: int
    unscored: int


@dataclass(frozen=True)
class SectionView:
    """What the page says of one benchmark.

    Attributes:
        task: Name of the benchmark.
        title: Heading.
        intro: What the numbers mean, as paragraphs parted by an empty line.
        note: What must be said of its intervals, or "".
        charts: Vega-Lite specifications by name, with title and note in `usermeta`.
        tables: Its tables by caption, the most telling one first.
    """

    task: str
    title: str
    intro: str
    note: str
    charts: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]


def section_view(
    task: str, section: Section, models: ModelSummaries, runs: Sequence[Run], charts: Charts
) -> SectionView:
    """A section of the report as the page shows it."""
    if charts:
        from cpt_tasks.report.figures import page_spec
    specs = {name: page_spec(chart) for name, chart in charts.items()}
    return SectionView(task, section.title, section.intro_of(runs), models_note(models), specs, section.tables(models))


def leaderboard(summary: Summary, attainable: Mapping[str, float]) -> list[LeaderboardRow]:
    """Models that did `rubric_adherence`, the most accurate first; equal ones and undefined ones by name."""
    rows = [
        LeaderboardRow(
            model=model["name"],
            about=_about(model),
            cells={name: Estimate.from_json(part["metrics"].get(name, UNDEFINED)) for name in HEADLINE},
            chance=Estimate.from_json(part["metrics"].get("chance_accuracy", UNDEFINED)).value,
            attainable=attainable.get(model["name"], NAN),
            n=part["n"],
            unscored=part["unscored"],
        )
        for model in summary["models"]
        if (part := model["tasks"].get(ADHERENCE))
    ]

    def rank(row: LeaderboardRow) -> tuple[float, str]:
        accuracy = row.cells["macro_accuracy"].value
        return (math.inf if math.isnan(accuracy) else -accuracy, row.model)

    return sorted(rows, key=rank)


def facts(summary: Summary) -> dict[str, str]:
    """What was run, by caption; what the summary does not say is left out."""
    protocol = next(iter(summary["tasks"].values()))
    shown = {caption: str(protocol[key]) for key, caption in FACTS.items() if protocol.get(key) not in (None, "")}
    if protocol.get("rubrics"):
        shown["Rubrics"] = ", ".join(f"{rubric} ({digest})" for rubric, digest in protocol["rubrics"].items())
    return shown


def finding(rows: Sequence[LeaderboardRow]) -> str:
    """The result in one sentence; "" where no accuracy is defined."""
    if not rows or math.isnan(rows[0].cells["macro_accuracy"].value):
        return ""
    best = rows[0]
    value, interval = number_and_interval(best.cells["macro_accuracy"])
    interval = f" (95% interval {interval})" if interval else ""
    chance = "" if math.isnan(best.chance) else f"; a model that ignores the level gets at most {best.chance:.2f}"
    return f"The most accurate is {best.model}: {value} of its scores lie in the band asked for{interval}{chance}."


def number_and_interval(estimate: Estimate) -> tuple[str, str]:
    """`0.33` and `[0.31, 0.35]`, "" without an interval; with true minus signs."""
    value, _, interval = estimate.text().replace("-", "−").partition(" ")
    return value, interval


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


def commands(summary: Summary) -> list[dict[str, str]]:
    """How each model was run: command, settings and versions, as its log has them."""
    return [
        {"model": model["name"], "benchmark": task}
        | {key.replace("_", " "): _detail(value) for key, value in part["details"].items()}
        for model in summary["models"]
        for task, part in model["tasks"].items()
        if part.get("details")
    ]


def _about(model: Mapping[str, Any]) -> str:
    parts = [model["base"]] if model["base"] != model["name"] else []
    if model.get("adapter"):
        parts.append(f"adapter {model['adapter']}")
    if model["prompting"] != "system_prompt":
        parts.append(model["prompting"].replace("_", " "))
    return " · ".join(parts)


def text_of(value: object) -> str:
    """A value of a table as the page writes it."""
    if isinstance(value, float):
        return "undefined" if math.isnan(value) else f"{value:.2f}"
    return "" if value is None else str(value)


def _detail(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={shlex.quote(str(item))}" for key, item in value.items())
    return str(value)
