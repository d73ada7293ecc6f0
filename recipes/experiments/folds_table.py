"""The table of `make folds`: rubrics never trained, against the base model and against training on them.

python recipes/experiments/folds_table.py results/folds/logs --folds RUBRICS RUBRICS RUBRICS --out report.md
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
ALL = "all twelve"
CURVE = {"2": "fold-1-of-2", "4": "fold-1-of-4", "8": "fold-1", "8, these among them": "fold-2"}
STATISTICS = {"macro_accuracy": "accuracy", "somers_d": "order", "band_error": "calibration"}
HEAD = """\
# Rubrics never trained

The twelve measured rubrics in three folds: adapters are trained on rubrics outside a fold and asked for those in it;
`base` is the model before tuning. All trainings had as many pairs and steps a rubric, at the two outer levels alone,
low and extremely high. Test prompts and system prompts are in no training. Differences have 95% intervals over user
prompts, paired by them (`cpt compare`). Commands: `stages.json`.

`accuracy` is the share of scores in the band asked for, at most .50 if the level is ignored, less where scores lie
between the bands; `order` is 0 then, and 1 at best; `calibration` is the mean distance from the band in points, 0 at
best: a difference below 0 is a gain.

`never trained` is the adapter trained on the eight rubrics outside the fold, `trained` the adapter of the next fold,
which was trained on them and four others; over all twelve, each rubric counts with one adapter that has not seen it and
one that has.
"""
SCORES_HEAD = """\
## Scores by rubric

Mean scores of the answers asked for at low and at extremely high, 0 to 100.
"""
CURVE_HEAD = """\
## How many rubrics were trained

On the rubrics of fold 1. The 2 are among the 4, the 4 among the 8; which rubrics join is not varied, so a step of the
curve can be that of one rubric like those asked for, or of a longer training. Differences are from `base`, 0 trained.
`those trained - base` is the gain of accuracy on the adapter's own rubrics.
"""


def only(log: EvalLog, rubrics: Iterable[str]) -> EvalLog:
    """The log with only the samples of some rubrics."""
    kept = set(rubrics)
    return log.model_copy(update={"samples": [one for one in log.samples or [] if one.metadata["rubric"] in kept]})


def together(logs: Iterable[EvalLog]) -> EvalLog:
    """One log with the samples of several."""
    first, *others = logs
    samples = [sample for log in (first, *others) for sample in log.samples or []]
    return first.model_copy(update={"samples": samples})


def compared(first: EvalLog, second: EvalLog) -> dict[str, Any]:
    """By statistic `a`, `b` and their `difference` b - a, as `cpt compare` gives them on the rubrics of the second."""
    asked = {sample.metadata["rubric"] for sample in second.samples or []}
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, f"{side}.eval")) for side in "ab"]
        for log, path in zip((only(first, asked), second), paths, strict=True):
            write_eval_log(log, path)
        command = [str(Path(sys.executable).parent / "cpt"), "compare", *paths, "--out", folder]
        subprocess.run(command, check=True, capture_output=True)
        statistics: dict[str, Any] = json.loads(Path(folder, "compare.json").read_text(encoding="utf-8"))["statistics"]
    return statistics


def mean_scores(log: EvalLog) -> pd.Series:
    """Mean scores at the two levels by rubric, as cells."""
    rows = [one.metadata | {"score": score.value} for one in log.samples or [] for score in (one.scores or {}).values()]
    means = pd.DataFrame(rows).pivot_table(values="score", index="rubric", columns="level").map("{:.0f}".format)
    return means["low"] + " to " + means["extremely_high"]


def difference(statistic: dict[str, Any]) -> str:
    """The difference of a statistic of `compared` as a cell."""
    return show(pd.Series(statistic["difference"], dtype=float), "+")


def value(statistic: dict[str, Any], side: str) -> str:
    """A side, "a" or "b", of a statistic of `compared` as a cell."""
    return "undefined" if statistic[side] is None else f"{statistic[side]:.2f}"


def gains(base: EvalLog, unseen: EvalLog, seen: EvalLog) -> dict[str, dict[str, str]]:
    """By statistic the cells of a row: the three logs, and what never having trained gains over the other two."""
    gained, kept_back = compared(base, unseen), compared(seen, unseen)
    rows = {}
    for one, title in STATISTICS.items():
        values = {"base": value(gained[one], "a"), "never trained": value(gained[one], "b")}
        values |= {"trained": value(kept_back[one], "a"), "never trained - base": difference(gained[one])}
        rows[title] = values | {"never trained - trained": difference(kept_back[one])}
    return rows


def page_of(logs: dict[str, EvalLog], folds: dict[str, list[str]]) -> str:
    """The report as Markdown, from the logs of the base model and all adapters by name and the rubrics of each fold."""
    never = {fold: only(logs[fold], rubrics) for fold, rubrics in folds.items()}
    trained = {fold: only(logs[other], folds[fold]) for fold, other in zip(FOLDS, FOLDS[1:] + FOLDS[:1], strict=True)}
    unseen, seen = together(never.values()), together(trained.values())
    tables = {ALL: [{ALL: title} | row for title, row in gains(logs["base"], unseen, seen).items()]}
    by_fold = {fold: gains(logs["base"], never[fold], trained[fold]) for fold in folds}
    for title in STATISTICS.values():
        tables[title] = [{"rubrics": f"{fold}: {', '.join(folds[fold])}"} | row[title] for fold, row in by_fold.items()]
    curve = list[dict[str, str]]()
    for count, name in CURVE.items():
        point = compared(logs["base"], only(logs[name], folds["fold-1"]))
        if not curve:
            curve.append({"trained": "0"} | {title: value(point[one], "a") for one, title in STATISTICS.items()})
        row = {"trained": count} | {title: value(point[one], "b") for one, title in STATISTICS.items()}
        row |= {f"{title} - base": difference(point[one]) for one, title in STATISTICS.items()}
        if name.startswith("fold-1"):
            own = {sample.metadata["rubric"] for sample in logs[name].samples or []} - {*folds["fold-1"]}
            row["those trained - base"] = difference(compared(logs["base"], only(logs[name], own))["macro_accuracy"])
        curve.append(row)
    columns = {"base": logs["base"], "never trained": unseen, "trained": seen}
    scores = pd.DataFrame({title: mean_scores(log) for title, log in columns.items()}).loc[sum(folds.values(), [])]
    parts = [part for title, rows in tables.items() for part in (f"## {title.capitalize()}\n", _table(rows))]
    return "\n".join([HEAD, *parts, SCORES_HEAD, _table(scores.reset_index(names="rubric")), CURVE_HEAD, _table(curve)])


def _table(rows: list[dict[str, str]] | pd.DataFrame) -> str:
    return pd.DataFrame(rows).fillna("").to_markdown(index=False, disable_numparse=True) + "\n"


def main() -> None:
    """Writes the report."""
    parser = argparse.ArgumentParser(description="Write the report of leave-rubrics-out.")
    parser.add_argument("logs", type=Path, help="folder with NAME.eval of the base model and every adapter")
    parser.add_argument("--folds", nargs=len(FOLDS), required=True, help="rubrics of each fold, separated by commas")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    folds = {fold: rubrics.split(",") for fold, rubrics in zip(FOLDS, options.folds, strict=True)}
    logs = {path.stem: read_eval_log(str(path)) for path in sorted(options.logs.glob("*.eval"))}
    if missing := {"base", *FOLDS, *CURVE.values()} - logs.keys():
        parser.error(f"{options.logs}: got logs of {sorted(logs)}, expected also {sorted(missing)}; run folds.mk")
    options.out.write_text(page_of(logs, folds), encoding="utf-8", newline="\n")
    print(f"{options.out}: written")


if __name__ == "__main__":
    main()
