"""Uploads a finished adapter folder to the Hugging Face hub: what it takes to use it, and what says what it is.

TRL would upload at every checkpoint, with a card of its own in place of ours and the optimizer's state of the SFT
stage. So its own uploads stay off.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

LEFT_OUT = [
    *("checkpoint-*/*", "sft/*", "ref/*", "merged/*", "runs/*"),
    *("run_state.json", "trainer_state.json", "train_results.json", "training_args.bin"),
]


def push_folder(folder: Path, settings: Any) -> str:
    """Uploads the folder and returns the address of the commit.

    Args:
        folder: adapter folder of a finished run.
        settings: TrainingArguments, of which `hub_model_id` (default: the name of the folder, under the user of the
            token), `hub_token`, `hub_private_repo` and `hub_revision` count.

    Raises:
        Exception: what the hub's client raises: HfHubHTTPError (an OSError) for a refusal, LocalTokenNotFoundError
            (likewise), its HTTP client's own errors for a connection. What is there stays there.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=settings.hub_token)
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
