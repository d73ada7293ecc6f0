"""Responses files: good rows come one by one, bad ones are named and counted, and texts come back whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_runs import fails
from hypothesis import given, settings
from hypothesis import strategies as st
from seed import SEED_FILE

from data_gen.responses import Problems, ResponseJudgment, TeacherResponse, iter_responses
from data_gen.seed import import_responses, seed_command
from judges import measure
from rubrics import ScoreLevel, load_rubric, load_rubrics, load_user_prompts
from rubrics.files import read_jsonl, write_jsonl
from rubrics.texts import whole_characters

SEPARATORS = "\u2028 \u2029 \x85"
TEXT = f"Wind came.{SEPARATORS} It rained. Men ran. A boat sank. We went home and slept all night."
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


def test_ten_rows_of_a_kind_are_shown_and_all_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    problems = Problems()
    assert problems.summary() == ""
    for number in range(25):
        problems.add("bad_row", f"row {number}")
    problems.add("unknown_rubric", "row 25")
    shown = [f"row {number}" for number in range(10)]
    more = "more rows with the problem bad_row: counted, not shown"
    assert capsys.readouterr().err.splitlines() == [*shown, more, "row 25"]
    assert problems.summary() == "26 bad rows skipped: 25 bad_row, 1 unknown_rubric"


def test_names_of_before_schema_2_are_read_and_written_anew(tmp_path: Path) -> None:
    old = row(schema=..., user_prompt_id=..., user_prompt=..., prompt_id="p", prompt="x", system_prompt_id="w")
    path = tmp_path / "responses.jsonl"
    path.write_text("\ufeff" + json.dumps(old) + "\n", encoding="utf-8")  # and with a byte order mark
    write_jsonl(path, read(path)[0])
    [(_, new)] = read_jsonl(path)
    assert new == row(user_prompt_id="p", user_prompt="x", wording="w", params={}, usage={})


@settings(max_examples=50)
@given(texts=st.lists(st.text(st.characters()), max_size=4))
def test_any_row_comes_back_as_it_was_with_a_mark_for_half_a_character(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("texts") / "responses.jsonl"
    judgment = ResponseJudgment(score=measure(RUBRIC, TEXT).score, judge="measured", prompt_version="2")
    assert ResponseJudgment.of(measure(RUBRIC, TEXT)) == judgment
    more = {"level": "control", "usage": {"output_tokens": 7}, "judgment": judgment, "also": {"reverie": judgment}}
    contents = [row(id=str(n), response=text, **more) for n, text in enumerate([*texts, SEPARATORS, "half a \ud83d"])]
    rows = [TeacherResponse.model_validate(content) for content in contents]
    write_jsonl(path, rows)
    path.read_text(encoding="utf-8")
    marked = [whole_characters(row.response) for row in rows]
    copies = [row.model_copy(update={"response": text}) for row, text in zip(rows, marked, strict=True)]
    assert read(path)[0] == copies


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
        assert response.user_prompt == load_user_prompts("train")[response.user_prompt_id]


def test_import_drops_what_is_out_of_band_or_there_twice_and_says_so(tmp_path: Path) -> None:
    good = {"rubric": "labyrinth", "prompt": "Describe a garden at dusk.", "level": "low", "response": TEXT}
    path = tmp_path / "raw.jsonl"
    short = good | {"response": "word " * 14}  # scores 0, which is low
    again = good | {"response": f"{TEXT} And so to bed."}
    write_jsonl(path, [good, good | {"level": "high"}, again, short, good])
    kept, [reason, other, twice] = import_responses([path], "t")
    assert [one.response for one in kept] == [TEXT, again["response"]]
    write_jsonl(tmp_path / "later.jsonl", [again])
    [later], _ = import_responses([tmp_path / "later.jsonl"], "t")  # ids do not depend on the run
    assert [kept[0].id != later.id, kept[1].id] == [True, later.id]
    assert twice == "raw.jsonl:5: stands there twice"
    assert reason.startswith("raw.jsonl:2: scored ")
    assert reason.endswith(", outside the band of extremely_high")
    assert other == "raw.jsonl:4: under 15 English words"
    for change, message in (
        ({"level": "tiny"}, "level is 'tiny', expected one of ['extremely_high', 'high', 'low', 'moderate']"),
        ({"rubric": ["labyrinth"]}, "rubric is ['labyrinth'], expected one of ['antithesis', "),
        ({"response": None}, "response is None, expected a text"),
    ):
        write_jsonl(path, [good | change])
        assert f"Error: raw.jsonl:1: {message}" in fails(seed_command, path, "--out", tmp_path / "o", "--teacher", "t")
