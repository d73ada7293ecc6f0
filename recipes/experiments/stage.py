"""Runs the commands of an experiment and keeps what they leave: what the rules of `stages.mk` call.

    python recipes/experiments/stage.py outputs/demo/stages/base.json inspect eval ... --log-dir logs/demo/base
    python recipes/experiments/stage.py --keep results/demo outputs/demo/stages base train cpt

The first runs one command. Its record, {"command", "seconds"}, is written when it has ended well, with null seconds if
it had to be started again; an interrupted `inspect eval` goes on from its fullest log; programs are first looked for
beside this Python. The second puts the records beside the results as stages.json, with the log of every benchmark and
the manifest and losses of every `train`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

# glibc hands every large tensor back to the kernel and faults it in again; the recipe stops that itself, evaluations so
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
}


def logs_of(command: list[str]) -> list[Any]:
    """The logs, finished or not, in the folder that an `inspect eval` writes to."""
    from inspect_ai.log import list_eval_logs, read_eval_log

    folder = command[command.index("--log-dir") + 1]
    infos = list_eval_logs(folder, recursive=False) if Path(folder).is_dir() else []
    return [read_eval_log(info) for info in infos]


def remaining(command: list[str]) -> list[str]:
    """What finishes a command: itself; for a benchmark nothing, or a retry of its fullest interrupted log."""
    logs = logs_of(command) if command[:2] == ["inspect", "eval"] else []
    if not logs:
        return command
    if any(log.status == "success" for log in logs):
        return []
    fullest = max(logs, key=lambda log: len(log.samples or []))
    path = unquote(urlparse(fullest.location).path)
    return ["inspect", "eval-retry", path, *command[command.index("--log-dir") :]]


def run(record: Path, command: list[str]) -> None:
    """Runs what remains of a command and writes its record.

    Raises:
        SystemExit: If the command fails, or a benchmark ends without a finished log (`inspect eval` exits with 0 then).
    """
    begun, unfinished = time.monotonic(), record.with_suffix(".unfinished")
    goes_on = unfinished.exists()
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    unfinished.touch()
    if words := remaining(command):
        print(f"\n[{record.stem}] {shlex.join(words)}", flush=True)
        environment = ENVIRONMENT | os.environ
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        if not sys.stdout.isatty():
            environment.setdefault("INSPECT_DISPLAY", "plain")
        code = subprocess.run(words, env=environment, check=False).returncode
        if code:
            sys.exit(f"{record.stem} ended with exit code {code}; start the same command again to go on from here")
        if words[0] == "inspect" and remaining(command):
            sys.exit(f"{record.stem} left no finished log; start the same command again to go on")
    seconds = None if goes_on else round(time.monotonic() - begun, 1)
    write_json(record, {"command": shlex.join(command), "seconds": seconds})
    unfinished.unlink()


def write_json(path: Path, content: Any) -> None:
    """Writes a whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def keep_log(command: list[str], kept: Path) -> None:
    """Copies a finished log without where its repository was cloned from, which can be a folder of this machine."""
    from inspect_ai.log import write_eval_log

    [log] = [log for log in logs_of(command) if log.status == "success"]
    if log.eval.revision:
        log.eval.revision.origin = ""
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(log, str(kept))


def keep(results: Path, records: Path, *stages: str) -> None:
    """Puts beside the results of an experiment how they were made, by the records of these stages, in order."""
    kept = {name: json.loads((records / f"{name}.json").read_text("utf-8")) for name in stages}
    write_json(results / "stages.json", kept)
    for name, record in kept.items():
        command = shlex.split(record["command"])
        if command[:2] == ["inspect", "eval"]:
            keep_log(command, results / "logs" / f"{name.removesuffix('/judged')}.eval")
        if Path(name).name == "train":
            adapter = Path(command[command.index("--output_dir") + 1])
            kept_training = results / Path(name).parent / "training"
            kept_training.mkdir(parents=True, exist_ok=True)
            for file in ("run_manifest.json", "log_history.json"):
                shutil.copy(adapter / file, kept_training / file)
    print("\nseconds: " + ", ".join(f"{name} {record['seconds']}" for name, record in kept.items()))
    print(f"report and figures: {results}/")


def show(folder: str) -> None:
    """Prints what the log in a folder has for its first rubric and user prompt: system prompts, scores, responses."""
    [log] = [log for log in logs_of(["--log-dir", folder]) if log.status == "success"]
    samples = {sample.id.rsplit("-", 1)[0]: sample for sample in log.samples or []}
    rubric, _, user_prompt = next(iter(samples)).split("-")
    asked = {level: samples.get(f"{rubric}-{level}-{user_prompt}") for level in ("low", "moderate", "extremely_high")}
    for number, (level, sample) in enumerate((level, sample) for level, sample in asked.items() if sample):
        system, user = (message.text for message in sample.input)
        [score] = sample.scores.values()
        print("" if number else f"\n{log.eval.model}, asked by three system prompts of rubric {rubric}: {user}")
        print(f"  {level}: {system}\n  {score.value:.0f} of 100: {sample.output.completion[:300]!r}")


if __name__ == "__main__":
    if sys.argv[1] == "--keep":
        keep(Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
    elif sys.argv[1] == "--show":
        show(sys.argv[2])
    else:
        run(Path(sys.argv[1]), sys.argv[2:])
