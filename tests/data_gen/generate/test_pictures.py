"""Pictures from the question to the preference rows: teachers see them, the judge knows them, training gets them."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_runs import cpt
from datasets import load_dataset
from generating import MOCK, generate, rows_of
from picture_students import pictures_in, sees
from seed import SEED_FILE

from rubrics.load import prompt_pictures
from rubrics.pictures import load_picture

OPTIONS = ("--teacher", "mockllm/t", "--rubrics", "pictures", "--out", "r.jsonl", "--configured-by", "system_prompt")


def test_pictures_reach_teachers_rows_and_twins(mock_teacher: Any) -> None:
    model = mock_teacher(sees)
    generate(*OPTIONS)
    train = prompt_pictures("train")
    assert {picture.file for messages in model.seen for picture in pictures_in(messages)} == set(train.values())
    rows = rows_of()
    assert {row["user_prompt_id"]: row["image"] for row in rows} == train
    cpt("verify", "r.jsonl", "--near", 0, "--out", "verified")
    assert len(rows_of("verified/responses.jsonl")) == len(rows) == 72  # right at every level, by the picture
    cpt("twins", "--responses", "verified/responses.jsonl", "--eval-prompts", 4, "--format", "both", "--out", "data")
    assert "- image-text-to-text" in Path("data/README.md").read_text(encoding="utf-8")
    for kind, reader in (("jsonl", "json"), ("parquet", "parquet")):
        loaded = load_dataset(reader, data_files=f"data/train.{kind}", split="train").to_list()
        assert len(loaded) == 20 * 3 * 2  # texts are few: each picture is a user prompt of its own
        for row in loaded:
            assert row["images"] == [load_picture(train[row["user_prompt_id"]]).data_uri]
            system, user = (message["content"] for message in row["prompt"])
            assert [part["type"] for part in (*system, *user)] == ["text", "image", "text"]
            assert isinstance(row["chosen"][0]["content"], str)


def test_beside_pictures_a_text_prompt_has_the_same_form_and_no_image(mock_teacher: Any) -> None:
    mock_teacher(sees)
    generate(*OPTIONS, "--limit", 6)
    cpt("verify", "r.jsonl", "--near", 0, "--out", "verified")
    both = ("--responses", SEED_FILE, "--responses", "verified/responses.jsonl")
    cpt("twins", *both, "--eval-prompts", 0, "--out", "data")
    rows = rows_of("data/train.jsonl")
    assert {len(row["images"]) for row in rows} == {0, 1}
    for row in rows:
        assert [part["type"] for part in row["prompt"][1]["content"]] == ["image"] * len(row["images"]) + ["text"]
    load_dataset("json", data_files="data/train.jsonl", split="train")


def test_any_rubric_can_be_written_about_the_pictures(mock_teacher: Any) -> None:
    model = mock_teacher(lambda messages: "A text.")
    generate(*MOCK, "--prompts", "pictures", "--limit", 3)
    assert [len(pictures_in(messages)) for messages in model.seen] == [1, 1, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": "map_07.png", "user_prompt_id": "x"}, "shows map_07.png, the picture of a test prompt"),
        (
            {"image": None},
            "named_object_share measures what a response says of a picture, got a user prompt without one",
        ),
        ({"image": "cat.png"}, "image: picture: got 'cat.png'"),
    ],
)
def test_a_test_picture_an_unknown_one_and_none_are_named_and_left_out(
    change: dict[str, str], said: str, mock_teacher: Any
) -> None:
    mock_teacher(sees)
    generate(*OPTIONS, "--limit", 3)
    rows = [row | (change if number == 0 else {}) for number, row in enumerate(rows_of())]
    Path("r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = cpt("verify", "r.jsonl", "--near", 0, "--out", "verified")
    dropped = Path("verified/dropped.jsonl").read_text(encoding="utf-8")
    assert said in done.output + dropped
    assert len(rows_of("verified/responses.jsonl")) == 2
