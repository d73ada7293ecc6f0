"""Reads the prompts of a benchmark out of a file: for `cpt verify --benchmark-prompts`."""

from pathlib import Path
from typing import Any

import yaml

from rubrics.files import read_jsonl

TEXT_FIELDS = ("user_prompt", "prompt", "text", "question")


def read_benchmark_prompts(path: Path) -> dict[str, str]:
    """The prompts of a benchmark, by id.

    Args:
        path: YAML with a mapping `test` of ids to texts, as in `rubrics/user_prompts.yaml` (or without splits, a
            mapping of ids to texts); JSONL with a text in a field user_prompt, prompt, text or question; or text with
            one prompt per line. Where a file gives no ids, they are "FILE:LINE".

    Raises:
        ValueError: If the file is missing, is none of these, or holds no prompt.
    """
    if not path.is_file():
        raise ValueError(f"{path}: not found, expected a file of benchmark prompts in YAML, JSONL or text")
    if path.suffix in (".yaml", ".yml"):
        prompts = _from_yaml(path)
    elif path.suffix == ".jsonl":
        prompts = {f"{path.name}:{number}": _text(row, f"{path}:{number}") for number, row in read_jsonl(path)}
    else:
        lines = enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1)
        prompts = {f"{path.name}:{number}": line.strip() for number, line in lines if line.strip()}
    if not prompts:
        raise ValueError(f"{path}: got no prompt, expected at least one")
    return prompts


def _from_yaml(path: Path) -> dict[str, str]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML ({str(error).splitlines()[0]})") from error
    prompts = content.get("test", content) if isinstance(content, dict) else content
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise ValueError(
            f"{path}: got {str(prompts)[:40]!r}, expected a mapping of ids to prompts, under `test` or alone"
        )
    return {str(user_prompt_id): text for user_prompt_id, text in prompts.items()}


def _text(row: dict[str, Any], where: str) -> str:
    texts: list[str] = [row[name] for name in TEXT_FIELDS if isinstance(row.get(name), str)]
    if not texts:
        raise ValueError(f"{where}: got {str(row)[:40]!r}, expected an object with a text in one of {TEXT_FIELDS}")
    return texts[0]
