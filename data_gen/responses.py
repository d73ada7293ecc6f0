"""The rows of `responses.jsonl`: one teacher response each, with what was asked and how it was judged."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rubrics import ScoreLevel


class ResponseJudgment(BaseModel):
    """A judgment as it is kept beside a response; `score` is 0-100."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    score: float = Field(ge=0, le=100)
    judge: str
    prompt_version: str


class TeacherResponse(BaseModel):
    """What a teacher wrote for (user prompt, rubric, level).

    `id` is `response_id` of what was asked, so a restarted run asks only for what is missing. `created` is an ISO 8601
    date or time, or None where it was not recorded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    prompt_id: str
    prompt: str
    rubric: str
    rubric_hash: str
    level: ScoreLevel
    system_prompt_id: str | None = None
    response: str = Field(min_length=1)
    teacher: str
    params: dict[str, str | int | float | bool] = Field(default_factory=dict)
    created: str | None = None
    usage: dict[str, int] = Field(default_factory=dict)
    judgment: ResponseJudgment | None = None


def response_id(rubric: str, level: ScoreLevel, prompt: str, teacher: str, replicate: int = 0) -> str:
    """First 16 hex digits of the SHA-256 of what a teacher was asked; replicates of one question differ."""
    asked = json.dumps([rubric, level.value, prompt, teacher, replicate])
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def read_responses(path: Path) -> list[TeacherResponse]:
    """Rows of a responses file, in file order.

    Raises:
        ValueError: If the file is missing or empty, a line is not a valid row, or an id is there twice.
    """
    if not path.is_file():
        raise ValueError(f"{path}: not found, expected a responses file in JSONL")
    rows: list[TeacherResponse] = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            rows.append(TeacherResponse.model_validate_json(line))
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(str(part) for part in problem["loc"])
            raise ValueError(f"{path}:{number}: {place or 'line'}: {problem['msg']}") from error
    ids = [row.id for row in rows]
    repeated = sorted({row_id for row_id in ids if ids.count(row_id) > 1}) if len(set(ids)) < len(ids) else []
    if repeated:
        raise ValueError(f"{path}: id {repeated[0]!r} stands there twice, expected each id once")
    if not rows:
        raise ValueError(f"{path}: no rows, expected at least one response")
    return rows


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a JSONL file, with their ends; only a newline ends one, not U+2028 and the like inside a text."""
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from file


def write_jsonl(path: Path, rows: Iterable[BaseModel]) -> None:
    """Writes the rows, one JSON object a line, making the folder if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row.model_dump_json(exclude_none=True) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
