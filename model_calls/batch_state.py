"""What the batch path has on disk beside the store: which batches it meant to create, and which it knows of.

The file is made, empty, together with the store: if it is missing, it was lost, and batches with it.
"""

import json
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anthropic.types.messages import MessageBatch  # the store reads state files, too, and needs no SDK

CLOCK_SKEW = timedelta(minutes=2)
CREATED_WITHIN = timedelta(minutes=15)  # after the intent; longer than a request can take


@dataclass(frozen=True)
class Intent:
    """Written before a batch is created."""

    name: str
    time: datetime
    keys: frozenset[str]

    def may_have_made(self, batch: "MessageBatch") -> bool:
        """Whether a batch is of the right time and size; whose it is shows only in its results."""
        in_time = self.time - CLOCK_SKEW <= batch.created_at <= self.time + CREATED_WITHIN
        return in_time and batch_entries(batch) == len(self.keys)


class StateFile:
    """Intents and batches, one JSON object per line, each on disk before the step after it. The store's lock holds.

    Reading changes nothing, so that it needs no lock.
    """

    def __init__(self, path: Path):
        self.path = path
        self.existed = path.exists()
        self.intents: dict[str, Intent] = {}
        self.batches: dict[str, str] = {}  # name of the intent by batch id
        self.done: set[str] = set()
        lines = path.read_bytes().splitlines(keepends=True) if self.existed else []
        if lines and not lines[-1].endswith(b"\n"):  # torn by a kill; the next record takes its place
            lines.pop()
        self._size = sum(map(len, lines))
        for line in lines:
            self._take(json.loads(line))

    def _take(self, record: dict[str, Any]) -> None:
        if "keys" in record:
            time = datetime.fromisoformat(record["time"])
            self.intents[record["intent"]] = Intent(record["intent"], time, frozenset(record["keys"]))
        elif "intent" in record:
            self.batches[record["batch"]] = record["intent"]
        elif "refused" in record:
            del self.intents[record["refused"]]
        else:
            self.done.add(record["batch"])

    def add(self, **record: Any) -> None:
        """Appends a record: an intent with its keys, a batch with its intent, a refused intent, or a batch done."""
        line = json.dumps(record).encode() + b"\n"
        with self.path.open("ab") as file:
            file.truncate(self._size)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._size += len(line)
        self._take(record)

    def open_batches(self) -> dict[str, frozenset[str]]:
        """Keys by batch id."""
        return {batch: self.intents[name].keys for batch, name in self.batches.items() if batch not in self.done}

    def unresolved(self) -> list[Intent]:
        """Intents of which no batch is recorded."""
        return [intent for name, intent in self.intents.items() if name not in self.batches.values()]

    def keys_in_open_batches(self) -> frozenset[str]:
        """Keys of all batches that are open, or that an intent may have made."""
        return frozenset().union(*self.open_batches().values(), *(intent.keys for intent in self.unresolved()))


def state_path(store_path: Path) -> Path:
    """The state file of a store."""
    return Path(f"{store_path}.batches.jsonl")


def batch_entries(batch: "MessageBatch") -> int:
    """Number of entries in a batch."""
    counts = batch.request_counts
    return counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
