"""Responses files: good rows come one by one, bad ones are named and counted, and texts come back whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.responses import Problems, ResponseJudgment, TeacherResponse, iter_responses, response_id, write_jsonl
from data_gen.seed import import_responses
from judges import measure
from rubrics import ScoreLevel, load_rubric, load_rubrics, load_user_prompts
from rubrics.files import read_jsonl

SEPARATORS = "\u2028 \u2029 \x85"
TEXT = f"Wind came.{SEPARATORS} It rained. Men ran. A boat sank. We went home and slept all night."
RUBRIC = load_rubric("labyrinth")
RUBRICS = {"labyrinth": RUBRIC}
SEED_FILE = Path(__file__).parents[2] / "data_gen" / "seed" / "responses.jsonl"


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


def read(path: Path, *lines: object) -> tuple[list[tuple[str, str]], Problems]:
    """Place and id of the good rows in a file of these lines, and what was wrong with the others."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    problems = Problems()
    return [(where, good.id) for where, good in iter_responses([path], RUBRICS, problems)], problems


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        (row(teacher=...), "bad_row", "teacher: Field required"),
        (
            row(level="tiny"),
            "bad_row",
            "level.str-enum[ScoreLevel]: Input should be 'low', 'moderate' or 'extremely_high', got 'tiny'",
        ),
        (row(response=3), "bad_row", "response: Input should be a valid string, got 3"),
        (row(schema=3), "bad_row", "schema: Input should be 2, got 3"),
        (
            row(judgment={"score": 101, "judge": "j", "prompt_version": "1"}),
            "bad_row",
            "judgment.score: Input should be less than or equal to 100, got 101",
        ),
        (row(note="x"), "bad_row", "note: Extra inputs are not permitted, got 'x'"),
        ("{'id': 1}", "bad_row", "got \"{'id': 1}\\n\", expected a JSON object in one line ("),
        ("[1, 2]", "bad_row", "got '[1, 2]\\n', expected a JSON object"),
        (row(rubric="sonnet"), "unknown_rubric", "rubric is 'sonnet', expected one of ['labyrinth']"),
        (
            row(rubric_hash="000000000000"),
            "edited_rubric",
            f"written for rubric 'labyrinth' with hash 000000000000, expected {RUBRIC.hash}: the rubric was edited "
            "since; generate the response anew, or restore it",
        ),
        (row(id="first"), "repeated_id", "id 'first' stands there twice, expected each id once"),
    ],
)
def test_a_bad_row_is_named_and_counted_and_the_good_ones_go_on(
    line: object, kind: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "responses.jsonl"
    good, problems = read(path, row(id="first"), line, "", row(id="last"))
    assert good == [(f"{path}:1", "first"), (f"{path}:4", "last")]
    assert problems.counts == {kind: 1}
    said = capsys.readouterr().err
    assert said.startswith(f"{path}:2: ")
    assert message in said
    assert said.count("\n") == 1
    assert problems.summary() == f"1 bad rows skipped: 1 {kind}"


def test_an_id_of_a_bad_row_is_free_for_a_good_one_and_ids_are_unique_over_files(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    good, problems = read(path, row(rubric_hash="0"), row(), row())
    assert good == [(f"{path}:2", "a")]
    assert problems.counts == {"edited_rubric": 1, "repeated_id": 1}
    problems = Problems()
    other = tmp_path / "more.jsonl"
    other.write_text(json.dumps(row()) + "\n" + json.dumps(row(id="b")) + "\n", encoding="utf-8")
    both = [(where, good.id) for where, good in iter_responses([other, path], RUBRICS, problems)]
    assert both == [(f"{other}:1", "a"), (f"{other}:2", "b")]
    assert problems.counts == {"repeated_id": 3}


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.jsonl: no such file, expected JSON lines"):
        list(iter_responses([tmp_path / "none.jsonl"], RUBRICS, Problems()))


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
    write_jsonl(path, [good for _, good in iter_responses([path], RUBRICS, Problems())])
    [(_, new)] = read_jsonl(path)
    assert new == row(user_prompt_id="p", user_prompt="x", wording="w", params={}, usage={})


def test_a_control_has_no_level_and_keeps_what_it_carries(tmp_path: Path) -> None:
    judgment = ResponseJudgment.of(measure(RUBRIC, TEXT))
    assert judgment == ResponseJudgment(score=measure(RUBRIC, TEXT).score, judge="measured", prompt_version="1")
    whole = TeacherResponse.model_validate(
        row(level="control", stop_reason="stop", usage={"output_tokens": 7}, params={"temperature": 0.7})
    ).model_copy(update={"judgment": judgment, "also": {"reverie": judgment}})
    path = tmp_path / "responses.jsonl"
    assert write_jsonl(path, [whole]) == 1
    assert [good for _, good in iter_responses([path], RUBRICS, Problems())] == [whole]
    assert "created" not in json.loads(path.read_text(encoding="utf-8"))


def test_the_seed_is_written_back_byte_for_byte(tmp_path: Path) -> None:
    rubrics, problems = {rubric.id: rubric for rubric in load_rubrics("measured")}, Problems()
    count = write_jsonl(tmp_path / "copy.jsonl", (good for _, good in iter_responses([SEED_FILE], rubrics, problems)))
    assert (count, problems.counts.total()) == (288, 0)
    assert (tmp_path / "copy.jsonl").read_bytes() == SEED_FILE.read_bytes()


def test_the_seed_has_288_responses_each_in_its_band_by_the_measured_judge() -> None:
    rubrics = {rubric.id: rubric for rubric in load_rubrics("measured")}
    seed = [good for _, good in iter_responses([SEED_FILE], rubrics, Problems())]
    assert len(seed) == 4 * 24 * 3
    for response in seed:
        score = measure(rubrics[response.rubric], response.response).score
        assert ScoreLevel.of(score) is response.level
        assert response.judgment is not None
        assert response.judgment.score == pytest.approx(score)
        assert response.user_prompt == load_user_prompts("train")[response.user_prompt_id]


def test_import_drops_what_is_out_of_band_and_says_so(tmp_path: Path) -> None:
    good = {"rubric": "labyrinth", "prompt": "Describe a garden at dusk.", "level": "low"}
    path = tmp_path / "raw.jsonl"
    lines = [json.dumps(good | {"response": text}, ensure_ascii=False) for text in (TEXT, "word " * 5)]
    path.write_bytes("\r\n".join([lines[0], lines[1].replace("low", "extremely_high")]).encode())
    kept, dropped = import_responses([path], "t")
    assert [response.response for response in kept] == [TEXT]
    assert kept[0].id == response_id("labyrinth", ScoreLevel.LOW, "Describe a garden at dusk.", "t")
    [reason] = dropped
    assert reason.startswith("raw.jsonl:2: scored ")
    assert reason.endswith(", outside the band of extremely_high")
    path.write_text(json.dumps(good | {"response": "x", "level": "tiny"}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"raw.jsonl:1: level is 'tiny', expected one of"):
        import_responses([path], "t")


def test_ids_are_a_hash_of_what_was_asked() -> None:
    # SHA-256 of '["labyrinth", "low", "Describe.", "t", 0]'
    asked = ("labyrinth", ScoreLevel.LOW, "Describe.", "t")
    assert response_id(*asked) == response_id(*asked, replicate=0) != response_id(*asked, replicate=1)
    assert len({response_id(*asked, replicate=number) for number in range(50)}) == 50
    assert response_id(*asked) == "4b0d96272f8db679"


@settings(max_examples=50)
@given(texts=st.lists(st.text(st.characters()), max_size=4))
def test_any_text_comes_back_as_it_was_half_characters_too(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("texts") / "responses.jsonl"
    texts = [*texts, SEPARATORS, "half a \ud83d"]
    rows = [TeacherResponse.model_validate(row(id=str(number), response=text)) for number, text in enumerate(texts)]
    write_jsonl(path, rows)
    assert [good for _, good in iter_responses([path], RUBRICS, Problems())] == rows
