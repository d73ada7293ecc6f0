"""The responses file that a run appends to: one process at a time, safe against a kill, in order at the end.

Only ids and positions are kept in memory. A row that is appended under an id that is there already replaces it.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from data_gen.responses import TeacherResponse


class ResponseFile:
    """Rows by id. Opening it repairs what a kill left: a torn last line is cut off.

    Attributes:
        path: The JSONL file; made, with its folder, if there is none.

    Raises:
        ValueError: If another process has it open, or a line cannot be read.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = FileLock(f"{path}.lock", thread_local=False)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise ValueError(
                f"{path}: another process is writing it; wait for it to end, or give this one another --out"
            ) from None
        try:
            self._file = path.open("ab", buffering=0)
            self._reader = path.open("rb")
            self._starts: dict[str, int] = {}  # of the newest line of each id
            self._replaced: set[int] = set()
            self._size = self._index()
            self._file.truncate(self._size)
        except BaseException:
            self._lock.release()
            raise

    def __len__(self) -> int:
        return len(self._starts)

    def __contains__(self, row_id: object) -> bool:
        return row_id in self._starts

    def get(self, row_id: str) -> TeacherResponse | None:
        """The row with an id, or None."""
        if row_id not in self._starts:
            return None
        return TeacherResponse.model_validate_json(self._line(self._starts[row_id]))

    def append(self, row: TeacherResponse) -> None:
        """Adds a row, or replaces the one with its id; it is in the file, though not synced, on return."""
        line = row.model_dump_json(exclude_none=True).encode("utf-8", "surrogatepass") + b"\n"
        rest = memoryview(line)
        while rest:
            rest = rest[self._file.write(rest) or 0 :]
        self._take(row.id, self._size)
        self._size += len(line)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows as they stand in the file, replaced ones left out."""
        for start, line in self._lines():
            if start not in self._replaced:
                yield json.loads(line)

    def put_in_order(self, ids: Iterable[str]) -> None:
        """Orders the rows with these ids as they come here; rows with other ids keep their places.

        The file is replaced at once when the new one is whole, and left alone if it is in order.
        """
        wanted = [start for row_id in ids if (start := self._starts.get(row_id)) is not None]
        places = sorted(wanted)
        if wanted == places and not self._replaced:
            os.fsync(self._file.fileno())
            return
        moved = dict(zip(places, wanted, strict=True))
        unfinished = self.path.with_name(f"{self.path.name}.unfinished")
        with unfinished.open("wb") as ordered:
            for start, line in self._lines():
                if start in moved:
                    ordered.write(self._line(moved[start]))
                elif start not in self._replaced:
                    ordered.write(line)
            ordered.flush()
            os.fsync(ordered.fileno())
        self._file.close()
        self._reader.close()
        unfinished.replace(self.path)
        self._file, self._reader = self.path.open("ab", buffering=0), self.path.open("rb")
        self._starts, self._replaced = {}, set()
        self._size = self._index()

    def close(self) -> None:
        """Lets other processes have the file."""
        self._file.close()
        self._reader.close()
        self._lock.release()

    def _index(self) -> int:
        size = 0
        for number, (start, line) in enumerate(self._lines(), start=1):
            if not line.endswith(b"\n"):
                break  # torn by a kill
            try:
                row_id = json.loads(line)["id"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{self.path}:{number}: got {line[:40]!r}, expected a response in one line of JSON; restore or "
                    "remove the line, or write to another --out"
                ) from error
            self._take(row_id, start)
            size = start + len(line)
        return size

    def _take(self, row_id: str, start: int) -> None:
        if row_id in self._starts:
            self._replaced.add(self._starts[row_id])
        self._starts[row_id] = start

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        start = 0
        with self.path.open("rb") as file:
            for line in file:
                yield start, line
                start += len(line)

    def _line(self, start: int) -> bytes:
        self._reader.seek(start)
        return self._reader.readline()
