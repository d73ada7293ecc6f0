"""A fake Anthropic server on loopback, its Messages: faults, latency, prompt caching, accounts.

In a test, take the fixture `anthropic_server` (see conftest.py). Faults are seeded by (prompt, attempt), so that two
clients that send the same prompts meet the same faults.
"""

import asyncio
import contextlib
import hashlib
import json
import math
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

CACHE_SECONDS = 300
ERRORS = {"429": "rate_limit_error", "529": "overloaded_error", "500": "api_error"}


@dataclass
class Config:
    """How the server behaves. Rates are shares of requests, 0-1; of refusals and wrong schemas, shares of prompts."""

    seed: int = 7
    latency_seconds: float = 0.0  # median
    latency_sigma: float = 0.0  # of the logarithm; 0: the same for every request
    rate_429: float = 0.0
    rate_529: float = 0.0
    rate_500: float = 0.0
    rate_reset: float = 0.0
    rate_truncated: float = 0.0
    rate_refusal: float = 0.0
    rate_wrong_schema: float = 0.0  # the first reply of a prompt only
    min_cached_tokens: int = 1024
    batch_seconds: float = 0.0
    batch_create_seconds: float = 0.0  # between making a batch and saying so
    lost_batch_answers: int = 0  # the first so many batches are made, but the connection ends in place of an answer
    rate_batch_errored: float = 0.0
    rate_batch_expired: float = 0.0
    rate_batch_missing: float = 0.0


@dataclass
class Stats:
    """What the server saw and did; by prompt what was asked and what was served whole, that is paid."""

    requests: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    cache_writes: int = 0  # requests that wrote
    cache_reads: int = 0
    batches_created: int = 0
    batch_entries: Counter[str] = field(default_factory=Counter)  # submissions by custom id

    @property
    def paid_twice(self) -> int:
        """Replies beyond the first of each prompt."""
        return sum(count - 1 for count in self.served.values())


def reply_text(body: dict[str, Any]) -> str:
    """A valid verdict where the prompt asks for one, with scores that depend on the response; else an echo."""
    prompt = prompt_text(body)
    asked = re.search(r"^The criterion ids, in this order: (.+)$", prompt, re.MULTILINE)
    if not asked:
        return f"echo: {prompt}"
    response = re.search(r"<(response_\w+)>\n(.*)\n</\1>", prompt, re.DOTALL)
    draw = random.Random(response.group(2) if response else prompt)
    criteria = [
        {"id": criterion.strip(), "reason": "Because of a phrase in it.", "score": draw.randint(0, 100)}
        for criterion in asked.group(1).split(",")
    ]
    return json.dumps({"criteria": criteria, "holistic_score": draw.randint(0, 100)})


def prompt_text(body: dict[str, Any]) -> str:
    """System prompt and messages as one text, without cache marks."""
    return "\n".join(text for text, _ in _blocks(body))


class FakeMessages:
    """The server; `config` and `reply`, which makes a text of a request's body, may be changed while it runs.

    Attributes:
        stats: Accounts since the start or the last reset.
        bodies: Bodies of message requests, as received.
        headers: Their headers.
        url: Base URL, while it runs.
    """

    def __init__(self, config: Config | None = None, reply: Callable[[dict[str, Any]], str] = reply_text):
        self.config = config or Config()
        self.reply = reply
        self.url = ""
        self.reset()

    def reset(self) -> None:
        """Empties the accounts and the prompt cache."""
        self.stats = Stats()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._cache: dict[str, float] = {}

    @contextlib.contextmanager
    def running(self) -> Iterator[Self]:
        """Serves from a thread of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        runner = asyncio.run_coroutine_threadsafe(self._start(), loop).result()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _start(self) -> web.AppRunner:
        app = web.Application(client_max_size=300 * 2**20)
        app.router.add_post("/v1/messages", self._messages)
        self._add_routes(app.router)
        options: dict[str, Any] = {"handler_cancellation": True, "keepalive_timeout": 75, "shutdown_timeout": 0}
        runner = web.AppRunner(app, access_log=None, **options)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        """For what a subclass serves."""

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        stats = self.stats
        stats.requests += 1
        stats.in_flight += 1
        stats.peak_in_flight = max(stats.peak_in_flight, stats.in_flight)
        try:
            body = await request.json()
            self.bodies.append(body)
            self.headers.append(dict(request.headers))
            return await self._answer(request, body, prompt_id(body))
        finally:
            stats.in_flight -= 1

    async def _answer(self, request: web.Request, body: dict[str, Any], prompt: str) -> web.StreamResponse:
        self.stats.asked[prompt] += 1
        attempt = self.stats.asked[prompt]
        fault = self._fault(prompt, attempt)
        if fault:
            self.stats.faults[fault] += 1
        if fault in ERRORS:
            content = {"type": "error", "error": {"type": ERRORS[fault], "message": "no"}, "request_id": "req_error"}
            headers = {"retry-after": "0.05"} if fault == "429" else {}
            return web.json_response(content, status=int(fault), headers=headers)
        usage, marks = self._cached_usage(body)
        normal = random.Random(f"{self.config.seed} latency {prompt} {attempt}").gauss(0, 1)
        await asyncio.sleep(min(30.0, self.config.latency_seconds * math.exp(self.config.latency_sigma * normal)))
        if fault == "reset":
            return reset_connection(request)
        self._cache.update(dict.fromkeys(marks, time.monotonic() + CACHE_SECONDS))
        message = self.message(body, prompt, usage)
        whole = fault != "truncated"
        if whole:
            self._account(prompt, message)
        if body.get("stream"):
            return await self._stream(request, message, whole)
        data = json.dumps(message, ensure_ascii=False).encode()
        headers = {"request-id": f"req_{message['id']}", "content-type": "application/json"}
        return web.Response(body=data if whole else data[: len(data) // 2], headers=headers)

    async def _stream(self, request: web.Request, message: dict[str, Any], whole: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        text = message["content"][0]["text"]
        half = len(text) // 2
        tokens = {"output_tokens": message["usage"]["output_tokens"]}
        events = [
            {"type": "message_start", "message": message | {"content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text[:half]}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text[half:]}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": message["stop_reason"]}, "usage": tokens},
            {"type": "message_stop"},
        ]
        for event in events if whole else events[:3]:
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        await response.write_eof()  # a cut stream ends like a whole one, as behind some proxies
        return response

    def message(self, body: dict[str, Any], prompt: str, usage: dict[str, int]) -> dict[str, Any]:
        """The message that answers a request."""
        refused = draw(self.config.seed, "refusal", prompt) < self.config.rate_refusal
        self.stats.faults.update(["refusal"] * refused)
        text = "" if refused else self.reply(body)
        wrong = draw(self.config.seed, "schema", prompt) < self.config.rate_wrong_schema
        if wrong and not refused and not self.stats.served[prompt]:
            text = '{"verdict": "fine"}'
        return {
            "id": f"msg_{prompt[:20]}_{self.stats.served[prompt]}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": text}],
            "stop_reason": "refusal" if refused else "end_turn",
            "stop_sequence": None,
            "usage": usage | {"output_tokens": _tokens(text)},
        }

    def _account(self, prompt: str, message: dict[str, Any]) -> None:
        self.stats.served[prompt] += 1
        self.stats.tokens.update(message["usage"])
        self.stats.cache_writes += message["usage"]["cache_creation_input_tokens"] > 0
        self.stats.cache_reads += message["usage"]["cache_read_input_tokens"] > 0

    def _fault(self, prompt: str, attempt: int) -> str:
        share = draw(self.config.seed, "fault", prompt, attempt)
        for fault in ("429", "529", "500", "reset", "truncated"):
            share -= getattr(self.config, f"rate_{fault}")
            if share < 0:
                return fault
        return ""

    def _cached_usage(self, body: dict[str, Any]) -> tuple[dict[str, int], list[str]]:
        """Input tokens by kind, and the prefixes that can be read from the cache once the reply starts."""
        digest, total, upto, read = hashlib.sha256(), 0, 0, 0
        sizes: list[tuple[str, int]] = []
        marks: list[str] = []
        for text, is_marked in _blocks(body):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
            total += _tokens(text)
            sizes.append((digest.hexdigest(), total))
            if is_marked and total >= self.config.min_cached_tokens:
                marks.append(digest.hexdigest())
                upto = total
        now = time.monotonic()
        read = max((size for prefix, size in sizes if size <= upto and self._cache.get(prefix, 0) > now), default=0)
        cached = {"cache_creation_input_tokens": upto - read, "cache_read_input_tokens": read}
        return {"input_tokens": total - upto} | cached, marks


def prompt_id(body: dict[str, Any]) -> str:
    """Hash of the texts of a request."""
    return hashlib.sha256(prompt_text(body).encode("utf-8", "surrogatepass")).hexdigest()


def _blocks(body: dict[str, Any]) -> list[tuple[str, bool]]:
    """Texts in the order of the prompt prefix, each with whether it is a cache breakpoint."""
    contents = [body.get("system") or [], *(message["content"] for message in body["messages"])]
    blocks = [
        (block["text"], "cache_control" in block)
        for content in contents
        for block in ([{"type": "text", "text": content}] if isinstance(content, str) else content)
    ]
    if "cache_control" in body:  # automatic caching marks the last block
        blocks[-1] = (blocks[-1][0], True)
    return blocks


def _tokens(text: str) -> int:
    return max(1, len(text) // 4)


def draw(*seed: object) -> float:
    """A number in [0, 1) that depends on the seed only."""
    digest = hashlib.blake2b(repr(seed).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def reset_connection(request: web.Request) -> web.Response:
    assert request.transport is not None
    connection = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST in place of FIN
    request.transport.abort()
    return web.Response(status=500)
