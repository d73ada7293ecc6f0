"""Responses files: good rows come one by one, bad ones are named and counted, and texts come back whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from seed import SEED_FILE, USER_PROMPTS

from data_gen.responses import Problems, TeacherResponse, iter_responses
from judges import measure
from rubrics import ScoreLevel, load_rubric, load_rubrics
from rubrics.files import read_jsonl, write_jsonl

TEXT = "Wind came.\u2028 \u2029 \x85 It rained. Men ran. A boat sank. We went home and slept all night."
RUBRIC = load_rubric("labyrinth")
LEVEL_PROBLEM = "level.str-enum[ScoreLevel]: Input should be 'low', 'moderate' or 'extremely_high', got 'tiny'"
EDITED = f"written for rubric 'labyrinth' with hash 0, expected {RUBRIC.hash}: the rubric was edited since"


def row(**change: Any) -> dict[str, Any]:
    """A good row as it stands in a file, with changes; a field changed to `...` is left out."""
    fields = {
        "schema": 2,
        "id": "a",
        "user_prompt_id": "garden_dusk",
        "user_prompt": "Describe a garden at dusk.",
        "rubric": "labyrinth",
        "rubric_hash": RUBRIC.hash,
        "level": "low",
        "response": TEXT,
        "teacher": "t",
    }
    return {name: value for name, value in (fields | change).items() if value is not ...}


def read(*paths: Path) -> tuple[list[TeacherResponse], Problems]:
    problems = Problems()
    return [good for _, good in iter_responses(paths, {"labyrinth": RUBRIC}, problems)], problems


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        (row(teacher=...), "bad_row", "teacher: Field required"),
        (row(level="tiny"), "bad_row", LEVEL_PROBLEM),
        (row(schema=3), "bad_row", "schema: Input should be 2, got 3"),
        (row(judgment={"score": 101, "judge": "j", "prompt_version": "1"}), "bad_row", "less than or equal to 100"),
        ("{'id': 1}", "bad_row", "expected a JSON object in one line ("),
        (row(rubric="sonnet"), "unknown_rubric", "rubric is 'sonnet', expected one of ['labyrinth']"),
        (row(rubric_hash="0"), "edited_rubric", EDITED),
        (row(id="first"), "repeated_id", "id 'first' stands there twice, expected each id once"),
    ],
)
def test_a_bad_row_is_named_and_counted_and_the_good_ones_go_on(
    line: object, kind: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "responses.jsonl"
    lines = [json.dumps(row(id="first")), line if isinstance(line, str) else json.dumps(line), "", json.dumps(row())]
    path.write_text("\n".join(lines))
    problems = Problems()
    good = [(where, response.id) for where, response in iter_responses([path], {"labyrinth": RUBRIC}, problems)]
    assert good == [(f"{path}:1", "first"), (f"{path}:4", "a")]
    assert (problems.counts, problems.summary()) == ({kind: 1}, f"1 bad rows skipped: 1 {kind}")
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith(f"{path}:2: ")
    assert message in said


def test_an_id_of_a_bad_row_is_free_for_a_good_one_and_ids_are_unique_over_files(tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    write_jsonl(one, [row(rubric_hash="0"), row()])
    write_jsonl(other, [row(), row(id="b")])
    good, problems = read(one, other)
    assert [response.id for response in good] == ["a", "b"]
    assert problems.counts == {"edited_rubric": 1, "repeated_id": 1}


def test_names_of_before_schema_2_are_read_and_written_anew(tmp_path: Path) -> None:
    also = {"also": {"reverie": {"score": 3, "judge": "measured", "prompt_version": "2"}}}
    old = row(schema=..., user_prompt_id=..., user_prompt=..., prompt_id="p", prompt="x", system_prompt_id="w") | also
    path = tmp_path / "responses.jsonl"
    path.write_text("\ufeff" + json.dumps(old) + "\n", encoding="utf-8")  # and with a byte order mark
    write_jsonl(path, read(path)[0])
    [(_, new)] = read_jsonl(path)
    assert new == row(user_prompt_id="p", user_prompt="x", wording="w", params={}, usage={}) | also


# the seed


@pytest.mark.parametrize("path", sorted(SEED_FILE.parent.glob("*.jsonl")), ids=lambda path: path.stem)
def test_the_seed_is_written_back_byte_for_byte_and_each_response_is_in_its_band(path: Path, tmp_path: Path) -> None:
    rubrics, problems = {rubric.id: rubric for rubric in load_rubrics("measured,measured_more")}, Problems()
    seed = [good for _, good in iter_responses([path], rubrics, problems)]
    assert problems.counts.total() == 0
    assert path != SEED_FILE or len(seed) == 4 * 24 * 3
    write_jsonl(tmp_path / "copy.jsonl", seed)
    assert (tmp_path / "copy.jsonl").read_bytes() == path.read_bytes()
    for response in seed:
        score = measure(rubrics[response.rubric], response.response).score
        assert ScoreLevel.of(score) is response.level
        assert response.judgment is not None
        assert response.judgment.score == pytest.approx(score)
        assert response.user_prompt == USER_PROMPTS[response.user_prompt_id]
