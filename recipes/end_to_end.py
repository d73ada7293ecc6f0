"""The whole path on one small model: prepare it, make the data, benchmark, tune, benchmark again, report.

    python recipes/end_to_end.py --run demo            # what `make demo` runs: about 20 minutes on two cores
    python recipes/end_to_end.py --run smoke --smoke   # the same path with tiny limits
    python recipes/end_to_end.py --run NAME --full     # all data, every test prompt, and the curve over training

Each stage is a command a user would type, printed before it runs. Finished stages are skipped when the run is started
again with the same settings; an interrupted benchmark goes on from its log, an interrupted training from its last
checkpoint. Reports go to results/RUN, logs to logs/RUN, the adapter to outputs/RUN.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

BIN = Path(sys.executable).parent
MODEL = "models/smollm2-135m-instruct"
CONFIG = "recipes/configs/smollm2_135m_cpu.yaml"
TASK = "cpt_tasks/rubric_adherence"

# glibc hands every large tensor back to the kernel and faults it in again; keeping it makes a CPU step 1.2-1.6x faster
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
}


@dataclass(frozen=True)
class Size:
    """How much of the path to run.

    User prompts per (rubric, level), tokens per response, responses per batch, flags of `cpt twins`, extra training
    flags, and the adapters inside the output folder that the curve over training is drawn from (between the base model
    and the final adapter).
    """

    prompts_per_cell: int
    max_tokens: int
    batch: int
    twins: tuple[str, ...]
    training: tuple[str, ...] = ()
    curve: tuple[str, ...] = ()


SIZES = {
    "smoke": Size(1, 40, 12, twins=("--limit", "4"), training=("--max_steps", "2")),
    "demo": Size(6, 224, 36, twins=("--wordings", "1"), training=("--max_steps", "100")),
    "full": Size(24, 224, 48, twins=("--wordings", "2"), curve=("sft", "checkpoint-80", "checkpoint-160")),
}
CURVE_PROMPTS_PER_CELL = 4


@dataclass(frozen=True)
class Stage:
    """One command. `inputs` are files whose content decides its result; `needs` are earlier stages."""

    name: str
    command: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    log_dir: str | None = None


def plan(run: str, size: Size, config: str) -> list[Stage]:
    """The stages in order; only the adapter's name and the sizes differ between runs."""
    adapter, data = f"outputs/{run}", f"data/{run}"
    files = ("--train_file", f"{data}/train.jsonl", "--eval_file", f"{data}/eval.jsonl")
    library = tuple(sorted(str(path) for path in Path("rubrics").rglob("*.yaml")))
    logs = {name: f"logs/{run}/{name}" for name in ("base", "full_rubric", "cpt")}
    train = ("accelerate", "launch", "--config_file", "recipes/accelerate/cpu.yaml", "recipes/dpo_lora.py")
    code = tuple(sorted(str(path) for path in Path("recipes").glob("*.py") if path.name != Path(__file__).name))
    return [
        Stage("model", ("python", "recipes/prepare_smollm2.py", "--out", MODEL)),
        Stage("data", ("cpt", "twins", *size.twins, "--out", data), (*library, "data_gen/seed/responses.jsonl")),
        Stage("base", _evaluate("smollm2-135m", MODEL, size, logs["base"]), library, ("model",), logs["base"]),
        Stage(
            "full_rubric",
            (*_evaluate("smollm2-135m", MODEL, size, logs["full_rubric"]), "-T", "prompting=full_rubric"),
            library,
            ("model",),
            logs["full_rubric"],
        ),
        Stage(
            "train",
            (*train, "--config", config, *files, "--output_dir", adapter, *size.training),
            (config, *code),
            ("model", "data"),
        ),
        Stage("cpt", _evaluate("smollm2-135m-cpt", adapter, size, logs["cpt"]), library, ("train",), logs["cpt"]),
        Stage("report", ("cpt", "report", *logs.values(), "--out", f"results/{run}"), needs=tuple(logs)),
        *_curve(run, adapter, size, library),
    ]


def _curve(run: str, adapter: str, size: Size, library: tuple[str, ...]) -> list[Stage]:
    if not size.curve:
        return []
    small = replace(size, prompts_per_cell=CURVE_PROMPTS_PER_CELL)
    points = {"base": MODEL} | {name: f"{adapter}/{name}" for name in size.curve} | {"final": adapter}
    stages = []
    for name, path in points.items():
        log_dir = f"logs/{run}/curve/{name}"
        stages.append(Stage(f"curve {name}", _evaluate(name, path, small, log_dir), library, ("train",), log_dir))
    logs = [str(stage.log_dir) for stage in stages]
    report = ("cpt", "report", *logs, "--out", f"results/{run}/curve")
    return [*stages, Stage("curve", report, needs=tuple(stage.name for stage in stages))]


def _evaluate(name: str, path: str, size: Size, log_dir: str) -> tuple[str, ...]:
    model = ("--model", f"hf/{name}", "-M", f"model_path={path}", "-M", f"tokenizer_path={path}", "-M", "dtype=float32")
    task = ("-T", "judge=measured", "-T", "rubrics=measured", "-T", f"limit_per_cell={size.prompts_per_cell}")
    sampling = ("--temperature", "0.7", "--seed", "42", "--max-tokens", str(size.max_tokens))
    batch = ("--max-connections", str(size.batch))
    return ("inspect", "eval", TASK, *model, *task, *sampling, *batch, "--log-dir", log_dir)


def run_stage(stage: Stage, fingerprint: str) -> float:
    """Runs one stage and returns its wall time in seconds; stops the program if its command fails."""
    command = stage.command
    if stage.log_dir:
        command = _resumed(stage, fingerprint)
    started = time.monotonic()
    if command:
        print(f"\n[{stage.name}] {' '.join(command)}", flush=True)
        environment = ENVIRONMENT | os.environ
        if not sys.stdout.isatty():
            environment.setdefault("INSPECT_DISPLAY", "plain")
        code = subprocess.run([str(BIN / command[0]), *command[1:]], env=environment, check=False).returncode
        if code:
            sys.exit(f"stage {stage.name} ended with exit code {code}; start the same command again to go on from here")
    return time.monotonic() - started


def _resumed(stage: Stage, fingerprint: str) -> tuple[str, ...]:
    """The command that finishes a benchmark: nothing, a retry of an interrupted log, or the benchmark from scratch.

    Logs of other settings are moved aside, so that a report never mixes runs.
    """
    from inspect_ai.log import list_eval_logs, read_eval_log

    folder = Path(str(stage.log_dir))
    marker = folder / "fingerprint.txt"
    if folder.exists() and (not marker.is_file() or marker.read_text() != fingerprint):
        folder.rename(folder.with_name(f"{folder.name}-{time.strftime('%Y%m%d-%H%M%S')}-old"))
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(fingerprint)
    logs = list_eval_logs(str(folder))
    statuses = {info.name: read_eval_log(info.name, header_only=True).status for info in logs}
    if "success" in statuses.values():
        return ()
    if logs:  # newest first
        return ("inspect", "eval-retry", logs[0].name.removeprefix("file://"), "--log-dir", str(folder))
    return stage.command


def fingerprint_of(stage: Stage, done: dict[str, str]) -> str:
    """Hash of a stage's command, of the content of its inputs and of the fingerprints of the stages it needs."""
    digest = hashlib.sha256(json.dumps(stage.command).encode())
    for path in stage.inputs:
        digest.update(Path(path).read_bytes())
    for name in stage.needs:
        digest.update(done[name].encode())
    return digest.hexdigest()[:16]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs every stage that is not finished yet and prints the wall time of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="demo", help="name of the run and of its folders (default: demo)")
    parser.add_argument("--config", default=CONFIG, help=f"training config (default: {CONFIG})")
    size = parser.add_mutually_exclusive_group()
    for name, help_text in (("smoke", "1 user prompt per cell, seconds of training"), ("full", "all 24 test prompts")):
        size.add_argument(f"--{name}", dest="size", action="store_const", const=name, default="demo", help=help_text)
    options = parser.parse_args(arguments)
    os.chdir(Path(__file__).resolve().parent.parent)

    record_file = Path("results") / options.run / "stages.json"
    record_file.parent.mkdir(parents=True, exist_ok=True)
    record = json.loads(record_file.read_text()) if record_file.is_file() else {}
    done: dict[str, str] = {}
    for stage in plan(options.run, SIZES[options.size], options.config):
        fingerprint = fingerprint_of(stage, done)
        finished = record.get(stage.name, {}).get("fingerprint") == fingerprint
        if finished:
            print(f"[{stage.name}] finished before, skipped", flush=True)
        else:
            seconds = run_stage(stage, fingerprint)
            record[stage.name] = {
                "command": " ".join(stage.command),
                "seconds": round(seconds, 1),
                "fingerprint": fingerprint,
            }
            record_file.write_text(json.dumps(record, indent=1) + "\n")
        done[stage.name] = fingerprint
    _print_summary(options.run, record)


def _print_summary(run: str, record: dict[str, dict[str, str]]) -> None:
    report = Path("results") / run / "report.md"
    table = [line for line in report.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    print("\nwall time: " + ", ".join(f"{name} {entry['seconds']} s" for name, entry in record.items()))
    print("\n" + "\n".join(table[: table.index(next(line for line in table if "level" in line))]))
    print(f"\nreport and figures: {report.parent}/   logs: inspect view --log-dir logs/{run}   adapter: outputs/{run}/")


if __name__ == "__main__":
    main()
