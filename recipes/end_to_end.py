"""The whole path on one small model: prepare it, make the data, benchmark, tune, benchmark again, report.

    python recipes/end_to_end.py --run demo                  # what `make demo` runs: 20 minutes on two quiet cores
    python recipes/end_to_end.py --run demo-smoke --smoke    # the same path with tiny limits
    python recipes/end_to_end.py --run NAME --full           # all data, every test prompt, all benchmarks, the curve

Each stage is a command a user would type, printed before it runs. Finished stages are skipped when the run is started
again with the same settings, interrupted ones go on (`run_commands.py`). Reports go to results/RUN, logs to logs/RUN,
the adapter to outputs/RUN.
"""

import argparse
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from run_commands import (
    LAUNCH,
    Evaluated,
    Stage,
    benchmark_inputs,
    evaluation,
    files,
    keep_log,
    run_stages,
    training_code,
    write_json,
)

MODEL = "models/smollm2-135m-instruct"
CONFIG = "recipes/configs/smollm2_135m_cpu.yaml"


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


def plan(run: str, size: Size, config: str) -> list[Stage]:
    """The stages in order; only names and sizes differ between runs."""
    adapter, data, results = f"outputs/{run}/adapter", f"data/{run}", f"results/{run}"
    library = files("rubrics/**/*.yaml")
    base = _benchmark("base", run, "smollm2-135m", MODEL, size, "model")
    stages = [
        Stage("model", ("python", "recipes/prepare_smollm2.py", "--out", MODEL), MODEL, always=True),
        Stage(
            "data",
            ("cpt", "twins", *size.twins, "--out", data),
            data,
            (*library, "data_gen/seed/responses.jsonl", *files("data_gen/**/*.py")),
            always=True,
        ),
        base,
        *([_full_rubric(run, size)] if size.full_rubric else []),
        Stage(
            "train",
            (
                *LAUNCH,
                *("--config", config, "--train_file", f"{data}/train.jsonl", "--eval_file", f"{data}/eval.jsonl"),
                *("--output_dir", adapter, *size.training),
            ),
            adapter,
            (config, *training_code()),
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
    if flags is None:
        flags = ("-T", f"limit_per_cell={size.prompts_per_cell}", *size.adherence)
    adapter = None if path == MODEL else name
    about = Evaluated(name, path, base=Path(MODEL).name, adapter=adapter, max_tokens=size.max_tokens, batch=size.batch)
    return Stage(
        stage, evaluation(task, about, flags, log_dir), log_dir, benchmark_inputs(task), (needs,), is_benchmark=True
    )


def run_all(run: str, size: Size, config: str) -> None:
    """Runs every stage that is not finished; the record of what is finished is outputs/RUN/stages.json."""
    stages = plan(run, size, config)
    record = run_stages(stages, Path("outputs") / run / "stages.json")
    write_json(Path("results") / run / "stages.json", record)
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
        if stage.is_benchmark:
            keep_log(stage.output, Path("results") / run / "logs" / f"{stage.name}.eval")


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
