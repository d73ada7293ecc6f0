"""A run settled and checked before a model is loaded: data, tokenizer, settings of both stages, preflight, manifest."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import AutoProcessor, AutoTokenizer
from trl import ModelConfig, SFTConfig

from training import RecipeError
from training.chat_templates import reads_images, settle_template
from training.outputs import base_licence
from training.pairs import check_split, load_pairs
from training.preflight import check_rows, end_of_turn_ids
from training.run_files import SCHEMA, model_identity, portable, portable_arguments, portable_values, sha256
from training.settings import MODEL_KEYS, ScriptArguments, settings_key, stage_settings, trains_dpo
from training.starting_adapter import identify_adapter
from training.trainer import CPTConfig

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")  # which decide the numbers


class Plan:
    """Everything the stages need, settled and checked."""

    def __init__(self, script: ScriptArguments, dpo: CPTConfig, model: ModelConfig) -> None:
        """Load and check data and tokenizer, and settle the stages."""
        self.script, self.dpo, self.model = script, dpo, model
        self.output_dir = Path(str(dpo.output_dir))  # of the adapter; the SFT adapter lies in `sft` there
        self.base_model = str(model.model_name_or_path)  # hub name or folder, as the user gave it
        self.is_main = dpo.process_index == 0  # whether this process writes
        with dpo.main_process_first(desc="read preference pairs"):
            self.train = load_pairs(script.train_file)
            self.evaluation = load_pairs(script.eval_file) if script.eval_file else None
        if self.evaluation is not None:
            check_split(self.train, self.evaluation)
        self.pairs = "twins" if "pair_id" in self.train.column_names else "plain preference pairs"
        if self.pairs != "twins":
            dpo.twin_batching = False
            path = portable(script.train_file)
            self.say(f"{path}: no column pair_id, so plain preference pairs: shuffled DPO, no twin metrics")
        self.tokenizer = read_tokenizer(dpo, model, with_images="images" in self.train.column_names)
        settled = settle_template(self.tokenizer, script.repair_chat_template, script.enable_thinking)
        self.repair, self.template_date = settled
        self.identity = model_identity(self.base_model, model.model_revision, dpo.trust_remote_code)
        folder = script.init_adapter
        drops = script.sft_epochs > 0 or not dpo.disable_dropout
        self.init_adapter = identify_adapter(Path(folder), model, self.identity, drops) if folder else None
        self.load_options: dict[str, Any] = {
            "revision": model.model_revision,
            "attn_implementation": model.attn_implementation,
            "dtype": model.dtype,
            **({"trust_remote_code": True} if dpo.trust_remote_code else {}),
            **(dpo.model_init_kwargs or {}),
        }
        # a stage that begins with an adapter gets a loaded model, and TRL warns of options it cannot use
        dpo.model_init_kwargs = None if folder else self.load_options
        self.sft = make_sft_config(script, dpo) if script.sft_epochs > 0 else None
        if self.sft:
            dpo.model_init_kwargs = None
        stages = {"sft": self.sft, "dpo": dpo if trains_dpo(dpo) else None}
        self.configs = {name: config for name, config in stages.items() if config}  # of the stages that run

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
        "save_strategy": "steps" if dpo.save_strategy == "best" else dpo.save_strategy,
        "metric_for_best_model": None,
    }
    config = SFTConfig(**values)
    # TrainingArguments takes the launcher's precision for unset flags; both stages must compute in the same.
    config.bf16, config.mixed_precision = dpo.bf16, dpo.mixed_precision
    return config


def read_tokenizer(dpo: CPTConfig, model: ModelConfig, with_images: bool = False) -> Any:
    """The tokenizer of the base model, for data with images its processor, which must have a chat template."""
    reader: Any = AutoProcessor if with_images else AutoTokenizer
    name = portable(str(model.model_name_or_path))
    try:
        tokenizer = reader.from_pretrained(
            model.model_name_or_path, revision=model.model_revision, trust_remote_code=dpo.trust_remote_code
        )
    except OSError as error:
        raise RecipeError(
            f"{name}: no tokenizer in such a folder or on the hub, expected a model; "
            "recipes/experiments/prepare_smollm2.py makes models/smollm2-135m-instruct"
        ) from error
    if with_images and not reads_images(tokenizer):
        raise RecipeError(f"{name}: reads texts only, expected a vision-language model: train_file has images")
    if tokenizer.chat_template is None:
        raise RecipeError(f"{name}: the tokenizer has no chat template, expected one with a system turn")
    return tokenizer


def run_preflight(plan: Plan) -> dict[str, Any]:
    """Reports on the rows to train and to evaluate on, as TRL tokenises them, said as well; see `check_rows`."""
    ends = end_of_turn_ids(plan.tokenizer, plan.base_model, plan.model.model_revision)
    reports = {}
    files = {"train": (plan.script.train_file, plan.train), "eval": (plan.script.eval_file, plan.evaluation)}
    for kind, (path, rows) in files.items():
        if rows is not None:
            try:
                report = reports[kind] = check_rows(rows, plan.tokenizer, plan.dpo, ends)
            except RecipeError as error:
                raise RecipeError(f"{path}: {error}") from error
            lengths = f"{report['median_tokens']:g} tokens (median), {report['max_tokens']} (longest)"
            plan.say(f"preflight of {kind}_file: {report['rows']} rows, {lengths}")
            for warning in report["warnings"]:
                plan.say(f"warning: {warning}")
    return reports


NOT_KEYS = ("token", "device_map", "trust_remote_code")  # options of loading that change no weight


def stage_keys(plan: Plan) -> tuple[str, str]:
    """Settings keys of the SFT stage and of the whole run; paths enter as the hash of what they hold."""
    script = plan.script
    start = (plan.init_adapter or {}).get("sha256")
    data = {"train": sha256(script.train_file), "cpu_bf16": script.cpu_bf16, "init_adapter": start}
    data |= {"processes": plan.dpo.world_size if plan.dpo.world_size > 1 else None}
    model = plan.identity | {"name": None}
    model |= {name: value for name, value in plan.load_options.items() if name not in NOT_KEYS}
    model |= {name: getattr(plan.model, name) for name in MODEL_KEYS} | {"chat_template": plan.tokenizer.chat_template}
    sft = {} if plan.sft is None else stage_settings(plan.sft)
    evaluation = {"eval": sha256(script.eval_file) if script.eval_file else None}
    return settings_key(data, model, sft), settings_key(data, model, sft, stage_settings(plan.dpo), evaluation)


def describe(plan: Plan, key: str, precision: dict[str, Any], reports: dict[str, Any]) -> dict[str, Any]:
    """The manifest as far as it is known before training."""
    files = {"train": plan.script.train_file, "eval": plan.script.eval_file}
    settings = {"script": asdict(plan.script), "model": asdict(plan.model)}
    return {
        "schema": SCHEMA,
        "base_model": plan.identity | {"licence": base_licence(plan.base_model)},
        "data": {kind: {"name": Path(path).name, "sha256": sha256(path)} for kind, path in files.items() if path},
        "init_adapter": plan.init_adapter,
        "seed": plan.dpo.seed,
        "argv": portable_arguments(sys.argv[1:]),
        "precision": precision,
        "preflight": reports,
        "processes": plan.dpo.world_size,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "settings": portable_values(settings | {stage: config.to_dict() for stage, config in plan.configs.items()}),
        "chat_template_repair": plan.repair,
        "chat_template_date": plan.template_date,
        "settings_key": key,
    }
