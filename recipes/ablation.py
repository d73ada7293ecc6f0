"""Which objective makes a model most configurable for the same pairs: every option of the recipe, and plain `trl dpo`.

    python recipes/ablation.py --model smollm2                   # SmolLM2-135M: an hour and a half on one core
    python recipes/ablation.py --model tiny --seeds 0 1 2 3 4    # 1.7 million parameters: an hour on one core

All variants start from the same model that SFT made, see the same number of pairs of the same file, and are judged by
`rubric_adherence` on test prompts and system prompts that no training saw. Runs go on where they were stopped. Reports
go to results/ablations, `ablation_table.py` makes the table.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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

CONFIG = "recipes/ablation.yaml"
DATA = "data/ablation"
TASK = "rubric_adherence"
TRL = "trl_dpo"
SIGMOID = ("--loss_type", "sigmoid")
# flags of dpo_lora.py; at a gap of 90 points the offset is 2.3 reward units, and the beta of sigmoid_norm is Tulu 3's
VARIANTS: dict[str, tuple[str, ...]] = {
    TRL: (),  # not ours: TRL's own command on the same file, shuffled
    "shuffled": (*SIGMOID, "--twin_batching", "false"),
    "twins": SIGMOID,
    "twins_joint": (*SIGMOID, "--joint_weight", "1"),
    "twins_offset": (*SIGMOID, "--score_offset", "0.5"),
    "twins_sft": ("--loss_type", "sigmoid", "sft", "--loss_weights", "1", "1"),
    "twins_norm": ("--loss_type", "sigmoid_norm", "--beta", "5"),
}


@dataclass(frozen=True)
class Student:
    """A model to run the ablation on.

    Attributes:
        steps: Of DPO, four pairs each.
        bf16: Whether products are computed in bfloat16.
        learning_rate: Of DPO.
        prompts_per_cell: Test prompts per rubric and level.
    """

    steps: int
    bf16: bool
    learning_rate: float
    prompts_per_cell: int


STUDENTS = {
    "smollm2": Student(steps=40, bf16=True, learning_rate=3e-4, prompts_per_cell=8),
    "tiny": Student(steps=100, bf16=False, learning_rate=1e-3, prompts_per_cell=8),
}


def plan(model: str, seed: int) -> list[Stage]:
    """The stages of one seed."""
    student, run = STUDENTS[model], f"ablation/{model}-{seed}"
    start = f"outputs/{run}/start"
    stages = [_data(), *(_tiny_start(start, seed) if model == "tiny" else _smollm2_start(start, seed))]
    stages.append(_evaluated(run, "start", f"{start}/merged", student, stages[-1].name))
    for variant in VARIANTS:
        out = f"outputs/{run}/{variant}"
        command = (_trl if variant == TRL else _ours)(f"{start}/merged", variant, student, seed, out)
        code = () if variant == TRL else training_code()
        stages.append(Stage(variant, command, out, (CONFIG, *code), ("data", "start")))
        stages.append(_evaluated(run, variant, out, student, variant))
    logs = [stage.output for stage in stages if stage.is_benchmark]
    results = f"results/ablations/{model}-{seed}"
    return [*stages, Stage("report", ("cpt", "report", *logs, "--out", results), results, always=True)]


def _data() -> Stage:
    inputs = (*files("rubrics/**/*.yaml"), "data_gen/seed/responses.jsonl", *files("data_gen/**/*.py"))
    return Stage("data", ("cpt", "twins", "--wordings", "2", "--out", DATA), DATA, inputs, always=True)


def _tiny_start(start: str, seed: int) -> list[Stage]:
    command = ("python", "recipes/prepare_tiny.py", "--train-file", f"{DATA}/train.jsonl", "--seed", str(seed))
    code = ("recipes/prepare_tiny.py", "recipes/pairs.py")
    return [Stage("start", (*command, "--out", f"{start}/merged"), start, code, ("data",))]


def _smollm2_start(start: str, seed: int) -> list[Stage]:
    base, config = "models/smollm2-135m-instruct", "recipes/configs/smollm2_135m_cpu.yaml"
    only_sft = ("--max_steps", "-1", "--num_train_epochs", "0", "--merge", "true")
    data = ("--train_file", f"{DATA}/train.jsonl", "--eval_file", f"{DATA}/eval.jsonl")
    command = ("--config", config, *data, *only_sft, "--seed", str(seed), "--output_dir", start)
    return [
        Stage("model", ("python", "recipes/prepare_smollm2.py", "--out", base), base, always=True),
        Stage("start", (*LAUNCH, *command), start, (config, *training_code()), ("model", "data")),
    ]


def _common(start: str, student: Student, seed: int, out: str) -> tuple[str, ...]:
    model = ("--model_name_or_path", start, "--output_dir", out, "--seed", str(seed))
    budget = ("--max_steps", str(student.steps), "--learning_rate", str(student.learning_rate))
    return ("--config", CONFIG, *model, *budget)


def _ours(start: str, variant: str, student: Student, seed: int, out: str) -> tuple[str, ...]:
    data = ("--train_file", f"{DATA}/train.jsonl", "--eval_file", f"{DATA}/eval.jsonl")
    precision = ("--cpu_bf16", "on" if student.bf16 else "off")
    return (*LAUNCH, *_common(start, student, seed, out), *data, *precision, *VARIANTS[variant])


def _trl(start: str, variant: str, student: Student, seed: int, out: str) -> tuple[str, ...]:
    one_process = ("--accelerate_config", "recipes/accelerate/cpu.yaml")
    settings = (*_common(start, student, seed, out), "--dataset_name", DATA, "--bf16", str(student.bf16))
    return ("trl", "dpo", *one_process, *settings)


def _evaluated(run: str, variant: str, path: str, student: Student, needs: str) -> Stage:
    log_dir = f"logs/{run}/{variant}"
    model = Evaluated(variant, path, base="start", adapter=None if variant == "start" else variant)
    command = evaluation(TASK, model, ("-T", f"limit_per_cell={student.prompts_per_cell}"), log_dir)
    return Stage(f"{variant}/judged", command, log_dir, benchmark_inputs(TASK), (needs,), is_benchmark=True)


def run_all(model: str, seeds: Sequence[int]) -> None:
    """Runs every seed, and keeps beside the results what they are recomputed from."""
    for seed in seeds:
        stages = plan(model, seed)
        record = run_stages(stages, Path(f"outputs/ablation/{model}-{seed}/stages.json"))
        results = Path(f"results/ablations/{model}-{seed}")
        write_json(results / "stages.json", record)
        for stage in stages:
            if stage.is_benchmark:
                keep_log(stage.output, results / "logs" / f"{stage.name.partition('/')[0]}.eval")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=sorted(STUDENTS), required=True, help="student")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42], help="one run each (default: 42)")
    options = parser.parse_args(arguments)
    os.chdir(Path(__file__).resolve().parent.parent)
    run_all(options.model, options.seeds)


if __name__ == "__main__":
    main()
