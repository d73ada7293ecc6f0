"""A fake Anthropic server on loopback: Messages (see fake_messages.py) and Message Batches.

In a test, take the fixture `anthropic_server` (see conftest.py).
"""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from fake_config import Config
from fake_messages import CACHE_SECONDS, FakeMessages, draw, error, prompt_id, prompt_text, reply_text, reset_connection

__all__ = ["Config", "FakeAnthropic", "prompt_id", "prompt_text"]


class FakeAnthropic(FakeMessages):
    """The server with batches, which stay after a reset."""

    def __init__(self, config: Config | None = None, reply: Callable[[dict[str, Any]], str] = reply_text):
        super().__init__(config, reply)
        self._batches: dict[str, dict[str, Any]] = {}

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/messages/batches", self._create_batch)
        router.add_get("/v1/messages/batches", self._list_batches)
        router.add_get("/v1/messages/batches/{id}", self._retrieve_batch)
        router.add_get("/v1/messages/batches/{id}/results", self._batch_results)
        router.add_post("/v1/messages/batches/{id}/cancel", self._cancel_batch)

    async def _create_batch(self, request: web.Request) -> web.Response:
        entries = (await request.json())["requests"]
        batch = {
            "id": f"msgbatch_{len(self._batches):04d}",
            "entries": entries,
            "created": datetime.now(UTC),
            "ready": time.monotonic() + self.config.batch_seconds,
            "canceled": False,
            "betas": request.headers.get("anthropic-beta", ""),
        }
        self._batches[str(batch["id"])] = batch
        self.stats.batches_created += 1
        self.stats.batch_entries.update(entry["custom_id"] for entry in entries)
        await asyncio.sleep(self.config.batch_create_seconds)
        if self.stats.batches_created <= self.config.lost_batch_answers:
            return reset_connection(request)
        return web.json_response(self._batch(batch))

    async def _list_batches(self, request: web.Request) -> web.Response:
        newest_first = list(reversed(self._batches.values()))
        after = request.query.get("after_id")
        if after:
            newest_first = newest_first[[batch["id"] for batch in newest_first].index(after) + 1 :]
        limit = int(request.query.get("limit", 20))
        page = [self._batch(batch) for batch in newest_first[:limit]]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return web.json_response({"data": page, "has_more": len(newest_first) > limit} | ends)

    async def _retrieve_batch(self, request: web.Request) -> web.Response:
        batch = self._batches.get(request.match_info["id"])
        return web.json_response(self._batch(batch)) if batch else error(404, "not_found_error", "no such batch")

    async def _cancel_batch(self, request: web.Request) -> web.Response:
        batch = self._batches[request.match_info["id"]]
        batch["canceled"] = True
        return web.json_response(self._batch(batch))

    async def _batch_results(self, request: web.Request) -> web.Response:
        batch = self._batches[request.match_info["id"]]
        results = (self._batch_result(entry, batch) for entry in reversed(batch["entries"]))  # any order is allowed
        lines = (json.dumps(result) + "\n" for result in results if result)
        return web.Response(body="".join(lines).encode(), content_type="application/x-jsonl")

    def _batch_result(self, entry: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any] | None:
        config = self.config
        outcomes = batch.setdefault("outcomes", {})  # a second reading gives the same and costs nothing
        custom_id = entry["custom_id"]
        if custom_id in outcomes:
            return outcomes[custom_id]  # type: ignore[no-any-return]
        body = entry["params"]
        prompt = prompt_id(body)
        share = draw(config.seed, "batch", prompt, self.stats.batch_entries[custom_id])
        api_error = {"type": "error", "error": {"type": "api_error", "message": "Internal server error"}}
        result: dict[str, Any] | None
        if batch["canceled"]:
            result = {"type": "canceled"}
        elif share < config.rate_batch_missing:
            result = None
        elif share < config.rate_batch_missing + config.rate_batch_errored:
            result = {"type": "errored", "error": api_error | {"request_id": "req_batch"}}
        elif share < config.rate_batch_missing + config.rate_batch_errored + config.rate_batch_expired:
            result = {"type": "expired"}
        else:
            usage, marks = self._cached_usage(body)
            self._cache.update(dict.fromkeys(marks, time.monotonic() + CACHE_SECONDS))
            message = self._message(body, prompt, usage)
            self._account(prompt, message)
            result = {"type": "succeeded", "message": message}
        outcomes[custom_id] = {"custom_id": custom_id, "result": result} if result else None
        return outcomes[custom_id]  # type: ignore[no-any-return]

    def _batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        ended = batch["canceled"] or time.monotonic() >= batch["ready"]
        count = len(batch["entries"])
        counts = {"processing": 0 if ended else count, "succeeded": count if ended else 0}
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
