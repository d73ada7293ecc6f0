"""The settings of `dpo_lora.py` that TRL does not have, the combinations it refuses, and the key that tells runs apart.

The key is a list of what changes the trained adapter or its metrics: a new field of transformers or TRL, or a setting
that only changes what a run says of itself, leaves it as it was.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from trl import ModelConfig

from training import RecipeError
from training.samples import CPT
from training.trainer import CPTConfig, objective_problem

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
    "ref_model_mixup_alpha ref_model_sync_steps twin_batching joint_weight score_offset"
).split()
# Evaluation changes the adapter only where it picks the checkpoint.
BEST_KEYS = ("metric_for_best_model", "greater_is_better", "eval_strategy", "eval_steps", "save_strategy", "save_steps")
MODEL_KEYS = (
    "dtype attn_implementation use_peft lora_r lora_alpha lora_dropout lora_target_modules lora_target_parameters "
    "lora_modules_to_save use_rslora use_dora load_in_8bit load_in_4bit bnb_4bit_quant_type use_bnb_nested_quant "
    "bnb_4bit_quant_storage"
).split()


def option(default: Any, text: str) -> Any:
    """A field of a configuration with its help text."""
    return field(default=default, metadata={"help": text})


@dataclass
class ScriptArguments:
    """Settings that neither TRL's DPOConfig nor its ModelConfig has."""

    train_file: str = field(metadata={"help": "Preference pairs to train on, .jsonl or .parquet."})
    eval_file: str | None = option(None, "The same to evaluate on; shares no twin and no user prompt with train_file.")
    prepare: list[str] | None = option(
        None, "Commands (`cpt twins`, our prepare_*.py) that make train_file and the model's folder, if one is missing."
    )
    max_train_pairs: int = option(0, "Twins to train on, drawn with `seed`; 0 = all.")
    repair_chat_template: bool = option(True, "Repair a template that drops the system turn, or has no place for one.")
    enable_thinking: bool | None = option(None, "Default of the template's thinking switch, saved with the adapter.")
    sft_epochs: float = option(0.0, "Epochs of SFT on the chosen responses before DPO; 0 = no SFT stage.")
    sft_learning_rate: float = option(1e-4, "Peak learning rate of SFT.")
    sft_batch_size: int = option(8, "Responses per device and SFT step.")
    sample_prompts: int = option(0, "Evaluation prompts to answer at each evaluation.")
    sample_tokens: int = option(200, "Longest such answer, in tokens.")
    judge_samples: bool = option(False, "Score those answers (`cpt judge texts`), and log the mean by level.")
    cpu_bf16: Literal["auto", "on", "off"] = option(
        "off", "bfloat16 autocast on CPU, in place of `bf16`: auto = if a timed product is 1.5 times as fast in it."
    )
    merge: bool = option(False, "Also write base model and adapter merged to <output_dir>/merged.")
    estimate: bool = option(False, "Print memory and time on common GPUs from the model's shape, and stop.")
    dry_run: bool = option(False, "Check data, settings and tokens, print the plan, load no model.")

    def __post_init__(self) -> None:
        """YAML 1.1 reads a bare on or off as a boolean."""
        if isinstance(self.cpu_bf16, bool):
            self.cpu_bf16 = "on" if self.cpu_bf16 else "off"


def check_settings(script: ScriptArguments, dpo: CPTConfig, model: ModelConfig) -> None:
    """Raise RecipeError at a combination of settings that cannot work."""
    if script.cpu_bf16 not in ("auto", "on", "off"):
        raise RecipeError(f"cpu_bf16 is {script.cpu_bf16!r}, expected auto, on or off")
    if not model.model_name_or_path:
        raise RecipeError("model_name_or_path is not set, expected a hub name or a folder")
    if not model.use_peft:
        raise RecipeError("use_peft is false, expected true: this recipe trains a LoRA adapter")
    if script.sft_epochs <= 0 and dpo.num_train_epochs <= 0 and dpo.max_steps <= 0:
        raise RecipeError("sft_epochs and num_train_epochs are both 0, so there is nothing to train")
    if script.merge and (model.load_in_4bit or model.load_in_8bit):
        raise RecipeError("merge is true with a quantised base model, expected false: merging would round the adapter")
    if dpo.eval_strategy != "no" and not script.eval_file:
        strategy = str(getattr(dpo.eval_strategy, "value", dpo.eval_strategy))
        raise RecipeError(f"eval_strategy is {strategy!r} without eval_file; give one, or set it to 'no'")
    if script.judge_samples and not script.sample_prompts:
        raise RecipeError("judge_samples is true and sample_prompts 0, expected the number of answers to judge")
    if script.judge_samples and not script.eval_file:
        raise RecipeError("judge_samples is true without eval_file, whose prompts are answered; give one")
    if script.judge_samples and not CPT.exists():
        raise RecipeError("judge_samples is true without cpt-tasks in this environment; install it, or leave it out")
    problem = objective_problem(dpo)
    if problem:
        raise RecipeError(problem)


def stage_settings(config: Any) -> dict[str, Any]:
    """What of a stage's settings changes what it trains; `bf16` only where it is not `cpu_bf16` that decides."""
    names = [*STAGE_KEYS, *(BEST_KEYS if config.load_best_model_at_end else ())]
    kept = {name: getattr(config, name, None) for name in names}
    return kept | {"bf16": config.bf16 if config.device.type != "cpu" else None}


def model_settings(model: ModelConfig) -> dict[str, Any]:
    """What of a model's settings changes what is trained, beside which model it is."""
    return {name: getattr(model, name) for name in MODEL_KEYS}


def settings_key(*parts: dict[str, Any]) -> str:
    """Hex sha256 of what changes the result of a run; off (None, 0, false) is the same as not there."""
    kept = [{name: value for name, value in part.items() if value} for part in parts]
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()
