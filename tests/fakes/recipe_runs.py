"""Runs of `dpo_lora.py` in this process, which saves the ten seconds of imports, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from dpo_lora import parse as parse_words
from dpo_lora import run
from tiny_model import make_rows, save_tiny_model, write_rows

SETTINGS: dict[str, Any] = {
    "model_name_or_path": "tiny",
    "dtype": "float32",
    "use_peft": True,
    "lora_r": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.0,
    "lora_target_modules": ["q_proj", "v_proj"],
    "train_file": "train.jsonl",
    "eval_file": "eval.jsonl",
    "max_length": 256,
    "sft_epochs": 1,
    "sft_learning_rate": 1.0e-2,
    "sft_batch_size": 4,
    "num_train_epochs": 1,
    "learning_rate": 1.0e-2,
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 4,
    "use_cpu": True,
    "cpu_threads": 1,
    "activation_checkpointing": False,
    "eval_strategy": "steps",
    "eval_steps": 3,
    "logging_steps": 1,
    "save_steps": 2,
    "report_to": "none",
    "disable_tqdm": True,
    "output_dir": "out",
}


def parse(**changes: Any) -> Any:
    """(ScriptArguments, CPTConfig, ModelConfig) of `SETTINGS` with these changes."""
    Path("changed.yaml").write_text(yaml.safe_dump(SETTINGS | changes), encoding="utf-8")
    return parse_words(["--config", "changed.yaml"])


def go(**changes: Any) -> None:
    """A run in the working directory."""
    run(*parse(**changes))


def read_json(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def make_workspace(folder: Path) -> None:
    """Model and data of `SETTINGS`."""
    save_tiny_model(folder / "tiny")
    (folder / "tiny/README.md").write_text("---\nlicense: apache-2.0\n---\n# A tiny model\n")
    write_rows(folder / "train.jsonl", make_rows(6))
    write_rows(folder / "eval.jsonl", make_rows(2, start=100))
