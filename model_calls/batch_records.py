"""What the call store knows of provider batches: each is recorded before it is created, and again once it has an id."""

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from model_calls.store import CallStore


@dataclass(frozen=True)
class Intent:
    """A batch that was to be created, with its keys; `batch` is its id, None as long as that is not known."""

    name: str
    time: datetime
    keys: frozenset[str]
    batch: str | None = None


class BatchRecords:
    """The records of a store, each on disk before the step after it."""

    def __init__(self, store: CallStore):
        self._execute = store.execute

    def intend(self, keys: Iterable[str]) -> Intent:
        """Records that a batch is about to be created."""
        intent = Intent(uuid.uuid4().hex, datetime.now(UTC), frozenset(keys))
        values = (intent.name, intent.time.isoformat(), json.dumps(sorted(intent.keys)))
        self._execute("INSERT INTO batches (intent, time, keys) VALUES (?, ?, ?)", *values)
        return intent

    def created(self, intent: Intent, batch: str) -> None:
        """Records the batch of an intent."""
        self._execute("UPDATE batches SET batch = ? WHERE intent = ?", batch, intent.name)

    def refused(self, intent: Intent) -> None:
        """Forgets an intent: nothing was created."""
        self._execute("DELETE FROM batches WHERE intent = ?", intent.name)

    def taken(self, batch: str) -> None:
        """Records that all that a batch holds is in the store; one that was not recorded is from here on."""
        self._execute("UPDATE batches SET done = 1 WHERE batch = ?", batch)
        if batch not in self.known():
            self._execute("INSERT OR REPLACE INTO batches VALUES (?, '', '[]', ?, 1)", batch, batch)

    def on_their_way(self) -> list[Intent]:
        """Intents whose batch was not taken."""
        rows = self._execute("SELECT intent, time, keys, batch FROM batches WHERE NOT done")
        return [
            Intent(name, datetime.fromisoformat(time), frozenset(json.loads(keys)), batch)
            for name, time, keys, batch in rows
        ]

    def known(self) -> set[str]:
        """Ids of all batches, taken or not."""
        return {batch for (batch,) in self._execute("SELECT batch FROM batches WHERE batch IS NOT NULL")}
