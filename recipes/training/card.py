"""The model card of an adapter folder, and the upload of a finished one to the Hugging Face hub.

TRL's and PEFT's own cards are replaced: they may name a local folder as a hub model, and say nothing of the data. TRL
would also upload at every checkpoint, with the optimizer's state; so its own uploads stay off.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import ModelCard, ModelCardData

from training.run_files import MANIFEST_NAME, portable

TEXT = """\
# LoRA adapter for {model}

Follows a system prompt that asks for a style at a level (Configurable Preference Tuning, arXiv 2506.11702). Load it
with PEFT on the base model, and use the tokenizer in this folder: its chat template is the one trained with.
{repair}
Licence of the base model: {licence}.

Training:

{stages}

Data:

{data}

{metrics}

Command:

    {command}

All settings, versions and checks: `{manifest}`; losses: `log_history.json`.
"""
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
    from huggingface_hub.errors import HfHubHTTPError

    try:
        path = Path(base_model) / "README.md"
        if not Path(base_model).is_dir():
            path = Path(huggingface_hub.hf_hub_download(base_model, "README.md", revision=revision))
    except (OSError, HfHubHTTPError):
        return None
    licence = ModelCard.load(path, ignore_metadata_errors=True).data.license if path.is_file() else None
    return str(licence) if licence else None


def metrics_table(metrics: dict[str, dict[str, Any]], stages: list[str]) -> str:
    """`METRICS` by stage as Markdown; those that no stage has are left out."""
    lines = ["| metric | " + " | ".join(stages) + " |", "|---" * (len(stages) + 1) + "|"]
    for name in METRICS:
        values = [metrics[stage].get(name) for stage in stages]
        if any(value is not None for value in values):
            shown = ["" if value is None else f"{value:.4g}" for value in values]
            lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def write_card(folder: Path, base_model: str, stages: dict[str, str], manifest: dict[str, Any]) -> None:
    """Write README.md of an adapter folder.

    Args:
        folder: adapter folder.
        base_model: what the user gave; named in the metadata only when it is not a local folder.
        stages: what was done, in order, one phrase a stage, by the stage's name in `manifest["metrics"]`.
        manifest: what `run_manifest.json` will hold.
    """
    licence, repair = manifest["base_model"].get("licence"), manifest.get("chat_template_repair")
    about = ModelCardData(
        library_name="peft",
        pipeline_tag="text-generation",
        base_model=None if Path(base_model).is_dir() else base_model,
        license=licence,
        tags=["lora", "trl", "dpo", "configurable-preference-tuning"],
    )
    text = TEXT.format(
        model=portable(base_model),
        repair=f"\nThe base model's own chat template was repaired: {repair}.\n" if repair else "",
        licence=licence or "not known to this run, see its page",
        stages="\n".join(f"- {stage}" for stage in stages.values()),
        data="\n".join(f"- `{item['name']}`, sha256 {item['sha256']}" for item in manifest["data"].values()),
        metrics=metrics_table(manifest["metrics"], list(stages)),
        command=shlex.join(["accelerate", "launch", "recipes/dpo_lora.py", *manifest["argv"]]),
        manifest=MANIFEST_NAME,
    )
    ModelCard(f"---\n{about.to_yaml()}\n---\n\n{text}").save(folder / "README.md")


def push_folder(folder: Path, settings: Any) -> str:
    """Uploads what it takes to use the adapter, and what says what it is; returns the address of the commit.

    Args:
        folder: adapter folder of a finished run.
        settings: TrainingArguments, of which `hub_model_id` (default: the name of the folder, under the user of the
            token), `hub_token`, `hub_private_repo` and `hub_revision` count.

    Raises:
        Exception: what the hub's client raises: HfHubHTTPError (an OSError) for a refusal, LocalTokenNotFoundError
            (likewise), its HTTP client's own errors for a connection. What is there stays there.
    """
    api = huggingface_hub.HfApi(token=settings.hub_token)
    name = settings.hub_model_id or folder.resolve().name
    if "/" not in name:
        name = f"{api.whoami()['name']}/{name}"
    repo = api.create_repo(name, private=settings.hub_private_repo, exist_ok=True).repo_id
    commit = api.upload_folder(
        repo_id=repo,
        folder_path=folder,
        revision=settings.hub_revision,
        ignore_patterns=LEFT_OUT,
        commit_message="LoRA adapter of a finished run",
    )
    return str(commit.commit_url)
