"""Ask a model once, pay once: a content-addressed, journaled store of model calls. Imports nothing of ours.

The names below are imported when they are first used, so that `--help` of a command does not wait for inspect.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model_calls.call import Call, Reply
    from model_calls.online import ask
    from model_calls.store import CallStore, StoreLockedError, open_batches, open_store

_HOMES = {
    "Call": "call",
    "CallStore": "store",
    "Reply": "call",
    "StoreLockedError": "store",
    "ask": "online",
    "open_batches": "store",
    "open_store": "store",
}

__all__ = ["Call", "CallStore", "Reply", "StoreLockedError", "ask", "open_batches", "open_store"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
