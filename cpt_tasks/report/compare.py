"""Compares two models on the same samples: differences, intervals and p-values, from two logs of `rubric_adherence`.

    cpt compare logs/base.eval logs/tuned.eval --out results/tuned-against-base

A difference is B minus A. Cells (rubric, level, user prompt, wording, epoch) that one of the two has no score for are
left out of both, and counted.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from cpt_tasks.benchmarks.rubric_adherence.report import NAME, TABLE_STATISTICS
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
from cpt_tasks.report.logs import find_logs, read_run
from cpt_tasks.report.run import Run, check_protocol
from cpt_tasks.report.section import NEEDS, can_draw
from cpt_tasks.report.text import cell, number, warn_of_resamples, write_command
from cpt_tasks.statistics.paired import PairedDifference, holm, paired_differences, prompts_needed
from judges.interval import cluster_note, jsonable
from rubrics.files import write_whole

SCHEMA = 2
EFFECT = 0.05
POWER = 0.8
ALPHA = 0.05
N_PERMUTATIONS = 10_000
CELL = ["rubric", "level", "user_prompt_id", "wording", "epoch"]


def pair(first: Run, second: Run) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """The rows of both runs on the cells that both were scored on, in one order, and how many have no partner.

    The full-rubric baseline has one wording: its row is the partner of every wording of the other run.

    Raises:
        ValueError: If a log is not of `rubric_adherence`, the two differ in judge, prompt, rubrics, splits or grid, or
            no cell was scored for both.
    """
    for run in (first, second):
        if run.task != NAME:
            raise ValueError(f"task: got a log of {run.task!r}, expected {NAME!r}")
    check_protocol([first, second])
    keys = [name for name in CELL if name != "wording" or first.prompting == second.prompting]
    values = ["score", "words"]
    sides = [run.asked[[*keys, *values]] for run in (first, second)]
    merged = sides[0].merge(sides[1], on=keys, how="outer", suffixes=("_a", "_b"), indicator=True, sort=True)
    both = merged[merged["_merge"] == "both"]
    if both.empty:
        raise ValueError(f"{first.name} and {second.name} have no cell that both were scored on, expected some")
    rows = [both.rename(columns={f"{name}_{side}": name for name in values})[[*keys, *values]] for side in "ab"]
    return rows[0], rows[1], len(merged) - len(both)


def compare(first: Run, second: Run, seed: int = 0) -> dict[str, Any]:
    """The content of compare.json: differences B - A of the headline statistics, over all rubrics and for each.

    Estimates are `{value, ci_low, ci_high}`; what is undefined is None. `p_holm` is adjusted for the headline
    statistics over all rubrics; single rubrics have intervals only.

    Raises:
        ValueError: As `pair`.
    """
    first_rows, second_rows, n_unpaired = pair(first, second)
    pairs = [first_rows, second_rows]
    overall = _differences(pairs, seed)
    adjusted = holm([one.p for one in overall.values()])
    sd, needed = prompts_needed(first_rows, second_rows, EFFECT, POWER)
    n_prompts = int(first_rows["user_prompt_id"].nunique())
    by_rubric = {
        rubric: [side[side["rubric"] == rubric] for side in pairs] for rubric in sorted(first_rows["rubric"].unique())
    }
    sides = {"a": first, "b": second}
    same_name = first.name == second.name
    models: dict[str, dict[str, Any]] = {
        side: {
            "name": f"{run.name} ({side.upper()})" if same_name else run.name,
            "base": run.base,
            "adapter": run.adapter,
            "prompting": run.prompting,
            "details": run.details,
        }
        for side, run in sides.items()
    }
    return {
        "schema": SCHEMA,
        "run": first.protocol | {"seed": seed},
        **models,
        "n": len(first_rows),
        "user_prompts": n_prompts,
        "left_out": {f"unscored_{side}": run.unscored.total() for side, run in sides.items()}
        | {"scored_on_one_side": n_unpaired},
        "permutations": {"exact": 2**n_prompts <= N_PERMUTATIONS, "n": min(2**n_prompts, N_PERMUTATIONS)},
        "statistics": {
            name: one.to_json() | {"p": jsonable(one.p), "p_holm": jsonable(p)}
            for (name, one), p in zip(overall.items(), adjusted, strict=True)
        },
        "by_rubric": {
            rubric: {"n": len(part[0])}
            | {"statistics": {name: one.to_json() for name, one in _differences(part, seed).items()}}
            for rubric, part in by_rubric.items()
        },
        "power": {
            "effect": EFFECT,
            "power": POWER,
            "sd": jsonable(sd),
            "user_prompts_needed": None if math.isnan(needed) else int(needed),
        },
    }


def table(comparison: Mapping[str, Any]) -> pd.DataFrame:
    """One row per headline statistic: both values, the difference with its interval, and its p-values."""
    return pd.DataFrame(
        [
            {"statistic": name}
            | {comparison[side]["name"]: number(entry[side]) for side in "ab"}
            | {"difference": cell(entry["difference"], digits=3, sign=True)}
            | {"p": _p(entry["p"]), "p (Holm)": _p(entry["p_holm"])}
            for name, entry in comparison["statistics"].items()
        ]
    )


def rubric_table(comparison: Mapping[str, Any]) -> pd.DataFrame:
    """One row per rubric: its number of pairs and the difference of every headline statistic with its interval."""
    return pd.DataFrame(
        [
            {"rubric": rubric, "n": entry["n"]}
            | {name: cell(one["difference"], digits=3, sign=True) for name, one in entry["statistics"].items()}
            for rubric, entry in comparison["by_rubric"].items()
        ]
    )


def notes(comparison: Mapping[str, Any]) -> list[str]:
    """What was compared, what was left out, and how many user prompts would show a small difference, a line each."""
    left_out, permutations, power = comparison["left_out"], comparison["permutations"], comparison["power"]
    first, second = (comparison[side]["name"] for side in "ab")
    kind = f"all {permutations['n']}" if permutations["exact"] else f"{permutations['n']} random"
    lines = [
        f"{comparison['n']} pairs of responses to {comparison['user_prompts']} user prompts; differences are {second} "
        f"minus {first}, with 95% intervals that take the user prompts as drawn; p from {kind} swaps of the two models "
        "within user prompts, Holm over the table",
        f"left out: {left_out['unscored_a']} unscored of {first}, {left_out['unscored_b']} unscored of {second}, and "
        f"with them {left_out['scored_on_one_side']} scored ones of the other side",
        cluster_note(comparison["user_prompts"]),
        _smallest_p_note(comparison),
    ]
    if power["user_prompts_needed"] is None:
        lines.append("no user prompt shows a difference in macro accuracy, so nothing can be said about power")
    else:
        lines.append(
            f"to see {power['effect']:+.2f} in macro accuracy with {power['power']:.0%} power it takes "
            f"{power['user_prompts_needed']} user prompts (SD of the differences per prompt {power['sd']:.2f})"
        )
    return [line for line in lines if line]


def write_comparison(comparison: Mapping[str, Any], out: Path) -> None:
    """Writes compare.json, compare.md, compare.png and command.txt into `out`, which is made if there is none."""
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "compare.json", json.dumps(comparison, indent=1) + "\n")
    figure = f"The figure was not made: figures {NEEDS}"
    if can_draw():
        from cpt_tasks.benchmarks.rubric_adherence.report import differences
        from cpt_tasks.report.figures import save_png

        chart = differences(comparison)
        figure = f"![difference per statistic]({save_png(chart, out, 'compare')})"
    run = comparison["run"]
    parts = [
        f"# {comparison['b']['name']} against {comparison['a']['name']}",
        f"Judge `{run['judge']}` (prompt version {run['prompt_version']}), split `{run['split']}` of the user prompts, "
        f"`{run['wording_split']}` wordings of the system prompts.",
        table(comparison).to_markdown(index=False),
        "\n".join(f"- {line}" for line in notes(comparison)),
        figure,
        "## Difference by rubric",
        rubric_table(comparison).to_markdown(index=False),
    ]
    write_whole(out / "compare.md", "\n\n".join(parts) + "\n")
    write_command(out)


@click.command(name="compare")
@click.argument("log_a")
@click.argument("log_b")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for compare.md, compare.json and the figure.")
@click.option("--seed", default=0, show_default=True, help="Seed of the permutations.")
@click.option("--resamples", type=int, hidden=True, help="Without effect: intervals draw nothing since version 0.2.")
def compare_command(log_a: str, log_b: str, out: Path | None, seed: int, resamples: int | None) -> None:
    """Differences between the models of LOG_A and LOG_B (.eval files, or folders with one) on the same samples."""
    warn_of_resamples(resamples)
    try:
        comparison = compare(_only_run(log_a), _only_run(log_b), seed)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo("\n".join([str(table(comparison).to_markdown(index=False)), "", *notes(comparison)]))
    if out is None:
        return
    write_comparison(comparison, out)
    click.echo(f"\ncomparison: {out / 'compare.md'}, numbers: {out / 'compare.json'}, figure: {out / 'compare.png'}")


def _only_run(path: str) -> Run:
    logs = find_logs([path])
    if len(logs) > 1:
        raise ValueError(f"{path}: holds {len(logs)} logs, expected one; name the file")
    return read_run(logs[0])


def _differences(pairs: Sequence[pd.DataFrame], seed: int) -> dict[str, PairedDifference]:
    first, second = pairs
    rng = np.random.default_rng(seed)
    statistics = [STATISTICS[name] for name in TABLE_STATISTICS]
    differences = paired_differences(first, second, statistics, rng, N_PERMUTATIONS)
    return dict(zip(TABLE_STATISTICS, differences, strict=True))


def _smallest_p_note(comparison: Mapping[str, Any]) -> str:
    """That no p-value of the table can be significant, or none after Holm; "" where one can."""
    n_prompts, n_swaps = comparison["user_prompts"], comparison["permutations"]["n"]
    n_tests = sum(entry["p"] is not None for entry in comparison["statistics"].values())
    smallest = min(1.0, 2 / n_swaps)  # swapping nothing and swapping everything are both as far from 0 as the data
    if n_tests == 0 or smallest * n_tests < ALPHA:
        return ""
    what = "p" if smallest >= ALPHA else "p (Holm)"
    least = smallest if smallest >= ALPHA else smallest * n_tests
    return f"with {n_prompts} user prompts no {what} can be below {least:.3f}, so none can be below {ALPHA}"


def _p(value: float | None) -> str:
    if value is None:
        return "undefined"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
