"""Which questions a teacher is asked: every (rubric, user prompt, sample, level), in a fixed order. Pure: no model.

The order is by rubric, then user prompt, then sample, with the levels of each side by side, so that a run that is
stopped half way has whole twins, and so that a provider's cache of a rubric is used while it lasts.
"""

import hashlib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from data_gen.responses import CONTROL
from rubrics import Rubric, ScoreLevel, all_user_prompts, load_user_prompts

LevelAsked = ScoreLevel | Literal["control"]
ConfiguredBy = Literal["rubric", "system_prompt"]
Unit = tuple[Rubric, str, str, int]  # rubric, prompt id, prompt, sample: asked at every level

TRAIN = "train"


@dataclass(frozen=True)
class Question:
    """One response that is wanted.

    Attributes:
        rubric: Rubric to write for; of a control, the rubric it is compared under.
        user_prompt_id: Id of the user prompt.
        user_prompt: Its text.
        level: Level to write at, or "control": the user prompt alone.
        sample: Which of several responses to the same question, from 0.
        wording: Wording that asks for the level, where it is not the rubric that is shown.
        system_prompt: Its text.
    """

    rubric: Rubric
    user_prompt_id: str
    user_prompt: str
    level: LevelAsked
    sample: int = 0
    wording: str | None = None
    system_prompt: str | None = None


@dataclass(frozen=True)
class Plan:
    """What is asked of each teacher.

    Attributes:
        rubrics: In the order asked.
        prompts: User prompts by family of rubrics: id -> text.
        levels: In the order asked.
        samples: Responses to each question.
        configured_by: Whether the rubric and the level are shown, or a train wording as system prompt asks for it.
        seed: Of the wordings drawn, and of the questions under a limit.
        limit: At most this many questions, drawn so that all levels of a user prompt come together; None for all. A
            larger limit keeps the questions of a smaller one.
        shard: (i, n): the i-th of n parts, from 1, that have no question in common and together are the plan. The
            levels of a user prompt stay in one part, and so do its controls under all rubrics.
    """

    rubrics: Sequence[Rubric]
    prompts: Mapping[str, Mapping[str, str]]
    levels: Sequence[LevelAsked]
    samples: int = 1
    configured_by: ConfiguredBy = "rubric"
    seed: int = 0
    limit: int | None = None
    shard: tuple[int, int] = (1, 1)

    def questions(self) -> Iterator[Question]:
        """The questions, made one by one."""
        drawn = None if self.limit is None else self._drawn(self.limit)
        for number, (rubric, user_prompt_id, prompt, sample) in enumerate(self._units()):
            for level in self.levels if drawn is None else self.levels[: drawn.get(number, 0)]:
                if self._is_here(rubric, prompt, sample, level):
                    yield self.resample(Question(rubric, user_prompt_id, prompt, level), sample)

    def resample(self, question: Question, sample: int) -> Question:
        """The same question, to be answered once more; with a system prompt, in the next wording in turn."""
        question = replace(question, sample=sample)
        if self.configured_by == "rubric" or question.level == CONTROL:
            return question
        rubric, level = question.rubric, ScoreLevel(question.level)
        wordings = rubric.wordings(level, "train")
        number = (_draw(self.seed, rubric.id, level.value, question.user_prompt_id) + sample) % len(wordings)
        wording_id = f"{rubric.id}-{level.value}-train-{number}"
        return replace(question, wording=wording_id, system_prompt=wordings[number])

    def _units(self) -> Iterator[Unit]:
        for rubric in self.rubrics:
            for user_prompt_id, prompt in self.prompts[rubric.family].items():
                for sample in range(self.samples):
                    yield rubric, user_prompt_id, prompt, sample

    def _drawn(self, limit: int) -> dict[int, int]:
        """How many of the levels are asked, by the number of each unit drawn."""
        count = -(-limit // len(self.levels))
        ranks = (
            (_draw(self.seed, rubric.id, user_prompt_id, sample), number)
            for number, (rubric, user_prompt_id, _, sample) in enumerate(self._units())
        )
        drawn = {number: len(self.levels) for _, number in heapq.nsmallest(count, ranks)}
        if len(drawn) == count:
            drawn[next(reversed(drawn))] -= count * len(self.levels) - limit
        return drawn

    def _is_here(self, rubric: Rubric, prompt: str, sample: int, level: LevelAsked) -> bool:
        part, parts = self.shard
        if parts == 1:
            return True
        # by what is asked and not by position, so that a rubric added later moves no question to another part
        return _draw(0, "" if level == CONTROL else rubric.id, prompt, sample) % parts == part - 1


def read_prompts(selection: str, rubrics: Sequence[Rubric]) -> dict[str, dict[str, str]]:
    """Train user prompts by family of the rubrics: id -> text.

    Args:
        selection: "train" for the prompts of the package, or the path of a YAML file with the splits `train` and `test`
            (id -> text each), whose train prompts are then asked for every family.
        rubrics: Rubrics to be asked for.

    Raises:
        ValueError: If the file has another shape, is empty, or one of its train prompts is a test prompt, of its own or
            of the package, however it is spaced or capitalised.
    """
    if selection == TRAIN:
        return {family: load_user_prompts("train", family) for family in dict.fromkeys(one.family for one in rubrics)}
    path = Path(selection)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        raise ValueError(f"--prompts {selection}: not found, expected {TRAIN!r} or the path of a YAML file of prompts")
    splits = _splits(path)
    own = _texts(splits, "test", path)
    package = all_user_prompts("test")
    train = _texts(splits, "train", path)
    _refuse_test_prompts(train, own, package, path)
    return {rubric.family: train for rubric in rubrics}


def read_levels(names: str) -> tuple[LevelAsked, ...]:
    """Levels, and "control", from a list separated by commas.

    Raises:
        ValueError: If one is unknown or given twice, or there is none.
    """
    given = [name.strip() for name in names.split(",") if name.strip()]
    known = [level.value for level in ScoreLevel] + [CONTROL]
    if not given or len(set(given)) < len(given) or set(given) - set(known):
        raise ValueError(f"--levels {names}: expected some of {', '.join(known)}, each once")
    return tuple(CONTROL if name == CONTROL else ScoreLevel(name) for name in given)


def read_shard(text: str) -> tuple[int, int]:
    """(i, n) from "i/n".

    Raises:
        ValueError: If it is not two whole numbers with 1 <= i <= n.
    """
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ValueError(f"--shard {text}: expected i/n with i from 1 to n, for example 2/4")
    return int(part), int(parts)


def _splits(path: Path) -> dict[str, Any]:
    try:
        splits = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML in UTF-8 ({str(error).splitlines()[0]})") from error
    if not isinstance(splits, dict) or "train" not in splits or set(splits) - {"train", "test"}:
        got = sorted(map(str, splits)) if isinstance(splits, dict) else type(splits).__name__
        raise ValueError(f"{path}: got {got}, expected the splits train and test, as in rubrics/user_prompts.yaml")
    return splits


def _texts(splits: Mapping[str, Any], split: str, path: Path) -> dict[str, str]:
    prompts = splits.get(split) or {}
    if not isinstance(prompts, dict) or (split == "train" and not prompts):
        raise ValueError(f"{path}: {split}: got {type(prompts).__name__}, expected at least one line `id: text`")
    seen: dict[str, str] = {}
    for user_prompt_id, text in prompts.items():
        if not isinstance(user_prompt_id, str) or not isinstance(text, str) or not text.strip():
            raise ValueError(f"{path}: {split}: {user_prompt_id!r}: got {text!r}, expected a text under an id")
        if (first := seen.setdefault(_normalised(text), user_prompt_id)) != user_prompt_id:
            raise ValueError(f"{path}: {split}: {user_prompt_id!r} has the text of {first!r}, expected each text once")
    return prompts


def _refuse_test_prompts(
    train: Mapping[str, str], own: Mapping[str, str], package: Mapping[str, str], path: Path
) -> None:
    for whose, tests in ((f"{path.name}'s own", own), ("the package's", package)):
        texts = {_normalised(text): user_prompt_id for user_prompt_id, text in tests.items()}
        for user_prompt_id, text in train.items():
            if user_prompt_id in tests or _normalised(text) in texts:
                test_id = texts.get(_normalised(text), user_prompt_id)
                raise ValueError(
                    f"{path}: train: {user_prompt_id!r} ({text!r}) is {whose} test prompt {test_id!r}, and no test "
                    "prompt may reach training data: remove it, or give it another id if only the ids are the same"
                )


def _normalised(text: str) -> str:
    return " ".join(text.casefold().split())


def _draw(*parts: object) -> int:
    """A number that is the same on every machine; evenly spread over 64 bits."""
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
