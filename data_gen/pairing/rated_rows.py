"""Reads files of responses rated by people: the rows behind `human_ratings.py`, with the scale left aside.

A file is JSONL, JSONL packed with gzip, or Parquet. Each row has one of two shapes, recognised row by row:

    {"prompt": …, "response": …, "verbosity": 3, "complexity": 1, …}        as in HelpSteer2, arXiv 2406.08673
    {"prompt": …, "responses": [{"text": …, "ratings": {"verbosity": 3, …}}, …]}

A row or response may also have a `model`, and a response an `id`. Other fields are left alone. Only prompts of one turn
are taken, because a preference row has one: a conversation, as a list of messages or in HelpSteer2's `<extra_id_1>`
marks, is a bad row of the kind "multi_turn".
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

_TURN_MARK = re.compile(r"<extra_id_\d>(?:System|User|Assistant)\b")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can write half a character; no file in UTF-8 can hold it
_PREFERENCE_COLUMNS = ("response1", "response_1")  # of HelpSteer3 and of HelpSteer2's preferences
_SHAPES = "`response` with a column per attribute, or `responses` as a list of {text, ratings}"
_PARQUET_ROWS = 1024


@dataclass(frozen=True)
class RatedResponse:
    """One response as its row gives it, texts checked and ratings not; `rating_field` stands before an attribute."""

    user_prompt: str
    text: str
    ratings: Mapping[str, object]
    rating_field: str = ""
    model: str | None = None
    source_id: str | int | None = None


@dataclass(frozen=True)
class BadRow:
    """A row, or a part of one, that gives no response: `message` says field, got, expected."""

    kind: str
    message: str


def read_rated(path: Path) -> Iterator[tuple[str, RatedResponse | BadRow]]:
    """Responses and what is wrong, each after "FILE:LINE", in file order; every row gives at least one of them.

    Args:
        path: File named .parquet (lines are rows from 1), .gz (JSONL in gzip) or anything else (JSONL). Blank lines are
            no rows.

    Raises:
        ValueError: If the file is no whole gzip or Parquet file, or pyarrow is not installed.
    """
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _lines(path)
    for number, content in enumerate(rows, start=1):
        if not isinstance(content, bytes) or content.strip():
            for found in _found(content):
                yield f"{path}:{number}", found


def short(value: object) -> str:
    """A value for a message, cut at 60 characters."""
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            yield from file
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: broken ({error}), expected JSONL in gzip; get the file anew") from error


def _parquet_rows(path: Path) -> Iterator[object]:
    try:
        import pyarrow.parquet  # type: ignore[import-untyped]  # it has no types
    except ImportError as error:
        raise ValueError(f"{path}: pyarrow, which reads Parquet, is missing: pip install 'cpt-tasks[data]'") from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path}: not readable as Parquet ({error}), expected rated responses") from error


def _found(content: object) -> Iterator[RatedResponse | BadRow]:
    row = _parsed(content)
    if isinstance(row, BadRow):
        yield row
        return
    responses = _responses(row)  # before the prompt: a file of the wrong kind should be told so
    prompt = _prompt(row)
    if isinstance(responses, BadRow):
        yield responses
    elif isinstance(prompt, BadRow):
        yield prompt
    else:
        for place, item in responses:
            yield _rated(prompt, item, row, place)


def _parsed(content: object) -> dict[str, object] | BadRow:
    if isinstance(content, bytes):
        try:
            content = json.loads(content)
        except (ValueError, RecursionError) as error:
            return BadRow("bad_row", f"got {short(content)}, expected a JSON object in one line ({error})")
    if not isinstance(content, dict):
        return BadRow("bad_row", f"got {short(content)}, expected a JSON object with a prompt and what was rated")
    return content


def _responses(row: dict[str, object]) -> list[tuple[str, object]] | BadRow:
    """Field and content of each response; the field of a row's only one is ""."""
    several = row.get("responses")
    if isinstance(several, list) and several:
        return [(f"responses.{number}", item) for number, item in enumerate(several)]
    if several is not None:
        return BadRow("bad_row", f"responses: got {short(several)}, expected a list of {{text, ratings}}")
    if row.get("response") is not None:
        return [("", {"text": row["response"], "ratings": row})]
    if any(column in row for column in _PREFERENCE_COLUMNS):
        message = f"got two responses and which is preferred, but no rating of either; expected {_SHAPES}"
        return BadRow("bad_row", message)
    return BadRow("bad_row", f"got the fields {short(sorted(row))}, expected {_SHAPES}")


def _prompt(row: dict[str, object]) -> str | BadRow:
    """The one turn of the user; HelpSteer3 calls a list of messages `context`."""
    prompt = row.get("prompt") or row.get("context")
    if isinstance(prompt, list):
        roles = [turn.get("role") if isinstance(turn, dict) else None for turn in prompt]
        if roles != ["user"] and roles and all(isinstance(role, str) for role in roles):
            return BadRow("multi_turn", f"prompt: got turns of {short(roles)}, expected one turn of the user")
        if roles == ["user"]:
            prompt = prompt[0].get("content")
    if not _is_text(prompt):
        return BadRow("bad_row", f"prompt: got {short(prompt)}, expected a text or one message of the user")
    if mark := _TURN_MARK.search(prompt):
        return BadRow("multi_turn", f"prompt: got turns marked {mark.group()!r}, expected one turn of the user")
    return prompt


def _rated(prompt: str, item: object, row: dict[str, object], place: str) -> RatedResponse | BadRow:
    if not isinstance(item, dict):
        return BadRow("bad_row", f"{place}: got {short(item)}, expected {{text, ratings}}")
    text, ratings, source_id = item.get("text"), item.get("ratings"), item.get("id")
    if not _is_text(text):
        field = f"{place}.text" if place else "response"
        return BadRow("bad_row", f"{field}: got {short(text)}, expected a text")
    if not isinstance(ratings, dict):
        return BadRow("bad_row", f"{place}.ratings: got {short(ratings)}, expected a rating by attribute")
    model = item.get("model") or row.get("model")
    return RatedResponse(
        prompt,
        text,
        ratings,
        rating_field=f"{place}.ratings." if place else "",
        model=model if _is_text(model) else None,
        source_id=source_id if _is_text(source_id) or isinstance(source_id, int) else None,
    )


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip()) and not _LONE_SURROGATE.search(value)
