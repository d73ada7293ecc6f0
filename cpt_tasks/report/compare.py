"""Compares two models on the same samples: differences, intervals and p-values, from two logs of `rubric_adherence`.

    cpt compare logs/base.eval logs/tuned.eval --out results/tuned-against-base

A difference is B minus A. Cells (rubric, level, user prompt, paraphrase, epoch) that one of the two has no score for
are left out of both, and counted.
"""

import json
import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pandas as pd

from cpt_tasks.metrics import STATISTICS, Judged
from cpt_tasks.metrics.paired import PairedDifference, holm, paired_differences, prompts_needed
from cpt_tasks.runs import ModelRun, check_protocol, find_logs, read_run, shown
from cpt_tasks.sections import jsonable
from cpt_tasks.summaries.rubric_adherence import ADHERENCE, TABLE_STATISTICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EFFECT = 0.05
POWER = 0.8
N_PERMUTATIONS = 10_000


@dataclass(frozen=True)
class Pairs:
    """Rows of two runs on the cells that both have a score for, in the same order."""

    first: list[Judged]
    second: list[Judged]


def pair(first: ModelRun, second: ModelRun) -> Pairs:
    """The rows of both runs on the cells that both were scored on.

    A paraphrase is part of the cell only if both were asked in the same way: the full-rubric baseline has one wording.

    Raises:
        ValueError: If a log is not of `rubric_adherence`, the two differ in judge, prompt, rubrics, splits or grid, or
            no cell was scored for both.
    """
    for run in (first, second):
        if run.task != ADHERENCE:
            raise ValueError(f"task: got a log of {run.task!r}, expected {ADHERENCE!r}")
    check_protocol([first, second])
    by_wording = first.prompting == second.prompting
    cells = [_by_cell(run, by_wording) for run in (first, second)]
    shared = sorted(set(cells[0]) & set(cells[1]))
    if not shared:
        raise ValueError(f"{first.name} and {second.name} have no cell that both were scored on, expected some")
    return Pairs([cells[0][cell] for cell in shared], [cells[1][cell] for cell in shared])


def compare(first: ModelRun, second: ModelRun, n_resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """The content of compare.json: differences B - A of the headline statistics, over all rubrics and for each.

    Estimates are `{value, ci_low, ci_high}`; what is undefined is None. `p_holm` is adjusted for the headline
    statistics over all rubrics; single rubrics have intervals only.

    Raises:
        ValueError: As `pair`.
    """
    pairs = pair(first, second)
    overall = _differences(pairs, n_resamples, seed)
    adjusted = holm([overall[name].p for name in TABLE_STATISTICS])
    power = prompts_needed(pairs.first, pairs.second, EFFECT, POWER)
    n_prompts = len({row.user_prompt for row in pairs.first})
    names = [first.name, second.name]
    if names[0] == names[1]:
        names = [f"{name} ({side})" for name, side in zip(names, "AB", strict=True)]
    models = [
        {"name": name, "base": run.base, "adapter": run.adapter, "prompting": run.prompting, "details": run.details}
        for name, run in zip(names, (first, second), strict=True)
    ]
    return {
        "run": first.protocol | {"seed": seed, "n_resamples": n_resamples},
        "a": models[0],
        "b": models[1],
        "n": len(pairs.first),
        "user_prompts": n_prompts,
        "left_out": {
            "unscored_a": first.unscored.total(),
            "unscored_b": second.unscored.total(),
            "scored_on_one_side": len(first.rows) + len(second.rows) - 2 * len(pairs.first),
        },
        "permutations": {
            "exact": 2**n_prompts <= N_PERMUTATIONS,
            "n": min(2**n_prompts, N_PERMUTATIONS),
        },
        "statistics": {
            name: _entry(overall[name]) | {"p": jsonable(overall[name].p), "p_holm": jsonable(p)}
            for name, p in zip(TABLE_STATISTICS, adjusted, strict=True)
        },
        "by_rubric": _by_rubric(pairs, n_resamples, seed),
        "power": {
            "effect": EFFECT,
            "power": POWER,
            "sd": jsonable(power.sd),
            "user_prompts_needed": None if math.isnan(power.user_prompts) else int(power.user_prompts),
        },
    }


def table(found: dict[str, Any]) -> pd.DataFrame:
    """One row per headline statistic: both values, the difference with its interval, and its p-values."""
    rows = []
    for name, entry in found["statistics"].items():
        values = {found[side]["name"]: _number(entry[side]) for side in "ab"}
        p_values = {"p": _p(entry["p"]), "p (Holm)": _p(entry["p_holm"])}
        rows.append({"statistic": name} | values | {"difference": _interval(entry["difference"])} | p_values)
    return pd.DataFrame(rows)


def rubric_table(found: dict[str, Any]) -> pd.DataFrame:
    """One row per rubric: its number of pairs and the difference of every headline statistic with its interval."""
    return pd.DataFrame(
        [
            {"rubric": rubric, "n": entry["n"]}
            | {name: _interval(one["difference"]) for name, one in entry["statistics"].items()}
            for rubric, entry in found["by_rubric"].items()
        ]
    )


def notes(found: dict[str, Any]) -> list[str]:
    """What was compared, what was left out, and how many user prompts would show a small difference, a line each."""
    left_out, permutations, power = found["left_out"], found["permutations"], found["power"]
    kind = f"all {permutations['n']}" if permutations["exact"] else f"{permutations['n']} random"
    lines = [
        f"{found['n']} pairs of responses to {found['user_prompts']} user prompts; differences are "
        f"{found['b']['name']} minus {found['a']['name']}, with 95% intervals from {found['run']['n_resamples']} "
        f"resamples of user prompts; p from {kind} swaps of the two models within user prompts, Holm over the table",
        f"left out: {left_out['unscored_a']} unscored of {found['a']['name']}, {left_out['unscored_b']} unscored of "
        f"{found['b']['name']}, and with them {left_out['scored_on_one_side']} scored ones of the other side",
    ]
    if power["user_prompts_needed"] is None:
        return [*lines, "no user prompt shows a difference in macro accuracy, so nothing can be said about power"]
    return [
        *lines,
        f"to see {power['effect']:+.2f} in macro accuracy with {power['power']:.0%} power it takes "
        f"{power['user_prompts_needed']} user prompts (SD of the differences per prompt {power['sd']:.2f})",
    ]


def draw(found: dict[str, Any]) -> "Figure":
    """Difference with its interval, on the left of every headline statistic, on the right by rubric."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("Agg")
    overall = {name: entry["difference"] for name, entry in found["statistics"].items()}
    headline = TABLE_STATISTICS[0]
    by_rubric = {rubric: entry["statistics"][headline]["difference"] for rubric, entry in found["by_rubric"].items()}
    height = 1.4 + 0.34 * max(len(overall), len(by_rubric))
    figure, axes = plt.subplots(1, 2, figsize=(10, height), layout="constrained")
    _forest(axes[0], overall, "all rubrics")
    _forest(axes[1], by_rubric, f"{headline.replace('_', ' ')} by rubric")
    figure.supxlabel(f"{found['b']['name']} minus {found['a']['name']}, with 95% interval", fontsize=10)
    return figure


def write_comparison(found: dict[str, Any], out: Path) -> None:
    """Writes compare.json, compare.md and compare.png into `out`, which is made if there is none."""
    from cpt_tasks.figures import save_figure

    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    image = save_figure(draw(found), out, "compare")
    run = found["run"]
    parts = [
        f"# {found['b']['name']} against {found['a']['name']}",
        f"Judge `{run['judge']}` (prompt version {run['prompt_version']}), split `{run['split']}` of the user prompts, "
        f"`{run['paraphrases']}` wordings of the system prompts.",
        table(found).to_markdown(index=False),
        "\n".join(f"- {line}" for line in notes(found)),
        f"![difference per statistic and per rubric]({image})",
        "## Difference by rubric",
        rubric_table(found).to_markdown(index=False),
    ]
    (out / "compare.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


@click.command(name="compare")
@click.argument("log_a")
@click.argument("log_b")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for compare.md, compare.json and the figure.")
@click.option("--resamples", default=1000, show_default=True, help="Bootstrap resamples of the user prompts.")
@click.option("--seed", default=0, show_default=True, help="Seed of resamples and permutations.")
def compare_command(log_a: str, log_b: str, out: Path | None, resamples: int, seed: int) -> None:
    """Differences between the models of LOG_A and LOG_B (.eval files, or folders with one) on the same samples."""
    try:
        found = compare(_only_run(log_a), _only_run(log_b), resamples, seed)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n".join([str(table(found).to_markdown(index=False)), "", *notes(found)]))
    if out is None:
        return
    write_comparison(found, out)
    command = shlex.join(["cpt", *(shown(argument) for argument in sys.argv[1:])])
    (out / "command.txt").write_text(f"{command}\n", encoding="utf-8")
    click.echo(f"\ncomparison: {out / 'compare.md'}, numbers: {out / 'compare.json'}, figure: {out / 'compare.png'}")


def _only_run(path: str) -> ModelRun:
    logs = find_logs([path])
    if len(logs) > 1:
        raise ValueError(f"{path}: holds {len(logs)} logs, expected one; name the file")
    return read_run(logs[0])


def _by_cell(run: ModelRun, by_wording: bool) -> dict[tuple[Any, ...], Judged]:
    return {
        (row.rubric, row.level.rank, row.user_prompt, row.paraphrase if by_wording else "", sample.epoch): row
        for row, (sample, _) in zip(run.rows, run.samples, strict=True)
    }


def _differences(pairs: Pairs, n_resamples: int, seed: int) -> dict[str, PairedDifference]:
    statistics = [STATISTICS[name] for name in TABLE_STATISTICS]
    rng = np.random.default_rng(seed)
    found = paired_differences(pairs.first, pairs.second, statistics, rng, n_resamples, N_PERMUTATIONS)
    return dict(zip(TABLE_STATISTICS, found, strict=True))


def _by_rubric(pairs: Pairs, n_resamples: int, seed: int) -> dict[str, Any]:
    entries = {}
    for rubric in sorted({row.rubric for row in pairs.first}):
        rows = [[row for row in side if row.rubric == rubric] for side in (pairs.first, pairs.second)]
        found = _differences(Pairs(*rows), n_resamples, seed)
        entries[rubric] = {"n": len(rows[0]), "statistics": {name: _entry(one) for name, one in found.items()}}
    return entries


def _entry(found: PairedDifference) -> dict[str, Any]:
    difference = found.difference
    bounds = {"value": difference.value, "ci_low": difference.ci_low, "ci_high": difference.ci_high}
    estimate = {name: jsonable(bound) for name, bound in bounds.items()}
    return {"a": jsonable(found.first), "b": jsonable(found.second), "difference": estimate}


def _forest(axis: "Axes", differences: dict[str, dict[str, float | None]], title: str) -> None:
    from cpt_tasks.figures import COLOURS

    axis.axvline(0, color="0.6", linewidth=0.8)
    for place, estimate in enumerate(differences.values()):
        value, low, high = estimate["value"], estimate["ci_low"], estimate["ci_high"]
        if low is not None and high is not None:
            axis.plot([low, high], [place, place], color=COLOURS[0], linewidth=2)
        if value is not None:
            axis.plot(value, place, marker="o", color=COLOURS[0])
    axis.set_yticks(range(len(differences)), [name.replace("_", " ") for name in differences])
    axis.set_ylim(len(differences) - 0.5, -0.5)
    axis.set_title(title, fontsize=11)


def _interval(estimate: dict[str, float | None]) -> str:
    value, low, high = estimate["value"], estimate["ci_low"], estimate["ci_high"]
    if value is None:
        return "undefined"
    return f"{value:+.3f}" if low is None or high is None else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _p(value: float | None) -> str:
    if value is None:
        return "undefined"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
