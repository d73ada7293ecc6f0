"""Time per twin and peak memory of a training step, plain TRL `DPOTrainer` beside the recipe's, on the same pairs.

    python benchmarks/train_step.py              # about 10 minutes on 2 quiet cores
    python benchmarks/train_step.py --steps 3    # says whether it works, not how fast it is

Every client is a process of its own on the CPU with the same model, LoRA, seed, learning rate and precision. `trl` has
one thread, as `accelerate launch` sets it; `trl_all_cores` and ours have all physical cores.
`same_order` is the recipe's trainer with TRL's own shuffling, so its losses must be TRL's; `recipe` has twins side by
side (so other texts in a step). Both keep freed memory, compute LoRA layers in one product (`lora_on_cpu.py`) and
attention eagerly, as `dpo_lora.py` with `smollm2_135m_cpu.yaml` does. Seconds leave out the first two steps,
which warm caches up; memory is the resident set at its peak.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import click
import psutil
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import DPOConfig, DPOTrainer

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "recipes"), str(ROOT / "recipes/experiments")]

from stage import write_json  # noqa: E402
from training.lora_on_cpu import speed_up_lora  # noqa: E402
from training.pairs import load_pairs  # noqa: E402
from training.settings import keep_freed_memory  # noqa: E402
from training.trainer import CPTConfig, TwinDPOTrainer  # noqa: E402

CLIENTS = ("trl", "trl_all_cores", "same_order", "recipe")
ALL_CORES = psutil.cpu_count(logical=False) or 1
PAIRS_PER_STEP = 4
WARM_UP = 2
LOSS_TOLERANCE = 1e-5  # of the loss of a step, float32


class Clock(TrainerCallback):
    """When each optimiser step ended, in seconds."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Reads the clock."""
        self.ends.append(time.perf_counter())


def train(client: str, precision: str, steps: int, model: str, train_file: str) -> dict[str, Any]:
    """Trains in this process; gives losses, seconds of the steps after the first two, and peak memory in MB."""
    plain = client.startswith("trl")
    trainer_class, config_class = (DPOTrainer, DPOConfig) if plain else (TwinDPOTrainer, CPTConfig)
    options: dict[str, Any] = {} if plain else {"twin_batching": client == "recipe"}
    options |= {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1, "seed": 42}
    options |= {"max_steps": steps, "per_device_train_batch_size": PAIRS_PER_STEP, "max_length": 512, "use_cpu": True}
    options |= {"learning_rate": 1e-4, "activation_checkpointing": False, "bf16": precision == "bfloat16"}
    clock = Clock()
    torch.set_num_threads(1 if client == "trl" else ALL_CORES)
    if not plain:
        keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_class(
            model=AutoModelForCausalLM.from_pretrained(
                model, dtype=torch.float32, attn_implementation="sdpa" if plain else "eager"
            ),
            args=config_class(output_dir=folder, **options),
            train_dataset=load_pairs(train_file),
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[clock],
        )
        if not plain:
            speed_up_lora(trainer.model)
        trainer.train()
    seconds = [end - begin for begin, end in pairwise(clock.ends[WARM_UP - 1 :])]
    return {
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "step_seconds": seconds,
        "peak_mb": getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6,
        "seconds_per_twin": statistics.median(seconds) / (PAIRS_PER_STEP / 2),
    }


def compare(precision: str, options: list[str]) -> dict[str, Any]:
    """Every client in a process of its own, in one precision, with ratios of the medians to plain TRL's."""
    runs = {}
    for client in CLIENTS:
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        words = [sys.executable, __file__, "--client", client, precision, *options]
        done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        run = runs[client] = json.loads(done.stdout.splitlines()[-1])
        print(f"{precision:<9} {client:<11} {run['seconds_per_twin']:.3f} s per twin, {run['peak_mb']:,.0f} MB")
    plain, threaded, same = runs["trl"], runs["trl_all_cores"], runs["same_order"]
    return {
        "clients": runs,
        "speed_over_trl": {name: plain["seconds_per_twin"] / run["seconds_per_twin"] for name, run in runs.items()},
        "memory_over_trl": {name: run["peak_mb"] / plain["peak_mb"] for name, run in runs.items()},
        "largest_loss_difference": max(abs(a - b) for a, b in zip(threaded["losses"], same["losses"], strict=True)),
    }


@click.command(help=__doc__)
@click.option("--model", default=str(ROOT / "models/smollm2-135m-instruct"), help="Folder of prepare_smollm2.py.")
@click.option("--train-file", default="data/seed/train.jsonl", help="Preference pairs, as of `cpt twins`.")
@click.option("--steps", default=6, show_default=True, help=f"Of {PAIRS_PER_STEP} pairs, above {WARM_UP}.")
@click.option("--out", default=ROOT / "results/benchmarks/train_step.json", type=click.Path(path_type=Path))
@click.option("--client", nargs=2, hidden=True)
def main(model: str, train_file: str, steps: int, out: Path, client: tuple[str, str] | None) -> None:
    """Runs the comparison, or one client of it."""
    if client:
        print(json.dumps(train(*client, steps, model, train_file)))
        return
    options = ["--steps", str(steps), "--model", model, "--train-file", train_file]
    record = {"schema": 1, "date": f"{date.today()}", "command": f"python benchmarks/train_step.py --steps {steps}"}
    conditions = {"cpus": os.cpu_count(), "threads": ALL_CORES, "steps": steps, "model": Path(model).name}
    packages = {name: version(name) for name in ("torch", "transformers", "trl", "peft")}
    measured = {precision: compare(precision, options) for precision in ("float32", "bfloat16")}
    write_json(out, record | {"conditions": conditions, "packages": packages} | measured)
    if (largest := measured["float32"]["largest_loss_difference"]) > LOSS_TOLERANCE:
        sys.exit(f"losses differ by {largest:.1e}, expected {LOSS_TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
