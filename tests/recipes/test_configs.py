"""Configuration and launch files: every one parses with the libraries that read it, and names what exists."""

# ruff: noqa: E402 (imports follow the importorskip and the path that they need)

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
RECIPES = Path(__file__).parents[2] / "recipes"

import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from training.settings import ScriptArguments, check_settings
from training.trainer import CPTConfig
from transformers import AutoConfig, AutoModelForCausalLM
from trl import ModelConfig, TrlParser

CONFIGS = sorted((RECIPES / "configs").glob("*.yaml"))
LAUNCH_FILES = sorted((RECIPES / "accelerate").glob("*.yaml"))

# Architecture of the published model, as transformers names it.
ARCHITECTURES = {
    "gemma_2": "gemma2",
    "gemma_3": "gemma3_text",
    "lfm2": "lfm2",
    "llama": "llama",
    "mistral": "mistral",
    "phi_4": "phi3",
    "qwen3": "qwen3",
    "rocinante": "mistral",
    "smollm2": "llama",
    "smollm3": "smollm3",
}

# What the paper's released script sets (LoRA r 16, alpha 16, batch 1 x accumulation 4, ...).
PAPER = {
    "lora_r": 16,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "load_in_4bit": True,
    "max_length": 2048,
    "num_train_epochs": 1,
    "beta": 0.1,
    "warmup_steps": 0.1,
    "seed": 42,
}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_parses_and_writes_out_what_decides_a_run(path: Path) -> None:
    # bf16 off: TrainingArguments refuses it on a machine without a GPU unless use_cpu is set
    arguments = ["--config", str(path), "--bf16", "false"]
    script, dpo, model = TrlParser((ScriptArguments, CPTConfig, ModelConfig)).parse_args_and_config(arguments)
    check_settings(script, dpo, model)
    text = path.read_text(encoding="utf-8")
    written = yaml.safe_load(text)
    assert dpo.twin_batching
    assert Path(script.train_file).suffix == ".jsonl"
    needed = "model_name_or_path dtype lora_r lora_alpha lora_dropout lora_target_modules max_length learning_rate beta"
    assert {*needed.split(), "seed", "output_dir", "sft_epochs", "twin_batching"} <= written.keys()
    assert model.dtype == ("float32" if written.get("use_cpu") else "bfloat16")
    assert f"--config recipes/configs/{path.name}" in text  # its command


def test_configs_share_no_folder_and_the_papers_students_have_its_values() -> None:
    configs = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in CONFIGS}
    assert len({written["output_dir"] for written in configs.values()}) == len(configs)
    paper = {name.removesuffix("_paper"): written for name, written in configs.items() if name.endswith("_paper")}
    assert paper.keys() == {*"qwen3_4b mistral_nemo_12b mistral_small_24b phi_4 rocinante_12b".split()}
    for written in paper.values():
        assert {key: written[key] for key in PAPER} == PAPER
        assert written["per_device_train_batch_size"] * written["gradient_accumulation_steps"] == 4


def linear_layers(architecture: str) -> set[str]:
    """Last parts of the names of a model's linear layers but the head, from a small instance without weights."""
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 64, "pad_token_id": 0}
    if architecture == "lfm2":
        sizes["full_attn_idxs"] = [1]  # one layer of each kind
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **sizes))
    linear = {name.split(".")[-1] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    return linear - {"lm_head"}


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES.values())))
def test_target_modules_are_the_linear_layers_of_the_architecture(architecture: str) -> None:
    layers = linear_layers(architecture)
    paths = [
        path
        for path in CONFIGS
        if ARCHITECTURES[max(n for n in ARCHITECTURES if path.stem.startswith(n))] == architecture
    ]
    assert paths
    for path in paths:
        assert set(yaml.safe_load(path.read_text(encoding="utf-8"))["lora_target_modules"]) == layers


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.stem)
def test_accelerate_reads_every_launch_file(path: Path) -> None:
    config = load_config_from_file(str(path))
    kinds = {"fsdp2": "FSDP", "multi_node": "FSDP", "zero3": "DEEPSPEED", "ddp": "MULTI_GPU"}
    assert config.distributed_type == kinds.get(path.stem, "NO")
    # accelerate passes keys of these two on by name and drops those it does not know, without a word
    options = {action.dest for action in launch_command_parser()._actions}
    nested = {**(getattr(config, "fsdp_config", None) or {}), **(getattr(config, "deepspeed_config", None) or {})}
    assert set(nested) - options == set()
    assert bool(nested) == (path.stem in ("fsdp2", "multi_node", "zero3"))
    assert nested.get("fsdp_version", 2) == 2
    assert config.num_processes % config.num_machines == 0


def test_slurm_example_names_files_that_exist_and_passes_config_rank_and_overrides_on(tmp_path: Path) -> None:
    text = (RECIPES / "accelerate/launch.slurm").read_text(encoding="utf-8")
    named = set(re.findall(r"recipes/[\w./]+\.(?:yaml|py|slurm)", text))
    assert len(named) == 4
    assert [name for name in named if not (RECIPES.parent / name).is_file()] == []
    fakes = {"scontrol": "echo first; echo second", "srun": 'shift; exec "$@"', "accelerate": 'printf "%s\\n" "$@"'}
    for name, body in fakes.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "x", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "8", "SLURM_NODEID": "1"}
    words = subprocess.run(
        ["bash", str(RECIPES / "accelerate/launch.slurm"), "a.yaml", "--run_name", "two words"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"} | slurm,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert words[-4:] == ["--config", "a.yaml", "--run_name", "two words"]
    options = launch_command_parser().parse_args(words[1:])
    assert (options.num_machines, options.num_processes, options.machine_rank) == (2, 16, 1)
    assert options.main_process_ip == "first"
    assert options.training_script == "recipes/dpo_lora.py"
