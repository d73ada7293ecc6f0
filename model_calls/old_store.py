"""Call stores before schema 1, JSON lines with a file of batches beside them: taken into SQLite, and left as they are.

Beside `NAME.sqlite` that is `NAME.jsonl`, with the stores that each process (`NAME.rankN.jsonl`) or shard
(`NAME-I-of-N.jsonl`) had to itself.
"""

import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def sqlite_path(path: Path) -> Path:
    """The SQLite file of a store, by the path of either form."""
    is_older = path.suffix == ".jsonl"
    if not is_older and path.is_file():
        with path.open("rb") as file:
            is_older = file.read(1) == b"{"
    return path.with_suffix(".sqlite") if is_older else path


def import_older(connection: sqlite3.Connection, path: Path) -> None:
    """Takes over the older stores beside a store, each once, or again if it has grown; says so on stderr.

    What the store has already stays. A last line torn by a kill is left out.

    Raises:
        ValueError: If a line cannot be read; nothing of its file is taken over then.
    """
    for pattern in (f"{path.stem}.jsonl", f"{path.stem}.rank*.jsonl", f"{path.stem}-*-of-*.jsonl"):
        for file in sorted(path.parent.glob(pattern)):
            _import(connection, path, file)


def _import(connection: sqlite3.Connection, path: Path, file: Path) -> None:
    size, records = file.stat().st_size, Path(f"{file}.batches.jsonl")
    if connection.execute("SELECT 1 FROM imported WHERE (file, bytes) = (?, ?)", [file.name, size]).fetchone():
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        before = connection.total_changes
        connection.executemany("INSERT OR IGNORE INTO calls VALUES (?, ?)", _newest(file))
        count = connection.total_changes - before
        if records.exists():
            connection.executemany("INSERT OR IGNORE INTO batches VALUES (?, ?, ?, ?, ?)", _batches(records))
        connection.execute("INSERT OR REPLACE INTO imported VALUES (?, ?)", [file.name, size])
    print(f"{path}: {count:,} replies taken over from {file.name}, which is not written any more", file=sys.stderr)


def _newest(file: Path) -> Iterator[tuple[str, str]]:
    """Key and reply of the newest line of each key."""
    newest = {record["key"]: number for number, record in _records(file)}
    for number, record in _records(file):
        if newest[record["key"]] == number:
            yield record["key"], json.dumps(record)


def _records(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                record = json.loads(line)
                record["key"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{file}, line {number}: got {line[:40]!r}, expected a JSON object with a key; this is not a call "
                    "store, or was edited: restore or remove the line"
                ) from error
            yield number, record


def _batches(records: Path) -> Iterator[tuple[str, str, str, str | None, bool]]:
    """Rows of the table of batches: an intent, its time and keys, its batch if one is known, and whether it is done."""
    intents: dict[str, tuple[str, str]] = {}
    batches: dict[str, str] = {}
    done: set[str] = set()
    for line in records.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        record = json.loads(line)
        if "keys" in record:
            intents[record["intent"]] = (record["time"], json.dumps(record["keys"]))
        elif "intent" in record:
            batches[record["intent"]] = record["batch"]
        elif "refused" in record:
            del intents[record["refused"]]
        else:
            done.add(record["batch"])
    for intent, (time, keys) in intents.items():
        batch = batches.get(intent)
        yield intent, time, keys, batch, batch in done
