"""Recomputes everything a report carries from eval logs: tables, summary.json, figures and the page.

cpt report logs/base logs/tuned --out results/mine
"""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import pandas as pd

from cpt_tasks.benchmarks.best_of_n.report import SECTION as BEST_OF_N
from cpt_tasks.benchmarks.composition.report import SECTION as COMPOSITION
from cpt_tasks.benchmarks.dose_response.report import SECTION as DOSE_RESPONSE
from cpt_tasks.benchmarks.drift.report import SECTION as DRIFT
from cpt_tasks.benchmarks.multi_turn.report import SECTION as MULTI_TURN
from cpt_tasks.benchmarks.paraphrase_robustness.report import SECTION as PARAPHRASE_ROBUSTNESS
from cpt_tasks.benchmarks.rubric_adherence.report import SECTION as RUBRIC_ADHERENCE
from cpt_tasks.report import page
from cpt_tasks.report.logs import find_logs, on_shared, read_run
from cpt_tasks.report.page.samples import level_order
from cpt_tasks.report.run import Run, by_judging, check_comparable, notes_of, tell_apart, with_judge
from cpt_tasks.report.section import ModelSummaries, Section, can_draw
from cpt_tasks.report.text import counted, image, runs_notes, tables_markdown, write_command
from cpt_tasks.statistics.frame import answered
from judges.interval import jsonable
from model_calls.errors import clear_errors
from rubrics.files import write_whole

SCHEMA = 2
MISSING = "Figures and report.html were not made: they need the extra `report`: pip install 'cpt-tasks[report]'"
NOTHING_DRAWN = "No figures: there is not a single response of 15 words."
# in the order of a report; the first one that was run leads
SECTIONS: dict[str, Section] = {
    "rubric_adherence": RUBRIC_ADHERENCE,
    "best_of_n": BEST_OF_N,
    "dose_response": DOSE_RESPONSE,
    "composition": COMPOSITION,
    "multi_turn": MULTI_TURN,
    "paraphrase_robustness": PARAPHRASE_ROBUSTNESS,
    "drift": DRIFT,
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
    models: dict[str, dict[str, Any]] = {
        run.name: {"name": run.name, "base": run.base, "adapter": run.adapter, "prompting": run.prompting, "tasks": {}}
        for run in reversed(runs)
    }
    for task in [task for task in SECTIONS if task in protocols]:
        section, of_task = SECTIONS[task], [run for run in runs if run.task == task]
        compared = section.compare(of_task, seed)
        for run in of_task:
            prompts = run.frame["user_prompt_id"].nunique()
            counts: dict[str, Any] = {"n": len(run.scored), "unscored": run.unscored.total(), "user_prompts": prompts}
            counts |= {"invalidated": len(run.invalidated), "edited": run.edited, "left_out": run.left_out}
            if run.scored["thought_words"].any():
                counts["thought_words"] = jsonable(run.scored["thought_words"].mean())
            entry = (
                counts
                | {"decoding": run.decoding, "details": run.details}
                | section.summarise(run, seed)
                | compared.get(run.name, {})
            )
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

    table.csv is the first table of the first benchmark. What other judges judged of a benchmark has tables and figures
    of its own; in summary.json it stands under `apart`.

    Raises:
        ValueError: If runs of one benchmark and judge cannot share a table.
    """
    parts = by_judging(runs)
    for part in parts:
        for task in {run.task for run in part}:
            check_comparable([run for run in part if run.task == task])
    summary, *apart = (summarise(part, seed) for part in parts)
    summary |= {"apart": apart} if apart else {}
    write_whole(out / "summary.json", json.dumps(summary, indent=1) + "\n")
    lines, first_tables, pages = ["# Report"], {}, []
    for number, (part, content) in enumerate(zip(parts, [summary, *apart], strict=True), 1):
        views = []
        for task in content["tasks"]:
            view, text = _section(task, content, part, runs, out, f"-{number}" if number > 1 else "")
            views.append(view)
            lines += text
            first_tables[view.title] = next(iter(view.tables.values()))
        pages.append(page.Part(content, part, views))
    judging = judging_table(runs)
    lines += [] if can_draw() else [MISSING]
    lines += [] if judging.empty else ["## Judging", judging.to_markdown(index=False)]
    write_whole(out / "report.md", "\n\n".join(line for line in lines if line) + "\n")
    write_whole(out / "table.csv", next(iter(first_tables.values())).to_csv(index=False))
    if can_draw():
        write_whole(out / page.PAGE, page.build_page(pages, judging))
    else:  # a page of other numbers must not stand beside these
        (out / page.PAGE).unlink(missing_ok=True)
    return "\n\n".join(tables_markdown(first_tables) + _notes(parts))


def _section(
    task: str, summary: dict[str, Any], part: Sequence[Run], runs: Sequence[Run], out: Path, suffix: str
) -> tuple[page.SectionView, list[str]]:
    """A benchmark as the page and as report.md show it, its figures written; `suffix` tells their names apart."""
    section, models, own_runs = SECTIONS[task], of_task(summary, task), [run for run in part if run.task == task]
    is_silent = not any(answered(run.scored).any() for run in own_runs if len(run.scored))
    drawn = section.charts(models, own_runs) if section.charts and can_draw() and not is_silent else {}
    charts = {f"{stem}{suffix}": chart for stem, chart in drawn.items() if not getattr(chart.data, "empty", False)}
    intro = section.intro if isinstance(section.intro, str) else section.intro(own_runs)
    title, notes = with_judge(section.title, own_runs[0], runs), runs_notes(own_runs)
    tables, specs = section.tables(models), dict[str, Any]()
    lines = [f"## {title}", intro, "\n".join(f"- {note}" for note in notes), *tables_markdown(tables)]
    lines += [NOTHING_DRAWN] if is_silent and section.charts else []
    if charts:
        from cpt_tasks.report.figures import page_spec, save_png

        specs = {name: page_spec(chart) for name, chart in charts.items()}
        lines += [image(stem, save_png(chart, out, stem)) for stem, chart in charts.items()]
    return page.SectionView(task, title, intro, notes, specs, tables), lines


def judging_table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per run that a model judged: replies, unscored by failure mode and level, tokens, cost; else empty."""
    rows = []
    has_further = any(run.judging.further_failures for run in runs)
    for run in runs:
        judging = run.judging
        if not judging.attempts:
            continue
        row = {"model": run.name, "judge": run.judged_by, "replies": judging.attempts}
        row["unscored"] = counted(judging.failures)
        if has_further:
            row["further judgments failed"] = counted(judging.further_failures)
        row |= {kind: judging.usage[f"{kind}_tokens"] for kind in ("input", "output")}
        row |= {f"cache_{kind}": judging.usage[f"input_tokens_cache_{kind}"] for kind in ("read", "write")}
        row["USD"] = "price unknown" if judging.cost_usd is None else f"{judging.cost_usd:.2f}"
        rows.append(row)
    return pd.DataFrame(rows)


@click.command(name="report")
@click.argument("logs", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for tables, summary and figures.")
@click.option("--seed", default=0, show_default=True, help="Seed of the by-chance values.")
@click.option("--shared", is_flag=True, help="Only the samples that all logs of a benchmark and judge have.")
@clear_errors()
def report_command(logs: tuple[str, ...], out: Path, seed: int, shared: bool) -> None:
    """Recompute tables, summary.json, figures and report.html from eval LOGS (files or folders)."""
    runs = []
    for path in find_logs(logs):
        click.echo(f"reading {Path(path).name}", err=True)
        runs.append(read_run(path))
    click.echo(f"computing {len(runs)} runs", err=True)
    runs = tell_apart(runs)
    markdown = write_report(on_shared(runs) if shared else runs, out, seed)
    write_command(out)
    click.echo(markdown)
    click.echo(f"\nreport: {out / 'report.md'}, numbers: {out / 'summary.json'}, figures: {out}/*.png")
    html = out / page.PAGE
    click.echo(f"page: {html}, opens in a browser without a network" if html.exists() else MISSING)


def _notes(parts: Sequence[Sequence[Run]]) -> list[str]:
    """What the first tables do not say: decoding, unscored samples, what people changed, remarks on runs."""
    runs = [run for part in parts for run in part]
    notes = (notes_of([run for run in part if run.task == task]) for part in parts for task in SECTIONS)
    lines = list(dict.fromkeys(note for one in notes for note in one))
    for run in runs:
        if run.unscored:
            levels = {level: run.unscored[level] for level in level_order(run.unscored)}
            lines.append(f"{run.name}: unscored {counted(levels)}")
        if failures := run.judging.further_failures:
            lines.append(f"{run.name}: judgments by further rubrics that failed: {counted(failures)}")
        lines += [f"{run.name}: {line}" for line in run.remarks]
    return ["\n".join(lines)] if lines else []
