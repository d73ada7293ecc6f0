"""Recomputes everything a report carries from eval logs: table, summary.json and figures.

    cpt report logs/demo --out results/demo

Nothing is taken from a log but its samples, their judgments and what was run; logs judged by different judges, prompt
versions, rubrics or splits are refused.
"""

import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from inspect_ai.log import EvalLog, EvalSample, list_eval_logs, read_eval_log
from inspect_ai.scorer import Score

from cpt_tasks.metrics import STATISTICS, Estimate, Judged, Statistic, clustered_bootstrap, macro_accuracy, mean_score
from cpt_tasks.metrics import band_error as mean_band_error
from cpt_tasks.scorers import judged_row
from judges import NO_RESPONSE
from rubrics import ScoreLevel

SCORER = "rubric_judge"
TABLE_STATISTICS = ("macro_accuracy", "weighted_kappa", "kendall_tau_b", "spearman_rho", "order_accuracy", "gain")
LEVEL_STATISTICS: dict[str, Statistic] = {
    "accuracy": macro_accuracy,
    "mean_score": mean_score,
    "band_error": mean_band_error,
}


@dataclass(frozen=True)
class ModelRun:
    """The judged samples of one log, and what was run.

    Attributes:
        name: Row name: the model's name, with the prompting in brackets where it is not the system prompt.
        base: Name of the base model's folder or id.
        adapter: Name of the adapter's folder, or None.
        prompting: "system_prompt" or "full_rubric".
        protocol: What must be equal between logs that share a table.
        rows: Scored samples.
        unscored: Samples without a score, by level.
        no_response: Responses that were empty or under 15 words (they score 0), by level.
        truncated: Responses cut at the token limit, by level; a provider that does not say counts none.
        details: Command, seed and versions.
    """

    name: str
    base: str
    adapter: str | None
    prompting: str
    protocol: dict[str, Any]
    rows: list[Judged]
    unscored: Counter[str]
    no_response: Counter[str]
    truncated: Counter[str]
    details: dict[str, Any] = field(default_factory=dict)


def read_run(path: str) -> ModelRun:
    """The run in one .eval log.

    Raises:
        ValueError: If the log did not finish or holds no judged `rubric_adherence` sample.
    """
    log = read_eval_log(path)
    where = Path(path).name
    if log.status != "success":
        raise ValueError(f"{where}: status is {log.status!r}, expected success; finish it with inspect eval-retry")
    judged = [(sample, score) for sample in log.samples or [] if (score := _score_of(sample)) is not None]
    if not judged:
        raise ValueError(f"{where}: no sample was judged by {SCORER}, expected a log of cpt_tasks/rubric_adherence")
    scored = [(sample, score) for sample, score in judged if not math.isnan(score.as_float())]
    name, base, adapter = _model_names(log)
    prompting = str(log.eval.task_args.get("prompting", "system_prompt"))
    return ModelRun(
        name=name if prompting == "system_prompt" else f"{name} [{prompting}]",
        base=base,
        adapter=adapter,
        prompting=prompting,
        protocol=_protocol(log, scored),
        rows=[judged_row(sample.metadata, score) for sample, score in scored],
        unscored=_count_levels(sample for sample, score in judged if math.isnan(score.as_float())),
        no_response=_count_levels(s for s, score in scored if (score.metadata or {}).get("reason") == NO_RESPONSE),
        truncated=_count_levels(s for s, _ in judged if s.output.stop_reason in ("max_tokens", "model_length")),
        details=_details(log),
    )


def check_comparable(runs: Sequence[ModelRun]) -> None:
    """Raises ValueError, naming the difference, unless all runs share judge, prompt version, rubrics and splits."""
    first = runs[0]
    for run in runs[1:]:
        for key, value in run.protocol.items():
            if value != first.protocol[key]:
                raise ValueError(
                    f"{run.name} and {first.name} differ in {key}: {value!r} and {first.protocol[key]!r}; "
                    "scores are only comparable when it is the same, so report them apart"
                )
    names = [run.name for run in runs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"model {repeated[0]!r} has more than one log, expected one log per model and prompting")


def summarise(runs: Sequence[ModelRun], n_resamples: int, seed: int) -> dict[str, Any]:
    """The content of summary.json; every estimate is `{value, ci_low, ci_high}`, None where it is undefined."""
    first = runs[0]
    return {
        "run": first.protocol
        | {
            "seed": seed,
            "n_resamples": n_resamples,
            "commit": sorted({run.details["commit"] for run in runs}),
            "versions": {name: version(name) for name in ("cpt-tasks", "inspect-ai", "scipy", "numpy")},
        },
        "models": [_summarise_model(run, n_resamples, seed) for run in runs],
    }


def table(summary: dict[str, Any]) -> pd.DataFrame:
    """One row per model: n, unscored and the headline statistics as `value [low, high]`."""
    rows = []
    for model in summary["models"]:
        cells = {name: _cell(model["metrics"][name]) for name in TABLE_STATISTICS}
        rows.append({"model": model["name"], "n": model["n"], "unscored": model["unscored"]} | cells)
    return pd.DataFrame(rows)


def level_table(summary: dict[str, Any]) -> pd.DataFrame:
    """One row per model and level: accuracy, mean score and band error, and the counts of what went wrong."""
    rows = []
    for model in summary["models"]:
        for level, found in model["by_level"].items():
            cells = {name: _cell(found["metrics"][name]) for name in LEVEL_STATISTICS}
            counts = {name: found[name] for name in ("unscored", "no_response", "truncated")}
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


def write_report(runs: Sequence[ModelRun], out: Path, n_resamples: int = 1000, seed: int = 0) -> str:
    """Writes summary.json, report.md, table.csv, command.txt and the figures; returns the main table as Markdown."""
    from cpt_tasks.figures import draw_figures

    check_comparable(runs)
    out.mkdir(parents=True, exist_ok=True)
    summary = summarise(runs, n_resamples, seed)
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    main_table = table(summary)
    main_table.to_csv(out / "table.csv", index=False)
    figures = draw_figures(runs, out)
    (out / "report.md").write_text(_markdown(summary, runs, figures), encoding="utf-8")
    return str(main_table.to_markdown(index=False))


def find_logs(paths: Iterable[str]) -> list[str]:
    """Log files in the order given; a folder stands for its finished logs, oldest first.

    Raises:
        ValueError: If a path does not exist or no log is found.
    """
    found: list[str] = []
    for path in paths:
        if not Path(path).exists():
            raise ValueError(f"{path}: not found, expected an .eval log or a folder of logs")
        if Path(path).is_file():
            found.append(path)
            continue
        finished = list_eval_logs(path, filter=lambda log: log.status == "success", descending=False)
        found += [info.name for info in finished]
    if not found:
        raise ValueError("no finished log found, expected at least one")
    return found


@click.command(name="report")
@click.argument("logs", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for tables, summary and figures.")
@click.option("--resamples", default=1000, show_default=True, help="Bootstrap resamples of the user prompts.")
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap.")
def report_command(logs: tuple[str, ...], out: Path, resamples: int, seed: int) -> None:
    """Recompute table, summary.json and figures from eval LOGS (files or folders)."""
    try:
        runs = []
        for path in find_logs(logs):
            click.echo(f"reading {Path(path).name}", err=True)
            runs.append(read_run(path))
        click.echo(f"bootstrapping {len(runs)} models", err=True)
        markdown = write_report(runs, out, resamples, seed)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    (out / "command.txt").write_text(f"cpt {' '.join(sys.argv[1:])}\n", encoding="utf-8")
    click.echo(markdown)
    click.echo(f"\nreport: {out / 'report.md'}, numbers: {out / 'summary.json'}, figures: {out}/*.png")


def _summarise_model(run: ModelRun, n_resamples: int, seed: int) -> dict[str, Any]:
    def estimates(rows: list[Judged], statistics: dict[str, Statistic]) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        found = clustered_bootstrap(rows, statistics.values(), rng, n_resamples)
        return {name: _jsonable(estimate) for name, estimate in zip(statistics, found, strict=True)}

    rubrics = sorted({row.rubric for row in run.rows})
    by_rubric = {rubric: [row for row in run.rows if row.rubric == rubric] for rubric in rubrics}
    by_level = {level: [row for row in run.rows if row.level is level] for level in ScoreLevel}
    return {
        "name": run.name,
        "base": run.base,
        "adapter": run.adapter,
        "prompting": run.prompting,
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
                "truncated": run.truncated[level.value],
                "metrics": estimates(rows, LEVEL_STATISTICS),
            }
            for level, rows in by_level.items()
            if rows or run.unscored[level.value]
        },
    }


def _score_of(sample: EvalSample) -> Score | None:
    for name, score in (sample.scores or {}).items():
        if name.split("/")[-1] == SCORER:
            return score
    return None


def _protocol(log: EvalLog, scored: list[tuple[EvalSample, Score]]) -> dict[str, Any]:
    def only(key: str) -> Any:
        values = {str((score.metadata or {}).get(key)) for _, score in scored}
        if len(values) > 1:
            raise ValueError(f"{log.eval.task}: samples of one log differ in {key}: {sorted(values)}, expected one")
        return values.pop() if values else None

    rubrics = {sample.metadata["rubric"]: sample.metadata["rubric_hash"] for sample in log.samples or []}
    return {
        "task": log.eval.task.split("/")[-1],
        "task_version": str(log.eval.task_version),
        "judge": only("judge"),
        "prompt_version": only("prompt_version"),
        "rubrics": dict(sorted(rubrics.items())),
        "split": str(log.eval.task_args.get("user_prompts", "test")),
        "paraphrases": str(log.eval.task_args.get("paraphrases", "heldout")),
        "user_prompts": len({sample.metadata["prompt_id"] for sample in log.samples or []}),
    }


def _model_names(log: EvalLog) -> tuple[str, str, str | None]:
    name = log.eval.model.split("/", 1)[-1]
    path = log.eval.model_args.get("model_path")
    if not path:
        return name, name, None
    config = Path(path) / "adapter_config.json"
    if not config.is_file():
        return name, Path(path).name, None
    base = json.loads(config.read_text(encoding="utf-8"))["base_model_name_or_path"]
    return name, Path(base).name, Path(path).name


def _details(log: EvalLog) -> dict[str, Any]:
    # of the paths in model_args only the last part, so that no log or summary carries a machine's folders
    arguments = {
        key: Path(value).name if key.endswith("_path") else value for key, value in log.eval.model_args.items()
    }
    config = log.eval.model_generate_config.model_dump(exclude_none=True) | log.plan.config.model_dump(
        exclude_none=True
    )
    return {
        "log": Path(log.location).name,
        "created": log.eval.created,
        "commit": log.eval.revision.commit if log.eval.revision else "unknown",
        "model_args": arguments,
        "generate_config": config,
        "packages": log.eval.packages,
        "seconds": _seconds(log),
    }


def _seconds(log: EvalLog) -> float:
    started, completed = (pd.Timestamp(time) for time in (log.stats.started_at, log.stats.completed_at))
    return float((completed - started).total_seconds())


def _count_levels(samples: Iterable[EvalSample]) -> Counter[str]:
    return Counter(str(sample.metadata["level"]) for sample in samples)


def _jsonable(estimate: Estimate) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else round(value, 6) for key, value in asdict(estimate).items()}


def _cell(estimate: dict[str, float | None]) -> str:
    value, low, high = estimate["value"], estimate["ci_low"], estimate["ci_high"]
    if value is None:
        return "undefined"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _markdown(summary: dict[str, Any], runs: Sequence[ModelRun], figures: Sequence[str]) -> str:
    run = summary["run"]
    chance = summary["models"][0]["metrics"]["chance_accuracy"]["value"]
    intro = (
        f"Judge `{run['judge']}` (prompt version {run['prompt_version']}), split `{run['split']}` of the user prompts "
        f"({run['user_prompts']}), `{run['paraphrases']}` wordings of the system prompts. Values with 95% intervals "
        f"from {run['n_resamples']} bootstrap resamples of user prompts, seed {run['seed']}. A model that ignores the "
        f"level reaches at most a macro accuracy of {chance:.2f}."
    )
    parts = ["# Rubric adherence", intro, table(summary).to_markdown(index=False)]
    parts += ["## By level", level_table(summary).to_markdown(index=False)]
    parts += ["## By rubric", rubric_table(summary).to_markdown(index=False)]
    parts += [f"![{Path(figure).stem.replace('_', ' ')}]({figure})" for figure in figures]
    return "\n\n".join(parts) + "\n"
