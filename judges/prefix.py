"""Lets the first call of a shared prompt prefix go ahead alone, so that the provider's cache is written once."""

import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

import anyio

# a provider's cache entry lives five minutes after its last use; a call may take one of them
WARM_SECONDS = 240.0
UNREAD_CALLS = 20  # after so many calls a cache that is never read is worth a warning


class PrefixWarmer:
    """Orders the calls that share a prefix: one alone, then all the others at once."""

    def __init__(self) -> None:
        self._used: dict[str, float] = {}
        self._warming: dict[str, anyio.Event] = {}

    @asynccontextmanager
    async def turn(self, prefix: str) -> AsyncIterator[None]:
        """Waits while another call warms the same prefix; the body is the call.

        The first call of a prefix, or the first after it was unused for four minutes, is the one that warms it. If it
        fails, the next in line warms it instead.
        """
        while prefix in self._warming:
            await self._warming[prefix].wait()
        if time.monotonic() - self._used.get(prefix, float("-inf")) < WARM_SECONDS:
            self._used[prefix] = time.monotonic()
            yield
            return
        self._warming[prefix] = done = anyio.Event()
        try:
            yield
            self._used[prefix] = time.monotonic()
        finally:
            del self._warming[prefix]
            done.set()


class PrefixCache(PrefixWarmer):
    """The same for judges, which also says so, once per model and rubric, when the prompt cache is never read."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._read: Counter[tuple[str, str]] = Counter()

    def count(self, model: str, rubric_id: str, usage: Mapping[str, int]) -> None:
        """Takes down the tokens of one new reply by kind."""
        which = (model, rubric_id)
        self._calls[which] += 1
        self._read[which] += usage.get("input_tokens_cache_read", 0)
        if self._calls[which] == UNREAD_CALLS and not self._read[which] and model.startswith("anthropic/"):
            logging.getLogger(__name__).warning(
                "judge %s: %d calls for rubric %r read nothing from the prompt cache, so each pays the full price; the "
                "rubric is probably shorter than the provider's minimum for caching",
                model,
                UNREAD_CALLS,
                rubric_id,
            )


_OF_STORE: "WeakKeyDictionary[object, PrefixCache]" = WeakKeyDictionary()


def prefix_cache_of(store: object) -> PrefixCache:
    """The prefix cache of a call store: all judges that ask through one store take turns with one another."""
    return _OF_STORE.setdefault(store, PrefixCache())
