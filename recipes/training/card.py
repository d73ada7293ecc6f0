"""The model card of an adapter folder, and the upload of a finished one to the Hugging Face hub.

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

from training.run_files import MANIFEST_NAME, portable

TEMPLATE = Path(__file__).with_name("model_card.md.jinja")
# What a card shows of the metrics of a stage.
METRICS = (
    "train_loss eval_loss eval_rewards/accuracies eval_twins/both_correct eval_twins/sum_margin eval_twins/style_bias"
).split()
LEFT_OUT = [
    *("checkpoint-*/*", "sft/*", "ref/*", "merged/*", "runs/*"),
    *("run_state.json", "trainer_state.json", "train_results.json", "training_args.bin"),
]


def base_licence(base_model: str, revision: str | None) -> str | None:
    """What the base model's card says its licence is; None if it has no card, says nothing, or cannot be reached."""
    try:
        path = Path(base_model) / "README.md"
        if not Path(base_model).is_dir():
            path = Path(huggingface_hub.hf_hub_download(base_model, "README.md", revision=revision))
    except (OSError, HfHubHTTPError):
        return None
    licence = ModelCard.load(path, ignore_metadata_errors=True).data.license if path.is_file() else None
    return str(licence) if licence else None


def write_card(folder: Path, base_model: str, stages: dict[str, str], manifest: dict[str, Any]) -> None:
    """Write README.md of an adapter folder.

    Args:
        folder: adapter folder.
        base_model: what the user gave; named in the metadata only when it is not a local folder.
        stages: what was done, in order, one phrase a stage, by the stage's name in `manifest["metrics"]`.
        manifest: what `run_manifest.json` will hold.
    """
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
        template_path=str(TEMPLATE),
        model=portable(base_model),
        repair=manifest["chat_template_repair"],
        licence=licence,
        stages=stages.values(),
        data=manifest["data"].values(),
        metrics=metrics.astype(float).to_markdown(floatfmt=".4g", missingval=""),
        command=shlex.join(["accelerate", "launch", "recipes/dpo_lora.py", *manifest["argv"]]),
        manifest=MANIFEST_NAME,
    )
    card.save(folder / "README.md")


def push_folder(folder: Path, settings: Any) -> str:
    """Uploads what it takes to use the adapter, and what says what it is; returns the address of the commit.

    Args:
        folder: adapter folder of a finished run.
        settings: TrainingArguments, of which `hub_model_id` (default: the name of the folder, under the user of the
            token), `hub_token`, `hub_private_repo` and `hub_revision` count.

    Raises:
        Exception: what the hub's client raises, an OSError for a refusal; what is there stays there.
    """
    api = huggingface_hub.HfApi(token=settings.hub_token)
    name = settings.hub_model_id or folder.resolve().name
    if "/" not in name:
        name = f"{api.whoami()['name']}/{name}"
    repo = api.create_repo(name, private=settings.hub_private_repo, exist_ok=True).repo_id
    return str(
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            revision=settings.hub_revision,
            ignore_patterns=LEFT_OUT,
            commit_message="LoRA adapter of a finished run",
        ).commit_url
    )
