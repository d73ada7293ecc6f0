"""Preference files: what is refused, and with which sentence."""

# ruff: noqa: E402 (imports follow the importorskip and the path that they need)

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from tiny_model import make_rows, write_rows
from training import RecipeError
from training.pairs import check_split, load_pairs, sft_rows


def drop(rows: list[dict[str, Any]], column: str) -> None:
    for row in rows:
        del row[column]


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda rows: drop(rows, "user_prompt_id"), "lacks the columns ['user_prompt_id']"),
        (lambda rows: rows.pop(3), "pair_id 1 has 1 rows, expected 2 (a twin)"),
        (
            lambda rows: rows[1].update(chosen=say("Something else.")),
            "pair_id 0: chosen and rejected are not swapped between its two rows",
        ),
        (lambda rows: rows[1].update(prompt=rows[0]["prompt"]), "pair_id 0: its two rows share one system prompt"),
        (lambda rows: rows[1]["prompt"][1].update(content="Other."), "pair_id 0: its two rows have different user"),
        (lambda rows: rows[2].update(rejected=say(" \n")), "row 2: rejected is empty"),
        (
            lambda rows: rows[1].update(teacher="/srv/a/model"),
            "row 1: teacher is '/srv/a/model', a path of one machine",
        ),
        (lambda rows: rows[1].update(teacher="C:\\models\\a"), "a path of one machine"),
        (lambda rows: drop(rows, "score_rejected"), "lacks the columns ['score_rejected']"),
        (lambda rows: rows[1].update(score_rejected=None), "row 1: a score is null"),
        (lambda rows: rows[2]["prompt"].pop(0), "row 2: prompt roles are ['user'], expected ['system', 'user']"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, damage: Callable[[list[dict[str, Any]]], Any], message: str) -> None:
    rows = json.loads(json.dumps(make_rows(2)))  # no two rows share an object
    damage(rows)
    path = write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(RecipeError, match=re.escape(f"{path}: ") + ".*" + re.escape(message)):
        load_pairs(path, scored=True)


@pytest.mark.parametrize("text", ["", '{"prompt": [\n', "\x00"], ids=["empty", "torn", "binary"])
def test_unreadable_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(RecipeError, match="not readable as json rows"):
        load_pairs(str(path))


def test_parquet_reads_like_jsonl(tmp_path: Path) -> None:
    rows = load_pairs(write_rows(tmp_path / "rows.jsonl", make_rows(2)))
    rows.to_parquet(tmp_path / "rows.parquet")
    assert load_pairs(str(tmp_path / "rows.parquet")).to_list() == rows.to_list()


def test_older_names_of_columns_are_read(tmp_path: Path) -> None:
    rows = [{("prompt_id" if k == "user_prompt_id" else k): v for k, v in row.items()} for row in make_rows(2)]
    old = load_pairs(write_rows(tmp_path / "old.jsonl", [row | {"system_prompt_id": "train-1"} for row in rows]))
    assert old["user_prompt_id"] == [row["user_prompt_id"] for row in make_rows(2)]
    assert old["wording"] == ["train-1"] * 4


def test_user_prompt_in_both_files_is_refused(tmp_path: Path) -> None:
    train = load_pairs(write_rows(tmp_path / "a.jsonl", make_rows(2)))
    other = [row | {"pair_id": "other"} for row in make_rows(1, start=1)]
    with pytest.raises(RecipeError, match="share 1 values of user_prompt_id .first: 'prompt-1'"):
        check_split(train, load_pairs(write_rows(tmp_path / "b.jsonl", other)))


def test_sft_rows_are_prompt_and_chosen_response(tmp_path: Path) -> None:
    rows = make_rows(2)
    given = sft_rows(load_pairs(write_rows(tmp_path / "rows.jsonl", rows)))
    assert given.to_list() == [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]
