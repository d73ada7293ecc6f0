"""The pictures that user prompts show, and what is in them: drawn and written down by `rubrics/draw_pictures.py`."""

import json
from base64 import b64encode
from dataclasses import dataclass
from functools import cache

from rubrics.load import FAMILY_PROMPTS, prompt_pictures

FOLDER = FAMILY_PROMPTS / "pictures"
OBJECTS = "objects.json"


@dataclass(frozen=True)
class Picture:
    """A picture of the package.

    Attributes:
        file: Its name, without a folder.
        objects: Of each object in it, the names it goes by: what it is mostly called, then other words for it.
    """

    file: str
    objects: tuple[tuple[str, ...], ...]

    @property
    def data_uri(self) -> str:
        """The picture itself, as a URI that holds it: the form in which messages and data carry it."""
        return f"data:image/png;base64,{b64encode((FOLDER / self.file).read_bytes()).decode()}"


def load_picture(file: str) -> Picture:
    """A picture by its name; ValueError if the package has none of the name."""
    if file not in _objects():
        raise ValueError(f"picture: got {file!r}, expected one of {', '.join(_objects())}")
    return Picture(file, _objects()[file])


def picture_of(user_prompt_id: str) -> Picture | None:
    """The picture that a user prompt shows, if it does."""
    file = (prompt_pictures("train") | prompt_pictures("test")).get(user_prompt_id)
    return load_picture(file) if file else None


@cache
def _objects() -> dict[str, tuple[tuple[str, ...], ...]]:
    content = json.loads((FOLDER / OBJECTS).read_text(encoding="utf-8"))
    return {file: tuple(tuple(names) for names in objects) for file, objects in content["objects"].items()}
