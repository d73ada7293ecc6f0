"""Files of a run: what its folder holds, by which settings, and text free of absolute paths and keys.

`run_state.json` ({schema, settings_key, done}) decides whether a folder is new, interrupted or finished;
`run_manifest.json` says what made the adapter. Written by the main process only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from training import RecipeError

SCHEMA = 1  # of run_state.json and run_manifest.json
STATE_NAME = "run_state.json"
MANIFEST_NAME = "run_manifest.json"


def sha256(path: Path | str) -> str:
    """Hex sha256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def portable(text: str) -> str:
    """`text` with an absolute path, also after `--key=`, made relative to the working directory, or its last part."""
    key, separator, value = text.partition("=") if text.startswith("--") else ("", "", text)
    path = Path(os.path.expanduser(value))  # leaves "~" of a user that there is not
    if not path.is_absolute():
        return text
    here = Path.cwd()
    return key + separator + (str(path.relative_to(here)) if path.is_relative_to(here) else path.name)


def portable_arguments(arguments: list[str]) -> list[str]:
    """A command line with `portable` applied to each word, and without the value of `--hub_token` or a JSON `token`."""
    hidden = re.sub(r'(--hub[-_]token[=\0]|"token"\s*:\s*")[^\0"]*', r"\1<hidden>", "\0".join(arguments))
    return [portable(word) for word in hidden.split("\0")] if arguments else []


def portable_values(value: Any) -> Any:
    """`value` as JSON data: strings made `portable`, a `token` hidden, other objects as their `str`."""
    if isinstance(value, dict):
        hidden = {"token": "<hidden>"} if value.get("token") else {}
        return {str(name): portable_values(item) for name, item in (value | hidden).items()}
    if isinstance(value, list | tuple):
        return [portable_values(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else portable(str(value))


def model_identity(name_or_path: str, revision: str | None, trust_remote_code: bool) -> dict[str, Any]:
    """What pins the base model: its hub revision, or for a folder the sha256 of its weights."""
    identity: dict[str, Any] = {"name": portable(name_or_path)}
    if Path(name_or_path).is_dir():
        weights = sorted(Path(name_or_path).glob("*.safetensors"))
        return identity | {"weight_sha256": {path.name: sha256(path) for path in weights}}
    config = AutoConfig.from_pretrained(name_or_path, revision=revision, trust_remote_code=trust_remote_code)
    return identity | {"revision": getattr(config, "_commit_hash", None) or revision}


def write_json(path: Path, data: Any) -> None:
    """Write JSON so that a reader never sees half a file."""
    write_whole(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a text in UTF-8 so that a reader never sees half a file."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
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
    write_json(folder / STATE_NAME, {"schema": SCHEMA, "settings_key": key, "done": done})


def read_state(folder: Path) -> tuple[str | None, bool]:
    """(settings key, done) of a folder, (None, False) for a new one."""
    state = read_json(folder / STATE_NAME) or {}
    return state.get("settings_key"), state.get("done", False)


def is_finished(folder: Path, key: str) -> bool:
    """Whether the folder holds this very run, complete.

    Raises:
        RecipeError: if it holds another run, finished or interrupted in its DPO stage.
    """
    known, done = read_state(folder)
    if known is not None and known != key and (done or last_checkpoint(folder)):
        raise RecipeError(
            f"{portable(str(folder))}: holds {'a finished' if done else 'an interrupted'} run of other data or "
            "settings, expected an empty or matching folder; choose another output_dir or delete it"
        )
    return known == key and done


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint of a folder as the trainers take it, None if there is none.

    Not transformers' `get_last_checkpoint`: that takes one which a kill interrupted (trainer_state.json is written
    last) for the newest, and has nothing to say of the one before.
    """
    complete = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json") if read_json(path) is not None]
    newest = max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    return str(newest) if newest else None
