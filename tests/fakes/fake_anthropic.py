"""A fake Anthropic server on loopback: Messages (see fake_messages.py) and Message Batches.

In a test, take the fixture `anthropic_server` (see conftest.py).
"""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from fake_messages import Config, FakeMessages, draw, prompt_id, prompt_text, reset_connection

__all__ = ["Config", "FakeAnthropic", "prompt_text"]


class FakeAnthropic(FakeMessages):
    """The server with its batches, oldest first, which stay after a reset."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: dict[str, dict[str, Any]] = {}

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/v1/messages/batches", self._create_batch)
        router.add_get("/v1/messages/batches", self._list_batches)
        router.add_get("/v1/messages/batches/{id}", self._retrieve_batch)
        router.add_get("/v1/messages/batches/{id}/results", self._batch_results)
        router.add_post("/v1/messages/batches/{id}/cancel", self._cancel_batch)

    async def _create_batch(self, request: web.Request) -> web.Response:
        entries = (await request.json())["requests"]
        batch = {
            "id": f"msgbatch_{len(self.batches):04d}",
            "entries": entries,
            "outcomes": {},
            "created": datetime.now(UTC),
            "ready": time.monotonic() + self.config.batch_seconds,
            "canceled": False,
            "betas": request.headers.get("anthropic-beta", ""),
        }
        self.batches[str(batch["id"])] = batch
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
        return web.json_response(self._batch(self.batches[request.match_info["id"]]))

    async def _cancel_batch(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        batch["canceled"] = True
        return web.json_response(self._batch(batch))

    async def _batch_results(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        for entry in reversed(batch["entries"]):  # any order is allowed
            if entry["custom_id"] not in batch["outcomes"]:  # a second reading gives the same and costs nothing
                batch["outcomes"][entry["custom_id"]] = self._batch_result(entry, batch["canceled"])
        results = [{"custom_id": key, "result": result} for key, result in batch["outcomes"].items() if result]
        lines = (json.dumps(result) + "\n" for result in results)
        return web.Response(body="".join(lines).encode(), content_type="application/x-jsonl")

    def _batch_result(self, entry: dict[str, Any], is_canceled: bool) -> dict[str, Any] | None:
        config, body = self.config, entry["params"]
        prompt = prompt_id(body)
        share = draw(config.seed, "batch", prompt, self.stats.batch_entries[entry["custom_id"]])
        api_error = {"type": "error", "error": {"type": "api_error", "message": "Internal server error"}}
        if is_canceled:
            return {"type": "canceled"}
        if share < config.rate_batch_missing:
            return None
        if share < config.rate_batch_missing + config.rate_batch_errored:
            return {"type": "errored", "error": api_error | {"request_id": "req_batch"}}
        if share < config.rate_batch_missing + config.rate_batch_errored + config.rate_batch_expired:
            return {"type": "expired"}
        message = self.message(body, prompt, self._cached_usage(body)[0])
        self._account(prompt, message)
        return {"type": "succeeded", "message": message}

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
