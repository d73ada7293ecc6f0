"""Pairs within a level: which are made, worked out by hand, whole rows, and what is counted."""

import hashlib
import json
from collections import Counter
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from command_runs import cpt
from command_runs import read_rows as read
from command_runs import write_rows as write
from seed import RUBRICS, SEED
from seed import response as made_up

from data_gen.responses import Problems, TeacherResponse
from data_gen.twins.inputs import read_responses
from data_gen.twins.pairing import train_wordings
from data_gen.twins.same_level import pair_within_levels
from rubrics import ScoreLevel, load_user_prompts

LABYRINTH = RUBRICS["labyrinth"]
WORDINGS = train_wordings(RUBRICS.values())
LOW, MODERATE, HIGH = ScoreLevel
PROMPTS = load_user_prompts("train")
OTHER_PROMPT = next(name for name in PROMPTS if name != "garden_dusk")


def response(number: int, score: float, **changes: Any) -> TeacherResponse:
    """A response to garden_dusk by t, written for moderate labyrinth (in band above 40 and up to 92.5)."""
    about = {"level": MODERATE, "id": f"r{number}", "response": f"Text {number}, with a score of {score}"} | changes
    return made_up(score=score, **about)


def frame_of(rows: list[TeacherResponse], folder: Path) -> pl.DataFrame:
    places = ((f"rows.jsonl:{number}", row) for number, row in enumerate(rows, start=1))
    return read_responses(places, RUBRICS, Problems(), folder, any_band=True).frame


def pairs_of(frame: pl.DataFrame, most: int = 9, min_gap: float = 0.0, seed: int = 0) -> pl.DataFrame:
    return pair_within_levels(frame, WORDINGS, most, min_gap, np.random.default_rng(seed))


run = partial(cpt, "twins")


@pytest.mark.parametrize(
    ("scores", "min_gap", "expected"),
    [
        ((70, 40), 0, [(0, 1)]),
        ((40, 92.5), 0, [(1, 0)]),  # an upper edge is in its band
        ((92.6, 40.1), 0, [(1, 0)]),
        ((70, 80), 0, []),  # nothing to reject
        ((10, 20), 0, []),  # nothing to choose
        ((50, 40), 10, [(0, 1)]),
        ((50, 40), 10.1, []),
    ],
)
def test_in_band_is_chosen_over_out_of_band(
    scores: tuple[float, float], min_gap: float, expected: list[tuple[int, int]], tmp_path: Path
) -> None:
    frame = frame_of([response(number, score) for number, score in enumerate(scores)], tmp_path)
    pairs = pairs_of(frame, min_gap=min_gap)
    assert pairs.select("first", "second").rows() == expected


@pytest.mark.parametrize(
    "change",
    [
        {"level": HIGH},
        {"user_prompt_id": OTHER_PROMPT},
        {"judge": "other"},
    ],
)
def test_two_cells_are_not_mixed(change: dict[str, Any], tmp_path: Path) -> None:
    assert pairs_of(frame_of([response(0, 70), response(1, 10, **change)], tmp_path)).is_empty()


def test_what_a_teacher_missed_goes_with_the_hit_of_another_under_its_own_wording(tmp_path: Path) -> None:
    under = {"wording": "labyrinth-moderate-train-5"}
    rows = [response(0, 70, teacher="seed"), response(1, 10, teacher="student", **under)]
    pairs = pairs_of(frame_of(rows, tmp_path))
    assert pairs.select("first", "second", "wording_first").rows() == [(0, 1, 5)]
    hit = response(2, 60, teacher="student", **under)  # own hits come first
    pairs = pairs_of(frame_of([*rows, hit], tmp_path))
    assert pairs.select("first", "second").rows() == [(2, 1)]


def test_a_hit_that_a_full_cell_has_no_use_for_goes_to_another_teachers_miss(tmp_path: Path) -> None:
    rows = [response(number, score, teacher="seed") for number, score in enumerate((70, 71, 10, 11))]
    pairs = pairs_of(frame_of([*rows, response(4, 12, teacher="student")], tmp_path), most=1)
    assert len(pairs) == 2 and 4 in pairs["second"]


def test_teachers_and_judges_of_the_manifest_are_those_of_the_rows(tmp_path: Path) -> None:
    rows = [
        response(0, 70, teacher="seed"),
        response(1, 10, teacher="student"),
        response(2, 60, teacher="other", user_prompt_id=OTHER_PROMPT, user_prompt=PROMPTS[OTHER_PROMPT]),
    ]
    path = write(tmp_path / "r.jsonl", rows)
    run("--responses", path, "--level-pairs", "none", "--same-level", 1, "--eval-prompts", 0, "--out", tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["teachers"] == ["seed", "student"]


def test_responses_under_one_wording_go_together_and_those_left_over_take_that_of_the_chosen(tmp_path: Path) -> None:
    scores = [70, 71, 20, 95, 72, 21]
    written_under = [0, 1, 1, 0, 2, 3]
    rows = [
        response(number, score, wording=f"labyrinth-moderate-train-{wording}")
        for number, (score, wording) in enumerate(zip(scores, written_under, strict=True))
    ]
    frame = frame_of(rows, tmp_path)
    for seed in range(5):
        pairs = pairs_of(frame, seed=seed)
        assert pairs.select("first", "second", "wording_first").rows() == [(0, 3, 0), (1, 2, 1), (4, 5, 2)]
        [kept] = pairs_of(frame, most=1, seed=seed).select("first", "second").rows()
        assert kept in [(0, 3), (1, 2)]


def test_a_wording_that_is_no_train_wording_gives_way_to_a_train_wording(tmp_path: Path) -> None:
    for wording in (None, "labyrinth-moderate-heldout-0", "labyrinth-low-train-1"):
        frame, drawn = frame_of([response(0, 70, wording=wording), response(1, 10)], tmp_path), set()
        for seed in range(20):
            drawn.add(pairs_of(frame, seed=seed)["wording_first"].item())
        assert drawn <= set(range(len(LABYRINTH.wordings(MODERATE, "train"))))
        assert len(drawn) > 12  # of 20; 17 are expected


def test_the_rejected_one_is_drawn_evenly_and_each_response_is_used_once(tmp_path: Path) -> None:
    frame = frame_of([response(number, score) for number, score in enumerate((70, 71, 10, 20, 95, 99))], tmp_path)
    rejected: Counter[int] = Counter()
    for seed in range(60):
        pairs = pairs_of(frame, seed=seed)
        used = [*pairs["first"], *pairs["second"]]
        assert (len(pairs), len(set(used))) == (2, 4)
        rejected.update(pairs["second"])
    assert set(rejected) == {2, 3, 4, 5}
    assert all(15 < count < 45 for count in rejected.values())  # 30 expected, standard deviation 4


def test_whole_rows_and_no_others(tmp_path: Path) -> None:
    chosen, rejected = response(0, 70, wording="labyrinth-moderate-train-1"), response(1, 95)
    other = [response(number, 70, user_prompt_id=name) for number, name in enumerate(list(PROMPTS)[:2], start=2)]
    path = write(tmp_path / "r.jsonl", [chosen, rejected, *other])
    options = ("--level-pairs", "none", "--same-level", 3, "--eval-prompts", 0, "--out", tmp_path / "out")
    result = run("--responses", path, *options)
    assert "train.jsonl: 0 twins, 1 pairs within a level, 1 rows" in result.output
    cells = len({row.user_prompt_id for row in (chosen, *other)})
    assert f"{cells} cells (rubric, level, user prompt, teacher), 0 without a response in its band" in result.output
    assert f"its band, {cells - 1} without one out of it" in result.output
    assert read(tmp_path / "out" / "train.jsonl") == [
        {
            "prompt": [
                {"role": "system", "content": LABYRINTH.wordings(MODERATE, "train")[1]},
                {"role": "user", "content": PROMPTS["garden_dusk"]},
            ],
            "chosen": [{"role": "assistant", "content": chosen.response}],
            "rejected": [{"role": "assistant", "content": rejected.response}],
            "pair_id": hashlib.sha256(b"r0 r1 0").hexdigest()[:12],
            "rubric": "labyrinth",
            "level": "moderate",
            "rejected_level": "moderate",
            "score_chosen": 70.0,
            "score_rejected": 95.0,
            "user_prompt_id": "garden_dusk",
            "teacher": "t",
            "wording": "labyrinth-moderate-train-1",
            "kind": "same_level",
        }
    ]


def with_misses() -> list[TeacherResponse]:
    """The seed, and a second response to every question that scored as if written for another level."""
    misses = {LOW: 50.0, MODERATE: 95.0, HIGH: 60.0}
    rows = []
    for row in SEED:
        assert row.judgment is not None
        judgment = row.judgment.model_copy(update={"score": misses[ScoreLevel(row.level)]})
        rows += [row, row.model_copy(update={"id": f"{row.id}-miss", "response": "Missed.", "judgment": judgment})]
    return rows


def test_both_kinds_share_the_split_and_twins_are_as_without_pairs(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", with_misses())
    run("--out", tmp_path / "twins")
    run("--responses", path, "--same-level", 1, "--format", "both", "--out", tmp_path / "both")
    run("--responses", path, "--same-level", 1, "--level-pairs", "none", "--out", tmp_path / "pairs")
    prompts, within = {}, []
    for name in ("train", "eval"):
        both = read(tmp_path / "both" / f"{name}.jsonl")
        assert pl.read_parquet(tmp_path / "both" / f"{name}.parquet").to_dicts() == both
        kinds = {kind: list(rows) for kind, rows in groupby(both, lambda row: row["kind"])}
        without_kind = [{key: value for key, value in row.items() if key != "kind"} for row in kinds["twin"]]
        assert without_kind == read(tmp_path / "twins" / f"{name}.jsonl")
        within += kinds["same_level"]
        for row in kinds["same_level"]:
            assert ScoreLevel.of(row["score_chosen"]) == row["level"] != ScoreLevel.of(row["score_rejected"])
        prompts[name] = {row["user_prompt_id"] for row in both}
    assert not prompts["train"] & prompts["eval"]
    alone = [row for name in ("train", "eval") for row in read(tmp_path / "pairs" / f"{name}.jsonl")]
    assert sorted(within, key=str) == sorted(alone, key=str)


def test_the_card_and_the_manifest_count_cells_and_pairs(tmp_path: Path) -> None:
    rows = [row for row in with_misses() if row.level != HIGH or row.rubric != "reverie" or "miss" in row.id]
    rows = [row for row in rows if row.level != LOW or row.rubric != "labyrinth" or "miss" not in row.id]
    path = write(tmp_path / "r.jsonl", rows)
    result = run("--responses", path, "--level-pairs", "none", "--same-level", 1, "--out", tmp_path)
    assert "288 cells (rubric, level, user prompt, teacher), 24 without a response in its band, 24 without one out" in (
        " ".join(result.output.split())
    )
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["twins"] == []
    assert manifest["files"]["train.jsonl"]["same_level"] == manifest["files"]["train.jsonl"]["rows"] == 200
    by_cell = {(entry["rubric"], entry["level"]): entry for entry in manifest["same_level"]}
    about = {"teacher": "unnamed-llm", "cells": 24}
    none = {"train": 0, "eval": 0, "mean_chosen": None, "mean_rejected": None}
    assert by_cell["reverie", "extremely_high"] == {
        **{"rubric": "reverie", "level": "extremely_high", "without_in_band": 24, "without_out_of_band": 0},
        **about,
        **none,
    }
    assert by_cell["labyrinth", "low"]["without_out_of_band"] == 24
    entry = by_cell["labyrinth", "moderate"]
    assert (entry["train"], entry["eval"], entry["mean_rejected"]) == (20, 4, 95.0)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "## Twins" not in card
    assert "| reverie | extremely_high | unnamed-llm | 24 | 24 | 0 | 0 | 0 | – | – |" in card
    assert f"| labyrinth | moderate | unnamed-llm | 24 | 0 | 0 | 20 | 4 | {entry['mean_chosen']} | 95.0 |" in card
