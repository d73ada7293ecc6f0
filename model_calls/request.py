"""The request that inspect's online path sends to Anthropic for a call, for the batch path to send the same.

Inspect offers no way to see a request before it is sent, so it is made to send it into a transport that keeps it. So
the two are the same by construction, whatever the model family needs.
"""

import json
from copy import copy
from typing import Any

import httpx2

from model_calls.call import Call
from model_calls.inspect_private import anthropic_client, transcript_dropped

Body = tuple[dict[str, Any], tuple[str, ...]]


class _Captured(BaseException):
    """The request, on its way up. No `Exception`, so that neither the client nor inspect takes it for a failure."""

    def __init__(self, request: httpx2.Request):
        self.request = request


class _Capturing(httpx2.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raise _Captured(request)


async def request_body(call: Call) -> Body:
    """The body of a request, and the beta features that its header names.

    Raises:
        ValueError: If the call is not for Anthropic's own service, or a setting has no place in a batch.
    """
    client = anthropic_client(call.model)
    config = call.model.config.merge(call.config)
    for setting in ("extra_headers", "fallback_models"):
        if getattr(config, setting):
            raise ValueError(f"config.{setting} is set: a batch has no place for it; ask online, or leave it out")
    model = copy(call.model)
    model.api = copy(model.api)
    async with httpx2.AsyncClient(transport=_Capturing()) as http_client:
        model.api.client = client.with_options(http_client=http_client, max_retries=0)  # type: ignore[attr-defined]
        try:
            with transcript_dropped():
                await model.generate(list(call.messages), config=call.config, cache=False)
        except _Captured as captured:
            body = json.loads(await captured.request.aread())
            body.pop("stream", None)  # a batch has no such thing
            betas = captured.request.headers.get("anthropic-beta", "")
            return body, tuple(filter(None, betas.split(",")))
    raise AssertionError(f"{call.model}: inspect answered without a request")
