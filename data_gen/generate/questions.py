"""Which questions a teacher is asked, and in which words: every (rubric, user prompt, sample, level), in a fixed order.

The order is by rubric, then user prompt, then sample, with the levels of each side by side, so that a run that is
stopped half way has whole twins, and so that an engine's cache of a rubric is used while it lasts.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from data_gen.responses import CONTROL, prompt_key
from rubrics import Rubric, ScoreLevel, all_user_prompts, load_user_prompts
from rubrics.levels import MIN_SCORE
from rubrics.load import FAMILY_PROMPTS, read_yaml
from rubrics.pictures import Picture, picture_of
from rubrics.schema import problem_texts

LevelAsked = ScoreLevel | Literal["control"]

_WORDS: dict[str, Any] = read_yaml(Path(__file__).with_name("prompts.yaml"))
TEACHER_PROMPT_VERSION: str = _WORDS["version"]


@dataclass(frozen=True)
class Question:
    """One response that is wanted.

    Attributes:
        rubric: Rubric to write for; of a control, the rubric it is compared under.
        level: Level to write at, or "control": the user prompt alone.
        sample: Which of several responses to the same question, from 0.
        shown: First part of what the teacher reads, with the rubric verbatim; "" if the rubric is not shown.
        wording: Name of the wording that then asks for the level; its text is `system_prompt`.
    """

    rubric: Rubric
    user_prompt_id: str
    user_prompt: str
    level: LevelAsked
    sample: int = 0
    shown: str = ""
    wording: str | None = None
    system_prompt: str | None = None
    picture: Picture | None = None

    @property
    def text(self) -> str:
        """The message to the teacher: the user prompt, with the rubric verbatim and the target before it if shown."""
        return self.shown + level_block(ScoreLevel(self.level), self.user_prompt) if self.shown else self.user_prompt

    @property
    def characters(self) -> int:
        """Characters that the teacher reads."""
        return len(self.text) + len(self.system_prompt or "")


def questions(
    rubrics: Sequence[Rubric],
    prompts: Mapping[str, Mapping[str, str]],
    levels: Sequence[LevelAsked],
    samples: int = 1,
    configured_by: Literal["rubric", "system_prompt"] = "rubric",
    seed: int = 0,
    limit: int | None = None,
) -> Iterator[Question]:
    """The questions to each teacher, in the order of `rubrics` and `levels`; `prompts` are by family: id -> text.

    By `configured_by` the rubric and the level are shown, or a train wording as system prompt asks for it; the samples
    of a question take the wordings in turn. `limit` is the most questions, drawn so that all levels of a user prompt
    come together; a larger one keeps the questions of a smaller one.

    Raises:
        ValueError: If a wording is to ask for a level and the rubric has none.
    """
    units = [(one, name, sample) for one in rubrics for name in prompts[one.family] for sample in range(samples)]
    asked: Iterable[tuple[int, LevelAsked]] = product(range(len(units)), levels)
    if limit is not None:
        ranked = sorted(range(len(units)), key=lambda number: _draw(seed, units[number][0].id, *units[number][1:]))
        asked = sorted(islice(product(ranked, levels), limit), key=lambda pair: pair[0])
    template = Template(_WORDS["rubric"])
    blocks = {rubric.id: template.substitute(rubric=rubric.render()) for rubric in rubrics}  # once: half a call's cost
    for number, level in asked:
        rubric, user_prompt_id, sample = units[number]
        about = partial(Question, rubric, user_prompt_id, prompts[rubric.family][user_prompt_id], level, sample)
        about = partial(about, picture=picture_of(user_prompt_id))
        if level == CONTROL:
            yield about()
        elif configured_by == "rubric":
            yield about(shown=blocks[rubric.id])
        else:
            wordings = rubric.wordings(ScoreLevel(level), "train")
            drawn = (_draw(seed, rubric.id, level, user_prompt_id) + sample) % len(wordings)
            yield about(wording=f"{rubric.id}-{level}-train-{drawn}", system_prompt=wordings[drawn])


def level_block(level: ScoreLevel, prompt: str) -> str:
    """The second part, with the level, its band in score points and the user prompt."""
    low, high = level.band
    band = f"from {low:g} to {high:g}, {high:g} included" if low == MIN_SCORE else f"above {low:g} and up to {high:g}"
    name = level.value.replace("_", " ")
    return Template(_WORDS["level"]).substitute(band=band, level=name, how=_WORDS["how"][level], prompt=prompt)


class _PromptFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    train: dict[str, Annotated[str, Field(pattern=r"\S")]] = Field(min_length=1)
    test: dict[str, str] = Field(default_factory=dict)


def read_prompts(selection: str, rubrics: Sequence[Rubric]) -> dict[str, dict[str, str]]:
    """Train user prompts by family of the rubrics: id -> text.

    `selection` is "train" for the prompts of the package, or, asked for every family then, the train prompts of one
    family such as "pictures", or of a YAML file with the splits `train` and `test` (id -> text each).

    Raises:
        ValueError: If the file has another shape, or one of its train prompts is a test prompt, of its own or of the
            package, however it is spaced or capitalised.
    """
    if selection == "train":
        return {family: load_user_prompts("train", family) for family in {rubric.family for rubric in rubrics}}
    path, families = Path(selection), sorted(path.stem for path in FAMILY_PROMPTS.glob("*.yaml"))
    if selection in families:
        return {rubric.family: load_user_prompts("train", selection) for rubric in rubrics}
    if not path.is_file():
        raise ValueError(
            f"--prompts {selection}: not found, expected 'train', one of the families {', '.join(families)}, or the "
            "path of a YAML file of prompts"
        )
    try:
        splits = _PromptFile.model_validate(read_yaml(path))
    except ValueError as error:
        expected = "expected the splits train and test, each with lines `id: text`"
        raise ValueError(f"{path}: {problem_texts(error)[0]}; {expected}") from error
    tests = all_user_prompts("test") | splits.test
    texts = {prompt_key(text): user_prompt_id for user_prompt_id, text in tests.items()}
    for user_prompt_id, text in splits.train.items():
        if picture_of(user_prompt_id):
            raise ValueError(f"{path}: train: {user_prompt_id!r} is the id of a prompt with a picture, give it another")
        if user_prompt_id in tests or prompt_key(text) in texts:
            raise ValueError(
                f"{path}: train: {user_prompt_id!r} ({text!r}) is the test prompt "
                f"{texts.get(prompt_key(text), user_prompt_id)!r}, and no test prompt may reach training data: "
                "remove it, or give it another id if only the ids are the same"
            )
    return {rubric.family: splits.train for rubric in rubrics}


def _draw(*parts: object) -> int:
    """A number that is the same on every machine; evenly spread over 64 bits."""
    text = "\0".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
