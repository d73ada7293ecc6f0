"""Files of rows and texts: read line by line with errors that say where, written whole or not at all."""

import codecs
import gzip
import json
import re
import shlex
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel

from rubrics.texts import CONTROL_TOKEN, whole_characters

_MAY_BE_HALF = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")  # of a character: a surrogate, escaped or as it is


@contextmanager
def whole_file(path: Path, binary: bool = False) -> Iterator[IO[Any]]:
    """An open file that is put in place under its name when the block ends, and is gone if it raises.

    Makes the folder if there is none. Text is UTF-8 with bare newlines; half of a character (a lone surrogate)
    is escaped as JSON has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    options: dict[str, Any] = {} if binary else {"encoding": "utf-8", "errors": "backslashreplace", "newline": "\n"}
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


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is in another encoding; how to convert it is said.
    """
    with path.open("rb") as file:
        check_is_utf8(file.read(4))
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 ({error.reason} at byte {error.start}), save the file as UTF-8") from error


def read_plain(path: Path) -> str:
    """The text of a file that models are to read; raises as `read_text`, and at a control token, with its line."""
    text = read_text(path)
    if token := CONTROL_TOKEN.search(text):
        raise ValueError(
            f"line {text.count(chr(10), 0, token.start()) + 1}: got the control token {token[0]!r}, expected plain "
            "text: models take it for the end of a turn or the like, so put it in other words"
        )
    return text


def shown(text: str) -> str:
    """An argument or name as a result may carry it: of an absolute path, alone or after `--option=`, the last part."""
    option, equals, value = text.partition("=") if text.startswith("--") else ("", "", text)
    return f"{option}{equals}{Path(value).name}" if Path(value).is_absolute() else text


def running_command() -> str:
    """The `cpt` command that is running, without the folders of this machine."""
    return shlex.join(["cpt", *map(shown, sys.argv[1:])])


def check_is_utf8(content: bytes, where: str = "") -> None:
    """Raises ValueError if bytes begin as a text in UTF-16 or UTF-32 does, with or without a byte order mark."""
    encoding = json.detect_encoding(content)[:6].upper()  # without -LE and the like
    if not encoding.startswith("UTF-8"):
        raise ValueError(
            f"{where}in {encoding}, expected UTF-8; convert it with `iconv -f {encoding} -t UTF-8 OLD > NEW`, in "
            "PowerShell with `Get-Content OLD | Set-Content -Encoding utf8 NEW`"
        )


def json_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number, from 1, and bytes of every line that is not blank, without byte order marks.

    Such a mark may stand in the middle where files were put together. Only a newline ends a line, not U+2028 and the
    like inside a text. The file is packed with gzip if its name ends in .gz.

    Raises:
        ValueError: If the file is missing or in UTF-16, or its gzip is broken.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file, expected JSON lines")
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            for number, line in enumerate(file, start=1):
                if number == 1:
                    check_is_utf8(line, f"{path}: ")
                if (text := line.removeprefix(codecs.BOM_UTF8)).strip():
                    yield number, text
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: broken ({error}), expected JSONL in gzip; get the file anew") from error


def read_jsonl(path: Path, skip: Callable[[str], None] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and object of the `json_lines` of a file; halves of characters in it become U+FFFD.

    A line that is not UTF-8 or holds no JSON object raises, or gives its message to `skip` and is left out.

    Raises:
        ValueError: As `json_lines`, or at a bad line without `skip`.
    """
    for number, line in json_lines(path):
        try:
            content = _json_object(line, f"{path}:{number}")
        except ValueError as error:
            if skip is None:
                raise
            skip(str(error))
        else:
            yield number, content


def _json_object(line: bytes, where: str) -> dict[str, Any]:
    try:
        content = json.loads(line.decode("utf-8", "surrogatepass"))
        if _MAY_BE_HALF.search(line):
            content = json.loads(whole_characters(json.dumps(content, ensure_ascii=False)))
        if not isinstance(content, dict):
            raise ValueError("it is another value")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: not UTF-8 ({error.reason}), save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        start = line.decode("utf-8", "replace")[:40]
        raise ValueError(f"{where}: got {start!r}, expected a JSON object in one line ({error})") from error
    return content
