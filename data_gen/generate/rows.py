"""From the questions of a plan to the rows of a responses file, which is written from the call store."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from data_gen.generate.plan import Question
from data_gen.generate.teacher_prompts import TEACHER_PROMPT_VERSION
from data_gen.generate.teachers import Teacher
from data_gen.responses import TeacherResponse
from model_calls.errors import was_cut_off
from rubrics.files import json_line, write_whole

if TYPE_CHECKING:
    from model_calls import CallStore, Reply

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Asked:
    """A question to a teacher, with the key of its call and the id of its row."""

    teacher: Teacher
    question: Question
    key: str
    row_id: str


def asked_of(teacher: Teacher, questions: Iterable[Question]) -> list[Asked]:
    """The questions with their keys and ids."""
    keys = ((question, teacher.call(question).key) for question in questions)
    return [Asked(teacher, question, key, _row_id(key, question.rubric.id)) for question, key in keys]


def _row_id(call_key: str, rubric_id: str) -> str:
    return hashlib.sha256(json.dumps([call_key, rubric_id]).encode()).hexdigest()[:16]


def row_of(asked: Asked, reply: "Reply") -> TeacherResponse:
    """The row of a reply; refused, truncated and empty replies have one as well.

    A lone surrogate, which no file in UTF-8 can hold, becomes U+FFFD; the call store has the reply as it came.
    """
    question = asked.question
    params = {name: value for name, value in reply.params.items() if isinstance(value, str | int | float | bool)}
    return TeacherResponse(
        id=asked.row_id,
        user_prompt_id=question.user_prompt_id,
        user_prompt=question.user_prompt,
        rubric=question.rubric.id,
        rubric_hash=question.rubric.hash,
        level=question.level,
        wording=question.wording,
        response=_LONE_SURROGATE.sub("\ufffd", reply.text),
        teacher=asked.teacher.name,
        params=params | {"teacher_prompt_version": TEACHER_PROMPT_VERSION},
        created=reply.created,
        usage=dict(reply.usage),
        stop_reason=reply.stop_reason,
    )


class RowFile:
    """A responses file: rows that are there, by id, and those of a plan added in its order. Always written whole.

    Attributes:
        path: The JSONL file; there may be none yet.

    Raises:
        ValueError: If another process has it open, or a line cannot be read.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lines: dict[str, bytes] = {}
        self._lock = FileLock(f"{path}.lock", thread_local=False)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise ValueError(
                f"{path}: another process is writing it; wait for it to end, or give this one another --out"
            ) from None
        try:
            self._read()
        except BaseException:
            self._lock.release()
            raise

    def __contains__(self, row_id: object) -> bool:
        return row_id in self._lines

    def save(self, asked: Sequence[Asked], store: "CallStore") -> None:
        """Writes a row for every question that has a reply.

        They stand in the order asked, after the rows of other plans.
        """
        for one in asked:
            line = self._lines.pop(one.row_id, None)
            if line is None and (reply := store.get(one.key)) is not None:
                line = json_line(row_of(one, reply)).encode()
            if line is not None:
                self._lines[one.row_id] = line
        content = b"".join(self._lines.values())
        if not self.path.is_file() or self.path.read_bytes() != content:
            write_whole(self.path, content)

    def close(self) -> None:
        """Lets other processes have the file."""
        self._lock.release()

    def cells(self, asked: Iterable[Asked]) -> list[str]:
        """Lines with what was asked and what there is, by rubric, level and teacher, and a line of totals."""
        kinds = ("asked", "got", "whole", "refused", "truncated", "empty")
        cells: dict[tuple[str, str], Counter[str]] = {}
        for one in asked:
            name = f"{one.question.rubric.id} {one.question.level}"
            cell = cells.setdefault((name, one.teacher.name), Counter())
            cell["asked"] += 1
            if one.row_id in self._lines:
                cell.update(["got", _outcome(json.loads(self._lines[one.row_id]))])
        width = max([len(name) for name, _ in cells], default=0) + 2
        lines = [f"{'':<{width}}" + "".join(f"{kind:>10}" for kind in kinds) + "  teacher"]
        for (name, teacher), counts in [*cells.items(), (("all", ""), sum(cells.values(), Counter[str]()))]:
            numbers = "".join(f"{counts[kind]:>10}" for kind in kinds)
            lines.append(f"{name:<{width}}{numbers}  {teacher}".rstrip())
        return lines

    def _read(self) -> None:
        content = self.path.read_bytes() if self.path.is_file() else b""
        for number, line in enumerate(content.removeprefix(_BYTE_ORDER_MARK).splitlines(keepends=True), start=1):
            try:
                self._lines[json.loads(line)["id"]] = line.removesuffix(b"\n") + b"\n"
            except (ValueError, KeyError, TypeError) as error:
                if line.endswith(b"\n"):  # else it was torn by a kill
                    raise ValueError(
                        f"{self.path}:{number}: got {line[:40]!r}, expected a response in one line of JSON; restore or "
                        "remove the line, or write to another --out"
                    ) from error


def _outcome(row: dict[str, str]) -> str:
    if row.get("stop_reason") == "content_filter":
        return "refused"
    if was_cut_off(row.get("stop_reason")):
        return "truncated"
    return "whole" if row["response"].strip() else "empty"
