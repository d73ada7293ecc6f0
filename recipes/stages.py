"""The two training stages of `dpo_lora.py`: SFT on chosen responses, then DPO on twins against that SFT model.

Each stage owns a folder, resumes from its last complete checkpoint, and is skipped when its folder says it is done.
"""

# mypy: disable-error-code="attr-defined,no-untyped-call,import-untyped"
# trl exports its classes lazily and leaves methods untyped; datasets ships no types

from __future__ import annotations

import functools
import math
import shutil
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from completion_head import score_completions_only
from pairs import sft_rows
from run_files import last_checkpoint, read_json, read_state, write_state
from samples import SampleWriter
from transformers import Trainer
from trl import ModelConfig, SFTConfig, SFTTrainer, get_peft_config, get_quantization_config
from twin_trainer import CPTConfig, TwinDPOTrainer

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Plan:
    """Everything the stages need, settled and checked."""

    dpo: CPTConfig
    sft: SFTConfig | None
    model: ModelConfig
    train: Dataset
    evaluation: Dataset | None
    tokenizer: Any
    load_options: dict[str, Any]
    sample_prompts: int
    sample_tokens: int
    judge_samples: bool = False

    @property
    def output_dir(self) -> Path:
        """Folder of the adapter."""
        return Path(str(self.dpo.output_dir))

    @property
    def sft_dir(self) -> Path:
        """Folder of the SFT adapter."""
        return self.output_dir / "sft"

    @property
    def base_model(self) -> str:
        """Hub name or folder of the base model, as the user gave it."""
        return str(self.model.model_name_or_path)

    @property
    def is_main(self) -> bool:
        """Whether this process writes."""
        return bool(self.dpo.process_index == 0)

    @property
    def runs_dpo(self) -> bool:
        """False for `num_train_epochs: 0`, which asks for the SFT stage alone."""
        return bool(self.dpo.num_train_epochs > 0 or self.dpo.max_steps > 0)

    def say(self, text: str) -> None:
        """Tell the user once, on stderr."""
        if self.is_main:
            print(f"dpo_lora: {text}", file=sys.stderr, flush=True)


def planned_steps(config: Any, rows: int) -> int:
    """Optimiser steps a trainer with this configuration takes on `rows` rows (a part of a batch counts as one)."""
    if config.max_steps > 0:
        return int(config.max_steps)
    batches = math.ceil(rows / (config.per_device_train_batch_size * config.world_size))
    steps_per_epoch = math.ceil(batches / config.gradient_accumulation_steps)
    return int(math.ceil(steps_per_epoch * config.num_train_epochs))


def make_sft_config(dpo: CPTConfig, epochs: float, learning_rate: float, batch_size: int) -> SFTConfig:
    """Settings of the SFT stage: those of DPO where the two trainers share them, in the folder `<output_dir>/sft`.

    Epochs, peak learning rate and pairs per device are its own. It evaluates once an epoch if DPO evaluates at all.
    """
    shared = {item.name for item in fields(SFTConfig) if item.init} & {item.name for item in fields(CPTConfig)}
    values = {name: getattr(dpo, name) for name in shared - {"loss_type", "learning_rate"}}
    values |= {
        "output_dir": str(Path(str(dpo.output_dir)) / "sft"),
        "num_train_epochs": epochs,
        "max_steps": -1,
        "learning_rate": learning_rate,
        "per_device_train_batch_size": batch_size,
        "completion_only_loss": True,
        "eval_strategy": "no" if dpo.eval_strategy == "no" else "epoch",
        "eval_on_start": False,
        "load_best_model_at_end": False,
        "resume_from_checkpoint": None,
        "push_to_hub": False,
    }
    config = SFTConfig(**values)
    # TrainingArguments takes the launcher's precision for unset flags; both stages must compute in the same.
    config.bf16, config.mixed_precision = dpo.bf16, dpo.mixed_precision
    return config


def run_sft(plan: Plan, key: str) -> dict[str, Any]:
    """Train the SFT adapter into `<output_dir>/sft`, or find it complete there.

    Args:
        plan: with `sft` set.
        key: settings key of this stage. A folder of another key is trained anew, with a message.

    Returns:
        `{"metrics", "log_history"}` of the stage, read back from its folder.
    """
    assert plan.sft is not None
    folder = plan.sft_dir
    found, done = read_state(folder)
    plan.dpo.distributed_state.wait_for_everyone()  # every rank has read the state before the main one changes it
    if found == key and done:
        plan.say(f"{folder}: SFT stage is complete, reused")
        return stage_record(folder)
    if plan.is_main:
        if found != key and folder.exists():
            plan.say(f"{folder}: SFT stage of other data or settings, trained anew")
            shutil.rmtree(folder)
        write_state(folder, key, done=False)
    plan.dpo.distributed_state.wait_for_everyone()
    trainer = SFTTrainer(
        model=plan.base_model,
        args=plan.sft,
        train_dataset=sft_rows(plan.train),
        eval_dataset=sft_rows(plan.evaluation) if plan.evaluation and plan.sft.eval_strategy != "no" else None,
        processing_class=plan.tokenizer,
        peft_config=get_peft_config(plan.model),
        quantization_config=get_quantization_config(plan.model),
    )
    score_completions_only(trainer.accelerator.unwrap_model(trainer.model))
    train_stage(plan, trainer, "sft")
    if plan.is_main:
        write_state(folder, key, done=True)
    return stage_record(folder)


def run_dpo(plan: Plan) -> TwinDPOTrainer:
    """Train the DPO adapter into `output_dir`: from the SFT adapter, then also the reference, or from scratch."""
    common = {
        "args": plan.dpo,
        "train_dataset": plan.train,
        "eval_dataset": plan.evaluation,
        "processing_class": plan.tokenizer,
    }
    quantization = get_quantization_config(plan.model)
    if plan.sft is None:
        trainer = TwinDPOTrainer(
            model=plan.base_model, peft_config=get_peft_config(plan.model), quantization_config=quantization, **common
        )
    else:
        trainer = TwinDPOTrainer(model=load_adapter(plan, plan.sft_dir, quantization), **common)
    train_stage(plan, trainer, "dpo")
    if plan.is_main:
        # TRL's frozen copy of the SFT adapter; a checkpoint needs it to resume, a finished adapter does not.
        shutil.rmtree(plan.output_dir / "ref", ignore_errors=True)
    return trainer


def load_adapter(plan: Plan, folder: Path, quantization: Any = None, trainable: bool = True) -> Any:
    """The base model with the adapter of `folder` on it; TRL adds a frozen copy of it as the reference."""
    from peft import PeftModel
    from trl.trainer.utils import create_model_from_path

    options = dict(plan.load_options)
    if quantization is not None:
        options["quantization_config"] = quantization
    if plan.dpo.world_size > 1:
        options["device_map"] = None  # as TRL does: "auto" would spread each rank over all devices
    base = create_model_from_path(plan.base_model, **options)
    return PeftModel.from_pretrained(base, folder, is_trainable=trainable)


def train_stage(plan: Plan, trainer: Any, stage: str) -> None:
    """Train, evaluate and save one stage into its trainer's folder, going on from its last complete checkpoint."""
    folder = Path(trainer.args.output_dir)
    if plan.sample_prompts and plan.evaluation:
        if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
            plan.say("no samples.jsonl: the model is sharded, and one process cannot generate alone")
        else:
            path = plan.output_dir / "samples.jsonl"
            # not the trainer's own: TRL's would end the means of training here
            log = functools.partial(Trainer.log, trainer) if plan.judge_samples else None
            trainer.add_callback(
                SampleWriter(path, stage, plan.evaluation, plan.tokenizer, plan.sample_prompts, plan.sample_tokens, log)
            )
    checkpoint = trainer.args.resume_from_checkpoint or last_checkpoint(folder)
    plan.say(f"{folder}: {stage.upper()} stage " + (f"goes on from {checkpoint}" if checkpoint else "starts"))
    result = trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_metrics("train", result.metrics, combined=False)
    evaluated = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    if trainer.eval_dataset is not None and (not evaluated or evaluated[-1]["step"] < trainer.state.global_step):
        trainer.evaluate()
    trainer.save_model()
    trainer.save_state()
    if plan.is_main:
        (folder / "adapter_model.safetensors").chmod(0o644)  # written 0600, unreadable for others on a shared machine


def stage_record(folder: Path) -> dict[str, Any]:
    """`{"metrics", "log_history"}` of a trained stage: training totals and its last evaluation, and all log entries."""
    state = read_json(folder / "trainer_state.json") or {}
    history = state.get("log_history", [])
    evaluated = [entry for entry in history if "eval_loss" in entry]
    train = read_json(folder / "train_results.json") or {}
    return {"metrics": train | (evaluated[-1] if evaluated else {}), "log_history": history}
