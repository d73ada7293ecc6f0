"""From the questions of a plan to the rows of a responses file, which is written from the call store."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from data_gen.generate.plan import Question
from data_gen.generate.teachers import Teacher, outcome, row_id, row_of
from data_gen.responses import ResponseJudgment, TeacherResponse
from rubrics.files import json_line, write_whole

if TYPE_CHECKING:
    from model_calls import CallStore

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


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
    return [Asked(teacher, question, key, row_id(key, question.rubric.id)) for question, key in keys]


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

    def get(self, row_id: str) -> TeacherResponse | None:
        """The row with an id, or None."""
        return TeacherResponse.model_validate_json(self._lines[row_id]) if row_id in self._lines else None

    def save(
        self, asked: Sequence[Asked], store: "CallStore", judgments: Mapping[str, ResponseJudgment] | None = None
    ) -> None:
        """Writes a row for every question that has a reply.

        They stand in the order asked, in the places of those that were there before and then at the end; rows of other
        plans keep their places.

        Args:
            asked: Questions of the plan.
            store: Where their replies are.
            judgments: Of their rows, by id; they take the place of older ones.
        """
        before = list(self._lines)
        for one in asked:
            judgment = (judgments or {}).get(one.row_id)
            if one.row_id not in self:
                if (reply := store.get(one.key)) is not None:
                    self._put(row_of(one.teacher, one.question, reply, judgment))
            elif judgment and (written := self.get(one.row_id)) is not None and written.judgment != judgment:
                self._put(written.model_copy(update={"judgment": judgment}))
        in_order = {one.row_id: None for one in asked if one.row_id in self._lines}
        rest = iter(in_order)
        order = [next(rest) if row_id in in_order else row_id for row_id in before]
        self._lines = {row_id: self._lines[row_id] for row_id in [*order, *rest]}
        content = b"".join(self._lines.values())
        if not self.path.is_file() or self.path.read_bytes() != content:
            write_whole(self.path, content)

    def close(self) -> None:
        """Lets other processes have the file."""
        self._lock.release()

    def _put(self, row: TeacherResponse) -> None:
        self._lines[row.id] = json_line(row).encode()

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


def cell_table(asked: Iterable[Asked], file: RowFile) -> list[str]:
    """Lines with what was asked and what there is, by rubric, level and teacher, and a line of totals."""
    kinds = ("asked", "got", "whole", "refused", "truncated", "empty")
    cells: dict[tuple[str, str], Counter[str]] = {}
    for one in asked:
        name = f"{one.question.rubric.id} {one.question.level}"
        cell = cells.setdefault((name, one.teacher.name), Counter())
        cell["asked"] += 1
        if (row := file.get(one.row_id)) is not None:
            cell.update(["got", outcome(row.stop_reason, row.response)])
    width = max([len(name) for name, _ in cells], default=0) + 2
    lines = [f"{'':<{width}}" + "".join(f"{kind:>10}" for kind in kinds) + "  teacher"]
    for (name, teacher), counts in [*cells.items(), (("all", ""), sum(cells.values(), Counter[str]()))]:
        numbers = "".join(f"{counts[kind]:>10}" for kind in kinds)
        lines.append(f"{name:<{width}}{numbers}  {teacher}".rstrip())
    return lines
