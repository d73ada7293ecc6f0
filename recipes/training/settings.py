"""The settings of `dpo_lora.py` that TRL does not have, what is refused, the precision, and the key of a run.

The key is a list of what changes the trained adapter or its metrics: a new field of transformers or TRL, or a setting
that only changes what a run says of itself, leaves it as it was.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
import timeit
from dataclasses import dataclass, field
from typing import Any, Literal

import psutil
import torch
from trl import ModelConfig

from training import RecipeError
from training.trainer import CPTConfig

# of glibc's mallopt: how many blocks may be mapped one by one, and the free memory at the end that is given back
MMAP_MAX, TRIM_THRESHOLD = -4, -1
# What changes a stage of training; SFT has no value for the objective's.
STAGE_KEYS = (
    # steps and optimiser
    "num_train_epochs max_steps per_device_train_batch_size gradient_accumulation_steps dataloader_drop_last "
    "learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps optim optim_args optim_target_modules "
    "weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm average_tokens_across_devices "
    # randomness, lengths, order
    "seed data_seed full_determinism neftune_noise_alpha disable_dropout max_length truncation_mode "
    "train_sampling_strategy fp16 tf32 "
    # objective
    "beta loss_type loss_weights label_smoothing label_smoothing_factor ld_alpha f_divergence_type "
    "f_alpha_divergence_coef use_weighting discopop_tau router_aux_loss_coef precompute_ref_log_probs sync_ref_model "
    "ref_model_mixup_alpha ref_model_sync_steps twin_batching"
).split()
# Evaluation changes the adapter only where it picks the checkpoint.
BEST_KEYS = ("metric_for_best_model", "greater_is_better", "eval_strategy", "eval_steps", "save_strategy", "save_steps")
MODEL_KEYS = (
    "dtype attn_implementation use_peft lora_r lora_alpha lora_dropout lora_target_modules lora_target_parameters "
    "lora_modules_to_save use_rslora use_dora load_in_8bit load_in_4bit bnb_4bit_quant_type use_bnb_nested_quant "
    "bnb_4bit_quant_storage"
).split()
MIN_SPEEDUP = 1.5  # of bfloat16; below it, its rounding buys nothing worth having


def option(default: Any, text: str) -> Any:
    """A field of a configuration with its help text."""
    return field(default=default, metadata={"help": text})


@dataclass
class ScriptArguments:
    """Settings that neither TRL's DPOConfig nor its ModelConfig has."""

    train_file: str = field(metadata={"help": "Preference pairs to train on, .jsonl or .parquet."})
    eval_file: str | None = option(None, "The same to evaluate on; shares no twin and no user prompt with train_file.")
    repair_chat_template: bool = option(True, "Repair a template that drops the system turn, or has no place for one.")
    enable_thinking: bool | None = option(None, "Default of the template's thinking switch, saved with the adapter.")
    sft_epochs: float = option(0.0, "Epochs of SFT on the chosen responses before DPO; 0 = no SFT stage.")
    sft_learning_rate: float = option(1e-4, "Peak learning rate of SFT.")
    sft_batch_size: int = option(8, "Responses per device and SFT step.")
    init_adapter: str | None = option(None, "Folder of a LoRA adapter to go on from; DPO's reference without SFT.")
    sample_prompts: int = option(0, "Evaluation prompts to answer at each evaluation.")
    sample_tokens: int = option(200, "Longest such answer, in tokens.")
    cpu_bf16: Literal["auto", "on", "off"] = option(
        "off", "bfloat16 autocast on CPU, in place of `bf16`: auto = if a timed product is 1.5 times as fast in it."
    )
    cpu_threads: str = option("auto", "Threads of a process on CPU: auto = the physical cores, shared by processes.")
    merge: bool = option(False, "Also write base model and adapter merged to <output_dir>/merged.")
    estimate: bool = option(False, "Print the memory it takes, from the model's shape, and stop.")
    dry_run: bool = option(False, "Check data, settings and tokens, print the plan, load no model.")

    def __post_init__(self) -> None:
        """YAML reads a bare on or off as a boolean, and a number of threads as a number."""
        if isinstance(self.cpu_bf16, bool):
            self.cpu_bf16 = "on" if self.cpu_bf16 else "off"
        self.cpu_threads = str(self.cpu_threads)


def check_settings(script: ScriptArguments, dpo: CPTConfig, model: ModelConfig) -> None:
    """Raise RecipeError at a combination of settings that cannot work."""
    if script.cpu_bf16 not in ("auto", "on", "off"):
        raise RecipeError(f"cpu_bf16 is {script.cpu_bf16!r}, expected auto, on or off")
    if script.cpu_threads != "auto" and not (script.cpu_threads.isdecimal() and int(script.cpu_threads)):
        raise RecipeError(f"cpu_threads is {script.cpu_threads!r}, expected auto or a number above 0")
    if not model.model_name_or_path:
        raise RecipeError("model_name_or_path is not set, expected a hub name or a folder")
    if not model.use_peft:
        raise RecipeError("use_peft is false, expected true: this recipe trains a LoRA adapter")
    if script.sft_epochs <= 0 and not trains_dpo(dpo):
        raise RecipeError("sft_epochs and num_train_epochs are both 0, so there is nothing to train")
    if script.merge and (model.load_in_4bit or model.load_in_8bit):
        raise RecipeError("merge is true with a quantised base model, expected false: merging would round the adapter")
    if dpo.deepspeed_plugin and (script.sft_epochs > 0 or script.init_adapter or script.merge):
        raise RecipeError(
            "DeepSpeed with sft_epochs, init_adapter or merge, expected one stage from a new adapter and none of them: "
            "take fsdp2.yaml for the others"
        )
    for name, value, why in (
        ("sync_ref_model", True, "TRL moves no reference that is an adapter"),
        ("save_only_model", True, "a run that goes on would begin with another optimiser and schedule"),
        ("truncation_mode", "keep_end", "it cuts the system prompt"),
        ("train_sampling_strategy", "group_by_length", "rows of DPO have no one length"),
        ("train_sampling_strategy", "batch_rebalance", "rows of DPO have no one length"),
        ("auto_find_batch_size", True, "it would split twins"),
    ):
        if getattr(dpo, name, None) == value:
            raise RecipeError(f"{name} is {value!r}, expected another value: {why}")
    if dpo.resume_from_checkpoint:
        raise RecipeError("resume_from_checkpoint is set, expected none: a run goes on from the last one of output_dir")
    if dpo.ld_alpha is not None and dpo.precompute_ref_log_probs:
        raise RecipeError("ld_alpha with precompute_ref_log_probs, expected one of them: twin metrics would be wrong")
    if dpo.eval_strategy != "no" and not script.eval_file:
        raise RecipeError(
            f"eval_strategy is {dpo.eval_strategy.value!r} without eval_file; give one, or set it to 'no'"
        )


def trains_dpo(dpo: CPTConfig) -> bool:
    """Whether there is a DPO stage: `num_train_epochs: 0` without `max_steps` asks for SFT alone."""
    return bool(dpo.num_train_epochs > 0 or dpo.max_steps > 0)


def set_threads(dpo: CPTConfig, cpu_threads: str) -> int | None:
    """Settle how many threads a process on CPU computes with, whatever OMP_NUM_THREADS says; None on other devices.

    `accelerate launch` sets that variable to 1 when it is given no number, and torch reads it.
    """
    if dpo.device.type != "cpu":
        return None
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min(psutil.cpu_count(logical=False) or usable, usable)
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # on this machine
    threads = max(1, cores // processes) if cpu_threads == "auto" else int(cpu_threads)
    torch.set_num_threads(threads)
    if sys.platform == "linux":
        keep_freed_memory()
    return threads


def keep_freed_memory() -> None:
    """Have glibc keep the memory of freed tensors for the next ones, for a fifth less time a step; no effect elsewhere.

    Otherwise it goes back to the system at every step, which has to clear it page by page when it is asked for again.
    """
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "mallopt"):
        allocator.mallopt(MMAP_MAX, 0)
        allocator.mallopt(TRIM_THRESHOLD, 2**31 - 1)


def seconds_of_product(dtype: torch.dtype) -> float:
    """Shortest of six timings of one (512, 576) x (576, 1536) product: a feed-forward layer of SmolLM2-135M."""
    left, right = torch.ones(512, 576, dtype=dtype), torch.ones(576, 1536, dtype=dtype)
    return min(timeit.repeat(lambda: torch.mm(left, right), number=1, repeat=6))


def set_precision(dpo: Any, cpu_bf16: str) -> dict[str, Any]:
    """Settle what to compute in, and say it: `{"autocast": bf16, fp16 or none, "cpu_bf16_speedup"}`, None if not timed.

    On CPU `cpu_bf16` overrules `bf16`, which TRL turns on by default. For `auto` one product is timed: processors with
    AMX or AVX512-BF16 gain from bfloat16, others emulate it and can be many times slower.
    """
    speedup = None
    if dpo.device.type == "cpu":
        if cpu_bf16 == "auto":
            speedup = round(seconds_of_product(torch.float32) / seconds_of_product(torch.bfloat16), 3)
        dpo.bf16, dpo.fp16 = cpu_bf16 == "on" or (speedup or 0) >= MIN_SPEEDUP, False
        dpo.mixed_precision = "bf16" if dpo.bf16 else "no"
    return {"autocast": "bf16" if dpo.bf16 else "fp16" if dpo.fp16 else "none", "cpu_bf16_speedup": speedup}


def stage_settings(config: Any) -> dict[str, Any]:
    """What of a stage's settings changes what it trains; `bf16` only where it is not `cpu_bf16` that decides."""
    names = [*STAGE_KEYS, *(BEST_KEYS if config.load_best_model_at_end else ())]
    kept = {name: getattr(config, name, None) for name in names}
    # 0 is not the same as not there
    zeros = {name: str(kept[name]) for name in ("data_seed", "router_aux_loss_coef") if kept.get(name) == 0}
    return kept | zeros | {"bf16": config.bf16 if config.device.type != "cpu" else None}


def settings_key(*parts: dict[str, Any]) -> str:
    """Hex sha256 of what changes the result of a run; off (None, 0, false) is the same as not there."""
    kept = [{name: value for name, value in part.items() if value} for part in parts]
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()
