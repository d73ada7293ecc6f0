"""Runs commands that take long, one after another; finished ones are skipped when the run is started again.

An interrupted benchmark goes on from its log, an interrupted training from its last checkpoint. What was made with
other settings is moved aside, to a name that ends in -old. Used by `end_to_end.py` and `ablation.py`.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

BIN = Path(sys.executable).parent

# glibc hands every large tensor back to the kernel and faults it in again; keeping it saves that time in every step
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
}


@dataclass(frozen=True)
class Stage:
    """One command.

    Attributes:
        name: Unique in the run.
        command: What is run, by the programs of this environment.
        inputs: Files whose content decides the result.
        needs: Earlier stages whose results it uses.
        output: Folder it writes; a benchmark's is its log folder.
        is_benchmark: Whether the command is `inspect eval`.
        always: Whether it runs every time, being quick and leaving the same result.
    """

    name: str
    command: tuple[str, ...]
    output: str
    inputs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    is_benchmark: bool = False
    always: bool = False


@dataclass(frozen=True)
class Evaluated:
    """A model folder as a benchmark sees it.

    Attributes:
        name: In logs and reports.
        path: Folder of model or adapter.
        base: Name of the base model.
        adapter: Name of the adapter; None for a model without.
        max_tokens: Per response.
        batch: Responses generated at a time.
    """

    name: str
    path: str
    base: str
    adapter: str | None = None
    max_tokens: int = 224
    batch: int = 48


def evaluation(task: str, model: Evaluated, flags: Sequence[str], log_dir: str) -> tuple[str, ...]:
    """The command that asks a local model a benchmark, judged by the measured judge; `flags` are for the task."""
    folder = ("-M", f"model_path={model.path}", "-M", f"tokenizer_path={model.path}", "-M", "dtype=float32")
    adapter = ("--metadata", f"adapter={model.adapter}") if model.adapter else ()
    about = ("--metadata", f"base={model.base}", *adapter)
    judging = ("-T", "judge=measured", "-T", "rubrics=measured", *flags)
    sampling = ("--temperature", "0.7", "--seed", "42", "--max-tokens", str(model.max_tokens))
    command = ("inspect", "eval", f"cpt_tasks/{task}", "--model", f"hf/{model.name}", *folder, *about, *judging)
    return (*command, *sampling, "--max-connections", str(model.batch), "--log-dir", log_dir)


LAUNCH = ("accelerate", "launch", "--config_file", "recipes/accelerate/cpu.yaml", "recipes/dpo_lora.py")
BENCHMARK_CODE = ("cpt_tasks/dataset.py", "cpt_tasks/scorers.py", "judges/*.py")

# scripts of recipes/ that no training runs through
NO_TRAINING = {"ablation.py", "ablation_table.py", "end_to_end.py", "hub.py", "prepare_smollm2.py", "prepare_tiny.py"}
NO_TRAINING |= {"run_commands.py", "training_figure.py"}


def benchmark_inputs(task: str) -> tuple[str, ...]:
    """The rubrics, and the code that decides what a benchmark asks and how it is judged."""
    code = (f"cpt_tasks/{task}.py", *BENCHMARK_CODE)
    return (*files("rubrics/**/*.yaml"), *(file for pattern in code for file in files(pattern)))


def training_code() -> tuple[str, ...]:
    """The scripts that decide what a training gives."""
    return tuple(path for path in files("recipes/*.py") if Path(path).name not in NO_TRAINING)


def files(pattern: str) -> tuple[str, ...]:
    """Paths that fit, in order."""
    return tuple(sorted(str(path) for path in Path().glob(pattern)))


def fingerprint_of(stage: Stage, done: dict[str, str]) -> str:
    """Hash of a stage's command, of the content of its inputs and of the fingerprints of the stages it needs."""
    digest = hashlib.sha256(json.dumps(stage.command).encode())
    for path in stage.inputs:
        digest.update(Path(path).read_bytes())
    for name in stage.needs:
        digest.update(done[name].encode())
    return digest.hexdigest()[:16]


def is_finished(stage: Stage, recorded: str | None, fingerprint: str) -> bool:
    """Whether the stage was recorded with this fingerprint and what it wrote is still there."""
    return not stage.always and recorded == fingerprint and Path(stage.output).exists()


def run_stage(stage: Stage, recorded: str | None, fingerprint: str) -> float:
    """Runs one stage and returns its wall time in seconds.

    Args:
        stage: What to run.
        recorded: Fingerprint of what its output folder holds, finished or not; None if nothing is known of it.
        fingerprint: Of this run.

    Raises:
        SystemExit: If the command fails, or a benchmark ends without a finished log (`inspect eval` exits with 0 then).
    """
    started = time.monotonic()
    if not stage.always and recorded != fingerprint:
        _move_aside(Path(stage.output))
    command = resume_command(stage) if stage.is_benchmark else stage.command
    if command:
        print(f"\n[{stage.name}] {' '.join(command)}", flush=True)
        environment = ENVIRONMENT | os.environ
        if not sys.stdout.isatty():
            environment.setdefault("INSPECT_DISPLAY", "plain")
        code = subprocess.run([str(BIN / command[0]), *command[1:]], env=environment, check=False).returncode
        if code:
            sys.exit(f"stage {stage.name} ended with exit code {code}; start the same command again to go on from here")
    if stage.is_benchmark and resume_command(stage):
        sys.exit(f"stage {stage.name} left no finished log in {stage.output}; start the same command again to go on")
    return time.monotonic() - started


def resume_command(stage: Stage) -> tuple[str, ...]:
    """What finishes a benchmark: nothing, a retry of its fullest interrupted log, or the command from scratch."""
    logs = read_logs(stage.output)
    if any(log.status == "success" for log in logs):
        return ()
    if not logs:
        return stage.command
    fullest = max(logs, key=lambda log: len(log.samples or []))
    return ("inspect", "eval-retry", unquote(urlparse(fullest.location).path), "--log-dir", stage.output)


def read_logs(folder: str) -> list[Any]:
    """The evaluation logs of a folder, finished or not."""
    from inspect_ai.log import list_eval_logs, read_eval_log

    if not Path(folder).is_dir():
        return []
    return [read_eval_log(info.name) for info in list_eval_logs(folder, recursive=False)]


def _move_aside(folder: Path) -> None:
    if folder.exists():
        stamp = time.strftime("%Y%m%d-%H%M%S")
        top, *rest = folder.parts
        aside = Path(top) / f"{'-'.join(rest)}-{stamp}-old"
        folder.rename(aside)
        print(f"{folder} was made with other settings: moved to {aside}", flush=True)


def write_json(path: Path, content: Any) -> None:
    """Writes a whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.with_suffix(".tmp")
    torn.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    torn.replace(path)


def finished_log(folder: str) -> str:
    """Path of the finished log of a benchmark's folder.

    Raises:
        FileNotFoundError: If there is none.
    """
    for log in read_logs(folder):
        if log.status == "success":
            return unquote(urlparse(log.location).path)
    raise FileNotFoundError(f"{folder}: no finished evaluation log")


def keep_log(folder: str, kept: Path) -> None:
    """Copies a finished log without where its repository was cloned from, which can be a folder of this machine."""
    from inspect_ai.log import read_eval_log, write_eval_log

    log = read_eval_log(finished_log(folder))
    if log.eval.revision:
        log.eval.revision.origin = ""
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(log, str(kept))


def run_stages(stages: Sequence[Stage], record_file: Path) -> dict[str, dict[str, Any]]:
    """Runs every stage that is not finished.

    Args:
        stages: In order; names are unique, and a stage needs only earlier ones.
        record_file: JSON of what is finished, read and kept up to date.

    Returns:
        Its entries for these stages: `{"command", "fingerprint", "seconds"}` by name; seconds of wall time.

    Raises:
        SystemExit: As `run_stage`.
    """
    record = json.loads(record_file.read_text(encoding="utf-8")) if record_file.is_file() else {}
    done: dict[str, str] = {}
    for stage in stages:
        done[stage.name] = fingerprint = fingerprint_of(stage, done)
        entry = record.get(stage.name, {})
        if entry.get("seconds") is not None and is_finished(stage, entry["fingerprint"], fingerprint):
            print(f"[{stage.name}] finished before, skipped", flush=True)
            continue
        begun = {"command": " ".join(stage.command), "fingerprint": fingerprint, "seconds": None}
        write_json(record_file, record | {stage.name: begun})
        seconds = run_stage(stage, entry.get("fingerprint"), fingerprint)
        record[stage.name] = begun | {"seconds": round(seconds, 1)}
        write_json(record_file, record)
    return {stage.name: record[stage.name] for stage in stages}
