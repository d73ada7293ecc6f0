"""Configuration and launch files: every one parses with the libraries that read it, and names what exists."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from dpo_lora import parse
from tiny_vision import TEXT
from tiny_vision import VISION as VISION_SIZES
from training.settings import check_settings
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

RECIPES = Path(__file__).parents[2] / "recipes"
CONFIGS = sorted((RECIPES / "configs").glob("*.yaml"))
LAUNCH_FILES = sorted((RECIPES / "accelerate").glob("*.yaml"))

# Architecture of the published model, as transformers names it, by the start of the file's name.
ARCHITECTURES = {"gemma_2": "gemma2", "gemma_3": "gemma3_text", "lfm2": "lfm2", "llama": "llama", "mistral": "mistral"}
ARCHITECTURES |= {"phi_4": "phi3", "qwen3": "qwen3", "rocinante": "mistral", "smollm2": "llama", "smollm3": "smollm3"}

# of vision-language models, by configuration: the architecture, and sizes of its two parts
VISION: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "smolvlm_256m": ("smolvlm", VISION_SIZES, {"model_type": "llama"}),
    "gemma_3_4b": ("gemma3", VISION_SIZES, {}),
    "qwen2_5_vl_3b": (
        "qwen2_5_vl",
        {"depth": 1, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32},
        {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}},
    ),
}

# What the paper's released script sets (LoRA r 16, alpha 16, batch 1 x accumulation 4, ...).
PAPER = {"lora_r": 16, "lora_alpha": 16, "lora_dropout": 0.0, "load_in_4bit": True, "max_length": 2048}
PAPER |= {"num_train_epochs": 1, "beta": 0.1, "warmup_steps": 0.1, "seed": 42}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_parses_and_writes_out_what_decides_a_run(path: Path) -> None:
    # bf16 off: TrainingArguments refuses it on a machine without a GPU unless use_cpu is set
    script, dpo, model = parse(["--config", str(path), "--bf16", "false"])
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


@pytest.mark.parametrize("name", VISION)
def test_target_modules_of_vision_models_are_the_linear_layers_of_the_language_model(name: str) -> None:
    architecture, vision, own = VISION[name]
    text = {**TEXT, "vocab_size": 64, "pad_token_id": 0, **own}
    with torch.device("meta"):
        config = AutoConfig.for_model(architecture, vision_config=vision, text_config=text)
        model = AutoModelForImageTextToText.from_config(config)
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    [modules] = yaml.safe_load((RECIPES / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))[
        "lora_target_modules"
    ]
    language = {f"model.{part}.layers" for part in ("text_model", "language_model")}
    in_language = [layer for layer in linear if ".".join(layer.split(".")[:3]) in language]
    assert len(in_language) == 2 * 7
    assert [layer for layer in linear if re.fullmatch(modules, layer)] == in_language


@pytest.mark.parametrize("path", [path for path in CONFIGS if path.stem not in VISION], ids=lambda path: path.stem)
def test_target_modules_are_the_linear_layers_of_the_architecture(path: Path) -> None:
    [architecture] = [kind for name, kind in ARCHITECTURES.items() if path.stem.startswith(name)]
    sizes: dict[str, Any] = {**TEXT, "head_dim": 8, "vocab_size": 64, "pad_token_id": 0}
    if architecture == "lfm2":
        sizes["full_attn_idxs"] = [1]  # one layer of each kind
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **sizes))
    linear = {name.split(".")[-1] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert {*yaml.safe_load(path.read_text(encoding="utf-8"))["lora_target_modules"]} == linear - {"lm_head"}


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.stem)
def test_accelerate_reads_every_launch_file(path: Path) -> None:
    config = load_config_from_file(str(path))
    kinds = {"fsdp2": "FSDP", "multi_node": "FSDP", "zero3": "DEEPSPEED", "ddp": "MULTI_GPU"}
    assert config.distributed_type == kinds.get(path.stem, "NO")
    # accelerate passes keys of these two on by name and drops those it does not know, without a word
    nested = {**(getattr(config, "fsdp_config", None) or {}), **(getattr(config, "deepspeed_config", None) or {})}
    assert nested.keys() <= {action.dest for action in launch_command_parser()._actions}
    assert bool(nested) == (kinds.get(path.stem) in ("FSDP", "DEEPSPEED"))
    assert config.num_processes % config.num_machines == 0


def test_slurm_example_is_a_script_and_names_files_that_exist() -> None:
    text = (RECIPES / "accelerate/launch.slurm").read_text(encoding="utf-8")
    named = set(re.findall(r"recipes/[\w./]+\.(?:yaml|py|slurm)", text))
    assert len(named) == 4
    assert [name for name in named if not (RECIPES.parent / name).is_file()] == []
    subprocess.run(["bash", "-n", str(RECIPES / "accelerate/launch.slurm")], check=True)
