"""What `--metadata` can say, and the grid of `rubric_adherence` that it selects, as documents of lm_eval."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from cpt_tasks.benchmarks.rubric_adherence.task import PRESETS, PresetName, adherence_grid
from cpt_tasks.samples import Prompting, WordingSplit
from judges import DEFAULT_STORE, PROMPT_VERSION, JudgeProtocol, PromptVersion
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
    """

    model_config = ConfigDict(frozen=True, strict=True)

    judge: str = _CORE.judge
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
    call_store: str = DEFAULT_STORE
    prompt_version: Annotated[PromptVersion, BeforeValidator(str)] = PROMPT_VERSION


NAMES = tuple(Settings.model_fields)

# One request, what is asked and the cell it belongs to: id, rubric, rubric_hash, rubric_version, level, user_prompt_id,
# wording, system_prompt, user_prompt; and position, which counts from 0 in the order of inspect.
Document = dict[str, Any]


def settings_of(metadata: Mapping[str, Any]) -> Settings:
    """The settings in a task's metadata, those of the preset where there are none; CannotRunError for a wrong one.

    lm_eval merges the model's arguments into the metadata, so a key that is not ours may be one of those; it is only
    refused if it looks like a misspelling of ours. `check_names` is for keys that are known to come from --metadata.
    """
    check_names(key for key in metadata if difflib.get_close_matches(key, NAMES, cutoff=0.75))
    given = {key: value for key, value in metadata.items() if key in NAMES}
    try:
        return Settings.model_validate(asdict(PRESETS.get(str(given.get("preset", "core")), _CORE)) | given)
    except ValidationError as error:
        problem = error.errors()[0]
        name, expected = problem["loc"][0], problem["msg"].removeprefix("Input should be ")
        raise CannotRunError(f"--metadata {name}: got {problem['input']!r}, expected {expected}") from error


def check_names(keys: Iterable[str]) -> None:
    """Raises CannotRunError if a key is not one of `--metadata`."""
    for key in keys:
        if key not in NAMES:
            raise CannotRunError(f"--metadata {key}: unknown, expected one of {', '.join(sorted(NAMES))}")


def load_documents(**metadata: Any) -> "dict[str, Dataset]":
    """The documents, as lm_eval's `custom_dataset`; it hands over metadata, model arguments and more.

    They stand in the order of inspect's samples, see `spread`. CannotRunError for a wrong setting.
    """
    from datasets import Dataset

    settings = settings_of(metadata).model_dump(include=set(signature(adherence_grid).parameters))
    try:
        grid = adherence_grid(**settings)
    except ValueError as error:
        raise CannotRunError(f"--metadata: {error}") from error
    rows: list[Document] = []
    for position, sample in enumerate(grid):
        if "picture" in (sample.metadata or {}):
            raise CannotRunError(
                "--metadata rubrics: got user prompts that show pictures, which only inspect shows here"
            )
        turns = {"system_prompt": sample.input[0].text, "user_prompt": sample.input[1].text}  # type: ignore[union-attr]
        rows.append({"id": sample.id, **(sample.metadata or {}), **turns, "position": position})
    return {"test": Dataset.from_list(rows)}
