"""Read a preference file and refuse one that would not train a condition.

A file (JSONL or Parquet) holds one preference pair a row: chat messages `prompt` = [system, user], `chosen` and
`rejected` = [assistant], `pair_id` (int or string) shared by the two role-swapped rows of a twin, `user_prompt_id`
(`prompt_id` in older files), and `rubric, level, rejected_level, score_chosen, score_rejected, teacher` for the record.
TRL reads `chat_template_kwargs` too when it is there. First stage of `dpo_lora.py`, before any model is loaded.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from training import RecipeError
from training.twins import twin_groups

if TYPE_CHECKING:
    from datasets import Dataset

NEEDED_COLUMNS = ("prompt", "chosen", "rejected", "pair_id", "user_prompt_id")
OLD_NAMES = {"prompt_id": "user_prompt_id", "system_prompt_id": "wording"}  # columns of files written before 0.2


def load_pairs(path: str, scored: bool = False) -> Dataset:
    """The checked rows of a preference file, in file order; `scored` ones must have both judged scores.

    Raises:
        RecipeError: if the file is missing, empty or unreadable, lacks a column, or breaks a rule of `check_pairs`.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    if not Path(path).is_file():
        raise RecipeError(f"{path}: no such file, expected preference pairs as .jsonl or .parquet")
    kind = "parquet" if path.endswith(".parquet") else "json"
    try:
        dataset = load_dataset(kind, data_files=path, split="train")
    except (DatasetGenerationError, ValueError, StopIteration) as error:  # the last for an empty file, datasets 5.2
        reason = error.__cause__ or str(error) or "no rows"
        raise RecipeError(f"{path}: not readable as {kind} rows ({reason})") from error
    dataset = dataset.rename_columns({old: new for old, new in OLD_NAMES.items() if old in dataset.column_names})
    needed = {*NEEDED_COLUMNS, *(("score_chosen", "score_rejected") if scored else ())}
    missing = sorted(needed - set(dataset.column_names))
    if missing:
        raise RecipeError(f"{path}: lacks the columns {missing}, got {sorted(dataset.column_names)}")
    check_pairs(dataset.to_list(), path)
    return dataset


def check_pairs(rows: list[dict[str, Any]], path: str) -> None:
    """Raise RecipeError at the first row or twin that breaks the format; `path` is only named in the message."""
    for number, row in enumerate(rows):
        roles = [message["role"] for message in row["prompt"]]
        if roles != ["system", "user"]:
            raise RecipeError(f"{path}: row {number}: prompt roles are {roles}, expected ['system', 'user']")
        for side in ("chosen", "rejected"):
            if [message["role"] for message in row[side]] != ["assistant"]:
                raise RecipeError(f"{path}: row {number}: {side} must be one assistant message")
            if not (row[side][0]["content"] or "").strip():
                raise RecipeError(f"{path}: row {number}: {side} is empty, expected a response; drop the pair")
        for column, value in row.items():
            if isinstance(value, str) and (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()):
                raise RecipeError(f"{path}: row {number}: {column} is {value!r}, a path of one machine; drop it")
        if None in (row.get("score_chosen", 0), row.get("score_rejected", 0)):
            raise RecipeError(f"{path}: row {number}: a score is null, expected both in every row or neither column")
        if "chat_template_kwargs" in row and row["chat_template_kwargs"] is None:
            raise RecipeError(f"{path}: row {number}: chat_template_kwargs is null, expected it in every row or none")
    for group in twin_groups([row["pair_id"] for row in rows]):
        name = f"{path}: pair_id {rows[group[0]]['pair_id']!r}"
        if len(group) != 2:
            raise RecipeError(f"{name} has {len(group)} rows, expected 2 (a twin)")
        check_twin(rows[group[0]], rows[group[1]], name)


def check_twin(first: dict[str, Any], second: dict[str, Any], name: str) -> None:
    """Raise RecipeError unless two rows are one twin: same user prompt, other system prompt, roles swapped."""
    if first["chosen"] != second["rejected"] or first["rejected"] != second["chosen"]:
        raise RecipeError(f"{name}: chosen and rejected are not swapped between its two rows, expected a twin")
    if first["prompt"][1] != second["prompt"][1]:
        raise RecipeError(f"{name}: its two rows have different user prompts, expected one")
    if first["prompt"][0] == second["prompt"][0]:
        raise RecipeError(f"{name}: its two rows share one system prompt, expected two; their labels contradict")


def check_split(train: Dataset, evaluation: Dataset) -> None:
    """Raise RecipeError if a twin or a user prompt is in both files: evaluation would read training data."""
    for column in ("pair_id", "user_prompt_id"):
        shared = sorted(set(map(str, train[column])) & set(map(str, evaluation[column])))
        if shared:
            raise RecipeError(
                f"train_file and eval_file share {len(shared)} values of {column} (first: {shared[0]!r}), expected "
                "none; split by user prompt"
            )


def sft_rows(dataset: Dataset) -> Dataset:
    """Every row's prompt with its chosen response, as TRL's prompt/completion rows, in the same order."""
    unused = [name for name in dataset.column_names if name not in ("prompt", "chosen", "chat_template_kwargs")]
    return dataset.remove_columns(unused).rename_column("chosen", "completion")
