"""The table of `make ablation`: each objective, and how far it is from `twins`, the default, with intervals.

python recipes/experiments/ablation_table.py    # reads results/ablations/*/, writes report.md there
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd
from rounds_table import over_seeds, show

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results/ablations"
STATISTICS = ("macro_accuracy", "kendall_tau_b", "band_error")
REFERENCE = "twins"
HEAD = """\
# Which objective

With one seed, intervals are over user prompts, as `cpt report` and `cpt compare` give them. With several, values are
means over seeds, and intervals Student's t over the seeds; differences are between the runs of one seed, which share
their start. `trl_dpo` and `shuffled` do the same by two programs, so what lies between them is noise.

Columns after the values: the difference from `twins`. Ignoring the level gives 0.33 and 0 on
average; `band_error` is in points, 0 is best.
"""
FOOT = """\
Flags of each objective: `FLAGS_*` in `recipes/experiments/ablation.mk`; `start` is the model that all begin from;
`trl_dpo` is TRL's own command on the same file. Commands and times: `*/stages.json`.

The runs of `tiny` kept no logs. So their tau-b is still over all pairs of answers, those to one user prompt too, and an
answer that is none still counts there with a score of 0, in the low band. Mean over seeds of what this adds to macro
accuracy: $added.
"""


def values_of(folder: Path) -> pd.DataFrame:
    """`value, ci_low, ci_high` of one run by (variant, statistic), in the order of its report.

    From a summary.json of schema 2, or of the first schema, which had no number and one benchmark outside `tasks`.
    """
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    tasks = {
        model["name"]: model["tasks"]["rubric_adherence"] if "schema" in summary else model
        for model in summary["models"]
    }
    rows = {(name, one): task["metrics"][one] for name, task in tasks.items() for one in STATISTICS}
    return pd.DataFrame(rows, dtype=float).T


def added_by_no_response(folder: Path) -> dict[str, float]:
    """What answers that are none add to the macro accuracy of each variant of a run by the rule of version 0.1.

    They count as hits at level low, which is a third of the cells.
    """
    models = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["models"]
    lows = {model["name"]: model["by_level"]["low"] for model in models}
    return {name: low["no_response"] / low["n"] / 3 for name, low in lows.items()}


def compare_logs(first: Path, second: Path) -> dict[str, dict[str, Any]]:
    """By statistic `a`, `b` and their `difference` b - a over user prompts, as `cpt compare` gives them."""
    with tempfile.TemporaryDirectory() as out:
        cpt = str(Path(sys.executable).parent / "cpt")
        subprocess.run([cpt, "compare", str(first), str(second), "--out", out], check=True, capture_output=True)
        statistics: dict[str, Any] = json.loads((Path(out) / "compare.json").read_text(encoding="utf-8"))["statistics"]
    return statistics


def compared(folder: Path, variant: str) -> dict[tuple[str, str], dict[str, float]]:
    """Statistics of a variant minus those of `twins`."""
    statistics = compare_logs(*(folder / "logs" / f"{name}.eval" for name in (REFERENCE, variant)))
    return {(variant, one): statistics[one]["difference"] for one in STATISTICS}


def table_of(folders: list[Path]) -> str:
    """The values of a student's variants and their differences from `twins`, of one run or of one per seed."""
    runs = [values_of(folder) for folder in folders]
    values = runs[0]
    names = [name for name in values.index.unique(0) if name != REFERENCE]
    if len(runs) > 1:
        by_seed = pd.concat([run["value"] for run in runs], axis=1)
        values = over_seeds(by_seed)
        differences = over_seeds(by_seed - by_seed.loc[REFERENCE].reindex(by_seed.index, level=1)).loc[names]
    else:
        rows = {index: row for name in names for index, row in compared(folders[0], name).items()}
        differences = pd.DataFrame(rows, dtype=float).T
    cells = values.apply(show, axis=1).unstack(sort=False)
    minus = differences.apply(show, axis=1, sign="+").unstack(sort=False).add_suffix(f" - {REFERENCE}")
    return cells.join(minus).fillna("").rename_axis("objective").to_markdown()


def main() -> None:
    """Writes the report over all runs in `RESULTS`, which are named STUDENT-SEED."""
    text = [HEAD]
    folders = pd.Series(sorted(path.parent for path in RESULTS.glob("*/summary.json")))
    for student, runs in folders.groupby(folders.map(lambda folder: folder.name.split("-")[0])):
        stages = json.loads((runs.iloc[0] / "stages.json").read_text(encoding="utf-8"))
        steps = stages[REFERENCE]["command"].partition("--max_steps ")[2].split()[0]
        seeds = ", ".join(folder.name.split("-")[1] for folder in runs)
        text += [f"## {student}: {steps} steps of 4 pairs, seed {seeds}\n", table_of(list(runs)) + "\n"]
    added = pd.DataFrame([added_by_no_response(folder) for folder in folders if folder.name.startswith("tiny-")]).mean()
    shown = ", ".join(f"`{name}` {value:.3f}" for name, value in added.items())
    report = "\n".join([*text, Template(FOOT).substitute(added=shown)])
    (RESULTS / "report.md").write_text(report, encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
