"""A server on loopback with the OpenAI interface that vLLM and SGLang have: chat completions, one fixed reply."""

import contextlib
from collections.abc import Iterator
from typing import Any

from aiohttp import web
from fake_messages import in_a_thread


@contextlib.contextmanager
def serving(text: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Base URL of a server that answers with `text`, and the bodies that it got."""
    bodies: list[dict[str, Any]] = []

    async def complete(request: web.Request) -> web.Response:
        body = await request.json()
        bodies.append(body)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        about = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": body["model"]}
        return web.json_response(about | {"choices": [choice], "usage": usage})

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", complete)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    with in_a_thread(start()) as runner:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1", bodies
