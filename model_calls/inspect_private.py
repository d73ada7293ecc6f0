"""The private names of inspect-ai (0.3.285 to 0.4) that we use, each with its reason: where to look on an upgrade."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from inspect_ai._util.error import PrerequisiteError  # printed by inspect without a traceback; raised for a missing key

if TYPE_CHECKING:
    import anthropic
    from inspect_ai.model import ChatMessage, Model

__all__ = ["PrerequisiteError", "anthropic_client", "local_chat", "transcript_dropped"]


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


def local_chat(api: Any, messages: Sequence["ChatMessage"]) -> str | None:
    """A chat as a local transformers model reads it (inspect's provider `hf`); None for models of other providers."""
    return str(api.hf_chat(list(messages), [])) if hasattr(api, "hf_chat") else None
