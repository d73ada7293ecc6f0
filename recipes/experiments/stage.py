"""Runs one command of an experiment and notes how long it took: what the rules of `stages.mk` call.

    python recipes/experiments/stage.py outputs/demo/stages/base.json inspect eval ... --log-dir logs/demo/base

The record, {"command", "seconds"}, is written when the command has ended well. An interrupted `inspect eval` goes on
from its fullest log. Programs are first looked for beside this Python.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

# glibc hands every large tensor back to the kernel and faults it in again; keeping it saves that time in every step
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
    begun = time.monotonic()
    if words := remaining(command):
        print(f"\n[{record.stem}] {' '.join(words)}", flush=True)
        environment = ENVIRONMENT | os.environ
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        if not sys.stdout.isatty():
            environment.setdefault("INSPECT_DISPLAY", "plain")
        code = subprocess.run(words, env=environment, check=False).returncode
        if code:
            sys.exit(f"{record.stem} ended with exit code {code}; start the same command again to go on from here")
        if words[0] == "inspect" and remaining(command):
            sys.exit(f"{record.stem} left no finished log; start the same command again to go on")
    write_json(record, {"command": " ".join(command), "seconds": round(time.monotonic() - begun, 1)})


def write_json(path: Path, content: Any) -> None:
    """Writes a whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
