"""The pictures of user prompts: what ships is what the script draws, and its objects can be told apart."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from rubrics import draw_pictures, load_user_prompts
from rubrics.load import prompt_pictures
from rubrics.pictures import FOLDER, OBJECTS, load_picture

PICTURES = [path.name for path in sorted(FOLDER.glob("*.png"))]


def test_the_script_draws_the_pictures_that_ship_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["draw_pictures", str(tmp_path)])
    draw_pictures.main()
    assert [path.name for path in sorted(tmp_path.glob("*.png"))] == PICTURES
    assert (tmp_path / OBJECTS).read_bytes() == (FOLDER / OBJECTS).read_bytes()
    for name in PICTURES:
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), f"{name}: another version of zlib?"
        assert (FOLDER / name).stat().st_size < 5_000


def test_every_picture_belongs_to_one_user_prompt_and_neighbours_are_of_different_kinds() -> None:
    shown = {split: prompt_pictures(split) for split in ("train", "test")}
    for split, files in shown.items():
        assert list(files) == list(load_user_prompts(split, "pictures"))
        assert len(files) == 24
        kinds = [file.split("_")[0] for file in files.values()]
        assert all(one != other for one, other in zip(kinds, [*kinds[1:], kinds[0]], strict=True))
    assert sorted([*shown["train"].values(), *shown["test"].values()]) == PICTURES


def test_no_name_stands_for_two_objects_of_a_picture() -> None:
    for name in PICTURES:
        objects = load_picture(name).objects
        names = Counter(word.lower() for of_object in objects for word in of_object)
        assert len(objects) >= 7, name
        assert names.most_common(1)[0][1] == 1, (name, names)
