"""The whole path on one small model: prepare it, make the data, benchmark, tune, benchmark again, report.

    python recipes/end_to_end.py --run demo                  # what `make demo` runs: 20 minutes on two quiet cores
    python recipes/end_to_end.py --run demo-smoke --smoke    # the same path with tiny limits
    python recipes/end_to_end.py --run NAME --full           # all data, every test prompt, all benchmarks, the curve

Each stage is a command a user would type, printed before it runs. Finished stages are skipped when the run is started
again with the same settings; an interrupted benchmark goes on from its log, an interrupted training from its last
checkpoint. Reports go to results/RUN, logs to logs/RUN, the adapter to outputs/RUN. What was made with other settings
is moved aside, to a name that ends in -old.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

BIN = Path(sys.executable).parent
MODEL = "models/smollm2-135m-instruct"
CONFIG = "recipes/configs/smollm2_135m_cpu.yaml"
BENCHMARK_CODE = ("cpt_tasks/dataset.py", "cpt_tasks/scorers.py", "judges/*.py")

# glibc hands every large tensor back to the kernel and faults it in again; keeping it saves that time in every step
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

    User prompts per (rubric, level), tokens per response, responses per batch, flags of `cpt twins`, whether the base
    model is also asked with the full rubric in its prompt, extra training flags, extra flags of the main benchmark,
    flags of the other benchmarks, and the adapters inside the output folder that the curve over training is drawn from
    (between the base model and the final adapter); with a curve, the logs are kept beside the results.
    """

    prompts_per_cell: int
    max_tokens: int
    batch: int
    twins: tuple[str, ...]
    full_rubric: bool = True
    training: tuple[str, ...] = ()
    adherence: tuple[str, ...] = ()
    others: dict[str, tuple[str, ...]] = field(default_factory=dict)
    curve: tuple[str, ...] = ()


SIZES = {
    "smoke": Size(1, 40, 12, twins=("--limit", "4"), training=("--max_steps", "2")),
    # 20 minutes in all: so neither the full-rubric baseline (five of them) nor all the training
    "demo": Size(
        *(5, 224, 30),
        twins=("--wordings", "1", "--eval-prompts", "1"),
        full_rubric=False,
        training=("--sft_epochs", "0.75", "--max_steps", "30"),
    ),
    "full": Size(
        *(24, 224, 48),
        twins=("--wordings", "2"),
        adherence=("-T", "also=measured"),
        others={
            "best_of_n": ("-T", "n=4", "-T", "limit_per_cell=4"),
            "dose_response": ("-T", "limit_per_cell=4"),
            "composition": ("-T", "max_pairs=3", "-T", "limit_per_cell=3"),
            "paraphrase_robustness": ("-T", "position=both", "-T", "limit_per_cell=2"),
            "drift": ("-T", "limit_per_family=24"),
        },
        curve=("sft", "checkpoint-80", "checkpoint-160"),
    ),
}
CURVE_PROMPTS_PER_CELL = 4


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


def plan(run: str, size: Size, config: str) -> list[Stage]:
    """The stages in order; only names and sizes differ between runs."""
    adapter, data, results = f"outputs/{run}/adapter", f"data/{run}", f"results/{run}"
    library = _files("rubrics/**/*.yaml")
    train_code = tuple(path for path in _files("recipes/*.py") if not path.endswith("end_to_end.py"))
    base = _benchmark("base", run, "smollm2-135m", MODEL, size, "model")
    stages = [
        Stage("model", ("python", "recipes/prepare_smollm2.py", "--out", MODEL), MODEL, always=True),
        Stage(
            "data",
            ("cpt", "twins", *size.twins, "--out", data),
            data,
            (*library, "data_gen/seed/responses.jsonl", *_files("data_gen/**/*.py")),
            always=True,
        ),
        base,
        *([_full_rubric(run, size)] if size.full_rubric else []),
        Stage(
            "train",
            (
                *("accelerate", "launch", "--config_file", "recipes/accelerate/cpu.yaml", "recipes/dpo_lora.py"),
                *("--config", config, "--train_file", f"{data}/train.jsonl", "--eval_file", f"{data}/eval.jsonl"),
                *("--output_dir", adapter, *size.training),
            ),
            adapter,
            (config, *train_code),
            ("model", "data"),
        ),
        _benchmark("cpt", run, "smollm2-135m-cpt", adapter, size, "train"),
        *(
            _benchmark(f"{task}/{stage}", run, name, path, size, needs, task, flags)
            for task, flags in size.others.items()
            for stage, name, path, needs in (
                ("base", "smollm2-135m", MODEL, "model"),
                ("cpt", "smollm2-135m-cpt", adapter, "train"),
            )
        ),
    ]
    logs = [stage.output for stage in stages if stage.is_benchmark]
    stages.append(Stage("report", ("cpt", "report", *logs, "--out", results), results, always=True))
    return stages + _curve(run, adapter, size)


def _full_rubric(run: str, size: Size) -> Stage:
    stage = _benchmark("full_rubric", run, "smollm2-135m", MODEL, size, "model")
    return replace(stage, command=(*stage.command, "-T", "prompting=full_rubric"))


def _curve(run: str, adapter: str, size: Size) -> list[Stage]:
    if not size.curve:
        return []
    small = replace(size, prompts_per_cell=CURVE_PROMPTS_PER_CELL, adherence=())
    points = {"base": MODEL} | {name: f"{adapter}/{name}" for name in size.curve} | {"final": adapter}
    stages = [_benchmark(f"curve/{name}", run, name, path, small, "train") for name, path in points.items()]
    out = f"results/{run}/curve"
    report = ("cpt", "report", *(stage.output for stage in stages), "--out", out)
    return [*stages, Stage("curve", report, out, always=True)]


def _benchmark(
    stage: str,
    run: str,
    name: str,
    path: str,
    size: Size,
    needs: str,
    task: str = "rubric_adherence",
    flags: tuple[str, ...] | None = None,
) -> Stage:
    log_dir = f"logs/{run}/{stage}"
    code = (f"cpt_tasks/{task}.py", *BENCHMARK_CODE)
    inputs = (*_files("rubrics/**/*.yaml"), *(file for pattern in code for file in _files(pattern)))
    if flags is None:
        flags = ("-T", f"limit_per_cell={size.prompts_per_cell}", *size.adherence)
    command = _evaluate(task, flags, name, path, size, log_dir)
    return Stage(stage, command, log_dir, inputs, (needs,), is_benchmark=True)


def _evaluate(task: str, flags: tuple[str, ...], name: str, path: str, size: Size, log_dir: str) -> tuple[str, ...]:
    model = ("--model", f"hf/{name}", "-M", f"model_path={path}", "-M", f"tokenizer_path={path}", "-M", "dtype=float32")
    adapter = () if path == MODEL else ("--metadata", f"adapter={name}")
    about = ("--metadata", f"base={Path(MODEL).name}", *adapter)
    judging = ("-T", "judge=measured", "-T", "rubrics=measured", *flags)
    sampling = ("--temperature", "0.7", "--seed", "42", "--max-tokens", str(size.max_tokens))
    batch = ("--max-connections", str(size.batch))
    return ("inspect", "eval", f"cpt_tasks/{task}", *model, *about, *judging, *sampling, *batch, "--log-dir", log_dir)


def _files(pattern: str) -> tuple[str, ...]:
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
    logs = _logs(stage.output)
    if any(log.status == "success" for log in logs):
        return ()
    if not logs:
        return stage.command
    fullest = max(logs, key=lambda log: len(log.samples or []))
    return ("inspect", "eval-retry", unquote(urlparse(fullest.location).path), "--log-dir", stage.output)


def _logs(folder: str) -> list[Any]:
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


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.with_suffix(".tmp")
    torn.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    torn.replace(path)


def run_all(run: str, size: Size, config: str) -> None:
    """Runs every stage that is not finished; the record of what is finished is outputs/RUN/stages.json."""
    record_file = Path("outputs") / run / "stages.json"
    record = json.loads(record_file.read_text(encoding="utf-8")) if record_file.is_file() else {}
    done: dict[str, str] = {}
    stages = plan(run, size, config)
    for stage in stages:
        done[stage.name] = fingerprint = fingerprint_of(stage, done)
        entry = record.get(stage.name, {})
        if entry.get("seconds") is not None and is_finished(stage, entry["fingerprint"], fingerprint):
            print(f"[{stage.name}] finished before, skipped", flush=True)
            continue
        begun = {"command": " ".join(stage.command), "fingerprint": fingerprint, "seconds": None}
        _write_json(record_file, record | {stage.name: begun})
        seconds = run_stage(stage, entry.get("fingerprint"), fingerprint)
        record[stage.name] = begun | {"seconds": round(seconds, 1)}
        _write_json(record_file, record)
    record = {stage.name: record[stage.name] for stage in stages}
    _write_json(Path("results") / run / "stages.json", record)
    if size.curve:
        _keep_record(run, stages)
    _print_summary(run, record)


def _keep_record(run: str, stages: list[Stage]) -> None:
    """Copies beside the results what they are recomputed from, and what the training says of itself."""
    for stage in stages:
        if stage.name == "train":
            kept = Path("results") / run / "training"
            kept.mkdir(parents=True, exist_ok=True)
            for name in ("run_manifest.json", "log_history.json"):
                shutil.copy(Path(stage.output) / name, kept / name)
        if not stage.is_benchmark:
            continue
        [path, *_] = [unquote(urlparse(log.location).path) for log in _logs(stage.output) if log.status == "success"]
        kept = Path("results") / run / "logs" / f"{stage.name}.eval"
        _keep_log(path, kept)


def _keep_log(path: str, kept: Path) -> None:
    """Copies a log without where its repository was cloned from, which can be a folder of this machine."""
    from inspect_ai.log import read_eval_log, write_eval_log

    log = read_eval_log(path)
    if log.eval.revision:
        log.eval.revision.origin = ""
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(log, str(kept))


def _print_summary(run: str, record: dict[str, dict[str, Any]]) -> None:
    report = Path("results") / run / "report.md"
    main_table = report.read_text(encoding="utf-8").split("\n\n### ")[0]
    print("\nwall time: " + ", ".join(f"{name} {entry['seconds']:.0f} s" for name, entry in record.items()))
    print("\n" + "\n".join(line for line in main_table.splitlines() if line.startswith("|")))
    print(f"\nreport and figures: {report.parent}/   adapter: outputs/{run}/adapter/")
    print(f"every response and judgment: inspect view --log-dir logs/{run}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="demo", help="name of the run and of its folders (default: demo)")
    parser.add_argument("--config", default=CONFIG, help=f"training config (default: {CONFIG})")
    size = parser.add_mutually_exclusive_group()
    for name, help_text in (("smoke", "1 user prompt per cell, 2 steps of training"), ("full", "all 24 test prompts")):
        size.add_argument(f"--{name}", dest="size", action="store_const", const=name, default="demo", help=help_text)
    options = parser.parse_args(arguments)
    os.chdir(Path(__file__).resolve().parent.parent)
    run_all(options.run, SIZES[options.size], options.config)


if __name__ == "__main__":
    main()
