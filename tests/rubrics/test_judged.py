"""`cpt rubric lint --responses`: which wordings judged responses miss the band of, by hand."""

import json
import re
from math import nan
from pathlib import Path
from typing import Any

import pytest
from command_runs import fails, succeeds

import rubrics
from rubrics import load_rubric
from rubrics.commands import lint_command
from rubrics.files import read_jsonl
from rubrics.judged import judged_wordings, read_judged

SELF_TEACHER = Path(__file__).parents[2] / "results/self_teacher/responses.jsonl"
BROADCAST = next(str(path) for path in Path(rubrics.__file__).parent.rglob("broadcast.yaml"))
# of three responses to heldout-0 two are out of band (40 is low, 92.5 moderate), of two to heldout-1 one; heldout-2 has
# one response, an empty answer, and one that no judge scored
MODERATE = [
    ("heldout-0", {"score": 40}),
    ("heldout-0", {"judgment": {"score": 92.5}}),
    ("heldout-0", {"score": 93, "judgment": None}),
    ("heldout-1", {"score": 50.5}),
    ("heldout-1", {"score": 12}),
    ("heldout-2", {"score": None, "judge_failure": "refusal"}),
]
LOW = [
    ("train-3", {"score": 0, "no_response": True}),
    ("train-3", {"score": 0, "reason": "no_response"}),
    ("train-3", {"score": 8}),
]
OTHERS = [("full_rubric", {"score": 0}), (None, {"score": 0}), ("heldout-0+heldout-0", {"score": 0})]


def write(tmp_path: Path, rubric: str = "broadcast", **more: Any) -> Path:
    path = tmp_path / "judged.jsonl"
    by_level = {"moderate": MODERATE + OTHERS, "low": LOW, "control": [("heldout-0", {"score": 0})]}
    rows = [
        {"rubric": rubric, "level": level, "wording": wording, "response": "Oh!"} | score | more
        for level, entries in by_level.items()
        for wording, score in entries
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_numbers_by_hand(tmp_path: Path) -> None:
    table = judged_wordings(read_judged(write(tmp_path))).set_index(["level", "wording"])
    names = ["n", "unscored", "mean_score", "in_band"]
    expected = {
        ("low", "train"): [3, 0, 8, 1 / 3],
        ("low", "train-3"): [3, 0, 8, 1 / 3],
        ("moderate", "heldout"): [5, 1, (40 + 92.5 + 93 + 50.5 + 12) / 5, 2 / 5],
        ("moderate", "heldout-0"): [3, 0, 225.5 / 3, 1 / 3],
        ("moderate", "heldout-1"): [2, 0, 31.25, 1 / 2],
        ("moderate", "heldout-2"): [0, 1, nan, nan],
    }
    assert table.index.tolist() == list(expected)
    for cell, values in expected.items():
        assert table.loc[cell, names].tolist() == pytest.approx(values, nan_ok=True), cell


def test_the_command_shows_a_table_and_names_what_misses_of_the_rubrics_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path)
    output = succeeds(lint_command, "broadcast", "--responses", path)
    assert re.search(r"\| broadcast +\| +0 \| moderate +\| heldout-0 +\| +3 \| +0 \| +75.17 \| +0.33 \|", output)
    # two of three are out of band, and not one response or a half
    missed = re.findall(r"^broadcast: warning: system_prompts\.(\S+): (.*) \[misses_band\]$", output, re.MULTILINE)
    assert [where for where, _ in missed] == ["low.train", "low.train.3", "moderate.heldout.0"]
    assert missed[2][1].startswith("got 2 of 3 responses out of band, mean score 75.2, expected fewer than two of")
    assert "1 rubrics: 0 errors, 3 warnings" in fails(lint_command, "broadcast", "--responses", path, "--strict")
    assert "| broadcast" not in succeeds(lint_command, "reverie", "--responses", path)
    # a rubric of one's own is a file in both
    assert "3 warnings" in succeeds(lint_command, BROADCAST, "--responses", write(tmp_path, BROADCAST))


@pytest.mark.parametrize(("version", "is_today"), [(None, True), (1, False), (2, True), (3, False)])
def test_responses_to_another_version_are_shown_apart_and_miss_nothing(
    version: int | None, is_today: bool, tmp_path: Path
) -> None:
    assert load_rubric("tone_irony").version == 2
    path = write(tmp_path, "tone_irony", **({"rubric_version": version} if version else {}))
    output = succeeds(lint_command, "tone_irony", "--responses", path)
    assert re.search(rf"\| tone_irony +\| +{version or 0} \| moderate \| heldout-0 \|", output)
    assert ("misses_band" in output) is is_today


def test_rows_of_a_teacher_name_the_wording_after_rubric_and_level(tmp_path: Path) -> None:
    row = next(row for _, row in read_jsonl(SELF_TEACHER) if row.get("system_prompt_id") == "broadcast-low-train-13")
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row | {"judgment": {"score": 3}}), encoding="utf-8")
    assert read_judged(path)[["wording", "score"]].to_numpy().tolist() == [["train-13", 3]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"rubric": "broadcast", "level": "low", "score": 3}', "bad.jsonl: got no row with level, wording and score"),
        ("", "got no row with level, wording and score, expected some"),
        ('{"rubric": "broadcast", "score": 101}', "bad.jsonl:1: score: Input should be less than or equal to 100"),
        ("[]", "bad.jsonl:1"),
    ],
)
def test_rows_that_say_nothing_are_refused_in_a_sentence(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(line, encoding="utf-8")
    assert message in fails(lint_command, "broadcast", "--responses", path)
    assert "no such file" in fails(lint_command, "broadcast", "--responses", tmp_path / "none.jsonl")
