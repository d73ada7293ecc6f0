"""Ask a model once, pay once: a store of model calls under every judgment and every response. Imports nothing of ours.

Nothing here imports inspect before a call is made, so that `--help` of a command does not wait for it.
"""

from model_calls.call import Call, Reply
from model_calls.online import ask
from model_calls.store import CallStore, open_store

__all__ = ["Call", "CallStore", "Reply", "ask", "open_store"]
