"""The questions of `prompts.yaml`, as templates: `PROMPTS["draft"].substitute(sentence=...)`."""

import hashlib
from importlib.resources import files
from string import Template
from typing import Any

import yaml

from rubrics import ScoreLevel

_FILE: dict[str, Any] = yaml.safe_load(files("data_gen.draft").joinpath("prompts.yaml").read_text(encoding="utf-8"))
PROMPT_VERSION: str = _FILE["version"]
TARGETS = {ScoreLevel(level): str(text) for level, text in _FILE["targets"].items()}
PROMPTS = {name: Template(_FILE[name]) for name in ("draft", "from_text", "wordings", "fix", "revise")}


def prompt_hash() -> str:
    """Hash of the templates and targets by which system prompts are written, 12 hex digits."""
    parts = [PROMPTS[name].template for name in ("draft", "wordings", "fix", "revise")]
    parts += [TARGETS[level] for level in ScoreLevel]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
