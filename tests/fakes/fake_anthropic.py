"""A fake Anthropic server on loopback: Messages and Message Batches, with faults, latency, prompt caching, accounts.

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
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiohttp import web
from anyio.from_thread import start_blocking_portal

MIN_CACHED_TOKENS = 1024
MIX = {"rate_429": 0.05, "rate_529": 0.02, "rate_500": 0.01, "rate_reset": 0.01, "rate_truncated": 0.01}  # of faults
ERRORS = {"429": "rate_limit_error", "529": "overloaded_error", "500": "api_error"}


@dataclass
class Config:
    """How the server behaves. Rates are shares of requests, 0-1; of refusals, shares of prompts."""

    seed: int = 7
    latency_seconds: float = 0.0  # median
    latency_sigma: float = 0.0  # of the logarithm; 0: the same for every request
    rate_429: float = 0.0
    rate_529: float = 0.0
    rate_500: float = 0.0
    rate_reset: float = 0.0
    rate_truncated: float = 0.0
    rate_refusal: float = 0.0
    batch_seconds: float = 0.0
    batch_create_seconds: float = 0.0  # between making a batch and saying so
    lost_batch_answers: int = 0  # the first so many batches are made, but the connection ends in place of an answer
    rate_batch_errored: float = 0.0
    rate_batch_expired: float = 0.0
    rate_batch_canceled: float = 0.0
    rate_batch_missing: float = 0.0
    cut_batch_results: int = 0  # readings of results that end half way, between two lines


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
    scores = random.Random(response.group(2) if response else prompt)
    criteria = [
        {"id": criterion.strip(), "reason": "Because of a phrase in it.", "score": scores.randint(0, 100)}
        for criterion in asked.group(1).split(",")
    ]
    return json.dumps({"criteria": criteria, "holistic_score": scores.randint(0, 100)})


class FakeAnthropic:
    """The server; `config` and `reply`, which makes a text of a request's body, may be changed while it runs.

    `stats`, `bodies` and `headers` are of the message requests since the last reset; `batches` stay after it.
    """

    def __init__(self) -> None:
        self.config = Config()
        self.reply = reply_text
        self.url = ""
        self.batches: dict[str, dict[str, Any]] = {}
        self.reset()

    def reset(self) -> None:
        """Empties the accounts and the prompt cache."""
        self.stats = Stats()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._cache: set[str] = set()

    @contextlib.contextmanager
    def running(self) -> Iterator[Self]:
        """Serves from a thread of its own."""
        with start_blocking_portal() as portal:
            runner = portal.call(self._start)
            try:
                yield self
            finally:
                portal.call(runner.cleanup)

    async def _start(self) -> web.AppRunner:
        app = web.Application(client_max_size=300 * 2**20)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/messages/batches", self._create_batch)
        app.router.add_get("/v1/messages/batches", self._list_batches)
        app.router.add_get("/v1/messages/batches/{id}", self._retrieve_batch)
        app.router.add_get("/v1/messages/batches/{id}/results", self._batch_results)
        options: dict[str, Any] = {"handler_cancellation": True, "keepalive_timeout": 75, "shutdown_timeout": 0}
        runner = web.AppRunner(app, access_log=None, **options)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        stats, body = self.stats, await request.json()
        stats.requests += 1
        stats.in_flight += 1
        stats.peak_in_flight = max(stats.peak_in_flight, stats.in_flight)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        try:
            return await self._answer(request, body, prompt_id(body))
        finally:
            stats.in_flight -= 1

    async def _answer(self, request: web.Request, body: dict[str, Any], prompt: str) -> web.StreamResponse:
        self.stats.asked[prompt] += 1
        attempt = self.stats.asked[prompt]
        fault = self._fault(prompt, attempt)
        self.stats.faults.update([fault] if fault else [])
        if fault in ERRORS:
            content = {"type": "error", "error": {"type": ERRORS[fault], "message": "no"}, "request_id": "req_error"}
            headers = {"retry-after": "0.05"} if fault == "429" else {}
            return web.json_response(content, status=int(fault), headers=headers)
        usage, marks = self._cached_usage(body)
        normal = random.Random(f"{self.config.seed} latency {prompt} {attempt}").gauss(0, 1)
        await asyncio.sleep(min(30.0, self.config.latency_seconds * math.exp(self.config.latency_sigma * normal)))
        if fault == "reset":
            return reset_connection(request)
        self._cache.update(marks)
        message, is_whole = self._message(body, prompt, usage), fault != "truncated"
        if is_whole:
            self._account(prompt, message)
        if body.get("stream"):
            return await self._stream(request, message, is_whole)
        data = json.dumps(message, ensure_ascii=False).encode()
        headers = {"request-id": f"req_{message['id']}", "content-type": "application/json"}
        return web.Response(body=data if is_whole else data[: len(data) // 2], headers=headers)

    async def _stream(self, request: web.Request, message: dict[str, Any], is_whole: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        text, tokens = message["content"][0]["text"], {"output_tokens": message["usage"]["output_tokens"]}
        events = [
            {"type": "message_start", "message": message | {"content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            *(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": half}}
                for half in (text[: len(text) // 2], text[len(text) // 2 :])
            ),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": message["stop_reason"]}, "usage": tokens},
            {"type": "message_stop"},
        ]
        for event in events if is_whole else events[:3]:
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        await response.write_eof()  # a cut stream ends like a whole one, as behind some proxies
        return response

    def _message(self, body: dict[str, Any], prompt: str, usage: dict[str, int]) -> dict[str, Any]:
        is_refused = draw(self.config.seed, "refusal", prompt) < self.config.rate_refusal
        text = "" if is_refused else self.reply(body)
        self.stats.faults.update(["refusal"] if is_refused else [])
        return {
            "id": f"msg_{prompt[:20]}_{self.stats.served[prompt]}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": text}],
            "stop_reason": "refusal" if is_refused else "end_turn",
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
        digest, total, marked = hashlib.sha256(), 0, 0
        sizes: list[tuple[str, int]] = []
        marks: list[str] = []
        for text, is_marked in _blocks(body):
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
            total += _tokens(text)
            sizes.append((digest.hexdigest(), total))
            if is_marked and total >= MIN_CACHED_TOKENS:
                marks.append(digest.hexdigest())
                marked = total
        read = max((size for prefix, size in sizes if size <= marked and prefix in self._cache), default=0)
        cached = {"cache_creation_input_tokens": marked - read, "cache_read_input_tokens": read}
        return {"input_tokens": total - marked} | cached, marks

    async def _create_batch(self, request: web.Request) -> web.Response:
        entries = (await request.json())["requests"]
        batch = self.batches[f"msgbatch_{len(self.batches):04d}"] = {
            "id": f"msgbatch_{len(self.batches):04d}",
            "entries": entries,
            "outcomes": {},
            "created": datetime.now(UTC),
            "ready": time.monotonic() + self.config.batch_seconds,
            "betas": request.headers.get("anthropic-beta", ""),
        }
        self.stats.batches_created += 1
        self.stats.batch_entries.update(entry["custom_id"] for entry in entries)
        await asyncio.sleep(self.config.batch_create_seconds)
        if self.stats.batches_created <= self.config.lost_batch_answers:
            return reset_connection(request)
        return web.json_response(self._batch(batch))

    async def _list_batches(self, request: web.Request) -> web.Response:
        newest_first = [self._batch(batch) for batch in reversed(self.batches.values())]
        return web.json_response({"data": newest_first, "has_more": False, "first_id": None, "last_id": None})

    async def _retrieve_batch(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in self.batches:
            return web.json_response(
                {"type": "error", "error": {"type": "not_found_error", "message": "Gone"}}, status=404
            )
        return web.json_response(self._batch(self.batches[request.match_info["id"]]))

    async def _batch_results(self, request: web.Request) -> web.Response:
        outcomes = self._outcomes(self.batches[request.match_info["id"]])
        results = [{"custom_id": key, "result": result} for key, result in outcomes.items()]
        if self.config.cut_batch_results:
            self.config = replace(self.config, cut_batch_results=self.config.cut_batch_results - 1)
            results = results[: len(results) // 2]
        lines = (json.dumps(result) + "\n" for result in results)
        return web.Response(body="".join(lines).encode(), content_type="application/x-jsonl")

    def _outcomes(self, batch: dict[str, Any]) -> dict[str, Any]:
        for entry in reversed(batch["entries"]):  # any order is allowed
            if entry["custom_id"] not in batch["outcomes"]:  # a second reading gives the same and costs nothing
                batch["outcomes"][entry["custom_id"]] = self._batch_result(entry)
        return {key: result for key, result in batch["outcomes"].items() if result}

    def _batch_result(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        prompt = prompt_id(entry["params"])
        share = draw(self.config.seed, "batch", prompt, self.stats.batch_entries[entry["custom_id"]])
        api_error = {"type": "error", "error": {"type": "api_error", "message": "no"}, "request_id": "req_batch"}
        for fault in ("missing", "errored", "expired", "canceled"):
            share -= getattr(self.config, f"rate_batch_{fault}")
            if share < 0:
                return {"type": fault, "error": api_error} if fault != "missing" else None
        message = self._message(entry["params"], prompt, self._cached_usage(entry["params"])[0])
        self._account(prompt, message)
        return {"type": "succeeded", "message": message}

    def _batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        ended = time.monotonic() >= batch["ready"]
        count = len(batch["entries"])
        counts = {"processing": 0 if ended else count, "succeeded": len(self._outcomes(batch)) if ended else 0}
        return {
            "id": batch["id"],
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": counts | {"errored": 0, "canceled": 0, "expired": 0},
            "created_at": batch["created"].isoformat(),
            "expires_at": (batch["created"] + timedelta(days=1)).isoformat(),
            "ended_at": datetime.now(UTC).isoformat() if ended else None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"{self.url}/v1/messages/batches/{batch['id']}/results" if ended else None,
        }


def prompt_text(body: dict[str, Any]) -> str:
    """System prompt and messages as one text, without cache marks."""
    return "\n".join(text for text, _ in _blocks(body))


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
