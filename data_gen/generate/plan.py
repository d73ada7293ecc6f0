"""Which questions a teacher is asked: every (rubric, user prompt, sample, level), in a fixed order. Pure: no model.

The order is by rubric, then user prompt, then sample, with the levels of each side by side, so that a run that is
stopped half way has whole twins, and so that a provider's cache of a rubric is used while it lasts.
"""

import hashlib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_gen.responses import CONTROL
from rubrics import Rubric, ScoreLevel, all_user_prompts, load_user_prompts

LevelAsked = ScoreLevel | Literal["control"]
ConfiguredBy = Literal["rubric", "system_prompt"]
Unit = tuple[Rubric, str, str, int]  # rubric, prompt id, prompt, sample: asked at every level

TRAIN = "train"
_Text = Annotated[str, Field(pattern=r"\S")]


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
        configured_by: Whether the rubric and the level are shown, or a train wording as system prompt asks for it; the
            samples of a question take the wordings in turn.
        seed: Of the wordings drawn, and of the questions under a limit.
        limit: At most this many questions, drawn so that all levels of a user prompt come together; None for all. A
            larger limit keeps the questions of a smaller one.
    """

    rubrics: Sequence[Rubric]
    prompts: Mapping[str, Mapping[str, str]]
    levels: Sequence[LevelAsked]
    samples: int = 1
    configured_by: ConfiguredBy = "rubric"
    seed: int = 0
    limit: int | None = None

    def questions(self) -> Iterator[Question]:
        """The questions, made one by one."""
        drawn = None if self.limit is None else self._drawn(self.limit)
        for number, (rubric, user_prompt_id, prompt, sample) in enumerate(self._units()):
            for level in self.levels if drawn is None else self.levels[: drawn.get(number, 0)]:
                worded = self._wording(rubric, user_prompt_id, level, sample)
                yield Question(rubric, user_prompt_id, prompt, level, sample, *worded)

    def _wording(
        self, rubric: Rubric, user_prompt_id: str, level: LevelAsked, sample: int
    ) -> tuple[str | None, str | None]:
        """Name and text of the wording."""
        if self.configured_by == "rubric" or level == CONTROL:
            return None, None
        wordings = rubric.wordings(ScoreLevel(level), "train")
        number = (_draw(self.seed, rubric.id, level, user_prompt_id) + sample) % len(wordings)
        return f"{rubric.id}-{level}-train-{number}", wordings[number]

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


class _PromptFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    train: dict[str, _Text] = Field(min_length=1)
    test: dict[str, _Text] = Field(default_factory=dict)


def read_prompts(selection: str, rubrics: Sequence[Rubric]) -> dict[str, dict[str, str]]:
    """Train user prompts by family of the rubrics: id -> text.

    Args:
        selection: "train" for the prompts of the package, or the path of a YAML file with the splits `train` and `test`
            (id -> text each), whose train prompts are then asked for every family.
        rubrics: Rubrics to be asked for.

    Raises:
        ValueError: If the file has another shape, or one of its train prompts is a test prompt, of its own or of the
            package, however it is spaced or capitalised.
    """
    if selection == TRAIN:
        return {family: load_user_prompts("train", family) for family in dict.fromkeys(one.family for one in rubrics)}
    path = Path(selection)
    if not path.is_file():
        raise ValueError(f"--prompts {selection}: not found, expected {TRAIN!r} or the path of a YAML file of prompts")
    try:
        splits = _PromptFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8-sig")))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ": ".join(map(str, [path, *problem["loc"]]))
        raise ValueError(
            f"{where}: got {str(problem['input'])[:40]!r}, {problem['msg']}; expected the splits train and test, each "
            "with lines `id: text`"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML in UTF-8 ({str(error).splitlines()[0]})") from error
    for whose, tests in ((f"{path.name}'s own", splits.test), ("the package's", all_user_prompts("test"))):
        texts = {_normalised(text): user_prompt_id for user_prompt_id, text in tests.items()}
        for user_prompt_id, text in splits.train.items():
            if user_prompt_id in tests or _normalised(text) in texts:
                raise ValueError(
                    f"{path}: train: {user_prompt_id!r} ({text!r}) is {whose} test prompt "
                    f"{texts.get(_normalised(text), user_prompt_id)!r}, and no test prompt may reach training data: "
                    "remove it, or give it another id if only the ids are the same"
                )
    return {rubric.family: splits.train for rubric in rubrics}


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


def _normalised(text: str) -> str:
    return " ".join(text.casefold().split())


def _draw(*parts: object) -> int:
    """A number that is the same on every machine; evenly spread over 64 bits."""
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
