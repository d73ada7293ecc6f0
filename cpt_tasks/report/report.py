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

from cpt_tasks.benchmarks.best_of_n.report import SECTION as BEST_OF_N
from cpt_tasks.benchmarks.composition.report import SECTION as COMPOSITION
from cpt_tasks.benchmarks.dose_response.report import SECTION as DOSE_RESPONSE
from cpt_tasks.benchmarks.drift.ifeval import SECTION as IFEVAL
from cpt_tasks.benchmarks.drift.report import SECTION as DRIFT
from cpt_tasks.benchmarks.paraphrase_robustness.report import SECTION as PARAPHRASE_ROBUSTNESS
from cpt_tasks.benchmarks.rubric_adherence.report import SECTION as RUBRIC_ADHERENCE
from cpt_tasks.report import page
from cpt_tasks.report.logs import find_logs, read_run, shown
from cpt_tasks.report.run import Run, check_comparable, tell_apart
from cpt_tasks.report.section import NEEDS, Charts, ModelSummaries, Section, can_draw
from cpt_tasks.report.text import image, models_note, tables_markdown
from rubrics import ScoreLevel
from rubrics.files import write_whole

SCHEMA = 2
MISSING = f"Figures and report.html were not made: they {NEEDS}"
# in the order of a report; the first one that was run leads
SECTIONS: dict[str, Section] = {
    "rubric_adherence": RUBRIC_ADHERENCE,
    "best_of_n": BEST_OF_N,
    "dose_response": DOSE_RESPONSE,
    "composition": COMPOSITION,
    "paraphrase_robustness": PARAPHRASE_ROBUSTNESS,
    "drift": DRIFT,
    "ifeval": IFEVAL,
}


def summarise(runs: Sequence[Run], seed: int = 0) -> dict[str, Any]:
    """The content of summary.json; every estimate is `{value, ci_low, ci_high}`, None where it is undefined.

    Models stand in the order of their first run; what a benchmark says of one stands under its `tasks`.

    Raises:
        ValueError: If a log is of a benchmark without a section.
    """
    protocols = {run.task: run.protocol for run in reversed(runs)}
    if unknown := sorted(set(protocols) - set(SECTIONS)):
        raise ValueError(f"task: got a log of {unknown[0]!r}, expected one of {sorted(SECTIONS)}")
    models = {run.name: _model_entry(run) for run in reversed(runs)}
    for task in [task for task in SECTIONS if task in protocols]:
        section, of_task = SECTIONS[task], [run for run in runs if run.task == task]
        compared = section.compare(of_task, seed) if section.compare else {}
        for run in of_task:
            entry = _counts(run) | section.summarise(run, seed) | compared.get(run.name, {})
            models[run.name]["tasks"][task] = entry
    return {
        "schema": SCHEMA,
        "seed": seed,
        "commit": sorted({run.details["commit"] for run in runs}),
        "versions": {name: version(name) for name in ("cpt-tasks", "inspect-ai", "scipy", "numpy")},
        "tasks": {task: protocols[task] for task in SECTIONS if task in protocols},
        "models": [models[name] for name in dict.fromkeys(run.name for run in runs)],
    }


def of_task(summary: dict[str, Any], task: str) -> ModelSummaries:
    """What summary.json holds of a benchmark, by the name of the model."""
    return {model["name"]: model["tasks"][task] for model in summary["models"] if task in model["tasks"]}


def write_report(runs: Sequence[Run], out: Path, seed: int = 0) -> str:
    """Writes summary.json, report.md, report.html, table.csv and figures; returns the first tables as Markdown.

    table.csv is the first table of the first benchmark; the first table of each is returned if that is not
    `rubric_adherence`.

    Raises:
        ValueError: If runs of one benchmark cannot share a table.
    """
    for task in {run.task for run in runs}:
        check_comparable([run for run in runs if run.task == task])
    summary = summarise(runs, seed)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "summary.json", json.dumps(summary, indent=1) + "\n")
    parts, views = ["# Report"], []
    for task in summary["tasks"]:
        section, models, own_runs = SECTIONS[task], of_task(summary, task), [run for run in runs if run.task == task]
        charts = section.charts(models, own_runs) if can_draw() else {}
        parts += _section_markdown(section, models, own_runs) + _draw(charts, out)
        views.append(page.section_view(task, section, models, own_runs, charts))
    if not can_draw():
        parts.append(MISSING)
    judging = judging_table(runs)
    if not judging.empty:
        parts += ["## Judging", judging.to_markdown(index=False)]
    write_whole(out / "report.md", "\n\n".join(parts) + "\n")
    first = {task: next(iter(SECTIONS[task].tables(of_task(summary, task)).items())) for task in summary["tasks"]}
    main = next(iter(first))
    write_whole(out / "table.csv", first[main][1].to_csv(index=False))
    if can_draw():
        page.write_page(summary, runs, views, judging, out)
    else:  # a page of other numbers must not stand beside these
        (out / page.PAGE).unlink(missing_ok=True)
    returned = [main] if main == "rubric_adherence" else list(first)
    tables = [part for task in returned for part in tables_markdown(dict([first[task]]))]
    return "\n".join(["\n\n".join(tables), *_notes(runs)])


def judging_table(runs: Sequence[Run]) -> pd.DataFrame:
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


@click.command(name="report")
@click.argument("logs", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for tables, summary and figures.")
@click.option("--seed", default=0, show_default=True, help="Seed of the by-chance values.")
@click.option("--resamples", type=int, hidden=True, help="Without effect: intervals draw nothing since version 0.2.")
def report_command(logs: tuple[str, ...], out: Path, seed: int, resamples: int | None) -> None:
    """Recompute tables, summary.json, figures and report.html from eval LOGS (files or folders)."""
    if resamples is not None:
        click.echo("--resamples has no effect any more: intervals draw nothing; the option goes in 0.3", err=True)
    try:
        runs = []
        for path in find_logs(logs):
            click.echo(f"reading {Path(path).name}", err=True)
            runs.append(read_run(path))
        click.echo(f"computing {len(runs)} runs", err=True)
        markdown = write_report(tell_apart(runs), out, seed)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    command = shlex.join(["cpt", *(shown(argument) for argument in sys.argv[1:])])
    write_whole(out / "command.txt", f"{command}\n")
    click.echo(markdown)
    click.echo(f"\nreport: {out / 'report.md'}, numbers: {out / 'summary.json'}, figures: {out}/*.png")
    html = out / page.PAGE
    click.echo(f"page: {html}, opens in a browser without a network" if html.exists() else MISSING)


def _model_entry(run: Run) -> dict[str, Any]:
    about = {"name": run.name, "base": run.base, "adapter": run.adapter, "prompting": run.prompting}
    return about | {"tasks": {}}


def _counts(run: Run) -> dict[str, Any]:
    prompts = run.frame["user_prompt_id"].nunique() if len(run.frame) else 0
    counts = {"n": len(run.scored), "unscored": run.unscored.total(), "user_prompts": prompts}
    return counts | {"details": run.details}


def _section_markdown(section: Section, models: ModelSummaries, runs: Sequence[Run]) -> list[str]:
    parts = [f"## {section.title}", section.intro(runs)]
    if note := models_note(models):
        parts.append(note)
    if noise := _noise_lines(runs):
        parts.append("\n".join(f"- {line}" for line in noise))
    return parts + tables_markdown(section.tables(models))


def _draw(charts: Charts, out: Path) -> list[str]:
    """Writes the charts and returns them as Markdown."""
    if not charts:
        return []
    from cpt_tasks.report.figures import save_png

    return [image(stem, save_png(chart, out, stem)) for stem, chart in charts.items()]


def _notes(runs: Sequence[Run]) -> list[str]:
    """What the first tables do not say: unscored samples, failed further judgments, noise of the judges."""
    lines = [f"{run.name}: unscored {_by_level(run.unscored)}" for run in runs if run.unscored]
    failed = [run for run in runs if run.judging.further_failures]
    lines += [f"{run.name}: judgments by further rubrics that failed: {_further_failures(run)}" for run in failed]
    return lines + _noise_lines(runs)


def _noise_lines(runs: Sequence[Run]) -> list[str]:
    """What repeats and panels say of the judges, model by model."""
    return [f"{run.name}: {line}" for run in runs for line in run.judging.noise]


def _further_failures(run: Run) -> str:
    failures = sorted(run.judging.further_failures.items())
    return ", ".join(f"{mode} by {rubric} {count}" for (mode, rubric), count in failures)


def _by_level(counts: Counter[str]) -> str:
    levels = [level.value for level in ScoreLevel]
    return ", ".join(
        f"{level} {counts[level]}" for level in [*levels, *sorted(set(counts) - set(levels))] if counts[level]
    )
