"""Compares two models on the same samples: differences, intervals and p-values, from two logs of a benchmark.

    cpt compare logs/base.eval logs/tuned.eval --out results/tuned-against-base

A difference is B minus A. Cells (rubric, level, user prompt, wording, epoch) that one of the two has no score for are
left out of both, and counted.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from cpt_tasks.benchmarks.multi_turn.statistics import IN_POINTS, UNTESTED, compared
from cpt_tasks.benchmarks.rubric_adherence.report import CEILINGS, COLUMNS, HEADLINE, NAME, POINTS
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
from cpt_tasks.report.logs import find_logs, read_run
from cpt_tasks.report.run import Run, check_protocol, cluster_count, notes_of
from cpt_tasks.report.text import cell, number, write_command
from cpt_tasks.statistics.paired import PairedDifference, holm, least_p_note, paired_differences
from judges.interval import cluster_note, jsonable
from model_calls.errors import clear_errors
from rubrics.files import write_whole

SCHEMA = 2
N_PERMUTATIONS = 10_000
TASKS = (NAME, "multi_turn")
CELL = ["rubric", "level", "user_prompt_id", "script", "wording", "epoch"]
CONVERSATION_CELL = ["rubric", "level", "user_prompt_id", "conversation", "turn", "epoch"]


def pair(first: Run, second: Run) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """The rows of both runs on the cells that both were scored on, in one order, and how many have no partner.

    The full-rubric baseline has one wording: its row is the partner of every wording of the other run.

    Raises:
        ValueError: If the logs are not both of one of `TASKS`, the two differ in judge, prompt, rubrics, splits or
            grid, or no cell was scored for both.
    """
    for run in (first, second):
        if run.task not in TASKS or run.task != first.task:
            raise ValueError(
                f"task: got a log of {run.task!r}, expected two logs of {' or of '.join(map(repr, TASKS))}"
            )
    check_protocol([first, second])
    keys = [name for name in CELL if name != "wording" or first.prompting == second.prompting]
    keys += [] if first.task == NAME else ["conversation", "turn"]
    first_rows, second_rows, n_unpaired = _on_both(first.asked, second.asked, keys)
    if first_rows.empty:
        raise ValueError(f"{first.name} and {second.name} have no cell that both were scored on, expected some")
    return first_rows, second_rows, n_unpaired


def _on_both(first: pd.DataFrame, second: pd.DataFrame, keys: list[str]) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    values = ["score", "words", "reason"]
    sides = [rows[[*keys, *values]] for rows in (first, second)]
    merged = sides[0].merge(sides[1], on=keys, how="outer", suffixes=("_a", "_b"), indicator=True, sort=True)
    both = merged[merged["_merge"] == "both"]
    rows = [both.rename(columns={f"{name}_{side}": name for name in values})[[*keys, *values]] for side in "ab"]
    return rows[0], rows[1], len(merged) - len(both)


def _conversation_differences(first: Run, second: Run, seed: int) -> dict[str, PairedDifference]:
    """The differences of `multi_turn`, each on the conversations or answers that have its number in both runs."""
    numbers = compared(first.frame), compared(second.frame)
    differences: dict[str, PairedDifference] = {}
    for name in [name for name in numbers[0] if name in numbers[1]]:
        (a, one), (b, _) = (of_run[name] for of_run in numbers)
        keys = [key for key in CONVERSATION_CELL if key in a]
        rows = _on_both(a, b, keys)[:2]
        rng, tested = np.random.default_rng(seed), [] if UNTESTED.search(name) else [name]
        differences |= paired_differences(*rows, {name: one}, rng, N_PERMUTATIONS, tested)
    return differences


def compare(first: Run, second: Run, seed: int = 0) -> dict[str, Any]:
    """The content of compare.json: differences B - A of the statistics of the report, over all rubrics together.

    Estimates are `{value, ci_low, ci_high}`; what is undefined is None. The headline is `tested`: `p_holm` is adjusted
    for these statistics, whether or not they are defined. The others, which say much the same, have no p, but the
    `ceilings` of A and of B: the most that ties allow. Of `multi_turn` not all are tested, see `UNTESTED`.

    Raises:
        ValueError: As `pair`.
    """
    first_rows, second_rows, n_unpaired = pair(first, second)
    if first.task == NAME:
        statistics = {name: STATISTICS[name] for name in COLUMNS}
        rng, tested = np.random.default_rng(seed), list(HEADLINE)
        differences = paired_differences(first_rows, second_rows, statistics, rng, N_PERMUTATIONS, tested)
    else:
        differences = _conversation_differences(first, second, seed)
        tested = [name for name in differences if not UNTESTED.search(name)]
    numbers = {name: one.to_json() | {"p_holm": None} for name, one in differences.items()}
    for name, p in zip(tested, holm([differences[name].p for name in tested]), strict=True):
        numbers[name]["p_holm"] = jsonable(p)
    for ceiling in CEILINGS if first.task == NAME else ():
        values = [jsonable(STATISTICS[ceiling](rows)) for rows in (first_rows, second_rows)]
        numbers[ceiling.removesuffix("_ceiling")]["ceilings"] = values
    n_prompts = cluster_count(first_rows)
    sides = {"a": first, "b": second}
    if first.name == second.name:
        sides = {side: replace(run, name=f"{run.name} ({side.upper()})") for side, run in sides.items()}
    about = ("name", "base", "adapter", "prompting", "decoding", "details")
    models = {side: {name: getattr(run, name) for name in about} for side, run in sides.items()}
    return {
        "schema": SCHEMA,
        "run": first.protocol | {"seed": seed},
        **models,
        "n": len(first_rows),
        "user_prompts": n_prompts,
        "left_out": {f"unscored_{side}": run.unscored.total() for side, run in sides.items()}
        | {"scored_on_one_side": n_unpaired},
        "notes": notes_of(list(sides.values())),
        "permutations": {"exact": 2**n_prompts <= N_PERMUTATIONS, "n": min(2**n_prompts, N_PERMUTATIONS)},
        "tested": tested,
        "statistics": numbers,
    }


def text(comparison: Mapping[str, Any]) -> str:
    """The comparison as Markdown: a row per statistic, what was compared, and what was left out."""
    first, second = (comparison[side]["name"] for side in "ab")
    rows = []
    for name, entry in comparison["statistics"].items():
        digits = 1 if name in POINTS or name.endswith(IN_POINTS) else 3
        row = {
            "statistic": COLUMNS.get(name, name),
            first: number(entry["a"], digits),
            second: number(entry["b"], digits),
        }
        for side, ceiling in zip((first, second), entry.get("ceilings", ()), strict=False):
            row[side] += f" of {number(ceiling, 2)}" if ceiling is not None else ""
        row |= {"difference": cell(entry["difference"], digits, sign=True)}
        p_values = (_p(entry[p]) if name in comparison["tested"] else "" for p in ("p", "p_holm"))
        rows.append(row | dict(zip(("p", "p (Holm)"), p_values, strict=True)))
    run, left_out, permutations = (comparison[part] for part in ("run", "left_out", "permutations"))
    kind = "all" if permutations["exact"] else "random"
    counts = {name: comparison["statistics"][name]["user_prompts"] for name in comparison["tested"]}
    most, swaps = max(counts.values(), default=0), permutations["n"]
    rests_on_less = [
        f"{name}: {note}"
        for name, count in counts.items()
        if 0 < count < most and (note := least_p_note(count, 1, swaps))
    ]
    prompts = "user prompts" if run["task"] == NAME else "scripts of user prompts"
    notes = [
        f"judge `{run['judge']}` (judge version {run['prompt_version']}), split `{run['split']}` of the user prompts, "
        f"`{run['wording_split']}` wordings of the system prompts",
        f"{comparison['n']} pairs of responses to {comparison['user_prompts']} {prompts}; differences are {second} "
        f"minus {first} (of calibration, points from the band, less is better), with 95% intervals that take the "
        f"{prompts} as drawn; p from {permutations['n']} swaps "
        f"({kind}) of the two models within {prompts}, Holm over the {len(comparison['tested'])} statistics tested",
        "p asks whether the two models could be exchanged, not whether this statistic is equal: models that fail in "
        "different ways are told apart more often than in 5% of cases even where it is",
        least_p_note(most, len(counts), swaps),
        *rests_on_less,
        f"left out: {left_out['unscored_a']} unscored of {first}, {left_out['unscored_b']} unscored of {second}, and "
        f"with them {left_out['scored_on_one_side']} scored ones of the other side",
        cluster_note(comparison["user_prompts"]),
        *comparison["notes"],
    ]
    return "\n".join([pd.DataFrame(rows).to_markdown(index=False), "", *(f"- {note}" for note in notes if note)])


@click.command(name="compare")
@click.argument("log_a")
@click.argument("log_b")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for compare.md and compare.json.")
@click.option("--seed", default=0, show_default=True, help="Seed of the permutations.")
@clear_errors()
def compare_command(log_a: str, log_b: str, out: Path | None, seed: int) -> None:
    """Differences between the models of LOG_A and LOG_B (.eval files, or folders with one) on the same samples."""
    comparison = compare(_only_run(log_a), _only_run(log_b), seed)
    click.echo(text(comparison))
    if out is not None:
        write_whole(out / "compare.json", json.dumps(comparison, indent=1) + "\n")
        write_whole(out / "compare.md", text(comparison) + "\n")
        write_command(out)


def _only_run(path: str) -> Run:
    logs = find_logs([path])
    if len(logs) > 1:
        raise ValueError(f"{path}: holds {len(logs)} logs, expected one; name the file")
    return read_run(logs[0])


def _p(value: float | None) -> str:
    if value is None:
        return "undefined"
    return "<0.001" if value < 0.001 else f"{value:.3f}"
