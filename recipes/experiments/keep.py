"""Keeps beside the results of an experiment how they were made: what `end_to_end.mk` and `ablation.mk` call last.

    python recipes/experiments/keep.py results/demo outputs/demo/stages base train cpt [--logs] [--training FOLDER]

Writes stages.json, `{stage: {"command", "seconds"}}`; with `--logs` copies the log of every benchmark to logs/, with
`--training` a training's manifest and log.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from stage import logs_of, write_json


def keep_log(command: list[str], kept: Path) -> None:
    """Copies a finished log without where its repository was cloned from, which can be a folder of this machine."""
    from inspect_ai.log import write_eval_log

    [log] = [log for log in logs_of(command) if log.status == "success"]
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
    records = {name: json.loads((options.records / f"{name}.json").read_text("utf-8")) for name in options.stages}
    write_json(options.results / "stages.json", records)
    for name, record in records.items():
        words = record["command"].split()
        if options.logs and words[:2] == ["inspect", "eval"]:
            keep_log(words, options.results / "logs" / f"{name.removesuffix('/judged')}.eval")
    if options.training:
        (options.results / "training").mkdir(parents=True, exist_ok=True)
        for name in ("run_manifest.json", "log_history.json"):
            shutil.copy(options.training / name, options.results / "training" / name)
    print("\nwall time: " + ", ".join(f"{name} {record['seconds']:.0f} s" for name, record in records.items()))
    print(f"report and figures: {options.results}/")


if __name__ == "__main__":
    main()
