"""From questions to the rows of a responses file, which is always written whole, from the call store."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from data_gen.generate.questions import TEACHER_PROMPT_VERSION, Question
from data_gen.generate.teachers import Teacher
from data_gen.responses import TeacherResponse, content_id
from model_calls import Call, CallStore, Reply
from model_calls.errors import was_cut_off
from rubrics.files import json_line, json_lines, write_whole
from rubrics.texts import whole_characters


@dataclass(frozen=True)
class Asked:
    """A question to a teacher, with the key of its call and the id of its row."""

    teacher: Teacher
    question: Question
    key: str
    row_id: str

    @property
    def call(self) -> Call:
        """The call itself, made when it is needed: those of a whole plan would fill the memory."""
        return self.teacher.call(self.question)


def asked_of(teacher: Teacher, question: Question) -> Asked:
    """A question with its key and id. Rubrics share their controls: one key for several rows."""
    key = teacher.call(question).key
    row_id = content_id(key, question.rubric.id)
    return Asked(teacher, question, key, row_id)


def row_of(asked: Asked, reply: Reply) -> TeacherResponse:
    """The row of a reply; refused, truncated and empty replies have one as well.

    The call store has the reply as it came; here halves of characters become U+FFFD.
    """
    question = asked.question
    params = {name: value for name, value in reply.params.items() if isinstance(value, str | int | float | bool)}
    return TeacherResponse(
        id=asked.row_id,
        user_prompt_id=question.user_prompt_id,
        user_prompt=question.user_prompt,
        image=question.picture.file if question.picture else None,
        rubric=question.rubric.id,
        rubric_hash=question.rubric.hash,
        level=question.level,
        wording=question.wording,
        response=whole_characters(reply.text),
        teacher=asked.teacher.name,
        params=params | {"teacher_prompt_version": TEACHER_PROMPT_VERSION},
        created=reply.created,
        usage=dict(reply.usage),
        stop_reason=reply.stop_reason,
    )


@contextmanager
def lines_of(path: Path) -> Iterator[dict[str, bytes]]:
    """Lines of a responses file by the ids of their rows; other processes are kept from it meanwhile.

    Raises:
        ValueError: If another process has it open, or a line cannot be read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{path}.lock", timeout=0):
            yield _read(path)
    except Timeout:
        raise ValueError(
            f"{path}: another process is writing it; wait for it to end, or give this one another --out"
        ) from None


def _read(path: Path) -> dict[str, bytes]:
    lines: dict[str, bytes] = {}
    for number, line in json_lines(path) if path.is_file() else ():
        try:
            lines[json.loads(line)["id"]] = line.removesuffix(b"\n") + b"\n"
        except (ValueError, KeyError, TypeError) as error:
            if line.endswith(b"\n"):  # else it was torn by a kill
                raise ValueError(
                    f"{path}:{number}: got {line[:40]!r}, expected a response in one line of JSON; restore or remove "
                    "the line, or write to another --out"
                ) from error
    return lines


def save(path: Path, lines: dict[str, bytes], asked: Iterable[Asked], store: CallStore) -> None:
    """Writes a row for every question that has a reply, in the order asked, after the rows of other plans."""
    for one in asked:
        line = lines.pop(one.row_id, None)
        if line is None and (reply := store.get(one.key)) is not None:
            line = json_line(row_of(one, reply)).encode()
        if line is not None:
            lines[one.row_id] = line
    write_whole(path, b"".join(lines.values()))


def outcomes(lines: Mapping[str, bytes], asked: Iterable[Asked]) -> list[str]:
    """What became of the questions, by rubric, level and teacher, a line each, and of all together."""
    cells: dict[str, Counter[str]] = {}
    for one in asked:
        outcome = _outcome(json.loads(lines[one.row_id])) if one.row_id in lines else "missing"
        for cell in (f"{one.question.rubric.id} {one.question.level} {one.teacher.name}", "all"):
            cells.setdefault(cell, Counter())[outcome] += 1
    cells["all"] = cells.pop("all")  # last
    counts = {cell: ", ".join(f"{count:,} {kind}" for kind, count in cells[cell].most_common()) for cell in cells}
    return [f"{cell}: {text}" for cell, text in counts.items()]


def _outcome(row: dict[str, str]) -> str:
    if row.get("stop_reason") == "content_filter":
        return "refused"
    if was_cut_off(row.get("stop_reason")):
        return "truncated"
    if not row["response"].strip():
        return "empty"
    return "whole or cut (their provider does not say)" if row.get("stop_reason") == "unknown" else "whole"
