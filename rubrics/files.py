"""Files of rows and texts: read line by line with errors that say where, written whole or not at all."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel


@contextmanager
def whole_file(path: Path, binary: bool = False) -> Iterator[IO[Any]]:
    """An open file that is put in place under its name when the block ends, and is gone if it raises.

    Makes the folder if there is none. Text is UTF-8 with bare newlines; a lone surrogate is kept as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    options: dict[str, Any] = {} if binary else {"encoding": "utf-8", "errors": "surrogatepass", "newline": "\n"}
    try:
        with unfinished.open("wb" if binary else "w", **options) as file:
            yield file
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a text or bytes as `whole_file` does."""
    with whole_file(path, binary=isinstance(content, bytes)) as file:
        file.write(content)


def write_jsonl(path: Path, rows: Iterable[BaseModel | Mapping[str, Any]]) -> int:
    """Writes the rows as they come, one JSON object a line, as `whole_file` does; returns how many.

    Fields of a model that are None are left out.
    """
    count = 0
    with whole_file(path) as file:
        for row in rows:
            file.write(json_line(row))
            count += 1
    return count


def json_line(row: BaseModel | Mapping[str, Any]) -> str:
    """One row of a JSONL file with its newline."""
    content = row.model_dump(exclude_none=True) if isinstance(row, BaseModel) else row
    return json.dumps(content, ensure_ascii=False) + "\n"


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number, from 1, and object of every line that is not blank; UTF-8 with or without a byte order mark.

    Only a newline ends a line, not U+2028 and the like inside a text.

    Raises:
        ValueError: If the file is missing, or a line is not UTF-8 or holds no JSON object.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file, expected JSON lines")
    number = 1
    with path.open(encoding="utf-8-sig", errors="surrogatepass", newline="\n") as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _json_object(line, f"{path}:{number}")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8 after line {number} ({error.reason}), save it as UTF-8") from error


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: got {line[:40]!r}, expected a JSON object in one line ({error.msg})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{where}: got {line[:40]!r}, expected a JSON object")
    return content
