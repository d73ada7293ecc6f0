"""Read a preference file and refuse one that would not train a condition.

A file (JSONL or Parquet) holds one preference pair a row: chat messages `prompt` = [system, user], with earlier turns
between them or without, `chosen` and `rejected` = [assistant], `pair_id` (int or string) shared by the two role-swapped
rows of a twin, `user_prompt_id`, and `rubric, level, rejected_level, score_chosen,
score_rejected, teacher` for the record.
A row of `kind` same_level is no half of a twin: chosen and rejected are for one system prompt, and no row swaps them.
TRL reads `chat_template_kwargs` too when it is there, and `images` (paths or data URIs), whose places in `prompt` are
parts of type image. First stage of `dpo_lora.py`, before any model is loaded.

A file without `pair_id` holds plain preference pairs, as other projects and the paper (arXiv 2506.11702) release them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset
from datasets.exceptions import DatasetGenerationError

from training import RecipeError
from training.twins import KINDS, SAME_LEVEL, twin_groups

PLAIN_COLUMNS = ("chosen", "rejected")
NEEDED_COLUMNS = ("prompt", *PLAIN_COLUMNS, "pair_id", "user_prompt_id")


def load_pairs(path: str) -> Dataset:
    """The checked rows of a preference file, in file order.

    Raises:
        RecipeError: if the file is missing, empty or unreadable, lacks a column, or holds a row that is neither half
            of a twin nor a same-level pair, unless all are plain preference pairs.
    """
    if not Path(path).is_file():
        raise RecipeError(f"{path}: no such file, expected preference pairs as .jsonl or .parquet")
    kind = "parquet" if path.endswith(".parquet") else "json"
    try:
        dataset = load_dataset(kind, data_files=path, split="train")
        rows = dataset.to_list()
    except (DatasetGenerationError, ValueError, StopIteration) as error:  # the last for an empty file, datasets 5.2
        reason = error.__cause__ or str(error) or "no rows"
        advice = "; a lone surrogate is half a character, take it out" if "surrogate" in str(reason) else ""
        raise RecipeError(f"{path}: not readable as {kind} rows in UTF-8 ({reason}){advice}") from error
    plain = "pair_id" not in dataset.column_names
    missing = {*(PLAIN_COLUMNS if plain else NEEDED_COLUMNS)} - set(dataset.column_names)
    if missing:
        raise RecipeError(f"{path}: lacks the columns {sorted(missing)}, got {sorted(dataset.column_names)}")
    if plain:
        rows = [as_messages(row) for row in rows]
        dataset = Dataset.from_list(rows)
    for number, row in enumerate(rows):
        if problem := row_problem(row):
            raise RecipeError(f"{path}: row {number}: {problem}")
    if plain:
        return dataset
    for group in twin_groups(dataset["pair_id"]):
        if problem := twin_problem([rows[number] for number in group]):
            raise RecipeError(f"{path}: pair_id {rows[group[0]]['pair_id']!r}: {problem}")
    return dataset


def as_messages(row: dict[str, Any]) -> dict[str, Any]:
    """A plain preference pair in chat messages.

    Text becomes a user or an assistant turn. Where chosen and rejected are whole conversations, what comes before their
    last turns is the prompt, if that is the same in both.
    """
    prompt = row.get("prompt")
    prompt = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt or ""}]
    chosen, rejected = (
        row[side] if isinstance(row[side], list) else [{"role": "assistant", "content": row[side]}]
        for side in PLAIN_COLUMNS
    )
    if chosen[:-1] and chosen[:-1] == rejected[:-1]:
        prompt, chosen, rejected = chosen[:-1], chosen[-1:], rejected[-1:]
    return row | {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def text_of(message: dict[str, Any]) -> str:
    """The text of a chat message, whose content is a text or a list of parts."""
    content = message["content"] or ""
    return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)


def row_problem(row: dict[str, Any]) -> str | None:
    """What is wrong with a row."""
    for name in ("prompt", *PLAIN_COLUMNS):
        if not isinstance(row[name], list):
            return f"{name} is {str(row[name])[:40]!r}, expected a list of chat messages, since the file has a pair_id"
    roles = [message["role"] for message in row["prompt"]]
    if "pair_id" not in row and (roles[-1:] != ["user"] or not text_of(row["prompt"][-1]).strip()):
        return f"prompt roles are {roles}, expected them to end in 'user', with a text"
    if "pair_id" in row and roles != ["system", *["user", "assistant"] * (len(roles) // 2 - 1), "user"]:
        return f"prompt roles are {roles}, expected ['system', 'user'], with or without earlier turns between them"
    if row.get("kind") not in (None, *KINDS):
        return f"kind is {row['kind']!r}, expected one of {', '.join(KINDS)}"
    parts = [part for message in row["prompt"] if isinstance(message["content"], list) for part in message["content"]]
    places, images = sum(part["type"] == "image" for part in parts), len(row.get("images") or ())
    if parts and places != images:
        return f"images are {images}, expected {places}, as many as the prompt has parts of type image"
    for side in ("chosen", "rejected"):
        if [message["role"] for message in row[side]] != ["assistant"]:
            return f"{side} must be one assistant message"
        if not text_of(row[side][0]).strip():
            return f"{side} is empty, expected a response; drop the pair"
    if row.get("chat_template_kwargs", {}) is None:
        return "chat_template_kwargs is null, expected it in every row or none"
    return None


def twin_problem(rows: list[dict[str, Any]]) -> str | None:
    """What keeps the rows of one `pair_id` from being a twin: same user prompt, other system prompt, roles swapped.

    A same-level pair is one row.
    """
    if any(row.get("kind") == SAME_LEVEL for row in rows):
        return f"has {len(rows)} rows, expected 1 (a same-level pair)" if len(rows) > 1 else None
    if len(rows) != 2:
        return f"has {len(rows)} rows, expected 2 (a twin)"
    first, second = rows
    if first["chosen"] != second["rejected"] or first["rejected"] != second["chosen"]:
        return "chosen and rejected are not swapped between its two rows, expected a twin"
    if first["prompt"][-1] != second["prompt"][-1] or first.get("images") != second.get("images"):
        return "its two rows have different user prompts, expected one"
    if first["prompt"][0] == second["prompt"][0]:
        return "its two rows share one system prompt, expected two; their labels contradict"
    return None


def check_split(train: Dataset, evaluation: Dataset) -> None:
    """Raise RecipeError if a twin or a user prompt is in both files: evaluation would read training data."""
    files = (train, evaluation)
    if all("pair_id" in rows.column_names for rows in files):
        values = {name: [rows[name] for rows in files] for name in ("pair_id", "user_prompt_id")}
    else:  # plain pairs have no ids
        values = {"the user prompt": [[text_of(prompt[-1]) for prompt in rows["prompt"]] for rows in files]}
    for column, (trained, evaluated) in values.items():
        shared = sorted(set(map(str, trained)) & set(map(str, evaluated)))
        if shared:
            raise RecipeError(
                f"train_file and eval_file share {len(shared)} values of {column} (first: {shared[0]!r}), expected "
                "none; split by user prompt"
            )


def sft_rows(dataset: Dataset) -> Dataset:
    """Every row's prompt with its chosen response, as TRL's prompt/completion rows, in the same order."""
    used = [name for name in ("prompt", "chosen", "images", "chat_template_kwargs") if name in dataset.column_names]
    return dataset.select_columns(used).rename_column("chosen", "completion")
