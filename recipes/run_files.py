"""What a run leaves behind besides weights: its state, manifest and card, all free of absolute paths and keys.

`run_state.json` ({settings_key, done}) decides whether a folder is new, interrupted or finished; `run_manifest.json`
says what made the adapter. Used by `dpo_lora.py`, written by the main process only.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

STATE_NAME = "run_state.json"
MANIFEST_NAME = "run_manifest.json"
MAX_HASHED_BYTES = 4 * 10**9  # about ten seconds of sha256; larger weights are known by names and sizes

SECRET = frozenset({"hub_token", "token"})

# Settings that change where, how loudly or how often a run reports, but not what it trains.
NOT_IN_KEY = frozenset(
    "output_dir run_name report_to disable_tqdm log_level log_level_replica log_on_each_node logging_dir logging_steps "
    "logging_first_step logging_strategy resume_from_checkpoint local_rank save_total_limit save_strategy save_steps "
    "push_to_hub hub_model_id hub_strategy hub_token hub_private_repo hub_always_push hub_revision trackio_space_id "
    "project dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers dataset_num_proc "
    "ddp_timeout ddp_find_unused_parameters use_cpu skip_memory_metrics save_only_model enable_jit_checkpoint "
    "dry_run estimate merge judge_samples prepare".split()
)

# Options of later versions: left out while they are off, so that a folder trained before they existed still matches.
ADDED_LATER = frozenset(["enable_thinking", "joint_weight", "score_offset"])


def sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def portable(text: str) -> str:
    """`text` with an absolute path, also after `--key=`, made relative to the working directory, or its last part."""
    key, separator, value = text.partition("=") if text.startswith("--") else ("", "", text)
    path = Path(value).expanduser()
    if not path.is_absolute():
        return text
    here = Path.cwd()
    return key + separator + (str(path.relative_to(here)) if path.is_relative_to(here) else path.name)


def portable_arguments(arguments: list[str]) -> list[str]:
    """A command line with `portable` applied to each word and the values of `SECRET` options hidden."""
    words = []
    for position, word in enumerate(arguments):
        option, separator, _ = word.partition("=")
        before = arguments[position - 1] if position else ""
        if separator and option.lstrip("-").replace("-", "_") in SECRET:
            words.append(f"{option}=<hidden>")
        else:
            words.append("<hidden>" if before.lstrip("-").replace("-", "_") in SECRET else portable(word))
    return words


def portable_values(value: Any) -> Any:
    """`value` as JSON data: strings made `portable`, values of `SECRET` keys hidden, other objects as their `str`."""
    if isinstance(value, dict):
        return {
            str(key): "<hidden>" if key in SECRET and item else portable_values(item) for key, item in value.items()
        }
    if isinstance(value, list | tuple | set):
        return [portable_values(item) for item in (sorted(value, key=str) if isinstance(value, set) else value)]
    return value if value is None or isinstance(value, bool | int | float) else portable(str(value))


def model_identity(name_or_path: str, revision: str | None) -> dict[str, Any]:
    """What pins the base model: hub revision, or for a folder the sha256 of its weights (sizes above 4 GB)."""
    identity: dict[str, Any] = {"name": portable(name_or_path)}
    if not Path(name_or_path).is_dir():
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(name_or_path, revision=revision)
        return identity | {"revision": getattr(config, "_commit_hash", None) or revision}
    weights = sorted(Path(name_or_path).glob("*.safetensors"))
    if sum(path.stat().st_size for path in weights) > MAX_HASHED_BYTES:
        return identity | {"weight_bytes": {path.name: path.stat().st_size for path in weights}}
    return identity | {"weight_sha256": {path.name: sha256(path) for path in weights}}


def as_settings(config: Any) -> dict[str, Any]:
    """A training configuration as a dict, without the precision that was timed: its setting `cpu_bf16` counts."""
    return dict(config.to_dict()) | {"bf16": None, "mixed_precision": None}


def settings_key(*parts: dict[str, Any]) -> str:
    """Hex sha256 of everything in `parts` that decides what is trained; see `NOT_IN_KEY` and `ADDED_LATER`."""
    kept = [
        {
            name: value
            for name, value in part.items()
            if name not in NOT_IN_KEY and (name not in ADDED_LATER or value not in (None, 0))
        }
        for part in parts
    ]
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def without_evaluation(config: dict[str, Any]) -> dict[str, Any]:
    """A stage's settings without those of evaluation; only for a stage that does not pick its best checkpoint."""
    return {name: value for name, value in config.items() if "eval" not in name.split("_")}


def write_json(path: Path, data: Any) -> None:
    """Write JSON so that a reader never sees half a file."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def read_json(path: Path) -> Any:
    """Parsed content of a JSON file, None if it is missing or torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None


def write_state(folder: Path, key: str, done: bool) -> None:
    """Record that the folder belongs to the settings `key`, and whether their training is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / STATE_NAME, {"settings_key": key, "done": done})


def read_state(folder: Path) -> tuple[str | None, bool]:
    """(settings key, done) of a folder, (None, False) for a new one."""
    state = read_json(folder / STATE_NAME) or {}
    return state.get("settings_key"), bool(state.get("done"))


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders by rising step, without those a kill interrupted (trainer_state.json is written last)."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    complete = [path for path in found if read_json(path / "trainer_state.json") is not None]
    return sorted(complete, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint of a folder as the trainers take it, None if there is none."""
    return next((str(path) for path in reversed(checkpoints(folder))), None)


# What Python and safetensors say, and torch.save, which does not say why it failed.
DISK_FULL = ("No space left on device", "PytorchStreamWriter failed writing", "unexpected pos")


def is_full(error: Exception) -> bool:
    """Whether a write failed for want of space."""
    return any(sign in str(error) for sign in DISK_FULL)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    packages = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def base_licence(base_model: str, revision: str | None) -> str | None:
    """What the base model's card says its licence is; None if it has no card, says nothing, or cannot be reached."""
    from huggingface_hub import ModelCard, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        path = Path(base_model) / "README.md"
        if not Path(base_model).is_dir():
            path = Path(hf_hub_download(base_model, "README.md", revision=revision))
    except (OSError, HfHubHTTPError):
        return None
    licence = ModelCard.load(path, ignore_metadata_errors=True).data.license if path.is_file() else None
    return str(licence) if licence else None


# What a card shows of the metrics of a stage.
CARD_METRICS = (
    "train_loss eval_loss eval_rewards/accuracies eval_twins/both_correct eval_twins/sum_margin eval_twins/style_bias"
).split()


def write_card(folder: Path, base_model: str, stages: dict[str, str], manifest: dict[str, Any]) -> None:
    """Write README.md of an adapter folder.

    TRL's and PEFT's own cards are replaced: they may name a local folder as a hub model, and say nothing of the data.

    Args:
        folder: adapter folder.
        base_model: what the user gave; named in the metadata only when it is not a local folder.
        stages: what was done, in order, one phrase a stage, by the stage's name in `manifest["metrics"]`.
        manifest: what `run_manifest.json` will hold.
    """
    metadata = ["library_name: peft", "pipeline_tag: text-generation"]
    if not Path(base_model).is_dir():
        metadata.append(f"base_model: {base_model}")
    licence = manifest["base_model"].get("licence")
    if licence:
        metadata.append(f"license: {licence}")
    metadata.append("tags: [lora, trl, dpo, configurable-preference-tuning]")
    lines = ["---", *metadata, "---", "", f"# LoRA adapter for {portable(base_model)}", ""]
    lines += ["Follows a system prompt that asks for a style at a level (Configurable Preference Tuning, arXiv"]
    lines += ["2506.11702). Load it with PEFT on the base model, and use the tokenizer in this folder: its chat"]
    lines += ["template is the one trained with.", ""]
    if manifest.get("chat_template_repair"):
        lines += [f"The base model's own chat template was repaired: {manifest['chat_template_repair']}.", ""]
    lines += [f"Licence of the base model: {licence or 'not known to this run, see its page'}.", "", "Training:", ""]
    lines += [f"- {stage}" for stage in stages.values()]
    lines += ["", "Data:", ""]
    lines += [f"- `{item['name']}`, sha256 {item['sha256']}" for item in manifest["data"].values()]
    lines += ["", "| metric | " + " | ".join(stages) + " |", "|---|" + "---|" * len(stages)]
    for name in CARD_METRICS:
        values = [manifest["metrics"][stage].get(name) for stage in stages]
        if any(value is not None for value in values):
            lines.append(
                f"| {name} | " + " | ".join("" if value is None else f"{value:.4g}" for value in values) + " |"
            )
    command = shlex.join(["accelerate", "launch", "recipes/dpo_lora.py", *manifest["argv"]])
    lines += ["", "Command:", "", f"    {command}", ""]
    lines += [f"All settings, versions and checks: `{MANIFEST_NAME}`; losses: `log_history.json`.", ""]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")
