"""Lets the first call of a shared prompt prefix go ahead alone, so that the provider's cache is written once."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

import anyio

# a provider's cache entry lives five minutes after its last use; a call may take one of them
WARM_SECONDS = 240.0


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


_OF_STORE: "WeakKeyDictionary[object, PrefixWarmer]" = WeakKeyDictionary()


def warmer_of(store: object) -> PrefixWarmer:
    """The warmer of a call store: all judges that ask through one store take turns with one another."""
    return _OF_STORE.setdefault(store, PrefixWarmer())
