"""Recomputes everything a report carries from eval logs: tables, summary.json, figures and the page.

    cpt report logs/base logs/tuned --out results/mine

Everything is taken from the logs. Logs judged by different judges or prompt versions, or of different rubrics, splits
or grids, are refused.
"""

import json
import math
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from cpt_tasks import report_page
from cpt_tasks.metrics import STATISTICS, Judged, Statistic, clustered_bootstrap
from cpt_tasks.metrics.adherence import band_error, macro_accuracy, mean_score, overshoot, undershoot
from cpt_tasks.runs import ModelRun, check_comparable, find_logs, read_run, shown
from cpt_tasks.sections import Section, sections
from cpt_tasks.summaries import leakage
from judges.agreement import Estimate
from rubrics import ScoreLevel

ADHERENCE = "rubric_adherence"
TABLE_STATISTICS = ("macro_accuracy", "weighted_kappa", "kendall_tau_b", "spearman_rho", "order_accuracy", "gain")
LEVEL_STATISTICS: dict[str, Statistic] = {
    "accuracy": macro_accuracy,
    "mean_score": mean_score,
    "band_error": band_error,
    "overshoot": overshoot,
    "undershoot": undershoot,
}
LEVEL_COLUMNS = ("accuracy", "mean_score", "band_error")


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


def table(summary: dict[str, Any]) -> pd.DataFrame:
    """One row per model: n, unscored and the headline statistics as `value [low, high]`."""
    rows = []
    for model in summary["models"]:
        if not model["metrics"]:
            continue
        cells = {name: _cell(model["metrics"][name]) for name in TABLE_STATISTICS}
        rows.append({"model": model["name"], "n": model["n"], "unscored": model["unscored"]} | cells)
    return pd.DataFrame(rows)


def level_table(summary: dict[str, Any]) -> pd.DataFrame:
    """One row per model and level: accuracy, mean score and band error, and the counts of what went wrong."""
    rows = []
    for model in summary["models"]:
        for level, found in model["by_level"].items():
            cells = {name: _cell(found["metrics"][name]) for name in LEVEL_COLUMNS}
            counts = {name: found[name] for name in ("unscored", "no_response")}
            counts["truncated"] = "not reported" if found["truncated"] is None else found["truncated"]
            rows.append({"model": model["name"], "level": level, "n": found["n"]} | cells | counts)
    return pd.DataFrame(rows)


def rubric_table(summary: dict[str, Any]) -> pd.DataFrame:
    """One row per model and rubric with the headline statistics."""
    rows = []
    for model in summary["models"]:
        for rubric, found in model["by_rubric"].items():
            cells = {name: _cell(found["metrics"][name]) for name in TABLE_STATISTICS}
            rows.append({"model": model["name"], "rubric": rubric, "n": found["n"]} | cells)
    return pd.DataFrame(rows)


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
    """Writes summary.json, report.md, report.html, table.csv and figures; returns the main table as Markdown."""
    for task in {run.task for run in runs}:
        check_comparable([run for run in runs if run.task == task])
    out.mkdir(parents=True, exist_ok=True)
    summary = summarise(runs, n_resamples, seed)
    adherence = [run for run in runs if run.task == ADHERENCE]
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    main_table = table(summary)
    main_table.to_csv(out / "table.csv", index=False)
    parts = ["# Report", *(_adherence_markdown(summary, adherence, out) if adherence else [])]
    parts += [_section_markdown(task, summary, out) for task in sections() if task in summary["tasks"]]
    judging = judging_table(runs)
    if not judging.empty:
        parts += ["## Judging", judging.to_markdown(index=False)]
    (out / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    _write_page(summary, runs, out)
    unscored = [f"{run.name}: unscored {_by_level(run.unscored)}" for run in runs if run.unscored]
    failed = [run for run in runs if run.judging.further_failures]
    unscored += [f"{run.name}: judgments by further rubrics that failed: {_further_failures(run)}" for run in failed]
    return "\n".join([str(main_table.to_markdown(index=False)), *unscored, *_noise(runs)])


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
            found |= _summarise_adherence(run, n_resamples, seed)
        else:
            counts = {"n": len(run.samples), "unscored": run.unscored.total(), "details": run.details}
            found["tasks"][run.task] = counts | _section(run.task).summarise(run, n_resamples, seed)
    return found


def _section(task: str) -> Section:
    found = sections()
    if task not in found:
        raise ValueError(f"task: got a log of {task!r}, expected one of {sorted([ADHERENCE, *found])}")
    return found[task]


def _summarise_adherence(run: ModelRun, n_resamples: int, seed: int) -> dict[str, Any]:
    def estimates(rows: list[Judged], statistics: dict[str, Statistic]) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        found = clustered_bootstrap(rows, statistics.values(), rng, n_resamples)
        return {name: _jsonable(estimate) for name, estimate in zip(statistics, found, strict=True)}

    rubrics = sorted({row.rubric for row in run.rows})
    by_rubric = {rubric: [row for row in run.rows if row.rubric == rubric] for rubric in rubrics}
    by_level = {level: [row for row in run.rows if row.level is level] for level in ScoreLevel}
    entry = {
        "n": len(run.rows),
        "unscored": run.unscored.total(),
        "details": run.details,
        "metrics": estimates(run.rows, STATISTICS),
        "by_rubric": {
            rubric: {"n": len(rows), "metrics": estimates(rows, {name: STATISTICS[name] for name in TABLE_STATISTICS})}
            for rubric, rows in by_rubric.items()
        },
        "by_level": {
            level.value: {
                "n": len(rows),
                "unscored": run.unscored[level.value],
                "no_response": run.no_response[level.value],
                "truncated": None if run.truncated is None else run.truncated[level.value],
                "metrics": estimates(rows, LEVEL_STATISTICS),
            }
            for level, rows in by_level.items()
            if rows or run.unscored[level.value]
        },
    }
    return leakage.with_leakage(entry, run, n_resamples, seed)


def _noise(runs: Sequence[ModelRun]) -> list[str]:
    return [f"{run.name}: {line}" for run in runs for line in run.judging.noise]


def _further_failures(run: ModelRun) -> str:
    failures = sorted(run.judging.further_failures.items())
    return ", ".join(f"{mode} by {rubric} {count}" for (mode, rubric), count in failures)


def _by_level(counts: Counter[str]) -> str:
    levels = [level.value for level in ScoreLevel]
    return ", ".join(
        f"{level} {counts[level]}" for level in [*levels, *sorted(set(counts) - set(levels))] if counts[level]
    )


def _jsonable(estimate: Estimate) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else round(value, 6) for key, value in asdict(estimate).items()}


def _cell(estimate: dict[str, float | None]) -> str:
    value, low, high = estimate["value"], estimate["ci_low"], estimate["ci_high"]
    if value is None:
        return "undefined"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _adherence_markdown(summary: dict[str, Any], runs: Sequence[ModelRun], out: Path) -> list[str]:
    from cpt_tasks.figures import draw_figures, save_figure

    figures = draw_figures(runs, out)
    run = summary["run"]
    chance = next(model["metrics"]["chance_accuracy"]["value"] for model in summary["models"] if model["metrics"])
    intro = (
        f"Judge `{run['judge']}` (prompt version {run['prompt_version']}), split `{run['split']}` of the user prompts "
        f"({run['user_prompts']}), `{run['paraphrases']}` wordings of the system prompts. Values with 95% intervals "
        f"from {run['n_resamples']} bootstrap resamples of user prompts, seed {run['seed']}. A model that ignores the "
        f"level reaches at most a macro accuracy of {chance:.2f}."
    )
    parts = ["## Rubric adherence", intro, table(summary).to_markdown(index=False)]
    if noise := _noise(runs):
        parts.append("\n".join(f"- {line}" for line in noise))
    parts += ["### By level", level_table(summary).to_markdown(index=False)]
    parts += ["### By rubric", rubric_table(summary).to_markdown(index=False)]
    parts += [_image(Path(figure).stem, figure) for figure in figures]
    found = {model["name"]: model for model in summary["models"] if "leakage" in model}
    if found:
        parts += ["### Leakage", leakage.INTRO, *_tables_markdown(leakage.leakage_tables(found))]
        parts.append(_image("leakage", save_figure(leakage.leakage_figure(found), out, "leakage")))
    return parts


def _section_markdown(task: str, summary: dict[str, Any], out: Path) -> str:
    from cpt_tasks.figures import save_figure

    section = sections()[task]
    found = {model["name"]: model["tasks"][task] for model in summary["models"] if task in model["tasks"]}
    parts = [f"## {section.title}", section.intro]
    parts += _tables_markdown(section.tables(found))
    for stem, figure in section.figures(found).items():
        parts.append(_image(stem, save_figure(figure, out, stem)))
    return "\n\n".join(parts)


def _tables_markdown(tables: dict[str, pd.DataFrame]) -> list[str]:
    return [part for caption, rows in tables.items() for part in (f"### {caption}", rows.to_markdown(index=False))]


def _image(stem: str, file: str) -> str:
    return f"![{stem.replace('_', ' ')}]({file})"
