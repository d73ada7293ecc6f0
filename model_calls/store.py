"""The call store: one reply per key, in an SQLite file that any number of threads and processes of a machine share.

A reply is on disk before `put` returns. The same file holds which provider batches are on their way (`batch.py`).
"""

import errno
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from model_calls.call import Reply

SCHEMA = 1
BUSY_SECONDS = 120.0
REPLIES_PER_PAGE = 500

_TABLES = (
    "CREATE TABLE calls (key TEXT PRIMARY KEY, reply TEXT NOT NULL)",
    "CREATE TABLE batches (intent TEXT PRIMARY KEY, time TEXT NOT NULL, keys TEXT NOT NULL, batch TEXT, "
    "done INTEGER NOT NULL DEFAULT 0)",
)
_OPEN: dict[Path, "CallStore"] = {}


def open_store(path: str | Path) -> "CallStore":
    """The store at a path, created with its folders if there is none; one object per file and process.

    Logs a warning if batches sent from this store hold replies that are not in it: `ask` would pay for them again.

    Raises:
        ValueError: If the file is no call store, or was written by a newer version; or its file system cannot lock
            files and share memory between processes, as SQLite needs it, or does not let us write.
    """
    path = Path(path).resolve()
    if path not in _OPEN:
        _OPEN[path] = CallStore(path)
        if waiting := len(_OPEN[path].in_batches()):
            logging.getLogger(__name__).warning(
                f"{path}: {waiting} calls are in batches whose results are not in the store yet; run the command that "
                "sent them again to collect them, since asking online pays for them twice"
            )
    return _OPEN[path]


class CallStore:
    """Replies by `Call.key`, in the SQLite file `path`. Use `open_store`.

    It outlives event loops, so that several `eval()` calls of one process can share it. Two loops at the same time may
    put and get, but not ask the same call: who asks second would wait for an event of the other loop.
    """

    def __init__(self, path: Path):
        self.path = path
        self.in_flight: dict[str, anyio.Event] = {}  # keys that this process asks now, and what ends the wait for them
        self._lock, self._read_lock = threading.Lock(), threading.Lock()
        self._pending: list[tuple[str, str]] = []  # added to by any thread, taken from by the one that has the lock
        self._writer, self._reader = _connected(path), _connected(path)

    def __len__(self) -> int:
        return int(self._read("SELECT count(*) FROM calls")[0][0])

    def __contains__(self, key: object) -> bool:
        return bool(self._read("SELECT 1 FROM calls WHERE key = ?", key))

    def get(self, key: str) -> Reply | None:
        """The reply kept under a key, or None."""
        rows = self._read("SELECT reply FROM calls WHERE key = ?", key)
        return Reply(**json.loads(rows[0][0])) if rows else None

    def replies(self) -> Iterator[Reply]:
        """Every reply, in the order in which they were put; those put meanwhile too."""
        last = -1
        query = "SELECT rowid, reply FROM calls WHERE rowid > ? ORDER BY rowid LIMIT ?"
        while rows := self._read(query, last, REPLIES_PER_PAGE):
            for _, reply in rows:
                yield Reply(**json.loads(reply))
            last = rows[-1][0]

    async def put(self, *replies: Reply) -> None:
        """Keeps replies, even if the caller is cancelled; returns when they are on disk.

        Replies put at the same time share one commit.

        Raises:
            OSError: If they cannot be written now; the next put, or `close`, writes them too.
        """
        self._pending.extend([(reply.key, json.dumps(asdict(reply))) for reply in replies])
        try:
            await anyio.to_thread.run_sync(self._flush)
        except anyio.get_cancelled_exc_class():  # before the thread began, or while it works
            self._flush()
            raise

    def forget(self, keys: Iterable[str]) -> None:
        """Deletes the replies to calls, also from batches that are not collected yet, so that they are asked anew."""
        gone = set(keys)
        with self._lock, self._disk_errors(), self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.executemany("DELETE FROM calls WHERE key = ?", [(key,) for key in gone])
            # one that is not recorded yet is known by the number of its calls
            open_ones = "SELECT keys, intent FROM batches WHERE NOT done AND batch IS NOT NULL"
            for listed, intent in self._writer.execute(open_ones).fetchall():
                kept = json.dumps([key for key in json.loads(listed) if key not in gone])
                self._writer.execute("UPDATE batches SET keys = ? WHERE intent = ?", (kept, intent))

    def in_batches(self) -> list[str]:
        """Keys without a reply that are in a batch on its way, or in one that may have been created."""
        rows = self._read("SELECT keys FROM batches WHERE NOT done")
        return [key for (keys,) in rows for key in json.loads(keys) if key not in self]

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a statement of our own tables, which is on disk, in the main file, when this returns."""
        with self._lock, self._disk_errors():
            rows = self._writer.execute(statement, values).fetchall()
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that a copy of the one file has it
            return rows

    def close(self) -> None:
        """Writes what is pending, and closes the file, even if that cannot be written (OSError)."""
        try:
            self._flush()
        finally:
            _OPEN.pop(self.path, None)
            self._reader.close()
            self._writer.close()

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._read_lock, self._disk_errors():
            return self._reader.execute(query, values).fetchall()

    def _flush(self) -> None:
        with self._lock:
            rows = list(self._pending)
            if not rows:
                return  # the one before wrote ours as well
            with self._disk_errors():
                self._write(rows)
            del self._pending[: len(rows)]

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """SQLite's errors as an OSError that names the file."""
        try:
            yield
        except sqlite3.Error as error:
            number = errno.ENOSPC if "full" in str(error) else errno.EIO
            raise OSError(number, str(error), str(self.path)) from error

    def _write(self, rows: list[tuple[str, str]]) -> None:
        with self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?)", rows)


def _connected(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from error
    try:
        if _schema(connection) > SCHEMA:
            raise ValueError(f"{path}: got schema {_schema(connection)}, expected at most {SCHEMA}: update cpt-tasks")
        _use_wal(connection)
        if _schema(connection) < SCHEMA:
            _create(connection)
    except Exception as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError):
            raise _unusable(path, error) from error
        if isinstance(error, sqlite3.DatabaseError):
            raise ValueError(
                f"{path}: {error}, expected a call store in SQLite; restore it, or name another"
            ) from error
        raise
    return connection


def _unusable(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path}: {error}; the call store is SQLite's and needs a disk that it can write to, lock and share memory on, "
        "which network drives often are not: name a file on a local disk"
    )


def _schema(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _use_wal(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            [[mode]] = connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            if mode != "wal":  # kept by SQLite without an error
                raise sqlite3.OperationalError(f"no write-ahead log, the journal stays {mode!r}")
            return
        except sqlite3.OperationalError as error:
            # a change to WAL does not wait for another process that makes it, as other statements do
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _create(connection: sqlite3.Connection) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if _schema(connection) < SCHEMA:  # else another process was faster
            for statement in (*_TABLES, f"PRAGMA user_version = {SCHEMA}"):
                connection.execute(statement)
