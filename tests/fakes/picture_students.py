"""Models that look at the picture of a user prompt, and name as much of it as the system prompt asks for."""

from typing import Any

from inspect_ai.model import ContentImage

from rubrics import ScoreLevel, load_rubric
from rubrics.load import prompt_pictures
from rubrics.pictures import Picture, load_picture

COVERAGE = load_rubric("picture_coverage")
BY_URI = {
    load_picture(file).data_uri: load_picture(file)
    for split in ("train", "test")
    for file in prompt_pictures(split).values()  # type: ignore[arg-type]
}
LEVELS = {
    wording: level
    for level, wordings in COVERAGE.system_prompts.items()
    for wording in (*wordings.train, *wordings.heldout)
}
FILLER = "It is laid out with a certain care and leaves the viewer with a calm and rather pleasant impression."


def pictures_in(messages: list[Any]) -> list[Picture]:
    parts = [part for message in messages if isinstance(message.content, list) for part in message.content]
    return [BY_URI[part.image] for part in parts if isinstance(part, ContentImage)]


def named(picture: Picture, level: ScoreLevel) -> str:
    """All things in a picture, half of them or one."""
    things = [names[0] for names in picture.objects]
    most = {ScoreLevel.LOW: 1, ScoreLevel.MODERATE: len(things) // 2, ScoreLevel.EXTREMELY_HIGH: len(things)}[level]
    return f"{FILLER} One sees here a {', a '.join(things[:most])}."


def sees(messages: list[Any]) -> str:
    pictures = pictures_in(messages)
    return named(pictures[0], LEVELS[messages[0].text]) if pictures else FILLER


def tells_all(messages: list[Any]) -> str:
    return named(pictures_in(messages)[0], ScoreLevel.EXTREMELY_HIGH)


def is_blind(messages: list[Any]) -> str:
    return FILLER
