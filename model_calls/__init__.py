"""Ask a model once, pay once: a content-addressed, journaled store of model calls. Imports nothing of ours."""

from model_calls.call import Call, Reply
from model_calls.online import ask
from model_calls.store import CallStore, StoreLockedError, open_batches, open_store

__all__ = ["Call", "CallStore", "Reply", "StoreLockedError", "ask", "open_batches", "open_store"]
