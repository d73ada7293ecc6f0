"""The table and figure of `ablation.py`: each objective, and how far it is from `twins`, the default, with intervals.

    python recipes/ablation_table.py    # reads results/ablations/*/, writes report.md, ablation.json and ablation.png

Differences are between runs that share a start.
"""

import argparse
import json
import math
import os
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import scipy
from ablation import TRL, VARIANTS
from run_commands import BIN, write_json

RESULTS = Path("results/ablations")
STATISTICS = ("macro_accuracy", "kendall_tau_b", "order_accuracy")
REFERENCE = "twins"
ABOUT = """\
With one seed, intervals are over user prompts, as `cpt report` and `cpt compare` give them. With several, values are
means over seeds, and intervals Student's t over the seeds; differences are between the runs of one seed, which share
their start. `trl_dpo` and `shuffled` do the same by two programs, so what lies between them is noise.

Columns after the values: the difference from `twins`. Chance is 0.33, 0 and 0.50."""
Interval = dict[str, float | None]  # value, ci_low, ci_high: 95%; None where there is none


def over_seeds(values: Sequence[float | None]) -> Interval:
    """Mean of one value per seed, with its 95% t interval; a single value has none.

    A value that is undefined for one seed leaves the mean undefined: all None.
    """
    if None in values:
        return {"value": None, "ci_low": None, "ci_high": None}
    values = [value for value in values if value is not None]
    mean = fmean(values)
    if len(values) < 2:
        return {"value": mean, "ci_low": None, "ci_high": None}
    reach = float(scipy.stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return {"value": mean, "ci_low": mean - reach, "ci_high": mean + reach}


def steps_of(folder: Path) -> int:
    """Steps of DPO that a run took."""
    words = json.loads((folder / "stages.json").read_text(encoding="utf-8"))[REFERENCE]["command"].split()
    return int(words[words.index("--max_steps") + 1])


def metrics_of(folder: Path) -> dict[str, dict[str, Interval]]:
    """Statistics by variant of one run."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {model["name"]: {name: model["metrics"][name] for name in STATISTICS} for model in summary["models"]}


def differences_of(folder: Path, variant: str) -> dict[str, Interval]:
    """Statistics of a variant minus those of `twins`, over user prompts, by `cpt compare`."""
    logs = [str(folder / "logs" / f"{name}.eval") for name in (REFERENCE, variant)]
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([str(BIN / "cpt"), "compare", *logs, "--out", out], check=True, capture_output=True)
        found = json.loads((Path(out) / "compare.json").read_text(encoding="utf-8"))
    return {name: found["statistics"][name]["difference"] for name in STATISTICS}


def lines_of(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """One entry per variant of a student: `{"variant", "values", "differences"}`; `twins` has no differences."""
    runs = [metrics_of(folder) for folder in folders]
    lines = []
    for variant in ("start", *VARIANTS):
        if len(runs) == 1:
            values = runs[0][variant]
            differences = differences_of(folders[0], variant) if variant != REFERENCE else {}
        else:
            by_seed = {name: [run[variant][name]["value"] for run in runs] for name in STATISTICS}
            values = {name: over_seeds(found) for name, found in by_seed.items()}
            moved = {
                name: [_minus(value, run[REFERENCE][name]["value"]) for value, run in zip(found, runs, strict=True)]
                for name, found in by_seed.items()
            }
            differences = {name: over_seeds(found) for name, found in moved.items()} if variant != REFERENCE else {}
        lines.append({"variant": variant, "values": values, "differences": differences})
    return lines


def _minus(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def show(interval: Interval | None, sign: str = "") -> str:
    """`0.48 [0.41, 0.55]`; with `sign` "+", as a difference."""
    if not interval:
        return ""
    value, low, high = interval["value"], interval["ci_low"], interval["ci_high"]
    if value is None:
        return "undefined"
    if low is None or high is None:
        return f"{value:{sign}.2f}"
    return f"{value:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"


def page(students: dict[str, dict[str, Any]]) -> str:
    """The report as Markdown."""
    text = ["# Which objective", "", ABOUT, ""]
    for model, found in students.items():
        text += [f"## {model}: {found['about']}", ""]
        names = [*STATISTICS, *(f"{name} - {REFERENCE}" for name in STATISTICS)]
        text += ["| objective | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for line in found["lines"]:
            values = [show(line["values"][name]) for name in STATISTICS]
            values += [show(line["differences"].get(name), "+") for name in STATISTICS]
            text.append(f"| {line['variant']} | " + " | ".join(values) + " |")
        text.append("")
    text += ["Flags of each objective: `VARIANTS` in `recipes/ablation.py`; `start` is the model that all begin from;"]
    text += [f"`{TRL}` is TRL's own command on the same file. Commands and times: `*/stages.json`.", ""]
    return "\n".join(text)


def draw(students: dict[str, dict[str, Any]], path: Path) -> None:
    """Values with intervals: a row of panels per student, a panel per statistic."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows, columns = len(students), len(STATISTICS)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.6 * columns, 2.9 * rows), squeeze=False, sharey="row", layout="constrained"
    )
    for row, (model, found) in zip(axes, students.items(), strict=True):
        names = [line["variant"] for line in found["lines"]][::-1]
        for axis, statistic in zip(row, STATISTICS, strict=True):
            for place, line in enumerate(reversed(found["lines"])):
                interval = line["values"][statistic]
                colour = "#D55E00" if line["variant"] == REFERENCE else "#0072B2"
                low, high = interval["ci_low"], interval["ci_high"]
                if interval["value"] is None:
                    continue
                if low is not None:
                    axis.plot([low, high], [place, place], color=colour)
                axis.plot(interval["value"], place, "o", color=colour, markersize=5)
            axis.set(title=f"{model}: {statistic}", yticks=range(len(names)), yticklabels=names)
            axis.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    os.chdir(Path(__file__).resolve().parent.parent)
    folders: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(RESULTS.glob("*/summary.json")):
        folders[path.parent.name.partition("-")[0]].append(path.parent)
    students = {}
    for model, found in sorted(folders.items()):
        seeds = [int(folder.name.partition("-")[2]) for folder in found]
        steps = {steps_of(folder) for folder in found}
        if len(steps) > 1:
            raise SystemExit(
                f"{RESULTS}: {model} was run with {sorted(steps)} steps, expected one number for all seeds"
            )
        about = f"{steps.pop()} steps of 4 pairs, seed {', '.join(map(str, seeds))}"
        students[model] = {"about": about, "seeds": seeds, "lines": lines_of(found)}
    if not students:
        raise SystemExit(f"{RESULTS}: no run, expected those of recipes/ablation.py")
    (RESULTS / "report.md").write_text(page(students), encoding="utf-8")
    write_json(RESULTS / "ablation.json", students)
    draw(students, RESULTS / "ablation.png")
    print(page(students))


if __name__ == "__main__":
    main()
