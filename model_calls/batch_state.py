"""What the batch path has on disk beside the store: which batches it meant to create, and which it knows of."""

import json
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from anthropic.types.messages import MessageBatch

CLOCK_SKEW = timedelta(minutes=2)
CREATED_WITHIN = timedelta(minutes=15)  # after the intent; longer than a request can take


@dataclass(frozen=True)
class Intent:
    """Written before a batch is created."""

    name: str
    time: datetime
    keys: frozenset[str]

    def may_have_made(self, batch: MessageBatch) -> bool:
        """Whether a batch is of the right time and size; whose it is shows only in its results."""
        in_time = self.time - CLOCK_SKEW <= batch.created_at <= self.time + CREATED_WITHIN
        return in_time and batch_entries(batch) == len(self.keys)


class StateFile:
    """Intents and batches, one JSON object per line, each on disk before the step after it. The store's lock holds."""

    def __init__(self, path: Path):
        self.path = path
        self.existed = path.exists()
        self.intents: dict[str, Intent] = {}
        self.batches: dict[str, str] = {}  # name of the intent by batch id
        self.done: set[str] = set()
        lines = path.read_bytes().splitlines(keepends=True) if self.existed else []
        if lines and not lines[-1].endswith(b"\n"):  # torn by a kill
            os.truncate(path, sum(map(len, lines[:-1])))
            lines.pop()
        for line in lines:
            self._take(json.loads(line))

    def _take(self, record: dict[str, Any]) -> None:
        if "keys" in record:
            time = datetime.fromisoformat(record["time"])
            self.intents[record["intent"]] = Intent(record["intent"], time, frozenset(record["keys"]))
        elif "intent" in record:
            self.batches[record["batch"]] = record["intent"]
        else:
            self.done.add(record["batch"])

    def add(self, **record: Any) -> None:
        """Appends a record: an intent with its keys, a batch with its intent, or a batch that is done."""
        with self.path.open("ab") as file:
            file.write(json.dumps(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._take(record)

    def open_batches(self) -> dict[str, frozenset[str]]:
        """Keys by batch id."""
        return {batch: self.intents[name].keys for batch, name in self.batches.items() if batch not in self.done}

    def unresolved(self) -> list[Intent]:
        """Intents of which no batch is recorded."""
        return [intent for name, intent in self.intents.items() if name not in self.batches.values()]


def batch_entries(batch: MessageBatch) -> int:
    """Number of entries in a batch."""
    counts = batch.request_counts
    return counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
