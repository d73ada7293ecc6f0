"""Preference files: what is refused, and with which sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_model import make_rows, make_same_level_row, message, write_rows
from training import RecipeError
from training.pairs import check_split, load_pairs, sft_rows

USER, GOOD, BAD = message("user", "Write."), message("assistant", "Good."), message("assistant", "Bad.")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda rows: [row.pop("user_prompt_id") for row in rows], "lacks the columns ['user_prompt_id']"),
        (lambda rows: rows.pop(3), "pair_id 1: has 1 rows, expected 2 (a twin)"),
        (lambda rows: rows[1].update(chosen=[BAD]), "pair_id 0: chosen and rejected are not swapped"),
        (lambda rows: rows[1].update(prompt=rows[0]["prompt"]), "pair_id 0: its two rows share one system prompt"),
        (lambda rows: rows[1]["prompt"][1].update(content="Other."), "pair_id 0: its two rows have different user"),
        (lambda rows: rows[2].update(rejected=[message("assistant", " \n")]), "row 2: rejected is empty"),
        (lambda rows: rows[2].update(chosen=[]), "row 2: chosen must be one assistant message"),
        (lambda rows: rows[2].update(chat_template_kwargs={"a": 1}), "row 0: chat_template_kwargs is null"),
        (lambda rows: rows[0].update(kind="triplet"), "row 0: kind is 'triplet', expected one of twin, same_level"),
        (lambda rows: rows[1].update(kind="same_level"), "pair_id 0: has 2 rows, expected 1 (a same-level pair)"),
        (lambda rows: [row.update(prompt="Write.") for row in rows], "row 0: prompt is 'Write.', expected a list"),
        (lambda rows: rows[2]["prompt"].pop(0), "row 2: prompt roles are ['user'], expected ['system', 'user']"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, damage: Callable[[list[dict[str, Any]]], Any], message: str) -> None:
    rows = json.loads(json.dumps(make_rows(2)))  # no two rows share an object
    damage(rows)
    path = write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(RecipeError, match=re.escape(f"{path}: {message}")):
        load_pairs(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "no rows"),
        (lambda data: b'{"prompt": [\n', "JSON parse error"),
        (lambda data: b"\x00", "JSON parse error"),
        (lambda data: data.decode().encode("utf-16"), "JSON parse error"),
        (lambda data: data.replace(b"The man", b"\xff"), "invalid start byte"),
        (lambda data: data.replace(b"The man", rb"\ud83d"), "a lone surrogate is half a character, take it out"),
    ],
    ids=["empty", "torn", "binary", "UTF-16", "Latin-1", "lone surrogate"],
)
def test_unreadable_file_is_refused(tmp_path: Path, change: Callable[[bytes], bytes], message: str) -> None:
    path = Path(write_rows(tmp_path / "rows.jsonl", make_rows(2)))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(RecipeError, match=f"rows.jsonl: not readable as json rows in UTF-8 .*{message}"):
        load_pairs(str(path))


def test_parquet_reads_like_jsonl(tmp_path: Path) -> None:
    given = [row | {"wording": "train-1"} for row in make_rows(2)]
    rows = load_pairs(write_rows(tmp_path / "rows.jsonl", given))
    assert rows.to_list() == given
    rows.to_parquet(tmp_path / "rows.parquet")
    assert load_pairs(str(tmp_path / "rows.parquet")).to_list() == given
    assert sft_rows(rows).to_list() == [{"prompt": row["prompt"], "completion": row["chosen"]} for row in given]


def test_same_level_pairs_stand_beside_twins(tmp_path: Path) -> None:
    alone = [make_same_level_row(number) for number in (5, 6)]
    rows = load_pairs(write_rows(tmp_path / "rows.jsonl", [alone[0], *make_rows(2), alone[1]]))
    assert [row["kind"] for row in rows] == ["same_level", None, None, None, None, "same_level"]
    assert len(sft_rows(rows)) == 6


PLAIN = {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Write.", "chosen": "Good.", "rejected": "Bad."},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "Write.", "chosen": [USER, GOOD], "rejected": [USER, BAD], "source": "x"},
    ],
    ids=["text", "messages", "conversations", "conversations beside their prompt"],
)
def test_plain_pairs_are_read_in_every_shape(tmp_path: Path, row: dict[str, Any]) -> None:
    [read] = load_pairs(write_rows(tmp_path / "rows.jsonl", [row])).to_list()
    assert read == {**row, **PLAIN}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "Write.", "chosen": "Good."}, "lacks the columns ['rejected']"),
        ({"prompt": "Write.", "chosen": "Good.", "rejected": None}, "row 0: rejected is empty"),
        ({"prompt": None, "chosen": "Good.", "rejected": "Bad."}, "row 0: prompt roles are ['user'], expected them to"),
        ({"prompt": [GOOD], "chosen": "Good.", "rejected": "Bad."}, "row 0: prompt roles are ['assistant'], expected"),
        ({"chosen": [USER, GOOD], "rejected": [GOOD, BAD]}, "row 0: prompt roles are ['user'], expected them to end"),
    ],
)
def test_bad_plain_pairs_are_refused(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [row])
    with pytest.raises(RecipeError, match=re.escape(f"{path}: {message}")):
        load_pairs(path)


def test_user_prompt_in_both_files_is_refused(tmp_path: Path) -> None:
    train = load_pairs(write_rows(tmp_path / "a.jsonl", make_rows(2)))
    other = [row | {"pair_id": "other"} for row in make_rows(1, start=1)]
    with pytest.raises(RecipeError, match="share 1 values of user_prompt_id .first: 'prompt-1'"):
        check_split(train, load_pairs(write_rows(tmp_path / "b.jsonl", other)))
    plain = [{"prompt": row["prompt"][-1]["content"], "chosen": "Good.", "rejected": "Bad."} for row in other[:1]]
    with pytest.raises(RecipeError, match=f"share 1 values of the user prompt .first: '{plain[0]['prompt']}'"):
        check_split(train, load_pairs(write_rows(tmp_path / "c.jsonl", plain)))
