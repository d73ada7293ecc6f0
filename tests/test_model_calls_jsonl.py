"""Lines of JSONL end at newlines only, whatever else separates lines inside a text."""

import json
from pathlib import Path

from data_gen.responses import TeacherResponse, read_responses, write_jsonl
from data_gen.seed import import_responses
from rubrics import ScoreLevel

SEPARATORS = "\u2028 \u2029 \x85"
TEXT = f"Wind came.{SEPARATORS} It rained. Men ran. A boat sank. We went home and slept all night."


def test_responses_with_line_separators_in_a_text_come_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    row = TeacherResponse(
        id="a",
        prompt_id="garden_dusk",
        prompt="Describe a garden at dusk.",
        rubric="labyrinth",
        rubric_hash="0",
        level=ScoreLevel.LOW,
        response=TEXT,
        teacher="t",
    )
    write_jsonl(path, [row, row.model_copy(update={"id": "b"})])
    assert SEPARATORS in path.read_text(encoding="utf-8")
    assert [read.response for read in read_responses(path)] == [TEXT, TEXT]


def test_seed_rows_with_line_separators_in_a_text_are_imported_whole(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    row = {"rubric": "labyrinth", "prompt": "Describe a garden at dusk.", "level": "low", "response": TEXT}
    path.write_bytes(json.dumps(row, ensure_ascii=False).encode() + b"\r\n")
    kept, dropped = import_responses([path], "t")
    assert ([read.response for read in kept], dropped) == ([TEXT], [])
