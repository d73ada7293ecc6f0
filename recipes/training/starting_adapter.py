"""The adapter that a run goes on from, `init_adapter`: what must agree with the settings, and its hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trl import ModelConfig

from training import RecipeError
from training.run_files import MANIFEST_NAME, portable, read_json, sha256

WEIGHTS = "adapter_model.safetensors"
WHAT_PINS_A_MODEL = ("weight_sha256", "revision")  # in a manifest's `base_model`


def identify_adapter(folder: Path, model: ModelConfig, identity: dict[str, Any], with_dropout: bool) -> dict[str, Any]:
    """`{name, sha256}` of an adapter that fits the LoRA settings and the base model, `identity` of `model_identity`.

    Dropout counts `with_dropout`, where a stage uses it: DPO turns it off.

    Raises:
        RecipeError: if it is no LoRA adapter, or one of another base model, rank, alpha or other modules.
    """
    name = portable(str(folder))
    config = read_json(folder / "adapter_config.json") or {}
    if config.get("peft_type") != "LORA" or not (folder / WEIGHTS).is_file():
        raise RecipeError(f"init_adapter {name}: holds no LoRA adapter, expected adapter_config.json and {WEIGHTS}")
    wanted = {"r": model.lora_r, "lora_alpha": model.lora_alpha, "use_dora": model.use_dora}
    wanted |= {"use_rslora": model.use_rslora} | ({"lora_dropout": model.lora_dropout} if with_dropout else {})
    more = {"modules_to_save": model.lora_modules_to_save, "target_parameters": model.lora_target_parameters}
    wanted |= {key: value or None for key, value in more.items()}
    config |= {key: config.get(key) or None for key in more}
    modules = model.lora_target_modules  # TRL unwraps a list of one; PEFT saves what all-linear stands for
    if modules != "all-linear":
        saved = config["target_modules"]
        wanted["target_modules"] = sorted([modules] if isinstance(modules, str) else modules or [])
        config["target_modules"] = sorted([saved] if isinstance(saved, str) else saved)
    for key, value in wanted.items():
        if config.get(key) != value:
            raise RecipeError(f"init_adapter {name}: {key} is {config.get(key)}, expected {value} as in the settings")
    if other := other_base(folder, config, identity):
        raise RecipeError(f"init_adapter {name}: trained on {other}, expected on {identity['name']}")
    return {"name": name, "sha256": sha256(folder / WEIGHTS)}


def other_base(folder: Path, config: dict[str, Any], identity: dict[str, Any]) -> str | None:
    """Name of the adapter's base model if it is another: by its hash where both have one, else by its name."""
    base = (read_json(folder / MANIFEST_NAME) or {}).get("base_model", {})
    trained_on = portable(base.get("name") or str(config.get("base_model_name_or_path")))
    pinned = [(base[key], identity[key]) for key in WHAT_PINS_A_MODEL if base.get(key) and identity.get(key)]
    same = all(a == b for a, b in pinned) if pinned else Path(trained_on).name == Path(identity["name"]).name
    return None if same else trained_on
