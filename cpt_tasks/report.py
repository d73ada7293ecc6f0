"""Recomputes everything a report carries from eval logs: tables, summary.json, figures and the page.

    cpt report logs/base logs/tuned --out results/mine

Everything is taken from the logs. Logs judged by different judges or prompt versions, or of different rubrics, splits
or grids, are refused.
"""

import json
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pandas as pd

from cpt_tasks import report_page
from cpt_tasks.runs import ModelRun, check_comparable, find_logs, read_run, shown
from cpt_tasks.sections import Section, sections
from cpt_tasks.summaries.markdown import image, tables_markdown
from cpt_tasks.summaries.rubric_adherence import ADHERENCE, adherence_markdown, noise_lines, summarise_adherence, table
from rubrics import ScoreLevel


def summarise(runs: Sequence[ModelRun], n_resamples: int, seed: int) -> dict[str, Any]:
    """The content of summary.json; every estimate is `{value, ci_low, ci_high}`, None where it is undefined.

    Models stand in the order of their first run. What `rubric_adherence` says of a model stands in its entry, what
    other benchmarks say under its `tasks`.
    """
    protocols = {run.task: run.protocol for run in reversed(runs)}
    main_task = ADHERENCE if ADHERENCE in protocols else runs[0].task
    names = list(dict.fromkeys(run.name for run in runs))
    models = [_summarise_model([run for run in runs if run.name == name], n_resamples, seed) for name in names]
    for task, section in sections().items():
        if section.compare and task in protocols:
            compared = section.compare([run for run in runs if run.task == task], n_resamples, seed)
            for model in models:
                model["tasks"].get(task, {}).update(compared.get(model["name"], {}))
    return {
        "run": protocols[main_task]
        | {
            "seed": seed,
            "n_resamples": n_resamples,
            "commit": sorted({run.details["commit"] for run in runs}),
            "versions": {name: version(name) for name in ("cpt-tasks", "inspect-ai", "scipy", "numpy")},
        },
        "tasks": protocols,
        "models": models,
    }


def judging_table(runs: Sequence[ModelRun]) -> pd.DataFrame:
    """One row per model that a model judged: replies, unscored by failure mode and level, tokens, cost; else empty."""
    rows = []
    for run in runs:
        judging = run.judging
        if not judging.attempts:
            continue
        failures = ", ".join(f"{mode} at {level} {count}" for (mode, level), count in sorted(judging.failures.items()))
        tokens = {kind: judging.usage[f"{kind}_tokens"] for kind in ("input", "output")}
        tokens |= {f"cache_{kind}": judging.usage[f"input_tokens_cache_{kind}"] for kind in ("read", "write")}
        cost = "price unknown" if judging.cost_usd is None else f"{judging.cost_usd:.2f}"
        row = {"model": run.name, "replies": judging.attempts, "unscored": failures or "none"}
        if judging.further_failures:
            row["further judgments failed"] = _further_failures(run)
        rows.append(row | tokens | {"USD": cost})
    return pd.DataFrame(rows)


def write_report(runs: Sequence[ModelRun], out: Path, n_resamples: int = 1000, seed: int = 0) -> str:
    """Writes summary.json, report.md, report.html, table.csv and figures; returns the main table as Markdown.

    Without `rubric_adherence` there is no table.csv, and the first table of each benchmark is returned.
    """
    for task in {run.task for run in runs}:
        check_comparable([run for run in runs if run.task == task])
    out.mkdir(parents=True, exist_ok=True)
    summary = summarise(runs, n_resamples, seed)
    adherence = [run for run in runs if run.task == ADHERENCE]
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    if adherence:
        table(summary).to_csv(out / "table.csv", index=False)
    parts = ["# Report", *(adherence_markdown(summary, adherence, out) if adherence else [])]
    parts += [_section_markdown(task, summary, out) for task in sections() if task in summary["tasks"]]
    judging = judging_table(runs)
    if not judging.empty:
        parts += ["## Judging", judging.to_markdown(index=False)]
    (out / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    _write_page(summary, runs, out)
    unscored = [f"{run.name}: unscored {_by_level(run.unscored)}" for run in runs if run.unscored]
    failed = [run for run in runs if run.judging.further_failures]
    unscored += [f"{run.name}: judgments by further rubrics that failed: {_further_failures(run)}" for run in failed]
    return "\n".join([_first_tables(summary, bool(adherence)), *unscored, *noise_lines(runs)])


def _first_tables(summary: dict[str, Any], has_adherence: bool) -> str:
    """The main table, or without `rubric_adherence` the first table of each benchmark."""
    if has_adherence:
        return str(table(summary).to_markdown(index=False))
    first = []
    for task, section in sections().items():
        found = {model["name"]: model["tasks"][task] for model in summary["models"] if task in model["tasks"]}
        if found:
            first += tables_markdown(dict(list(section.tables(found).items())[:1]))
    return "\n\n".join(first)


@click.command(name="report")
@click.argument("logs", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for tables, summary and figures.")
@click.option("--resamples", default=1000, show_default=True, help="Bootstrap resamples of the user prompts.")
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap.")
def report_command(logs: tuple[str, ...], out: Path, resamples: int, seed: int) -> None:
    """Recompute tables, summary.json, figures and report.html from eval LOGS (files or folders)."""
    try:
        runs = []
        for path in find_logs(logs):
            click.echo(f"reading {Path(path).name}", err=True)
            runs.append(read_run(path))
        click.echo(f"bootstrapping {len(runs)} models", err=True)
        markdown = write_report(runs, out, resamples, seed)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    command = shlex.join(["cpt", *(shown(argument) for argument in sys.argv[1:])])
    (out / "command.txt").write_text(f"{command}\n", encoding="utf-8")
    click.echo(markdown)
    click.echo(f"\nreport: {out / 'report.md'}, numbers: {out / 'summary.json'}, figures: {out}/*.png")
    page = out / report_page.PAGE
    click.echo(f"page: {page}, opens in a browser without a network" if page.exists() else report_page.MISSING)


def _write_page(summary: dict[str, Any], runs: Sequence[ModelRun], out: Path) -> None:
    if report_page.is_installed():
        report_page.write_page(summary, runs, out)
    else:  # a page of other numbers must not stand beside these
        (out / report_page.PAGE).unlink(missing_ok=True)


def _summarise_model(runs: Sequence[ModelRun], n_resamples: int, seed: int) -> dict[str, Any]:
    first = runs[0]
    found: dict[str, Any] = {
        "name": first.name,
        "base": first.base,
        "adapter": first.adapter,
        "prompting": first.prompting,
        "n": 0,
        "unscored": 0,
        "details": first.details,
        "metrics": {},
        "by_rubric": {},
        "by_level": {},
        "tasks": {},
    }
    for run in runs:
        if run.task == ADHERENCE:
            found |= summarise_adherence(run, n_resamples, seed)
        else:
            counts = {"n": len(run.samples), "unscored": run.unscored.total(), "details": run.details}
            found["tasks"][run.task] = counts | _section(run.task).summarise(run, n_resamples, seed)
    return found


def _section(task: str) -> Section:
    found = sections()
    if task not in found:
        raise ValueError(f"task: got a log of {task!r}, expected one of {sorted([ADHERENCE, *found])}")
    return found[task]


def _further_failures(run: ModelRun) -> str:
    failures = sorted(run.judging.further_failures.items())
    return ", ".join(f"{mode} by {rubric} {count}" for (mode, rubric), count in failures)


def _by_level(counts: Counter[str]) -> str:
    levels = [level.value for level in ScoreLevel]
    return ", ".join(
        f"{level} {counts[level]}" for level in [*levels, *sorted(set(counts) - set(levels))] if counts[level]
    )


def _section_markdown(task: str, summary: dict[str, Any], out: Path) -> str:
    from cpt_tasks.figures import save_figure

    section = sections()[task]
    found = {model["name"]: model["tasks"][task] for model in summary["models"] if task in model["tasks"]}
    parts = [f"## {section.title}", section.intro]
    parts += tables_markdown(section.tables(found))
    for stem, figure in section.figures(found).items():
        parts.append(image(stem, save_figure(figure, out, stem)))
    return "\n\n".join(parts)
