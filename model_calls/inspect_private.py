"""The private names of inspect-ai (0.3.285 to 0.4) that we use, each with its reason: where to look on an upgrade."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

# printed by inspect without a traceback; raised for a missing key
from inspect_ai._util.error import PrerequisiteError as PrerequisiteError

if TYPE_CHECKING:
    import anthropic
    import httpx2
    from inspect_ai.model import ChatMessage, Model

    from model_calls.call import Call


def command_folder() -> Path:
    """The folder in which the command was given: that of relative paths in its arguments.

    Inspect changes into the folder of a file that a task or scorer is loaded from while it makes one, and keeps where
    it was in variables only (`_eval.loader`): `root_dir` of `create_tasks`, and a `chdir_python` of `scorer_from_spec`.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "inspect_ai._eval.loader":
            if frame.f_code.co_name == "create_tasks":
                return Path(frame.f_locals["root_dir"])
            if before := getattr(frame.f_locals.get("create_cm"), "_old_cwd", None):
                return Path(before[0])
        frame = frame.f_back
    return Path.cwd()


def sample_name() -> str:
    """Id and epoch of the sample that runs; "" outside one (`log._samples`: only solvers are given these)."""
    from inspect_ai.log._samples import sample_active

    active = sample_active()
    return f"{active.sample.id} {active.epoch}" if active else ""


@contextmanager
def transcript_dropped() -> Iterator[None]:
    """Within a sample nothing; outside one, inspect's transcript is thrown away at the end.

    Inspect would keep every prompt and reply in memory there, in a transcript that nobody reads (`log._transcript`).
    """
    from inspect_ai.log import Transcript
    from inspect_ai.log._transcript import _transcript

    if _transcript.get() is not None:
        yield
        return
    token = _transcript.set(Transcript())
    try:
        yield
    finally:
        _transcript.reset(token)


def anthropic_client(model: "Model") -> "anthropic.AsyncAnthropic":
    """The client of a model on Anthropic's own service, with key and address as inspect resolved them.

    Raises:
        ValueError: If it is not on Anthropic's own service, the only one with batches here.
    """
    from inspect_ai.model._providers.anthropic import AnthropicAPI

    if not isinstance(model.api, AnthropicAPI) or model.api.service is not None:
        raise ValueError(f"{model} has no batches here, only models on Anthropic's own service do: ask it online")
    client: anthropic.AsyncAnthropic = model.api.client  # type: ignore[assignment]  # of other services elsewhere
    return client


class _Captured(BaseException):
    """A request on its way up. No `Exception`, so that neither the client nor inspect takes it for a failure."""


async def request_body(call: "Call") -> tuple[dict[str, Any], tuple[str, ...]]:
    """The request that inspect's online path sends to Anthropic for a call: its body, and its beta features.

    Inspect offers no way to see a request before it is sent, so it is made to send it into a transport that keeps it
    (`Model.api.client`): the same by construction, whatever the model family needs.

    Raises:
        ValueError: If the call is not for Anthropic's own service, or a setting has no place in a batch.
    """
    import httpx2

    async def capture(request: "httpx2.Request") -> "httpx2.Response":
        raise _Captured(request)

    client = anthropic_client(call.model)
    config = call.model.config.merge(call.config)
    for setting in ("extra_headers", "fallback_models"):
        if getattr(config, setting):
            raise ValueError(f"config.{setting} is set: a batch has no place for it; ask online, or leave it out")
    model = copy(call.model)
    model.api = copy(model.api)
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(capture)) as http_client:
        model.api.client = client.with_options(http_client=http_client, max_retries=0)  # type: ignore[attr-defined]
        try:
            with transcript_dropped():
                await model.generate(list(call.messages), config=call.config, cache=False)
        except _Captured as captured:
            [request] = captured.args
            body = json.loads(await request.aread())
            body.pop("stream", None)  # a batch has no such thing
            return body, tuple(filter(None, request.headers.get("anthropic-beta", "").split(",")))
    raise AssertionError(f"{call.model}: inspect answered without a request")


def local_chat(api: Any, messages: Sequence["ChatMessage"]) -> str | None:
    """A chat as a local transformers model reads it (inspect's provider `hf`); None for models of other providers."""
    return str(api.hf_chat(list(messages), [])) if hasattr(api, "hf_chat") else None


def local_template(api: Any) -> str:
    """The chat template that `local_chat` renders with: of `-M chat_template=`, or the tokenizer's."""
    given = getattr(api, "chat_template", None)
    return given if isinstance(given, str) else str(api.tokenizer.chat_template)
