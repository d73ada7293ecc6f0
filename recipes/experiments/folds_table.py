"""The table of `make folds`: rubrics never trained, against the base model and against training on them.

python recipes/experiments/folds_table.py results/folds/logs --out results/folds/report.md
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from rounds_table import show

FOLDS = ("fold-1", "fold-2", "fold-3")
CURVE = {"2": "fold-1-of-2", "4": "fold-1-of-4", "8": "fold-1", "12, these among them": "all"}
NAMES = sorted({"base", *FOLDS, *CURVE.values()})
STATISTICS = {"macro_accuracy": "accuracy", "somers_d": "order", "band_error": "calibration"}
HEAD = """\
# Rubrics never trained

Twelve measured rubrics in three folds. `never trained` is the adapter trained on the eight rubrics outside the fold,
`trained` one adapter trained on all twelve, `base` the model before tuning; over all twelve, each rubric counts with
the adapter that has not seen it. All adapters had the same number of pairs and steps. Test prompts and system prompts
are in no training. Differences have 95% intervals over user prompts, paired by them, as `cpt compare` gives them: of
one seed and these rubrics. Commands and times: `stages.json`.

`accuracy` is the share of scores in the band asked for, .33 on average if the level is ignored; `order` is 0 then, and
1 at best; `calibration` is the mean distance from the band in points, 0 at best: a difference below 0 is a gain.
"""
CURVE_HEAD = """\
## How many rubrics were trained

On the rubrics of fold 1. The 2 are among the 4, the 4 among the 8; which rubrics join is not varied, so a step of the
curve can be that of one rubric like those asked for. Differences are from `base`, with 0 trained.
"""


def only(log: EvalLog, rubrics: Iterable[str]) -> EvalLog:
    """The log with only the samples of some rubrics."""
    kept = set(rubrics)
    return log.model_copy(update={"samples": [one for one in log.samples or [] if one.metadata["rubric"] in kept]})


def rubrics_of(log: EvalLog) -> list[str]:
    """The rubrics asked for, in order."""
    return list(dict.fromkeys(sample.metadata["rubric"] for sample in log.samples or []))


def compared(first: EvalLog, second: EvalLog) -> dict[str, Any]:
    """By statistic `a`, `b` and their `difference` b - a as `cpt compare` gives them, on the rubrics of the second."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{side}.eval" for side in "ab"]
        for log, path in zip((only(first, rubrics_of(second)), second), paths, strict=True):
            write_eval_log(log, path)
        cpt = str(Path(sys.executable).parent / "cpt")
        subprocess.run([cpt, "compare", *paths, "--out", folder], check=True, capture_output=True)
        statistics: dict[str, Any] = json.loads(Path(folder, "compare.json").read_text(encoding="utf-8"))["statistics"]
    return statistics


def difference(statistic: dict[str, Any]) -> str:
    """The difference of a statistic of `compared` as a cell."""
    return show(pd.Series(statistic["difference"], dtype=float), "+")


def value(statistic: dict[str, Any], side: str) -> str:
    """A side, "a" or "b", of a statistic of `compared` as a cell."""
    return "undefined" if statistic[side] is None else f"{statistic[side]:.2f}"


def page_of(logs: dict[str, EvalLog]) -> str:
    """The report as Markdown, from the logs by name."""
    left_out = {name: logs[name] for name in FOLDS}
    together = [sample for log in left_out.values() for sample in log.samples or []]
    left_out["all twelve"] = logs["fold-1"].model_copy(update={"samples": together})
    tables: dict[str, list[dict[str, str]]] = {name: [] for name in STATISTICS}
    for name, log in left_out.items():
        gained, kept_back = compared(logs["base"], log), compared(only(logs["all"], rubrics_of(log)), log)
        asked = {"rubrics": f"{name}: {', '.join(rubrics_of(log))}" if name in FOLDS else name}
        for statistic, rows in tables.items():
            base, trained = gained[statistic], kept_back[statistic]
            row = {"base": value(base, "a"), "never trained": value(base, "b"), "trained": value(trained, "a")}
            row |= {"never trained - base": difference(base), "never trained - trained": difference(trained)}
            rows.append(asked | row)
    asked_rubrics = rubrics_of(logs["fold-1"])
    points = {count: compared(logs["base"], only(logs[name], asked_rubrics)) for count, name in CURVE.items()}
    curve = [{"trained": "0"} | {title: value(points["2"][one], "a") for one, title in STATISTICS.items()}]
    for count, point in points.items():
        row = {"trained": count} | {title: value(point[one], "b") for one, title in STATISTICS.items()}
        curve.append(row | {f"{title} - base": difference(point[one]) for one, title in STATISTICS.items()})
    parts = [part for one, rows in tables.items() for part in (f"## {STATISTICS[one].capitalize()}\n", _table(rows))]
    return "\n".join([HEAD, *parts, CURVE_HEAD, _table(curve)])


def _table(rows: list[dict[str, str]]) -> str:
    return pd.DataFrame(rows).fillna("").to_markdown(index=False, disable_numparse=True) + "\n"


def main() -> None:
    """Writes the report."""
    parser = argparse.ArgumentParser(description="Write the report of leave-rubrics-out.")
    parser.add_argument("logs", type=Path, help="folder with NAME.eval of the base model and every adapter")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    page = page_of({name: read_eval_log(str(options.logs / f"{name}.eval")) for name in NAMES})
    options.out.write_text(page, encoding="utf-8", newline="\n")
    print(f"{options.out}: written")


if __name__ == "__main__":
    main()
