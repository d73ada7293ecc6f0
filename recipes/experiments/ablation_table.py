"""The table and figure of `make ablation`: each objective, and how far it is from `twins`, the default, with intervals.

    python recipes/experiments/ablation_table.py    # reads results/ablations/*/, writes report.md and two more there

Differences are between runs that share a start.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd
import scipy
from matplotlib.figure import Figure
from stage import write_json

RESULTS = Path("results/ablations")
STATISTICS = ("macro_accuracy", "kendall_tau_b", "order_accuracy")
REFERENCE = "twins"
NO_VALUE: dict[str, float | None] = {"value": None, "ci_low": None, "ci_high": None}
HEAD = """\
# Which objective

With one seed, intervals are over user prompts, as `cpt report` and `cpt compare` give them. With several, values are
means over seeds, and intervals Student's t over the seeds; differences are between the runs of one seed, which share
their start. `trl_dpo` and `shuffled` do the same by two programs, so what lies between them is noise.

Columns after the values: the difference from `twins`. Chance is 0.33, 0 and 0.50.
"""
FOOT = """\
Flags of each objective: `FLAGS_*` in `recipes/experiments/ablation.mk`; `start` is the model that all begin from;
`trl_dpo` is TRL's own command on the same file. Commands and times: `*/stages.json`.
"""
Interval = dict[str, float | None]  # value, ci_low, ci_high: 95%; None where there is none


def over_seeds(values: Sequence[float | None]) -> Interval:
    """Mean of one value per seed, with its 95% t interval; a single value has none.

    A value that is undefined for one seed leaves the mean undefined: all None.
    """
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return dict(NO_VALUE)
    mean = fmean(defined)
    if len(defined) < 2:
        return NO_VALUE | {"value": mean}
    reach = float(scipy.stats.t.ppf(0.975, len(defined) - 1)) * stdev(defined) / math.sqrt(len(defined))
    return {"value": mean, "ci_low": mean - reach, "ci_high": mean + reach}


def metrics_of(folder: Path) -> dict[str, dict[str, Interval]]:
    """Statistics by variant of one run, in the order of its report."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {model["name"]: {name: model["metrics"][name] for name in STATISTICS} for model in summary["models"]}


def differences_of(folder: Path, variant: str) -> dict[str, Interval]:
    """Statistics of a variant minus those of `twins`, over user prompts, by `cpt compare`."""
    logs = [str(folder / "logs" / f"{name}.eval") for name in (REFERENCE, variant)]
    with tempfile.TemporaryDirectory() as out:
        cpt = str(Path(sys.executable).parent / "cpt")
        subprocess.run([cpt, "compare", *logs, "--out", out], check=True, capture_output=True)
        compared = json.loads((Path(out) / "compare.json").read_text(encoding="utf-8"))
    return {name: compared["statistics"][name]["difference"] for name in STATISTICS}


def lines_of(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """One entry per variant of a student: `{"variant", "values", "differences"}`; `twins` has no differences."""
    runs = [metrics_of(folder) for folder in folders]
    lines = []
    for variant in runs[0]:
        values, differences = runs[0][variant], {}
        if len(runs) == 1 and variant != REFERENCE:
            differences = differences_of(folders[0], variant)
        if len(runs) > 1:
            by_seed = {name: [run[variant][name]["value"] for run in runs] for name in STATISTICS}
            values = {name: over_seeds(seeds) for name, seeds in by_seed.items()}
            if variant != REFERENCE:
                other = {name: [run[REFERENCE][name]["value"] for run in runs] for name in STATISTICS}
                differences = {name: over_seeds(list(map(minus, by_seed[name], other[name]))) for name in STATISTICS}
        lines.append({"variant": variant, "values": values, "differences": differences})
    return lines


def minus(value: float | None, other: float | None) -> float | None:
    """The difference, None where one of the two is undefined."""
    return None if value is None or other is None else value - other


def show(interval: Interval | None, sign: str = "") -> str:
    """`0.48 [0.41, 0.55]`; with `sign` "+", as a difference."""
    if not interval:
        return ""
    if interval["value"] is None:
        return "undefined"
    value, low, high = (None if number is None else f"{number:{sign}.2f}" for number in interval.values())
    return f"{value}" if low is None else f"{value} [{low}, {high}]"


def page(students: dict[str, dict[str, Any]]) -> str:
    """The report as Markdown."""
    text = [HEAD]
    for model, student in students.items():
        text += [f"## {model}: {student['about']}", ""]
        names = [*STATISTICS, *(f"{name} - {REFERENCE}" for name in STATISTICS)]
        text += ["| objective | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for line in student["lines"]:
            values = [show(line["values"][name]) for name in STATISTICS]
            values += [show(line["differences"].get(name), "+") for name in STATISTICS]
            text.append(f"| {line['variant']} | " + " | ".join(values) + " |")
        text.append("")
    return "\n".join([*text, FOOT])


def draw(students: dict[str, dict[str, Any]], path: Path) -> None:
    """Values with intervals: a row of panels per student, a panel per statistic."""
    figure = Figure(figsize=(3.6 * len(STATISTICS), 2.9 * len(students)), layout="constrained")
    axes = figure.subplots(len(students), len(STATISTICS), squeeze=False, sharey="row")
    for row, (model, student) in zip(axes, students.items(), strict=True):
        names = [line["variant"] for line in student["lines"]]
        colours = ["#D55E00" if name == REFERENCE else "#0072B2" for name in names]
        for axis, statistic in zip(row, STATISTICS, strict=True):
            points = pd.DataFrame([line["values"][statistic] for line in student["lines"]], dtype=float)
            axis.hlines(range(len(names)), points["ci_low"], points["ci_high"], colors=colours)
            axis.scatter(points["value"], range(len(names)), c=colours)
            axis.set(title=f"{model}: {statistic}", yticks=range(len(names)), yticklabels=names)
            axis.grid(axis="x", alpha=0.3)
        row[0].invert_yaxis()
    figure.savefig(path, dpi=130)


def describe(folders: Sequence[Path]) -> dict[str, Any]:
    """A student's entry of ablation.json.

    Raises:
        SystemExit: If its runs took different numbers of steps.
    """
    seeds = [int(folder.name.partition("-")[2]) for folder in folders]
    steps = set()
    for folder in folders:
        words = json.loads((folder / "stages.json").read_text(encoding="utf-8"))[REFERENCE]["command"].split()
        steps.add(int(words[words.index("--max_steps") + 1]))
    if len(steps) > 1:
        sys.exit(f"{folders[0]}: run with {sorted(steps)} steps, expected one number for all seeds")
    about = f"{steps.pop()} steps of 4 pairs, seed {', '.join(map(str, seeds))}"
    return {"about": about, "seeds": seeds, "lines": lines_of(folders)}


def main() -> None:
    """Command line entry."""
    os.chdir(Path(__file__).resolve().parents[2])
    folders: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(RESULTS.glob("*/summary.json")):
        folders[path.parent.name.partition("-")[0]].append(path.parent)
    if not folders:
        sys.exit(f"{RESULTS}: no run, expected those of make ablation")
    students = {model: describe(runs) for model, runs in sorted(folders.items())}
    (RESULTS / "report.md").write_text(page(students), encoding="utf-8")
    write_json(RESULTS / "ablation.json", students)
    draw(students, RESULTS / "ablation.png")
    print(page(students))


if __name__ == "__main__":
    main()
