"""The table of `make ablation`: each objective, and how far it is from `twins`, the default, with intervals.

python recipes/experiments/ablation_table.py    # reads results/ablations/*/, writes report.md and ablation.json there
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

import scipy
from stage import write_json

RESULTS = Path("results/ablations")
TASK = "rubric_adherence"
STATISTICS = ("macro_accuracy", "kendall_tau_b", "order_accuracy")
REFERENCE = "twins"
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
    """Mean of one value per seed, at least two, with its 95% t interval; undefined if a value is."""
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return {"value": None, "ci_low": None, "ci_high": None}
    mean = fmean(defined)
    reach = float(scipy.stats.t.ppf(0.975, len(defined) - 1)) * stdev(defined) / math.sqrt(len(defined))
    return {"value": mean, "ci_low": mean - reach, "ci_high": mean + reach}


def metrics_of(folder: Path) -> dict[str, dict[str, Interval]]:
    """Statistics by variant of one run, in the order of its report.

    From a summary.json of schema 2, or of the first schema, which had no number and one benchmark outside `tasks`.
    """
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    entries = {model["name"]: model["tasks"][TASK] if "schema" in summary else model for model in summary["models"]}
    return {name: {one: entry["metrics"][one] for one in STATISTICS} for name, entry in entries.items()}


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
            values = {one: over_seeds([run[variant][one]["value"] for run in runs]) for one in STATISTICS}
        if len(runs) > 1 and variant != REFERENCE:
            differences = {one: over_seeds([minus(run, variant, one) for run in runs]) for one in STATISTICS}
        lines.append({"variant": variant, "values": values, "differences": differences})
    return lines


def minus(run: dict[str, dict[str, Interval]], variant: str, statistic: str) -> float | None:
    """A variant's value minus that of `twins`, None where one of the two is undefined."""
    value, other = (run[name][statistic]["value"] for name in (variant, REFERENCE))
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
    names = [*STATISTICS, *(f"{name} - {REFERENCE}" for name in STATISTICS)]
    text = [HEAD]
    for model, student in students.items():
        text += [f"## {model}: {student['about']}", ""]
        text += ["| objective | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for line in student["lines"]:
            cells = [show(line["values"][name]) for name in STATISTICS]
            cells += [show(line["differences"].get(name), "+") for name in STATISTICS]
            text.append(f"| {line['variant']} | " + " | ".join(cells) + " |")
        text.append("")
    return "\n".join([*text, FOOT])


def describe(folders: Sequence[Path]) -> dict[str, Any]:
    """A student's entry of ablation.json."""
    seeds = [int(folder.name.partition("-")[2]) for folder in folders]
    words = json.loads((folders[0] / "stages.json").read_text(encoding="utf-8"))[REFERENCE]["command"].split()
    about = f"{words[words.index('--max_steps') + 1]} steps of 4 pairs, seed {', '.join(map(str, seeds))}"
    return {"about": about, "seeds": seeds, "lines": lines_of(folders)}


def main() -> None:
    """Command line entry."""
    os.chdir(Path(__file__).resolve().parents[2])
    folders: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(RESULTS.glob("*/summary.json")):
        folders[path.parent.name.partition("-")[0]].append(path.parent)
    students = {model: describe(runs) for model, runs in sorted(folders.items())}
    (RESULTS / "report.md").write_text(page(students), encoding="utf-8")
    write_json(RESULTS / "ablation.json", students)
    print(page(students))


if __name__ == "__main__":
    main()
