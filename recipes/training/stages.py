"""The two training stages of `dpo_lora.py`: SFT on chosen responses, then DPO on twins against that SFT model.

Each stage owns a folder, resumes from its last complete checkpoint, and is skipped when its folder says it is done.
"""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from trl import get_peft_config, get_quantization_config

from training.lora_on_cpu import speed_up_lora
from training.outputs import write_outputs
from training.pairs import sft_rows
from training.plan import Plan
from training.run_files import last_checkpoint, read_state, write_state
from training.samples import SampleWriter
from training.trainer import (
    OrderedSFTTrainer,
    TwinDPOTrainer,
    create_model_from_path,
    keep_precision_of_outputs,
    score_completions_only,
)


def run_stages(plan: Plan, keys: tuple[str, str], manifest: dict[str, Any]) -> None:
    """Run the stages and write the outputs; `keys` as `stage_keys` returns them."""
    folder = plan.output_dir
    if plan.is_main:
        write_state(folder, keys[1], done=False)
    phrases = {}
    begun = f", from the adapter {plan.init_adapter['name']}" if plan.init_adapter else ""
    if plan.sft:
        run_sft(plan, keys[0])
        gc.collect()  # its model, which is in a cycle of references, before DPO loads its own
        phrases["sft"] = f"SFT on the chosen responses, {plan.sft.num_train_epochs:g} epochs{begun}"
    trainer = None
    if "dpo" in plan.configs:
        trainer = run_dpo(plan)
        phrases["dpo"] = f"DPO on {plan.pairs}, {round(trainer.state.epoch, 2):g} epochs, beta {plan.dpo.beta:g}"
        if plan.dpo.load_best_model_at_end:
            phrases["dpo"] += f", of which the checkpoint of step {trainer.state.best_global_step} is kept"
        phrases["dpo"] += "" if plan.sft else begun
    if plan.is_main:
        if trainer is None:
            for name in ("adapter_config.json", "adapter_model.safetensors"):
                shutil.copy(folder / "sft" / name, folder / name)
            plan.tokenizer.save_pretrained(folder)
        write_outputs(folder, plan.base_model, phrases, manifest | {"peak_memory_gib": peak_memory(plan.dpo.device)})
        write_state(folder, keys[1], done=True)
        if plan.script.merge:
            write_merged(plan)
    plan.dpo.distributed_state.wait_for_everyone()
    plan.say(f"{folder}: finished")
    if trainer is not None:
        trainer.end()


def write_merged(plan: Plan) -> None:
    """Write base model and adapter, merged, to `<output_dir>/merged`, unless it is there."""
    merged = plan.output_dir / "merged"
    if not merged.exists():
        partial = plan.output_dir / "merged-partial"
        load_adapter(plan, plan.output_dir, trainable=False).merge_and_unload().save_pretrained(partial)
        plan.tokenizer.save_pretrained(partial)
        partial.replace(merged)


def peak_memory(device: torch.device) -> dict[str, float] | None:
    """Most GiB that torch held in tensors (`allocated`) and in all (`reserved`) on this process's GPU; None on others.

    Since the process began: a run that was interrupted counts from where it went on.
    """
    if device.type != "cuda":
        return None
    held = {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    return {kind: round(size / 2**30, 2) for kind, size in held.items()}


def run_sft(plan: Plan, key: str) -> None:
    """Train the SFT adapter into `<output_dir>/sft`, unless it is there; that of another settings key is replaced."""
    assert plan.sft is not None
    folder = plan.output_dir / "sft"
    known, done = read_state(folder)
    plan.dpo.distributed_state.wait_for_everyone()  # every rank has read the state before the main one changes it
    if known == key and done:
        plan.say(f"{folder}: SFT stage is complete, reused")
        return
    if plan.is_main:
        if known != key and folder.exists():
            plan.say(f"{folder}: SFT stage of other data or settings, trained anew")
            shutil.rmtree(folder)
        write_state(folder, key, done=False)
    plan.dpo.distributed_state.wait_for_everyone()
    trainer = OrderedSFTTrainer(
        **starting_model(plan, plan.script.init_adapter),
        args=plan.sft,
        train_dataset=sft_rows(plan.train),
        eval_dataset=sft_rows(plan.evaluation) if plan.evaluation and plan.sft.eval_strategy != "no" else None,
        processing_class=plan.tokenizer,
    )
    score_completions_only(trainer.accelerator.unwrap_model(trainer.model))
    train_stage(plan, trainer, "sft")
    if plan.is_main:
        write_state(folder, key, done=True)
    plan.dpo.distributed_state.wait_for_everyone()  # DPO reads the adapter, which the main rank alone writes


def run_dpo(plan: Plan) -> TwinDPOTrainer:
    """Train the DPO adapter into `output_dir`: from the SFT adapter or `init_adapter`, then also the reference."""
    trainer = TwinDPOTrainer(
        **starting_model(plan, plan.output_dir / "sft" if plan.sft else plan.script.init_adapter),
        args=plan.dpo,
        train_dataset=plan.train,
        eval_dataset=plan.evaluation,
        processing_class=plan.tokenizer,
    )
    train_stage(plan, trainer, "dpo")
    if plan.is_main:
        # TRL's frozen copy of the SFT adapter; a checkpoint needs it to resume, a finished adapter does not.
        shutil.rmtree(plan.output_dir / "ref", ignore_errors=True)
    return trainer


def starting_model(plan: Plan, adapter: Path | str | None) -> dict[str, Any]:
    """A trainer's arguments for a model that begins with this adapter, or, for None, with a new one."""
    quantization = get_quantization_config(plan.model)
    if adapter is not None:
        return {"model": load_adapter(plan, Path(adapter), quantization)}
    return {
        "model": plan.base_model,
        "peft_config": get_peft_config(plan.model),
        "quantization_config": quantization,
    }


def load_adapter(plan: Plan, folder: Path, quantization: Any = None, trainable: bool = True) -> Any:
    """The base model with the adapter of `folder` on it; TRL adds a frozen copy of it as the reference."""
    options = dict(plan.load_options)
    if quantization is not None:
        options["quantization_config"] = quantization
    if plan.dpo.world_size > 1:
        options["device_map"] = None  # as TRL does: "auto" would spread each rank over all devices
    base = create_model_from_path(plan.base_model, **options)
    return PeftModel.from_pretrained(base, folder, is_trainable=trainable)


def train_stage(plan: Plan, trainer: Any, stage: str) -> None:
    """Train, evaluate and save one stage into its trainer's folder, going on from its last complete checkpoint."""
    folder, script = Path(trainer.args.output_dir), plan.script
    keep_precision_of_outputs(trainer.accelerator)
    if plan.dpo.world_size == 1:  # layers of a sharded model are left to PEFT
        speed_up_lora(trainer.accelerator.unwrap_model(trainer.model))
    if script.sample_prompts and plan.evaluation:
        if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
            plan.say("no samples.jsonl: the model is sharded, and one process cannot generate alone")
        else:
            asked = (plan.evaluation, plan.tokenizer, script.sample_prompts, script.sample_tokens)
            trainer.add_callback(SampleWriter(plan.output_dir / "samples.jsonl", stage, *asked))
    checkpoint = last_checkpoint(folder)
    plan.say(f"{folder}: {stage.upper()} stage " + (f"goes on from {checkpoint}" if checkpoint else "starts"))
    trainer.train(resume_from_checkpoint=checkpoint)
    evaluated = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    is_current = evaluated and evaluated[-1]["step"] == trainer.state.global_step
    if trainer.eval_dataset is not None and (trainer.args.load_best_model_at_end or not is_current):
        trainer.evaluate()
    trainer.save_model()
    trainer.save_state()
    if plan.is_main:
        (folder / "adapter_model.safetensors").chmod(0o644)  # written 0600, unreadable for others on a shared machine
