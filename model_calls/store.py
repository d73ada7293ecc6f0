"""The call store: an append-only JSONL file with one line per call that was answered.

One process at a time may write it. A line is on disk before `put` returns; a last line torn by a kill is cut off when
the file is opened. Only keys and positions are kept in memory.
"""

import asyncio
import json
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import anyio
import anyio.to_thread
from filelock import FileLock, Timeout

from model_calls.batch_state import StateFile, state_path
from model_calls.call import Reply

_OPEN: dict[Path, "CallStore"] = {}


class StoreLockedError(RuntimeError):
    """Another process has the store open."""


def open_store(path: str | Path) -> "CallStore":
    """The store at a path, created with its folders if there is none; one object per file and process.

    Logs a warning if batches sent from this store hold replies that are not in it: `ask` would pay for them again.

    Raises:
        StoreLockedError: If another process has it open.
        ValueError: If a line other than the last cannot be read.
    """
    resolved = Path(path).resolve()
    if resolved not in _OPEN:
        in_batches = StateFile(state_path(resolved)).keys_in_open_batches()
        store = _OPEN[resolved] = CallStore(resolved)
        if waiting := sum(key not in store for key in in_batches):
            logging.getLogger(__name__).warning(
                "%s: %d calls are in batches whose results are not in the store yet; the command that sent them "
                "(`cpt judge batch` or `cpt generate --batch`) collects them if it is given the same again, and asking "
                "them online pays for them twice",
                state_path(resolved),
                waiting,
            )
    return _OPEN[resolved]


def open_batches(store_path: str | Path) -> int:
    """Number of calls in batches that were sent from a store and not collected to the end, by its state file.

    Counts those of which it is not known whether they were created, too, and those that were put into the store before
    a kill. 0 if there is no state file. Reads only: another process may have the store open.
    """
    return len(StateFile(state_path(Path(store_path).resolve())).keys_in_open_batches())


class CallStore:
    """Replies by `Call.key`. Use `open_store`; a second object on the same file is refused.

    It outlives event loops, so that several `eval()` calls of one process can share it; one loop at a time.

    Attributes:
        path: The JSONL file.
        in_flight: Keys that are being asked now, with the event that ends the wait for them.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.in_flight: dict[str, anyio.Event] = {}
        self._process_lock = FileLock(f"{path}.lock", thread_local=False)
        try:
            self._process_lock.acquire(blocking=False)
        except Timeout:
            raise StoreLockedError(
                f"{path}: another process has this call store open; wait for it to end, or give this one a store of "
                "its own"
            ) from None
        try:
            if not path.exists():
                # first, and with the store: a store without one has lost it, and then batches have to be looked for
                state_path(path).touch()
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._lines, self._size = _index(path)
            if self._size < os.fstat(self._file).st_size:
                os.ftruncate(self._file, self._size)
        except BaseException:
            self._process_lock.release()
            raise
        self._pending: list[tuple[str, bytes]] = []
        self._pending_lock = threading.Lock()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, key: object) -> bool:
        return key in self._lines

    def get(self, key: str) -> Reply | None:
        """The reply kept under a key, or None."""
        if key not in self._lines:
            return None
        start, length = self._lines[key]
        return Reply(**json.loads(os.pread(self._file, length, start)))

    def replies(self) -> Iterator[Reply]:
        """Every reply, in the order of the file."""
        for key in list(self._lines):
            reply = self.get(key)
            assert reply is not None
            yield reply

    async def put(self, *replies: Reply) -> None:
        """Keeps replies; returns when they are on disk. Replies put at the same time share one fsync.

        They are paid for, so they are kept even if the caller is cancelled, before or meanwhile.

        Raises:
            OSError: If they cannot be written; nothing half-written stays.
        """
        lines = [(reply.key, _line(reply)) for reply in replies]
        with self._pending_lock:
            self._pending += lines
        try:
            # in a thread, with a thread's lock: the work ends even if the caller is cancelled or its event loop stops
            with anyio.CancelScope(shield=True):  # anyio looks for a cancellation before it starts the thread
                await anyio.to_thread.run_sync(self._flush)
        except asyncio.CancelledError:  # of the task by asyncio itself, which no shield holds off
            self._flush()
            raise

    def _flush(self) -> None:
        with self._lock:
            with self._pending_lock:
                batch, self._pending = self._pending, []
            if not batch:
                return  # the one before wrote ours as well
            try:
                _write(self._file, b"".join(line for _, line in batch))
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, self._size)
                with self._pending_lock:
                    self._pending = batch + self._pending
                raise
            for key, line in batch:
                self._lines[key] = (self._size, len(line))
                self._size += len(line)

    def compact(self) -> int:
        """Rewrites the file with the newest line of each key only; returns how many lines were dropped."""
        with self._lock:
            with self.path.open("rb") as file:
                before = sum(1 for _ in file)
            fresh_path = self.path.with_name(f"{self.path.name}.compacting")
            fresh = os.open(fresh_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
            for start, length in self._lines.values():
                _write(fresh, os.pread(self._file, length, start))
            os.fsync(fresh)
            fresh_path.replace(self.path)
            os.close(self._file)
            self._file = fresh
            self._lines, self._size = _index(self.path)
            return before - len(self._lines)

    def close(self) -> None:
        """Writes what is pending, and lets other processes have the store.

        Raises:
            OSError: If that cannot be written; the store is closed all the same.
        """
        try:
            if self._file >= 0:
                self._flush()
        finally:
            with self._lock:
                if self._file >= 0:
                    os.close(self._file)
                self._file = -1
            self._process_lock.release()
            _OPEN.pop(self.path, None)


def _line(reply: Reply) -> bytes:
    return json.dumps(asdict(reply), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _index(path: Path) -> tuple[dict[str, tuple[int, int]], int]:
    """Start and length of each key's newest line, and the size of the file up to its last whole line."""
    lines: dict[str, tuple[int, int]] = {}
    size = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                key = json.loads(line)["key"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number}: got {line[:40]!r}, expected a JSON object with a key; this is not a call "
                    "store, or was edited: restore or remove the line"
                ) from error
            lines[key] = (size, len(line))
            size += len(line)
    return lines, size
