"""Tune a LoRA adapter on twins of preference pairs: SFT on the chosen responses, then DPO against that SFT model.

    accelerate launch recipes/dpo_lora.py --config recipes/configs/smollm2_135m_cpu.yaml [--key value ...]

Reads the files of `data_gen` (see `training/pairs.py`), writes an adapter folder: adapter, tokenizer with the chat
template that was trained with, `run_manifest.json`, `log_history.json`, `training.png`, `samples.jsonl`, `README.md`.
Keys of a configuration are fields of `ScriptArguments`, `CPTConfig` (TRL's DPOConfig and a few) and TRL's ModelConfig.
Started again, the same command goes on where it was, or says that it is finished.

Departures from arXiv 2506.11702: twins share a batch (`twin_batching`), and an SFT stage may come first (`sft_epochs`).
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import huggingface_hub.constants
import torch
from training import RecipeError
from training.estimate import estimate_run
from training.outputs import push_folder
from training.plan import Plan, describe, run_preflight, stage_keys
from training.run_files import is_finished
from training.settings import ScriptArguments, check_settings, set_precision, set_threads
from training.stages import run_stages, write_merged
from training.trainer import CPTConfig
from trl import ModelConfig, TrlParser
from yaml import YAMLError


def run(script: ScriptArguments, dpo: CPTConfig, model: ModelConfig) -> None:
    """Check everything that can be checked without a model, then train, unless the run is finished or dry."""
    check_settings(script, dpo, model)
    if script.estimate:
        print(estimate_run(script, dpo, model))
        return
    wants_push, dpo.push_to_hub = dpo.push_to_hub, False  # see `training/outputs.py`
    threads = set_threads(dpo, script.cpu_threads)
    precision = set_precision(dpo, script.cpu_bf16)
    plan = Plan(script, dpo, model)
    keys = stage_keys(plan)
    if not script.dry_run and is_finished(plan.output_dir, keys[1]):
        plan.say(f"{plan.output_dir}: finished already, with the same data and settings; delete it to train again")
        if script.merge and plan.is_main:
            write_merged(plan)
    else:
        if plan.repair:
            plan.say(f"chat template repaired: {plan.repair}; evaluate with the tokenizer in the output folder")
        if plan.template_date:
            plan.say(f"chat template: prints today's date, trained and saved with {plan.template_date} in its place")
        manifest = describe(plan, keys[1], precision, run_preflight(plan)) | {"cpu_threads": threads}
        if script.dry_run:
            if plan.is_main:
                print(json.dumps(manifest, indent=1))
            return
        run_stages(plan, keys, manifest)
    if wants_push and plan.is_main:
        plan.say(f"uploaded: {push_folder(plan.output_dir, dpo)}")


def parse(arguments: list[str]) -> Any:
    """(ScriptArguments, CPTConfig, ModelConfig) of a command line and the configuration it names.

    Raises:
        ValueError: for an unknown key or an impossible value.
        OSError: if there is no such configuration.
        YAMLError: if it is no YAML.
    """
    [script, *_] = TrlParser([ScriptArguments]).parse_args_and_config(
        arguments, return_remaining_strings=True, fail_with_unknown_args=False
    )
    if script.estimate or (script.dry_run and not torch.cuda.is_available()):
        arguments = [*arguments, "--use_cpu", "true"]  # TrainingArguments refuses bf16 on a machine without a GPU
    return TrlParser([ScriptArguments, CPTConfig, ModelConfig]).parse_args_and_config(arguments)


def main() -> None:
    """Command line entry; a setting or file that cannot be trained on ends with one sentence and exit code 1."""
    if os.environ.get("WORLD_SIZE", "1") == "1":  # else TRL spreads the model over all cards, and the step fails
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True  # trl 1.16 pings the hub whenever a trainer is made
    try:
        settings = parse(sys.argv[1:])
    except (ValueError, OSError, YAMLError) as error:
        sys.exit(f"dpo_lora: error: {error}")
    try:
        run(*settings)
    except RecipeError as error:
        sys.exit(f"dpo_lora: error: {error}")


if __name__ == "__main__":
    main()
