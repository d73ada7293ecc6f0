"""Keeps beside the results of an experiment how they were made: what `end_to_end.mk` and `ablation.mk` call last.

    python recipes/experiments/keep.py results/demo outputs/demo/stages base train cpt [--logs] [--training FOLDER]

Writes stages.json, `{stage: {"command", "seconds"}}`; with `--logs` copies the log of every benchmark to logs/, with
`--training` a training's manifest and log; prints the main table of report.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from stage import path_of, read_logs, write_json


def keep_log(folder: str, kept: Path) -> None:
    """Copies a finished log without where its repository was cloned from, which can be a folder of this machine."""
    from inspect_ai.log import read_eval_log, write_eval_log

    [log] = [read_eval_log(path_of(log)) for log in read_logs(folder) if log.status == "success"]
    if log.eval.revision:
        log.eval.revision.origin = ""
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(log, str(kept))


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of the report")
    parser.add_argument("records", type=Path, help="folder of what stage.py wrote")
    parser.add_argument("stages", nargs="+", help="names, in order")
    parser.add_argument("--logs", action="store_true", help="copy the logs of benchmarks too")
    parser.add_argument("--training", type=Path, help="adapter folder to copy manifest and log of")
    options = parser.parse_args()
    results: Path = options.results
    records = {name: json.loads((options.records / f"{name}.json").read_text("utf-8")) for name in options.stages}
    write_json(results / "stages.json", records)
    for name, record in records.items():
        words = record["command"].split()
        if options.logs and words[:2] == ["inspect", "eval"]:
            kept = results / "logs" / f"{name.removesuffix('/judged')}.eval"
            keep_log(words[words.index("--log-dir") + 1], kept)
    if options.training:
        (results / "training").mkdir(parents=True, exist_ok=True)
        for name in ("run_manifest.json", "log_history.json"):
            shutil.copy(options.training / name, results / "training" / name)
    main_table = (results / "report.md").read_text("utf-8").split("\n\n### ")[0]
    print("\nwall time: " + ", ".join(f"{name} {record['seconds']:.0f} s" for name, record in records.items()))
    print("\n" + "\n".join(line for line in main_table.splitlines() if line.startswith("|")))
    print(f"\nreport and figures: {results}/")


if __name__ == "__main__":
    main()
