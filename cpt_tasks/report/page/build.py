"""Puts the page together: template, style, scripts, data blocks, and the policy that lets only these run."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from cpt_tasks.report.page import view
from cpt_tasks.report.page.blobs import blob, safe_json, score_columns, text_columns
from cpt_tasks.report.page.budget import choose_texts
from cpt_tasks.report.page.charts import chart_rows
from cpt_tasks.report.page.libraries import vega_bundle
from cpt_tasks.report.page.records import RunRecords, level_order, records_of
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import Section
from judges import JudgeFailureRecord, Judgment
from judges.reliability import noise_values
from rubrics import ScoreLevel

PAGE = "report.html"
TEXT_BUDGET = 9_000_000  # bytes gzipped, 12 MB in base64: with scripts and scores well under 20 MB
SCRIPTS = ("data.js", "tables.js", "charts.js", "specs.js", "samples.js", "main.js")
ADHERENCE = "rubric_adherence"


def write_page(
    summary: Mapping[str, Any],
    runs: Sequence[Run],
    sections: Mapping[str, Section],
    judging: pd.DataFrame,
    out: Path,
) -> Path:
    """Writes report.html into `out` and returns its path.

    Args:
        summary: Content of summary.json.
        runs: The runs it was made from.
        sections: What a report says of each benchmark.
        judging: What the judge did, by model.
        out: Folder, which exists.

    Raises:
        ValueError: If the extra `report` is not installed.
    """
    noise = {run.name: noise_values(_judgments(run)) for run in runs}
    attainable = {name: found["attainable_accuracy"] for name, found in noise.items() if "attainable_accuracy" in found}
    tables = [] if judging.empty else [view.plain_table("What the judge did", judging)]
    # a run of a benchmark that others wrote has results only
    records = [records_of(run) for run in runs if len(run.frame)]
    page = build_page(summary, records, attainable, _sections(summary, runs, sections), tables)
    path = out / PAGE
    path.write_text(page, encoding="utf-8")
    return path


def build_page(
    summary: Mapping[str, Any],
    runs: Sequence[RunRecords],
    attainable: Mapping[str, float],
    sections: Sequence[Mapping[str, Any]] = (),
    tables: Sequence[view.Table] = (),
    budget: int = TEXT_BUDGET,
) -> str:
    """The page as text.

    Args:
        summary: Content of summary.json.
        runs: Records of each model and benchmark, in the order of the page.
        attainable: By model, the accuracy that a perfect student could get from a judge this noisy, where known.
        sections: Title, intro and tables of each benchmark.
        tables: What the judge did.
        budget: Bytes that sample texts may take, gzipped.
    """
    style, script = _asset("page.css"), _script()
    vega = vega_bundle()
    rows = view.leaderboard(summary, attainable)
    blobs, listed = _data(runs, budget)
    charts = chart_rows(summary)
    index = {"runs": listed, "charts": charts, "levels": {level.value: level.band for level in ScoreLevel}}
    context = {
        "policy": _policy([vega, script], style),
        "style": Markup(style),
        "vega": Markup(vega),
        "script": Markup(script),
        "index": Markup(safe_json(index)),
        "blobs": blobs,
        "charts": charts,
        "rows": rows,
        "columns": view.HEADLINE,
        "facts": view.facts(summary),
        "finding": view.finding(rows),
        "definitions": view.definitions(summary),
        "tables": tables,
        "sections": sections,
        "commands": view.commands(summary),
        "versions": summary["versions"],
        "seed": summary["seed"],
        "models": [model["name"] for model in summary["models"]],
        "n_responses": sum(len(run.records) for run in runs),
        "n_texts": sum(run["kept"] for run in listed),
        "package_version": version("cpt-tasks"),
        "licences": _asset("LICENCES.txt"),
    }
    return _environment().get_template("page.html.j2").render(context)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cpt_tasks.report.page", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    return environment


def _data(runs: Sequence[RunRecords], budget: int) -> tuple[dict[str, Markup], list[dict[str, Any]]]:
    """The blobs by the id of their element, and what the page knows of each run before it opens one."""
    blobs, listed = {}, []
    for number, (run, kept) in enumerate(zip(runs, choose_texts(runs, budget), strict=True)):
        blobs[f"scores-{number}"] = Markup(blob(score_columns(run, kept)))
        blobs[f"texts-{number}"] = Markup(blob(text_columns(run, kept)))
        listed.append(
            {
                "task": run.task,
                "model": run.model,
                "n": len(run.records),
                "kept": len(kept),
                "rubrics": list(dict.fromkeys(record.rubric for record in run.records)),
                "levels": level_order(record.level for record in run.records),
            }
        )
    return blobs, listed


def _sections(summary: Mapping[str, Any], runs: Sequence[Run], sections: Mapping[str, Section]) -> list[dict[str, Any]]:
    entries = []
    for task in summary["tasks"]:
        section = sections[task]
        parts = {model["name"]: model["tasks"][task] for model in summary["models"] if task in model["tasks"]}
        tables = [view.plain_table(caption, rows) for caption, rows in section.tables(parts).items()]
        intro = section.intro([run for run in runs if run.task == task])
        entries.append({"task": task, "title": section.title, "intro": intro, "tables": tables})
    return entries


def _judgments(run: Run) -> list[Judgment | JudgeFailureRecord]:
    return [record.judgment for record in run.frame["record"].dropna()] if len(run.frame) else []


def _script() -> str:
    return '(() => {\n"use strict";\n' + "\n".join(_asset(name) for name in SCRIPTS) + "\n})();"


def _policy(scripts: Sequence[str], style: str) -> str:
    """Only the page's own scripts and style run: nothing is fetched, sent, framed or evaluated."""
    allowed = " ".join(_hash(script) for script in scripts)
    return f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return files("cpt_tasks.report.page").joinpath("assets", name).read_text(encoding="utf-8")


def _code(text: str) -> Markup:
    """Text with what stands between backticks set as code; all of it escaped."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts))
