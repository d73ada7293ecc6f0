"""What `--metadata` can say, and the grid of `rubric_adherence` that it selects, as documents of lm_eval."""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from inspect import signature
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cpt_tasks.benchmarks.rubric_adherence.task import PRESETS, PresetName, adherence_grid
from cpt_tasks.options import wording_split_of
from cpt_tasks.samples import Prompting, WordingSplit
from judges import DEFAULT_STORE
from judges.model import JudgeProtocol
from rubrics import Split

if TYPE_CHECKING:
    from datasets import Dataset

_CORE = PRESETS["core"]


class CannotRunError(ValueError):
    """A run that cannot start, or that would measure something else than it says; the message is one sentence."""


class Settings(BaseModel):
    """The keys of `--metadata`: parameters of `rubric_adherence`, which explains them, with its defaults, and these.

    Attributes:
        judge: "measured", the name of an inspect model, or "model" for the default judge.
        n_samples: Responses per document of `cpt_best_of_n`, at least 2.
        judge_workers: Responses being judged at a time, at least 1.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    judge: str = "model"
    preset: PresetName = "core"
    rubrics: str | list[str] = _CORE.rubrics
    levels: str | list[str] = "all"
    user_prompts: Split = "test"
    wording_split: WordingSplit = "heldout"
    prompting: Prompting = "system_prompt"
    limit_per_cell: int = Field(_CORE.limit_per_cell, ge=1)
    wordings: int = Field(_CORE.wordings, ge=1)
    n_samples: int = Field(8, ge=2)
    protocol: JudgeProtocol = _CORE.protocol
    judge_repeats: int = Field(1, ge=1)
    judge_workers: int = Field(32, ge=1)
    call_store: str = DEFAULT_STORE


NAMES = tuple(Settings.model_fields)
OLD_NAME = "paraphrases"  # of wording_split before version 0.2, accepted until 0.3


# One request, what is asked and the cell it belongs to: id, rubric, rubric_hash, level, user_prompt_id, wording,
# system_prompt, user_prompt; and position, which counts from 0 in the order of inspect.
Document = dict[str, Any]


def settings_of(metadata: Mapping[str, Any]) -> Settings:
    """The settings in a task's metadata, those of the preset where there are none.

    lm_eval merges the model's arguments into the metadata, so a key that is not ours may be one of those; it is only
    refused if it looks like a misspelling of ours. `check_names` is for keys that are known to come from --metadata.

    Raises:
        CannotRunError: If a key looks misspelt or a value is not possible.
    """
    for key in metadata:
        if key not in (*NAMES, OLD_NAME) and (similar := difflib.get_close_matches(key, NAMES, n=1, cutoff=0.75)):
            raise CannotRunError(f"--metadata {key}: unknown, expected {similar[0]!r} (choices: {_choices()})")
    given = {key: value for key, value in metadata.items() if key in NAMES}
    preset = PRESETS.get(given.get("preset", "core"), _CORE)
    try:
        given["wording_split"] = wording_split_of(given.get("wording_split", "heldout"), metadata.get(OLD_NAME))
        settings = Settings.model_validate(asdict(preset) | given)
    except ValidationError as error:
        problem = error.errors()[0]
        name, expected = problem["loc"][0], problem["msg"].removeprefix("Input should be ")
        raise CannotRunError(f"--metadata {name}: got {problem['input']!r}, expected {expected}") from error
    except ValueError as error:
        raise CannotRunError(f"--metadata: {error}") from error
    if settings.judge not in ("measured", "model") and "/" not in settings.judge:
        raise CannotRunError(
            f"--metadata judge: got {settings.judge!r}, expected 'measured', 'model' or an inspect model such as "
            "'anthropic/claude-sonnet-5-5'"
        )
    return settings


def check_names(keys: Iterable[str]) -> None:
    """Raises CannotRunError if a key given by --metadata is not one of ours."""
    for key in keys:
        if key not in (*NAMES, OLD_NAME):
            raise CannotRunError(f"--metadata {key}: unknown, expected one of {_choices()}")


def load_documents(**metadata: Any) -> "dict[str, Dataset]":
    """The documents as lm_eval's `custom_dataset`; it hands over metadata, model arguments and more.

    Raises:
        CannotRunError: If a setting is not possible.
    """
    from datasets import Dataset

    settings = settings_of(metadata)
    try:
        return {"test": Dataset.from_list(list(documents(settings)))}
    except ValueError as error:
        raise CannotRunError(f"--metadata: {error}") from error


def documents(settings: Settings) -> list[Document]:
    """All documents, the first user prompt of every (rubric, level) before the second, and so on.

    Ids and system prompts are those of inspect. The first k documents, which is what `--limit k` takes, hold every
    level of a prompt.

    Raises:
        ValueError: If a setting is not possible.
    """
    grid = adherence_grid(**settings.model_dump(include=set(signature(adherence_grid).parameters)))
    before: Counter[tuple[str, str]] = Counter()
    ordered: list[tuple[int, Document]] = []
    for position, sample in enumerate(grid):
        assert not isinstance(sample.input, str)  # adherence_samples makes messages
        system, user = sample.input
        turns = {"system_prompt": system.text, "user_prompt": user.text}
        document = {"id": str(sample.id), **(sample.metadata or {}), **turns, "position": position}
        cell = (document["rubric"], document["level"])
        ordered.append((before[cell], document))
        before[cell] += 1
    return [document for _, document in sorted(ordered, key=lambda entry: entry[0])]


def _choices() -> str:
    return ", ".join(sorted(NAMES))
