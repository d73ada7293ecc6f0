"""The settings of `dpo_lora.py` that TRL does not have, and the combinations it refuses."""

# mypy: disable-error-code="attr-defined,no-untyped-call,import-untyped"
# trl exports its classes lazily and leaves methods untyped; datasets ships no types

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from objectives import OFFSET_LOSSES
from pairs import RecipeError
from samples import CPT
from trl import ModelConfig
from twin_trainer import CPTConfig


@dataclass
class ScriptArguments:
    """Settings that neither TRL's DPOConfig nor its ModelConfig has."""

    train_file: str = field(metadata={"help": "Preference pairs to train on, .jsonl or .parquet."})
    eval_file: str | None = field(
        default=None,
        metadata={"help": "Preference pairs to evaluate on; shares no twin and no user prompt with train_file."},
    )
    prepare: list[str] | None = field(
        default=None,
        metadata={"help": "Commands that make train_file and the model's folder, run if one of them is missing."},
    )
    max_train_pairs: int = field(default=0, metadata={"help": "Twins to train on, drawn with `seed`; 0 = all."})
    repair_chat_template: bool = field(
        default=True,
        metadata={"help": "Repair a template that drops the system turn in training, or has no place for one."},
    )
    enable_thinking: bool | None = field(
        default=None,
        metadata={"help": "Default of the template's thinking switch (Qwen3), saved with the adapter."},
    )
    sft_epochs: float = field(
        default=0.0,
        metadata={"help": "Epochs of SFT on the chosen responses before DPO; 0 = no SFT stage."},
    )
    sft_learning_rate: float = field(default=1e-4, metadata={"help": "Peak learning rate of SFT."})
    sft_batch_size: int = field(default=8, metadata={"help": "Responses per device and SFT step."})
    sample_prompts: int = field(default=0, metadata={"help": "Evaluation prompts to answer at each evaluation."})
    sample_tokens: int = field(default=200, metadata={"help": "Longest such answer, in tokens."})
    judge_samples: bool = field(
        default=False,
        metadata={"help": "Score those answers by the measured judge (`cpt judge texts`), and log the mean by level."},
    )
    cpu_bf16: Literal["auto", "on", "off"] = field(
        default="off",
        metadata={
            "help": "bfloat16 autocast on CPU, where it replaces `bf16`: auto = if a timed product is at least 1.5 "
            "times faster in it."
        },
    )
    merge: bool = field(
        default=False, metadata={"help": "Also write base model and adapter merged to <output_dir>/merged."}
    )
    estimate: bool = field(
        default=False, metadata={"help": "Print memory and time on common GPUs from the model's shape, and stop."}
    )
    dry_run: bool = field(
        default=False, metadata={"help": "Check data, settings and tokens, print the plan, load no model."}
    )

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
    if dpo.joint_weight and not dpo.twin_batching:
        raise RecipeError("joint_weight is set with twin_batching: false, expected true: the term needs whole twins")
    if dpo.score_offset and not set(dpo.loss_type) <= OFFSET_LOSSES:
        raise RecipeError(f"score_offset goes with the losses {sorted(OFFSET_LOSSES)}, got {list(dpo.loss_type)}")
    for name in ("per_device_train_batch_size", "per_device_eval_batch_size"):
        if dpo.twin_batching and getattr(dpo, name) % 2:
            raise RecipeError(f"{name} is {getattr(dpo, name)}, expected an even number: twins share a batch")
