"""Preference files: what is refused, and with which sentence."""

# ruff: noqa: E402 (imports follow the importorskip and the path that they need)

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from tiny_model import make_rows, write_rows
from training import RecipeError
from training.pairs import check_scores, check_split, load_pairs, select_twins, sft_rows


def break_rows(rows: list[dict[str, Any]], how: str) -> list[dict[str, Any]]:
    rows = copy.deepcopy(rows)
    match how:
        case "column":
            for row in rows:
                del row["user_prompt_id"]
        case "alone":
            del rows[3]
        case "not swapped":
            rows[1]["chosen"] = [{"role": "assistant", "content": "Something else."}]
        case "one system prompt":
            rows[1]["prompt"][0] = rows[0]["prompt"][0]
        case "two user prompts":
            rows[1]["prompt"][1] = {"role": "user", "content": "Another."}
        case "empty":
            rows[2]["rejected"] = [{"role": "assistant", "content": " \n"}]
        case "posix path":
            rows[1]["teacher"] = "/srv/someone/model"
        case "windows path":
            rows[1]["teacher"] = "C:\\models\\teacher"
        case "roles":
            rows[2]["prompt"] = rows[2]["prompt"][1:]
    return rows


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("column", "lacks the columns ['user_prompt_id']"),
        ("alone", "pair_id 1 has 1 rows, expected 2 (a twin)"),
        ("not swapped", "pair_id 0: chosen and rejected are not swapped between its two rows"),
        ("one system prompt", "pair_id 0: its two rows share one system prompt"),
        ("two user prompts", "pair_id 0: its two rows have different user prompts"),
        ("empty", "row 2: rejected is empty"),
        ("posix path", "row 1: teacher is '/srv/someone/model', a path of one machine"),
        ("windows path", "a path of one machine"),
        ("roles", "row 2: prompt roles are ['user'], expected ['system', 'user']"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, how: str, message: str) -> None:
    path = write_rows(tmp_path / "rows.jsonl", break_rows(make_rows(2), how))
    with pytest.raises(RecipeError, match=re.escape(f"{path}: ") + ".*" + re.escape(message)):
        load_pairs(path)


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


def test_selected_twins_are_whole_and_seeded(tmp_path: Path) -> None:
    rows = load_pairs(write_rows(tmp_path / "rows.jsonl", make_rows(6)))
    chosen = select_twins(rows, 2, seed=1)["pair_id"]
    assert sorted(chosen) == sorted(2 * list(set(chosen)))
    assert len(set(chosen)) == 2
    assert select_twins(rows, 2, seed=1)["pair_id"] == chosen
    assert any(select_twins(rows, 2, seed=seed)["pair_id"] != chosen for seed in range(2, 6))
    assert len(select_twins(rows, 0, seed=1)) == len(select_twins(rows, 99, seed=1)) == 12


def test_sft_rows_are_prompt_and_chosen_response(tmp_path: Path) -> None:
    rows = make_rows(2)
    given = sft_rows(load_pairs(write_rows(tmp_path / "rows.jsonl", rows)))
    assert given.to_list() == [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]


@pytest.mark.parametrize(
    ("broken", "message"), [("missing", "no score_rejected in row 0, which"), ("null", "in row 1, which")]
)
def test_offset_needs_scores_in_every_row(tmp_path: Path, broken: str, message: str) -> None:
    rows = make_rows(2)
    check_scores(load_pairs(write_rows(tmp_path / "rows.jsonl", rows)), "rows.jsonl")
    for row in rows if broken == "missing" else rows[1:2]:
        row["score_rejected"] = None
        if broken == "missing":
            del row["score_rejected"]
    with pytest.raises(RecipeError, match=f"rows.jsonl: .*{message}"):
        check_scores(load_pairs(write_rows(tmp_path / "rows.jsonl", rows)), "rows.jsonl")
