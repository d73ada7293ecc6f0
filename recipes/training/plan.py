"""A run settled and checked before a model is loaded: data, tokenizer, settings of both stages, preflight, manifest."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoTokenizer
from trl import ModelConfig, SFTConfig

from training import RecipeError
from training.card import base_licence
from training.chat_templates import Repair, repair_chat_template, set_thinking
from training.pairs import check_split, load_pairs, sft_rows
from training.preflight import PreflightReport, check_rows, end_of_turn_ids, tokenise
from training.run_files import SCHEMA, model_identity, portable, portable_arguments, portable_values, sha256, versions
from training.samples import check_judged
from training.settings import ScriptArguments, model_settings, settings_key, stage_settings, trains_dpo
from training.trainer import CPTConfig

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Plan:
    """Everything the stages need, settled and checked."""

    script: ScriptArguments
    dpo: CPTConfig
    sft: SFTConfig | None
    model: ModelConfig
    train: Dataset
    evaluation: Dataset | None
    tokenizer: Any
    repair: Repair | None
    load_options: dict[str, Any]
    output_dir: Path  # of the adapter; the SFT adapter lies in `sft` there
    configs: dict[str, Any]  # settings by stage, of those that run
    base_model: str  # hub name or folder, as the user gave it
    is_main: bool  # whether this process writes

    def say(self, text: str) -> None:
        """Tell the user once, on stderr."""
        if self.is_main:
            print(f"dpo_lora: {text}", file=sys.stderr, flush=True)


def make_sft_config(script: ScriptArguments, dpo: CPTConfig) -> SFTConfig:
    """Settings of the SFT stage: those of DPO where the two trainers share them, in the folder `<output_dir>/sft`.

    Epochs, peak learning rate and pairs per device are its own. It evaluates once an epoch if DPO evaluates at all.
    """
    shared = {item.name for item in fields(SFTConfig) if item.init} & {item.name for item in fields(CPTConfig)}
    values = {name: getattr(dpo, name) for name in shared - {"loss_type", "learning_rate"}}
    values |= {
        "output_dir": str(Path(str(dpo.output_dir)) / "sft"),
        "num_train_epochs": script.sft_epochs,
        "max_steps": -1,
        "learning_rate": script.sft_learning_rate,
        "per_device_train_batch_size": script.sft_batch_size,
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


def read_data(script: ScriptArguments, dpo: CPTConfig) -> tuple[Dataset, Dataset | None]:
    """Checked rows to train and to evaluate on."""
    scored = dpo.score_offset != 0
    with dpo.main_process_first(desc="read preference pairs"):
        train = load_pairs(script.train_file, scored)
        evaluation = load_pairs(script.eval_file, scored) if script.eval_file else None
    if evaluation is not None:
        check_split(train, evaluation)
        if script.judge_samples:
            check_judged(evaluation)
    return train, evaluation


def read_tokenizer(script: ScriptArguments, dpo: CPTConfig, model: ModelConfig) -> tuple[Any, Repair | None]:
    """The tokenizer with the template to train with, and how that was repaired, if it was."""
    name = portable(str(model.model_name_or_path))
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            model.model_name_or_path, revision=model.model_revision, trust_remote_code=dpo.trust_remote_code
        )
    except OSError as error:
        raise RecipeError(
            f"{name}: no tokenizer in such a folder or on the hub, expected a model; recipes/experiments/prepare_*.py "
            "make those of models/"
        ) from error
    if tokenizer.chat_template is None:
        raise RecipeError(f"{name}: the tokenizer has no chat template, expected one with a system turn")
    repair = repair_chat_template(tokenizer) if script.repair_chat_template else None
    if script.enable_thinking is not None:
        set_thinking(tokenizer, script.enable_thinking)
    return tokenizer, repair


def make_plan(script: ScriptArguments, dpo: CPTConfig, model: ModelConfig) -> Plan:
    """Load and check data and tokenizer, and settle the stages."""
    given: Any = dpo.model_init_kwargs or {}
    options = {"revision": model.model_revision, "attn_implementation": model.attn_implementation, "dtype": model.dtype}
    options |= given
    train, evaluation = read_data(script, dpo)
    tokenizer, repair = read_tokenizer(script, dpo, model)
    dpo.model_init_kwargs = options
    sft = make_sft_config(script, dpo) if script.sft_epochs > 0 else None
    if sft:
        dpo.model_init_kwargs = None  # DPO then gets a loaded model, and TRL warns of options it cannot use
    stages = {"sft": sft, "dpo": dpo if trains_dpo(dpo) else None}
    return Plan(
        script=script,
        dpo=dpo,
        sft=sft,
        model=model,
        train=train,
        evaluation=evaluation,
        tokenizer=tokenizer,
        repair=repair,
        load_options=options,
        output_dir=Path(str(dpo.output_dir)),
        configs={name: config for name, config in stages.items() if config},
        base_model=str(model.model_name_or_path),
        is_main=dpo.process_index == 0,
    )


def run_preflight(plan: Plan) -> list[PreflightReport]:
    """Reports on the rows each stage would train and evaluate on, as TRL tokenises them."""
    reports = []
    ends = end_of_turn_ids(plan.tokenizer, plan.base_model, plan.model.model_revision)
    for rows in filter(None, (plan.train, plan.evaluation)):
        for stage, config, given in (("SFT", plan.sft, sft_rows(rows)), ("DPO", plan.dpo, rows)):
            if config is not None:
                tokens = tokenise(stage, given, plan.tokenizer, config)
                reports.append(check_rows(stage, tokens, plan.tokenizer, config.max_length, len(rows), ends))
    return reports


def stage_keys(plan: Plan) -> tuple[str, str]:
    """Settings keys of the SFT stage and of the whole run; paths enter as the hash of what they hold."""
    script = plan.script
    data = {"train": sha256(Path(script.train_file)), "cpu_bf16": script.cpu_bf16}
    base = model_identity(plan.base_model, plan.model.model_revision) | {"name": None}
    options = {name: value for name, value in plan.load_options.items() if name not in ("token", "device_map")}
    model = base | options | model_settings(plan.model) | {"chat_template": plan.tokenizer.chat_template}
    sft = {} if plan.sft is None else stage_settings(plan.sft)
    evaluation = {"eval": sha256(Path(script.eval_file)) if script.eval_file else None}
    return settings_key(data, model, sft), settings_key(data, model, sft, stage_settings(plan.dpo), evaluation)


def planned_steps(config: Any, rows: int) -> int:
    """Optimiser steps a trainer with this configuration takes on `rows` rows (a part of a batch counts as one)."""
    if config.max_steps > 0:
        return int(config.max_steps)
    batches = math.ceil(rows / (config.per_device_train_batch_size * config.world_size))
    steps_per_epoch = math.ceil(batches / config.gradient_accumulation_steps)
    return int(math.ceil(steps_per_epoch * config.num_train_epochs))


def describe(plan: Plan, key: str, precision: dict[str, Any], reports: list[PreflightReport]) -> dict[str, Any]:
    """The manifest as far as it is known before training."""
    base = model_identity(plan.base_model, plan.model.model_revision)
    files = {"train": plan.script.train_file, "eval": plan.script.eval_file}
    settings = {"script": asdict(plan.script), "model": asdict(plan.model)}
    return {
        "schema": SCHEMA,
        "base_model": base | {"licence": base_licence(plan.base_model, plan.model.model_revision)},
        "data": {kind: {"name": Path(path).name, "sha256": sha256(Path(path))} for kind, path in files.items() if path},
        "seed": plan.dpo.seed,
        "argv": portable_arguments(sys.argv[1:]),
        "precision": precision,
        "steps": {stage: planned_steps(config, len(plan.train)) for stage, config in plan.configs.items()},
        "preflight": [asdict(report) for report in reports],
        "processes": plan.dpo.world_size,
        "versions": versions(),
        "settings": portable_values(settings | {stage: config.to_dict() for stage, config in plan.configs.items()}),
        "chat_template_repair": plan.repair,
        "settings_key": key,
    }
