"""Reads and writes rubric files, and reads the user prompts; what is wrong is said with file, got and expected."""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from rubrics.files import read_plain
from rubrics.schema import Rubric, problem_texts

Split = Literal["train", "test"]
LIBRARY = Path(__file__).parent / "library"
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where PyYAML was built with it
# asked for by name: of what people rated the low end is a worse text; what runs on `core` is not to grow; a model that
# reads no pictures cannot be asked for what is in one
OUTSIDE_CORE = ("human_ratings", "measured_more", "pictures")
USER_PROMPTS = Path(__file__).parent / "user_prompts.yaml"
FAMILY_PROMPTS = Path(__file__).parent / "user_prompts"
LINE_WIDTH = 104  # columns of a rubric file: PyYAML breaks a line after the word that passes it


def rubric_ids() -> list[str]:
    """Ids of the rubrics in the library, sorted."""
    return sorted(path.stem for path in LIBRARY.glob("*.yaml"))


def load_rubric(name: str | Path) -> Rubric:
    """One rubric, from the library by its id or from a file by its path, which ends in .yaml; the library is read once.

    Raises:
        ValueError: If there is no such rubric, the file's name differs from the id in it, or the content is not valid.
    """
    is_of_library = not str(name).endswith(".yaml")
    path = LIBRARY / f"{name}.yaml" if is_of_library else Path(name)
    if not path.is_file():
        raise ValueError(f"rubric {str(name)!r} not found, expected one of {rubric_ids()} or the path of a .yaml file")
    if not is_of_library:
        return _read_rubric(path)
    rubric = _of_library(path)
    return rubric.model_copy(update={"system_prompts": {**rubric.system_prompts}})  # all else in it is frozen


def _read_rubric(path: Path) -> Rubric:
    where = f"{path.parent.name}/{path.name}"
    try:
        rubric = Rubric.model_validate(read_yaml(path))
    except ValueError as error:
        raise ValueError(f"{where}: {'; '.join(problem_texts(error))}") from error
    if rubric.id != path.stem:
        raise ValueError(f"{where}: id is {rubric.id!r}, expected the file's name {path.stem!r}")
    return rubric


_of_library = cache(_read_rubric)


def read_yaml(path: Path) -> Any:
    """What a YAML file in UTF-8 holds, with or without a byte order mark.

    Raises:
        ValueError: If it is in another encoding, is not YAML, or holds a control token, with the line.
    """
    text = read_plain(path)
    try:
        return yaml.load(text, Loader=YAML_LOADER)
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())}") from error


def load_rubrics(selection: str | Iterable[str] = "all") -> list[Rubric]:
    """Rubrics in the order asked for.

    `selection` is "core" (the library without the families `human_ratings`, `measured_more` and `pictures`, sorted by
    id), "train" or "heldout" (those of core in that split), "all" (the whole library), a family name, ids and paths of
    .yaml files, or several of these as a list or separated by commas.

    Raises:
        ValueError: If an id is unknown, one is given twice, or nothing is selected.
    """
    names = selection.split(",") if isinstance(selection, str) else list(selection)
    names = [name.strip() for name in names if name.strip()]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"rubrics: got {names}, expected at least one id, each once, out of {rubric_ids()}")
    rubrics = [rubric for name in names for rubric in _selected(name)]
    if repeated := [name for name, count in Counter(rubric.id for rubric in rubrics).items() if count > 1]:
        raise ValueError(f"rubrics: {names} select {repeated} more than once, expected each once")
    return rubrics


def _selected(name: str) -> list[Rubric]:
    if name in rubric_ids() or name.endswith(".yaml"):
        return [load_rubric(name)]
    library = [load_rubric(rubric_id) for rubric_id in rubric_ids()]
    if name in ("core", "train", "heldout"):
        return [one for one in library if one.family not in OUTSIDE_CORE and name in ("core", one.split)]
    return [one for one in library if name in ("all", one.family)] or [load_rubric(name)]


def load_user_prompts(split: Split, family: str = "") -> dict[str, str]:
    """Texts of the user prompts of one split, by id, in the order of the file; `prompt_pictures` has what some show.

    Those of a family of rubrics, if it has its own; else the general ones.

    Raises:
        ValueError: If the split is unknown.
    """
    path = FAMILY_PROMPTS / f"{family}.yaml"
    entries = _read_prompts(path if family and path.is_file() else USER_PROMPTS, split)
    return {name: entry if isinstance(entry, str) else entry["text"] for name, entry in entries.items()}


def all_user_prompts(split: Split) -> dict[str, str]:
    """User prompts of one split over all families, the general ones first; raises as `load_user_prompts`.

    Without those that show a picture: their texts are the same in both splits.
    """
    return {name: entry for name, entry in _all_prompts(split).items() if isinstance(entry, str)}


@cache
def prompt_pictures(split: Split) -> dict[str, str]:
    """Files of the pictures that user prompts of one split show, by their ids; raises as `load_user_prompts`."""
    return {name: entry["image"] for name, entry in _all_prompts(split).items() if isinstance(entry, dict)}


def _all_prompts(split: Split) -> dict[str, str | dict[str, str]]:
    paths = [USER_PROMPTS, *sorted(FAMILY_PROMPTS.glob("*.yaml"))]
    return {name: entry for path in paths for name, entry in _read_prompts(path, split).items()}


def _read_prompts(path: Path, split: Split) -> dict[str, str | dict[str, str]]:
    """Entries of a split by id: a text, or `text` and `image`."""
    content: dict[str, dict[str, str | dict[str, str]]] = read_yaml(path)
    if split not in content:
        raise ValueError(f"{path.name}: no split {split!r}, expected one of {sorted(content)}")
    return content[split]


def rubric_yaml(rubric: Rubric) -> str:
    """The text of a rubric file, which `load_rubric` reads back as an equal rubric: long texts folded.

    Empty fields are left out, and so is the split "train", which is the default.
    """
    content = rubric.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=LINE_WIDTH)


class _Dumper(yaml.SafeDumper):
    pass


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    lines = text.split("\n")
    style = "|" if len(lines) > 1 else None
    # PyYAML 6 loses line separators, and spaces beside line breaks, in any style but double quotes
    if text != text.strip() or any(line != " ".join(line.split()) or not line.isprintable() for line in lines):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_number(dumper: yaml.SafeDumper, number: float) -> yaml.ScalarNode:
    return dumper.represent_int(int(number)) if number.is_integer() else dumper.represent_float(number)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(float, _represent_number)
