"""Tune a LoRA adapter on twins of preference pairs: SFT on the chosen responses, then DPO against that SFT model.

    accelerate launch recipes/dpo_lora.py --config recipes/configs/smollm2_135m_cpu.yaml [--key value ...]

Reads the files of `data_gen` (see `pairs.py`), writes an adapter folder: adapter, tokenizer with the chat template that
was trained with, `run_manifest.json`, `log_history.json`, `training.png`, `samples.jsonl`, `README.md`.
Keys of a configuration are fields of `ScriptArguments`, `CPTConfig` (TRL's DPOConfig and a few) and TRL's ModelConfig.
Started again, the same command goes on where it was, or says that it is finished.

Departures from arXiv 2506.11702: twins share a batch (`twin_batching`), and an SFT stage may come first (`sft_epochs`).
"""

# mypy: disable-error-code="attr-defined,no-untyped-call,import-untyped"
# trl exports its classes lazily and leaves methods untyped; datasets ships no types

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import huggingface_hub.constants
from chat_templates import Repair, repair_chat_template, set_thinking
from estimate import estimate_run
from hub import push_folder
from pairs import RecipeError, check_scores, check_split, load_pairs, select_twins, sft_rows
from precision import Precision, choose_cpu_precision
from preflight import PreflightReport, check_dpo, check_sft, end_of_turn_ids, tokenise_dpo, tokenise_sft
from run_files import (
    MANIFEST_NAME,
    as_settings,
    base_licence,
    checkpoints,
    is_full,
    last_checkpoint,
    model_identity,
    portable,
    portable_arguments,
    portable_values,
    read_state,
    settings_key,
    sha256,
    versions,
    without_evaluation,
    write_card,
    write_json,
    write_state,
)
from safetensors import SafetensorError
from samples import check_judged
from script_arguments import ScriptArguments, check_settings
from stages import Plan, load_adapter, make_sft_config, planned_steps, run_dpo, run_sft, stage_record
from training_figure import draw_training
from transformers import AutoTokenizer
from trl import ModelConfig, TrlParser
from twin_trainer import CPTConfig


def set_precision(dpo: CPTConfig, cpu_bf16: str) -> Precision:
    """Settle what to compute in; on CPU this overrules `bf16`, which TRL turns on by default."""
    if dpo.device.type == "cpu":
        chosen = choose_cpu_precision(cpu_bf16)
        dpo.bf16, dpo.fp16 = chosen.autocast == "bf16", False
        dpo.mixed_precision = "bf16" if dpo.bf16 else "no"
        return chosen
    return Precision("bf16" if dpo.bf16 else "fp16" if dpo.fp16 else "none")


def prepare_inputs(script: ScriptArguments, dpo: CPTConfig, model: ModelConfig) -> None:
    """Run the commands of `prepare` if the training file or the model's folder is missing, on one process a machine.

    A program is first looked for beside this Python.

    Raises:
        RecipeError: If a command fails.
    """
    with dpo.main_process_first(desc="prepare data and model"):
        for command in script.prepare or []:
            if Path(script.train_file).is_file() and Path(str(model.model_name_or_path)).is_dir():
                return
            program, *rest = shlex.split(command)
            beside = Path(sys.executable).parent / program
            print(f"dpo_lora: {command}", file=sys.stderr, flush=True)
            try:
                subprocess.run([str(beside) if beside.exists() else program, *rest], check=True, stdout=sys.stderr)
            except (OSError, subprocess.CalledProcessError) as error:
                raise RecipeError(
                    f"prepare: {command!r} failed ({error}); mend it, or make the files yourself"
                ) from error


def run_preflight(plan: Plan) -> list[PreflightReport]:
    """Reports on the rows each stage would train and evaluate on, as TRL tokenises them."""
    reports = []
    ends = end_of_turn_ids(plan.tokenizer, plan.base_model, plan.model.model_revision)
    for rows in filter(None, (plan.train, plan.evaluation)):
        if plan.sft is not None:
            tokens = tokenise_sft(sft_rows(rows), plan.tokenizer, plan.sft)
            reports.append(check_sft(tokens, plan.tokenizer, plan.sft.max_length, len(rows), ends))
        tokens = tokenise_dpo(rows, plan.tokenizer, plan.dpo)
        reports.append(check_dpo(tokens, plan.tokenizer, plan.dpo.max_length, len(rows), ends))
    return reports


def make_plan(script: ScriptArguments, dpo: CPTConfig, model: ModelConfig) -> tuple[Plan, Repair | None]:
    """Load and check data and tokenizer; returns the plan and how the chat template was repaired, if it was."""
    given: Any = dpo.model_init_kwargs or {}
    options = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        **given,
    }
    with dpo.main_process_first(desc="read preference pairs"):
        train = select_twins(load_pairs(script.train_file), script.max_train_pairs, dpo.seed)
        evaluation = load_pairs(script.eval_file) if script.eval_file else None
    if evaluation is not None:
        check_split(train, evaluation)
    if dpo.score_offset:
        for rows, path in ((train, script.train_file), (evaluation, script.eval_file)):
            if rows is not None:
                check_scores(rows, str(path))
    if script.judge_samples and evaluation is not None:
        check_judged(evaluation)
    tokenizer = AutoTokenizer.from_pretrained(
        model.model_name_or_path, revision=model.model_revision, trust_remote_code=dpo.trust_remote_code
    )
    if tokenizer.chat_template is None:
        name = portable(str(model.model_name_or_path))
        raise RecipeError(f"{name}: the tokenizer has no chat template, expected one with a system turn")
    repair = repair_chat_template(tokenizer) if script.repair_chat_template else None
    if script.enable_thinking is not None:
        set_thinking(tokenizer, script.enable_thinking)
    dpo.model_init_kwargs = options
    sft = None
    if script.sft_epochs > 0:
        sft = make_sft_config(dpo, script.sft_epochs, script.sft_learning_rate, script.sft_batch_size)
        dpo.model_init_kwargs = None  # DPO then gets a loaded model, and TRL warns of options it cannot use
    samples = {name: getattr(script, name) for name in ("sample_prompts", "sample_tokens", "judge_samples")}
    return Plan(dpo, sft, model, train, evaluation, tokenizer, options, **samples), repair


def stage_keys(script: ScriptArguments, plan: Plan, base: dict[str, Any]) -> tuple[str, str]:
    """Settings keys of the SFT stage and of the whole run; paths enter as the hash of what they hold."""
    data = {"train": sha256(Path(script.train_file)), "twins": script.max_train_pairs, "cpu_bf16": script.cpu_bf16}
    own = {name: value for name, value in asdict(script).items() if not name.endswith("_file")}
    model = asdict(plan.model) | {"model_name_or_path": None, "base": base | {"name": None}}
    template = {"chat_template": plan.tokenizer.chat_template}
    sft = without_evaluation(as_settings(plan.sft)) if plan.sft else {}
    dpo = as_settings(plan.dpo)
    evaluation = {"eval": sha256(Path(script.eval_file)) if script.eval_file else None}
    return settings_key(data, model, template, sft), settings_key(data, own, model, template, sft, dpo, evaluation)


def is_finished(folder: Path, key: str) -> bool:
    """Whether the folder holds this very run, complete.

    Raises:
        RecipeError: if it holds another run, finished or interrupted in its DPO stage.
    """
    found, done = read_state(folder)
    if found == key or found is None:
        return found == key and done
    if done or checkpoints(folder):
        state = "a finished run" if done else "an interrupted run"
        raise RecipeError(
            f"{portable(str(folder))}: holds {state} of other data or settings, expected an empty or matching folder; "
            "choose another output_dir or delete it"
        )
    return False


def tell_reports(plan: Plan, reports: list[PreflightReport]) -> None:
    """Say what will be trained on; raise RecipeError at the first thing that must not be."""
    for report in reports:
        plan.say(
            f"preflight {report.stage}: {report.rows} rows, {report.median_tokens:g} tokens (median), "
            f"{report.max_tokens} (longest)"
        )
        for warning in report.warnings:
            plan.say(f"warning: {warning}")
    for report in reports:
        if report.errors:
            raise RecipeError(report.errors[0])


def describe(
    script: ScriptArguments, plan: Plan, base: dict[str, Any], precision: Precision, reports: list[PreflightReport]
) -> dict[str, Any]:
    """The manifest as far as it is known before training."""
    configs: dict[str, Any] = {"sft": plan.sft} if plan.sft else {}
    if plan.runs_dpo:
        configs["dpo"] = plan.dpo
    files = {"train": script.train_file, "eval": script.eval_file}
    return {
        "base_model": base,
        "data": {kind: {"name": Path(path).name, "sha256": sha256(Path(path))} for kind, path in files.items() if path},
        "seed": plan.dpo.seed,
        "argv": portable_arguments(sys.argv[1:]),
        "precision": asdict(precision),
        "steps": {stage: planned_steps(config, len(plan.train)) for stage, config in configs.items()},
        "preflight": [asdict(report) for report in reports],
        "processes": plan.dpo.world_size,
        "versions": versions(),
        "settings": portable_values(
            {"script": asdict(script), "model": asdict(plan.model)}
            | {stage: config.to_dict() for stage, config in configs.items()}
        ),
    }


def write_outputs(plan: Plan, manifest: dict[str, Any], histories: dict[str, Any], merge: bool) -> None:
    """Write everything that says what the adapter is, and the merged model if asked for."""
    folder = plan.output_dir
    write_json(folder / "log_history.json", histories)
    draw_training(histories, folder / "training.png")
    sft = {"sft": f"SFT on the chosen responses, {plan.sft.num_train_epochs:g} epochs"} if plan.sft else {}
    dpo = (
        {"dpo": f"DPO on twins, {plan.dpo.num_train_epochs:g} epochs, beta {plan.dpo.beta:g}"} if plan.runs_dpo else {}
    )
    write_card(folder, plan.base_model, sft | dpo, manifest)
    if plan.sft:
        write_card(plan.sft_dir, plan.base_model, sft, manifest)
    if merge:
        merged = load_adapter(plan, folder, trainable=False).merge_and_unload()
        merged.save_pretrained(folder / "merged")
        plan.tokenizer.save_pretrained(folder / "merged")
    write_json(folder / MANIFEST_NAME, manifest)


def train(script: ScriptArguments, plan: Plan, keys: tuple[str, str], manifest: dict[str, Any]) -> None:
    """Run the stages and write the outputs; `keys` as `stage_keys` returns them."""
    folder = plan.output_dir
    if plan.is_main:
        write_state(folder, keys[1], done=False)
    records = {}
    if plan.sft:
        records["sft"] = run_sft(plan, keys[0])
    trainer = None
    if plan.runs_dpo:
        trainer = run_dpo(plan)
        records["dpo"] = stage_record(folder)
    elif plan.is_main and plan.sft:
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copy(plan.sft_dir / name, folder / name)
        plan.tokenizer.save_pretrained(folder)
    if plan.is_main:
        manifest["metrics"] = {stage: record["metrics"] for stage, record in records.items()}
        histories = {stage: record["log_history"] for stage, record in records.items()}
        write_outputs(plan, manifest, histories, script.merge)
        write_state(folder, keys[1], done=True)
    plan.dpo.distributed_state.wait_for_everyone()
    plan.say(f"{folder}: finished")
    if trainer is not None:
        trainer.end()


def push(plan: Plan) -> None:
    """Upload the finished adapter, from the main process."""
    if not plan.is_main:
        return
    try:
        plan.say(f"uploaded: {push_folder(plan.output_dir, plan.dpo)}")
    except Exception as error:  # the hub's client raises its own errors, its HTTP client's, OSErrors and ValueErrors
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RecipeError(
            f"{portable(str(plan.output_dir))}: finished, but not uploaded ({reason}); the same command tries again"
        ) from error


def run(script: ScriptArguments, dpo: CPTConfig, model: ModelConfig) -> None:
    """Check everything that can be checked without a model, then train, unless the run is finished or dry."""
    check_settings(script, dpo, model)
    if script.estimate:
        print(estimate_run(script, dpo, model))
        return
    wants_push, dpo.push_to_hub = dpo.push_to_hub, False  # see `hub.py`
    prepare_inputs(script, dpo, model)
    precision = set_precision(dpo, script.cpu_bf16)
    plan, repair = make_plan(script, dpo, model)
    base = model_identity(plan.base_model, model.model_revision)
    keys = stage_keys(script, plan, base)
    base |= {"licence": base_licence(plan.base_model, model.model_revision)}
    if not script.dry_run and is_finished(plan.output_dir, keys[1]):
        plan.say(f"{plan.output_dir}: finished already, with the same data and settings; delete it to train again")
        if wants_push:
            push(plan)
        return
    if repair:
        plan.say(f"chat template repaired: {repair}; evaluate with the tokenizer in the output folder")
    reports = run_preflight(plan)
    tell_reports(plan, reports)
    manifest = describe(script, plan, base, precision, reports) | {"chat_template_repair": repair}
    manifest["settings_key"] = keys[1]
    if script.dry_run:
        if plan.is_main:
            print(json.dumps(manifest, indent=1))
        return
    try:
        train(script, plan, keys, manifest)
    except (OSError, RuntimeError, SafetensorError) as error:
        if not is_full(error):
            raise
        last = last_checkpoint(plan.output_dir) or last_checkpoint(plan.sft_dir)
        raise RecipeError(
            f"{portable(str(plan.output_dir))}: no space left on the disk, last complete checkpoint: {last or 'none'}; "
            "free some and start again"
        ) from error
    if wants_push:
        push(plan)


def main() -> None:
    """Command line entry; a setting or file that cannot be trained on ends with one sentence and exit code 1."""
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True  # trl 1.16 pings the hub whenever a trainer is made
    arguments = sys.argv[1:]
    if "--estimate" in arguments and arguments[arguments.index("--estimate") + 1 :][:1] != ["false"]:
        arguments += ["--use_cpu", "true"]  # TrainingArguments refuses bf16 on a machine without a GPU
    parser = TrlParser([ScriptArguments, CPTConfig, ModelConfig])  # type: ignore[list-item]
    try:
        parsed: Any = parser.parse_args_and_config(arguments)
    except (ValueError, FileNotFoundError) as error:  # an unknown key, an impossible value, no such configuration
        sys.exit(f"dpo_lora: error: {error}")
    script, dpo, model = parsed
    try:
        run(script, dpo, model)
    except RecipeError as error:
        sys.exit(f"dpo_lora: error: {error}")


if __name__ == "__main__":
    main()
