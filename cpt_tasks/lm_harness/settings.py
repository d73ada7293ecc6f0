"""What `--metadata` can say, and its defaults, which are those of the inspect task."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from cpt_tasks.benchmarks.rubric_adherence.task import PRESETS, PresetName
from cpt_tasks.options import check_choice, wording_split_of
from cpt_tasks.samples import Prompting, WordingSplit
from judges import DEFAULT_STORE
from judges.model import JudgeProtocol
from rubrics import Split


class CannotRunError(ValueError):
    """A run that cannot start, or that would measure something else than it says; the message is one sentence."""


_CORE = PRESETS["core"]


@dataclass(frozen=True)
class Settings:
    """The keys of `--metadata`, named like the parameters of the inspect tasks.

    Attributes:
        judge: "measured", the name of an inspect model, or "model" for the default judge.
        preset: What rubrics, limit_per_cell, wordings and protocol are where not given; see `rubric_adherence`.
        rubrics: Selection of rubrics.
        levels: "all" or score levels.
        user_prompts: Split of the user prompts.
        wording_split: Split of the system prompts' wordings.
        prompting: "system_prompt" or "full_rubric".
        limit_per_cell: User prompts per (rubric, level), at least 1.
        wordings: Under how many wordings each user prompt is asked, at least 1.
        n_samples: Responses per document of `cpt_best_of_n`, at least 2.
        protocol: Headline of a model judge, "criteria" or "holistic".
        judge_repeats: How often the judge is asked about a response, at least 1.
        judge_workers: Responses being judged at a time, at least 1.
        call_store: File that judge calls are kept in and looked up first.
    """

    judge: str = "model"
    preset: PresetName = "core"
    rubrics: str | list[str] = _CORE.rubrics
    levels: str | list[str] = "all"
    user_prompts: Split = "test"
    wording_split: WordingSplit = "heldout"
    prompting: Prompting = "system_prompt"
    limit_per_cell: int = _CORE.limit_per_cell
    wordings: int = _CORE.wordings
    n_samples: int = 8
    protocol: JudgeProtocol = _CORE.protocol
    judge_repeats: int = 1
    judge_workers: int = 32
    call_store: str = DEFAULT_STORE


NAMES = tuple(field.name for field in fields(Settings))
OLD_NAME = "paraphrases"  # of wording_split before version 0.2, accepted until 0.3
_LEAST = {"limit_per_cell": 1, "wordings": 1, "n_samples": 2, "judge_repeats": 1, "judge_workers": 1}


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
    try:
        check_choice(preset := given.get("preset", "core"), list(PRESETS), "preset")
        given["wording_split"] = wording_split_of(given.get("wording_split", "heldout"), metadata.get(OLD_NAME))
    except ValueError as error:
        raise CannotRunError(f"--metadata: {error}") from error
    settings = Settings(**(asdict(PRESETS[preset]) | given))
    for name, least in _LEAST.items():
        value = getattr(settings, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise CannotRunError(f"--metadata {name}: got {value!r}, expected a whole number from {least} up")
    if settings.judge not in ("measured", "model") and "/" not in str(settings.judge):
        raise CannotRunError(
            f"--metadata judge: got {settings.judge!r}, expected 'measured', 'model' or an inspect model such as "
            "'anthropic/claude-sonnet-5-5'"
        )
    if settings.protocol not in ("criteria", "holistic"):
        raise CannotRunError(f"--metadata protocol: got {settings.protocol!r}, expected 'criteria' or 'holistic'")
    return settings


def check_names(keys: Iterable[str]) -> None:
    """Raises CannotRunError if a key given by --metadata is not one of ours."""
    for key in keys:
        if key not in (*NAMES, OLD_NAME):
            raise CannotRunError(f"--metadata {key}: unknown, expected one of {_choices()}")


def _choices() -> str:
    return ", ".join(sorted(NAMES))
