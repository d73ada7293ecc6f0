"""Time per twin and peak memory of a training step, plain TRL `DPOTrainer` beside the recipe's, on the same pairs.

    python benchmarks/train_step.py            # about 10 minutes on 2 quiet cores; the GPU if there is one
    python benchmarks/train_step.py --quick    # 3 steps each; says whether it works, not how fast it is

Every client is a process of its own with the same model, LoRA, seed, learning rate and precision. `same_order` is the
recipe's trainer with TRL's own shuffling, so it does the same work and its losses must be TRL's. `recipe` is what the
recipe runs: twins side by side, and on CPU the allocator settings of `recipes/experiments/stage.py`; it meets the rows
in another order, so its seconds are of texts of other lengths. Seconds are of the optimiser steps, without the first
two, which warm caches up; memory is the resident set at its peak, on a GPU what torch allocated.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import DPOConfig, DPOTrainer

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "recipes"), str(ROOT / "recipes/experiments")]

from stage import ENVIRONMENT  # noqa: E402
from training.pairs import load_pairs  # noqa: E402
from training.trainer import CPTConfig, TwinDPOTrainer  # noqa: E402

RESULTS = ROOT / "results" / "benchmarks" / "train_step.json"
MODEL = ROOT / "models" / "smollm2-135m-instruct"
CLIENTS = ("trl", "same_order", "recipe")
PAIRS_PER_STEP = 4
WARM_UP = 2
LOSS_TOLERANCE = 1e-5  # of the loss of a step, float32
CUDA = torch.cuda.is_available()


class Clock(TrainerCallback):
    """Seconds of each optimiser step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Starts the clock."""
        self.begun = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stops it."""
        if CUDA:
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self.begun)


def train(client: str, precision: str, steps: int, model: str, train_file: str) -> dict[str, Any]:
    """Trains in this process; gives the loss and the seconds of each step, and peak memory in MB."""
    trainer_class, config_class = (DPOTrainer, DPOConfig) if client == "trl" else (TwinDPOTrainer, CPTConfig)
    options: dict[str, Any] = {} if client == "trl" else {"twin_batching": client == "recipe"}
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        config = config_class(
            output_dir=folder,
            per_device_train_batch_size=PAIRS_PER_STEP,
            max_steps=steps,
            max_length=512,
            learning_rate=1e-4,
            logging_steps=1,
            use_cpu=not CUDA,
            bf16=precision == "bfloat16",
            activation_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            seed=42,
            **options,
        )
        lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        data = {"train_dataset": load_pairs(train_file), "peft_config": lora}
        trainer = trainer_class(model=network, args=config, callbacks=[clock], **data)
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    peak = torch.cuda.max_memory_allocated() if CUDA else resident
    return {"losses": losses, "step_seconds": clock.seconds, "peak_mb": peak / 1e6}


def run_client(client: str, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """One client in a process of its own; its numbers, with seconds per twin."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment |= ENVIRONMENT if client == "recipe" else {}
    data = ["--model", options.model, "--train-file", options.train_file, "--steps", str(options.steps)]
    command = [sys.executable, __file__, "--client", client, "--precision", precision, *data]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    run: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    run["seconds_per_twin"] = statistics.median(run["step_seconds"][WARM_UP:]) / (PAIRS_PER_STEP / 2)
    print(f"{precision:<9} {client:<11} {run['seconds_per_twin']:.3f} s per twin, {run['peak_mb']:,.0f} MB")
    return run


def compare(precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """All clients in one precision, with ratios of the medians to plain TRL's."""
    runs = {client: run_client(client, precision, options) for client in CLIENTS}
    plain = runs["trl"]
    largest = max(abs(a - b) for a, b in zip(plain["losses"], runs["same_order"]["losses"], strict=True))
    ratios = {name: plain["seconds_per_twin"] / run["seconds_per_twin"] for name, run in runs.items()}
    memory = {name: run["peak_mb"] / plain["peak_mb"] for name, run in runs.items()}
    print(f"{precision:<9} {ratios['same_order']:.2f} times as fast; losses differ by {largest:.1e} at most")
    return {
        "clients": runs,
        "speed_over_trl": ratios,
        "memory_over_trl": memory,
        "largest_loss_difference": largest,
    }


def main() -> None:
    """Runs the comparison, or one client of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(MODEL), help="folder (default: what prepare_smollm2.py makes)")
    parser.add_argument("--train-file", help="preference pairs (default: the seed data set, made by `cpt twins`)")
    parser.add_argument("--steps", type=int, default=6, help=f"of {PAIRS_PER_STEP} pairs (default: 6)")
    parser.add_argument("--quick", action="store_true", help="3 steps")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"(default: {RESULTS.relative_to(ROOT)})")
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--precision", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        print(json.dumps(train(options.client, options.precision, options.steps, options.model, options.train_file)))
        return
    options.steps = WARM_UP + 1 if options.quick else options.steps
    with tempfile.TemporaryDirectory() as folder:
        if not options.train_file:
            cpt = str(Path(sys.executable).parent / "cpt")
            subprocess.run([cpt, "twins", "--out", folder], check=True, capture_output=True)
            options.train_file = f"{folder}/train.jsonl"
        measured = {precision: compare(precision, options) for precision in ("float32", "bfloat16")}
    record: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python benchmarks/train_step.py" + (" --quick" if options.quick else f" --steps {options.steps}"),
        "conditions": {
            "device": torch.cuda.get_device_name() if CUDA else "cpu",
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "steps": options.steps,
            "machine": platform.machine(),
            "pairs_per_step": PAIRS_PER_STEP,
            "model": Path(options.model).name,
        },
        "packages": {name: version(name) for name in ("torch", "transformers", "trl", "peft")},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record | measured, indent=1) + "\n", encoding="utf-8")
    largest = measured["float32"]["largest_loss_difference"]
    if largest > LOSS_TOLERANCE:
        sys.exit(f"losses differ by {largest:.1e}, expected {LOSS_TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
