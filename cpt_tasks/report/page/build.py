"""Puts the page together: template, style, scripts, data blocks, and the policy that lets only these run."""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import cpt_tasks.report.page.view as view
from cpt_tasks.report.page.blobs import blob, safe_json
from cpt_tasks.report.page.budget import choose_texts
from cpt_tasks.report.page.samples import Samples, columns, level_order, samples_of
from cpt_tasks.report.run import Run
from judges.reliability import noise_values
from rubrics import ScoreLevel
from rubrics.files import write_whole

PAGE = "report.html"
TEXT_BUDGET = 20_000_000  # bytes of texts, under 13 MB gzipped in base64: with scripts and scores well under 20 MB
SCRIPTS = ("data.js", "tables.js", "charts.js", "samples.js", "main.js")


def write_page(
    summary: Mapping[str, Any],
    runs: Sequence[Run],
    sections: Sequence[view.SectionView],
    judging: pd.DataFrame,
    out: Path,
) -> None:
    """Writes report.html into the folder `out`, from summary.json's content and the runs it was made from.

    `judging` says what the judge did, by model.
    """
    noise = {run.name: noise_values(record.judgment for record in run.frame["record"].dropna()) for run in runs}
    attainable = {name: part["attainable_accuracy"] for name, part in noise.items() if "attainable_accuracy" in part}
    tables = {} if judging.empty else {"What the judge did": judging}
    # a run of a benchmark that others wrote has results only
    samples = [samples_of(run) for run in runs if len(run.frame)]
    write_whole(out / PAGE, build_page(summary, samples, attainable, sections, tables))


def build_page(
    summary: Mapping[str, Any],
    samples: Sequence[Samples],
    attainable: Mapping[str, float],
    sections: Sequence[view.SectionView] = (),
    tables: Mapping[str, pd.DataFrame] = MappingProxyType({}),
    budget: int = TEXT_BUDGET,
) -> str:
    """The page as text.

    Args:
        summary: Content of summary.json.
        samples: Samples of each model and benchmark, in the order of the page.
        attainable: By model, the accuracy that a perfect student could get from a judge this noisy, where known.
        sections: What the page says of each benchmark.
        tables: What the judge did, by caption.
        budget: Bytes that sample texts may take, before compression.
    """
    style, vega = _asset("page.css"), vega_bundle()
    script = '(() => {\n"use strict";\n' + "\n".join(_asset(name) for name in SCRIPTS) + "\n})();"
    rows = view.leaderboard(summary, attainable)
    chosen = choose_texts([part.frame for part in samples], budget)
    charts = {name: spec for section in sections for name, spec in section.charts.items()}
    bands = {level.value: level.band for level in ScoreLevel}
    # what the page knows of a run before it opens its blob
    listed = [
        {"task": part.task, "model": part.model, "rubrics": part.rubrics, "levels": level_order(part.frame["level"])}
        for part in samples
    ]
    index = {"runs": listed, "charts": charts, "levels": bands}
    data = zip(samples, chosen, strict=True)
    context = {
        "policy": _policy([vega, script], style),
        "style": Markup(style),
        "vega": Markup(vega),
        "script": Markup(script),
        "index": Markup(safe_json(index)),
        "blobs": [Markup(blob(columns(part.frame, kept))) for part, kept in data],
        "rows": rows,
        "columns": view.HEADLINE,
        "facts": view.facts(summary),
        "finding": view.finding(rows),
        "definitions": view.definitions(summary),
        "tables": tables,
        "sections": sections,
        "commands": view.commands(summary),
        "versions": summary["versions"],
        "models": [model["name"] for model in summary["models"]],
        "n_responses": sum(len(part.frame) for part in samples),
        "n_texts": sum(map(len, chosen)),
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


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cpt_tasks.report.page", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "code": _code,
        "parts": view.number_and_interval,
        "percent": _percent,
        "shown": view.text_of,
    }
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


def _percent(share: float) -> str:
    """Where on a line from 0 to 1 a number lies, as SVG takes it."""
    return f"{100 * min(1.0, max(0.0, share)):.2f}%"


def _code(text: str) -> Markup:
    """Text with what stands between backticks set as code; all of it escaped."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts))
