"""What says what an adapter is: metrics, figure and model card of its folder; and the upload of a finished one.

TRL's and PEFT's own cards are replaced: they may name a local folder as a hub model, and say nothing of the data. TRL
would also upload at every checkpoint, with the optimizer's state; so its own uploads stay off.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import huggingface_hub
import pandas as pd
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.errors import HfHubHTTPError
from matplotlib.figure import Figure

from training import RecipeError
from training.run_files import MANIFEST_NAME, portable, read_json, write_json

# What a card shows of the metrics of a stage.
METRICS = (
    "eval_loss eval_rewards/accuracies eval_twins/both_correct eval_twins/sum_margin eval_twins/style_bias "
    "eval_same_level/accuracy"
).split()
LEFT_OUT = [
    *("checkpoint-*/*", "sft/*", "ref/*", "merged*/*", "runs/*"),
    *("run_state.json", "trainer_state.json", "training_args.bin"),
]


def base_licence(base_model: str) -> str | None:
    """What the base model's card says its licence is; None if it has no card, says nothing, or cannot be reached."""
    card = Path(base_model) / "README.md" if Path(base_model).is_dir() else base_model
    try:
        licence = ModelCard.load(card, ignore_metadata_errors=True).data.license
    except (OSError, ValueError, HfHubHTTPError):
        return None
    return str(licence) if licence else None


def write_outputs(folder: Path, base_model: str, stages: dict[str, str], manifest: dict[str, Any]) -> None:
    """Write log_history.json, training.png, model card and manifest of an adapter folder, and the SFT stage's card.

    `stages` says what was done, in order, a phrase by the name of the stage ("sft", "dpo"); the manifest gets its steps
    and metrics.
    """
    histories, manifest["steps"], manifest["metrics"] = {}, {}, {}
    for stage in stages:
        trained = folder / "sft" if stage == "sft" else folder
        state = read_json(trained / "trainer_state.json")
        histories[stage], manifest["steps"][stage] = state["log_history"], state["global_step"]
        evaluated = [entry for entry in state["log_history"] if "eval_loss" in entry]
        manifest["metrics"][stage] = (evaluated or [{}])[-1]
    write_json(folder / "log_history.json", histories)
    draw_training(histories, folder / "training.png")
    if "sft" in stages:
        write_card(folder / "sft", base_model, {"sft": stages["sft"]}, manifest)
    write_card(folder, base_model, stages, manifest)
    write_json(folder / MANIFEST_NAME, manifest)


def draw_training(histories: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw loss and, of DPO, the share of twins that are right, as logged over optimiser steps."""
    metrics = {"sft": ("loss",), "dpo": ("loss", "twins/both_correct")}
    panels = [(stage, metric) for stage in histories for metric in metrics[stage]]
    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (stage, metric) in zip(axes, panels, strict=True):
        logged = pd.DataFrame(histories[stage]).set_index("step")
        for name in logged.columns.intersection([metric, f"eval_{metric}"]):
            axis.plot(logged[name].dropna(), marker="o", markersize=3, label=name)
            axis.legend()
        axis.set(title=f"{stage} {metric}", xlabel="step")
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


def write_card(folder: Path, base_model: str, stages: dict[str, str], manifest: dict[str, Any]) -> None:
    """Write README.md of an adapter folder that these stages made."""
    licence = manifest["base_model"]["licence"]
    metrics = pd.DataFrame({stage: manifest["metrics"][stage] for stage in stages})
    metrics = metrics.loc[[name for name in METRICS if name in metrics.index]]
    card = ModelCard.from_template(
        ModelCardData(
            library_name="peft",
            pipeline_tag="text-generation",
            base_model=None if Path(base_model).is_dir() else base_model,
            license=licence,
            tags=["lora", "trl", "dpo", "configurable-preference-tuning"],
        ),
        template_path=str(Path(__file__).with_name("model_card.md.jinja")),
        model=portable(base_model),
        repair=manifest["chat_template_repair"],
        licence=licence,
        stages=stages.values(),
        data=manifest["data"].values(),
        metrics="" if metrics.empty else metrics.astype(float).to_markdown(floatfmt=".4g", missingval=""),
        command=shlex.join(["accelerate", "launch", "recipes/dpo_lora.py", *manifest["argv"]]),
        manifest=MANIFEST_NAME,
    )
    card.save(folder / "README.md")


def push_folder(folder: Path, settings: Any) -> str:
    """Upload what it takes to use an adapter, and what says what it is; the address of the commit.

    Of the settings, `hub_model_id` (default: the name of the folder, under the user of the token), `hub_token`,
    `hub_private_repo` and `hub_revision` count.

    Raises:
        RecipeError: if the hub refuses, or cannot be reached; what is there stays there.
    """
    api = huggingface_hub.HfApi(token=settings.hub_token)
    name = settings.hub_model_id or folder.resolve().name
    try:
        repo = api.create_repo(name, private=settings.hub_private_repo, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo.repo_id,
            folder_path=folder,
            revision=settings.hub_revision,
            ignore_patterns=LEFT_OUT,
            commit_message="LoRA adapter of a finished run",
        )
    except Exception as error:  # the hub's client raises its own errors, its HTTP client's, OSErrors and ValueErrors
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RecipeError(
            f"{portable(str(folder))}: finished, but not uploaded ({reason}); the same command tries again"
        ) from error
    return str(commit.commit_url)
