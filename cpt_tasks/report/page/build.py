"""Puts the page together: what it says, as text; data blocks; and the policy that lets only its own scripts run."""

import base64
import hashlib
import inspect
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS, mean_score
from cpt_tasks.report.page.samples import blob, columns, kept_texts, level_order, safe_json, samples_of
from cpt_tasks.report.run import Run, with_judge
from judges.interval import Estimate
from rubrics import ScoreLevel

Summary = Mapping[str, Any]
PAGE = "report.html"
MOST_TEXTS = 12_000  # responses in full, shared out among the runs: with their judgments some 8 MB of page
SCRIPTS = ("data.js", "tables.js", "charts.js", "samples.js", "main.js")
ADHERENCE = "rubric_adherence"
HEADLINE = {
    "macro_accuracy": "Accuracy",
    "somers_d": "Order",
    "band_error": "Calibration, points",
    "kendall_tau_b": "Kendall τ-b",
    "spearman_rho": "Spearman ρ",
    "calibration_slope": "Calibration slope",
}
FACTS = {
    "task": "Benchmark",
    "judge": "Judge",
    "prompt_version": "Judge's version",
    "judge_protocol": "Headline score",
    "judge_repeats": "Judgments per response",
    "split": "User prompts, split",
    "wording_split": "System prompts, wordings",
    "user_prompts": "User prompts",
}


@dataclass(frozen=True)
class SectionView:
    """What the page says of one benchmark.

    Attributes:
        intro: What the numbers mean, as paragraphs parted by an empty line.
        title: Heading, with the judge where the page has several of the benchmark.
        notes: What must be said of its intervals and runs.
        charts: Vega-Lite specifications by name, with title and note in `usermeta`.
    """

    task: str
    title: str
    intro: str
    notes: Sequence[str]
    charts: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Part:
    """What was judged alike, of each benchmark by one judge: the content of its summary.json, its runs and sections."""

    summary: Summary
    runs: Sequence[Run]
    sections: Sequence[SectionView] = ()


def build_page(parts: Sequence[Part], judging: pd.DataFrame | None = None, most_texts: int = MOST_TEXTS) -> str:
    """The page as text; parts do not share tables or charts, the first one leads.

    `judging` says what the judges did, by model; `most_texts` responses at most stand there in full.
    """
    style, vega = _asset("page.css"), vega_bundle()
    script = '(() => {\n"use strict";\n' + "\n".join(_asset(name) for name in SCRIPTS) + "\n})();"
    runs = [run for part in parts for run in part.runs]
    samples = [samples_of(run) for run in runs]
    kept = [kept_texts(rows, most_texts // len(samples)) for rows in samples]
    # what the page knows of a run before it opens its blob
    listed = [
        {"task": with_judge(run.task, run, runs), "model": run.name, "rubrics": list(rows["rubric"].unique())}
        | {"levels": level_order(rows["level"])}
        for run, rows in zip(runs, samples, strict=True)
    ]
    charts = {name: spec for part in parts for section in part.sections for name, spec in section.charts.items()}
    index = {"runs": listed, "charts": charts, "levels": {level.value: level.band for level in ScoreLevel}}
    context = {
        "policy": _policy([vega, script], style),
        "style": Markup(style),
        "vega": Markup(vega),
        "script": Markup(script),
        "index": Markup(safe_json(index)),
        "blobs": [Markup(blob(columns(*part))) for part in zip(samples, kept, strict=True)],
        "parts": [_shown_part(number, part, runs) for number, part in enumerate(parts, 1)],
        "versions": parts[0].summary.get("versions", {}),
        "columns": HEADLINE,
        "definitions": _definitions(parts),
        "tables": {} if judging is None or judging.empty else {"What the judge did": judging},
        "n_responses": sum(map(len, samples)),
        "n_texts": sum(map(len, kept)),
        "package_version": version("cpt-tasks"),
        "licences": _asset("LICENCES.txt"),
    }
    return _environment().get_template("page.html.j2").render(context)


def vega_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that defines `vegaEmbed`, from vl-convert-python."""
    import vl_convert

    bundle = str(vl_convert.javascript_bundle())  # type: ignore[call-arg]  # its stub forgets the default
    # a script ends at the first such letters, even inside a string of it
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _shown_part(number: int, part: Part, runs: Sequence[Run]) -> dict[str, Any]:
    """A part as the template takes it; `suffix` tells its ids from those of other parts, of all `runs`."""
    adherence = [run for run in part.runs if run.task == ADHERENCE]
    return {
        "suffix": f"-{number}" if number > 1 else "",
        "title": with_judge("Leaderboard", adherence[0], runs) if adherence else "",
        "task": with_judge(ADHERENCE, adherence[0], runs) if adherence else "",
        "models": part.summary["models"],
        "n_responses": sum(len(run.scored) for run in part.runs),
        "rows": _leaderboard(part.summary, part.runs),
        "facts": _facts(part.summary),
        "sections": part.sections,
    }


def _leaderboard(summary: Summary, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Models that did `rubric_adherence`, the most accurate first; equal ones and undefined ones by name."""
    attainable = {run.name: run.judging.attainable_accuracy for run in runs if run.task == ADHERENCE}
    rows = []
    for model in summary["models"]:
        if part := model["tasks"].get(ADHERENCE):
            cells = {name: Estimate.from_json(metric) for name, metric in part["metrics"].items()}
            row = {"model": model["name"], "cells": cells, "n": part["n"], "unscored": part["unscored"]}
            rows.append(row | {"about": _about(model), "attainable": attainable[model["name"]]})

    def rank(row: dict[str, Any]) -> tuple[float, str]:
        accuracy = row["cells"]["macro_accuracy"].value
        return (math.inf if math.isnan(accuracy) else -accuracy, row["model"])

    return sorted(rows, key=rank)


def _about(model: Mapping[str, Any]) -> str:
    """What a model of the leaderboard is made of, as far as its name does not say it."""
    base = model["base"] if model["base"] != model["name"] else ""
    adapter = f"adapter {model['adapter']}" if model["adapter"] else ""
    prompting = model["prompting"].replace("_", " ") if model["prompting"] != "system_prompt" else ""
    provenance = model["tasks"][ADHERENCE]["details"].get("provenance")
    return " · ".join(part for part in (base, adapter, prompting, provenance) if part)


def _facts(summary: Summary) -> dict[str, str]:
    """What was run, by caption; what the summary does not say is left out."""
    protocol = next(iter(summary["tasks"].values()))
    shown = {caption: str(protocol[key]) for key, caption in FACTS.items() if protocol.get(key) not in (None, "")}
    if protocol.get("rubrics"):
        shown["Rubrics"] = ", ".join(f"{rubric} ({digest})" for rubric, digest in protocol["rubrics"].items())
    return shown


def _definitions(parts: Sequence[Part]) -> dict[str, str]:
    """One line for each statistic that a summary holds and the package defines."""
    statistics = STATISTICS | {"mean_score": mean_score}
    entries = [entry for part in parts for model in part.summary["models"] for entry in model["tasks"].values()]
    used = {name for entry in entries for name in entry.get("metrics") or ()} | {"mean_score"}
    return {
        name: (inspect.getdoc(statistic.function) or "").split("\n\n")[0].replace("\n", " ")
        for name, statistic in statistics.items()
        if name in used
    }


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cpt_tasks.report.page", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"code": _code, "parts": _number_and_interval, "percent": _percent, "shown": _text_of}
    environment.tests["undefined_number"] = math.isnan
    return environment


def _policy(scripts: Sequence[str], style: str) -> str:
    """Only the page's own scripts and style run: nothing is fetched, sent, framed or evaluated."""
    allowed = " ".join(_hash(script) for script in scripts)
    return f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return files("cpt_tasks.report.page").joinpath("assets", name).read_text(encoding="utf-8")


def _number_and_interval(estimate: Estimate) -> tuple[str, str]:
    """`0.33` and `[0.31, 0.35]`, "" without an interval; with true minus signs."""
    value, _, interval = estimate.text().replace("-", "−").partition(" ")
    return value, interval


def _percent(share: float) -> str:
    """Where on a line from 0 to 1 a number lies, as SVG takes it."""
    return f"{100 * min(1.0, max(0.0, share)):.2f}%"


def _text_of(value: object) -> str:
    """A value of a table, or of what a log says of its making, as the page writes it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={shlex.quote(str(item))}" for key, item in value.items())
    if isinstance(value, float):
        return "undefined" if math.isnan(value) else f"{value:.2f}"
    return "" if value is None else str(value)


def _code(text: str) -> Markup:
    """Text with what stands between backticks set as code; all of it escaped."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts))
