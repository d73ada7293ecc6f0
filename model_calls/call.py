"""What is asked of a model, what came back, and the key that says whether two questions are the same."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, GenerateConfig, Model

KEY_VERSION = 1

# how a call is made, not what is asked: these leave the key alone
_TRANSPORT = {
    "adaptive_connections",
    "attempt_timeout",
    "batch",
    "cache",
    "cache_prompt",
    "fail_on_refusal",
    "max_connections",
    "max_retries",
    "stream_idle_timeout",
    "timeout",
}
# by inspect provider: the domain at which its model names mean its own models. At any other address, and of any other
# provider, a name is whatever a server was told to answer to.
OWN_DOMAINS = {
    "anthropic": "anthropic.com",
    "deepseek": "deepseek.com",
    "google": "googleapis.com",
    "grok": "x.ai",
    "mistral": "mistral.ai",
    "moonshot": "moonshot.ai",
    "openai": "openai.com",
    "perplexity": "perplexity.ai",
}
IN_PROCESS = ("hf", "nnterp", "transformer_lens")  # providers that compute here
OWN_SERVERS = ("llama-cpp-python", "ollama", "sglang", "vllm")  # providers that ask a server of the user's
# the address counts by what the provider made of it, see `_foreign_address`
_TRANSPORT_ARGS = {
    "api_key",
    "auth_token",
    "base_url",
    "cache_ttl",
    "default_headers",
    "http_client",
    "max_retries",
    "streaming",
    "timeout",
}
_MEMORY_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def _no_config() -> "GenerateConfig":
    from inspect_ai.model import GenerateConfig  # so late, so that `--help` does not wait for inspect

    return GenerateConfig()


@dataclass(frozen=True)
class Call:
    """One question to one model.

    Attributes:
        model: Inspect model.
        messages: Text messages; pictures, tools and the like are refused.
        config: Settings on top of the model's own. Those of a running inspect task are not seen: repeat them here.
        replicate: Tells apart askings of the same question that are meant to be separate, e.g. repeats of a judge.
    """

    model: "Model"
    messages: "Sequence[ChatMessage]"
    config: "GenerateConfig" = field(default_factory=_no_config)
    replicate: str = "0"

    @cached_property
    def params(self) -> dict[str, Any]:
        """Settings that decide what comes back, JSON types only; transport and extra headers are left out."""
        own, more = (
            config.model_dump(mode="json", exclude_none=True, exclude=_TRANSPORT | {"extra_headers"})
            for config in (self.model.config, self.config)
        )
        return own | more  # as `GenerateConfig.merge`, without its deep copies of both

    @cached_property
    def messages_hash(self) -> str:
        """Hash of roles and texts; cache marks and how a text is cut into blocks of one message are part of neither."""
        return _digest([[message.role, texts(message)] for message in self.messages])

    @cached_property
    def key(self) -> str:
        """Hash of all that decides the reply and of the version of this scheme; 32 hex digits.

        That is the model's name, its arguments (weights, precision, ...), params, extra headers, messages and
        replicate; and the address, unless it is the provider's own: two servers can serve different weights under one
        name. Of arguments, headers and address nothing but this hash is ever written down.
        """
        arguments = {name: value for name, value in self.model.model_args.items() if name not in _TRANSPORT_ARGS}
        headers = self.config.extra_headers or self.model.config.extra_headers or {}
        asked = [str(self.model), arguments, headers, self.params, self.messages_hash, self.replicate]
        address = _foreign_address(self.model)
        return _digest([KEY_VERSION, *asked, *([address] if address else [])])


@dataclass(frozen=True)
class Reply:
    """What came back, as it is kept.

    Attributes:
        key: `Call.key`; so are params, messages_hash and replicate those of the call.
        model: Inspect name of the model asked.
        served_model: Name the provider reported.
        text: Completion; "" where there is none.
        stop_reason: As inspect names it: "stop", "max_tokens", "content_filter" (a refusal), ...
        usage: Tokens by kind (input_tokens, output_tokens, input_tokens_cache_read, ...).
        request_id: The provider's, "" if unknown.
        created: UTC time, ISO 8601.
        attempts: Requests whose reply could not be read, plus this one; in a batch, the round that answered.
        batch: Whether it came through a provider batch, at half the price.
    """

    key: str
    model: str
    served_model: str
    params: Mapping[str, Any]
    messages_hash: str
    replicate: str
    text: str
    stop_reason: str
    usage: Mapping[str, int]
    request_id: str
    created: str
    attempts: int = 1
    batch: bool = False


def texts(message: "ChatMessage") -> str:
    """All text of a message.

    Raises:
        ValueError: If it holds anything but text.
    """
    if message.role == "tool" or (message.role == "assistant" and message.tool_calls):
        raise ValueError(f"message of role {message.role!r}: got a tool call or its result, expected text only")
    if isinstance(message.content, str):
        return message.content
    kinds = sorted({block.type for block in message.content} - {"text"})
    if kinds:
        raise ValueError(f"message of role {message.role!r}: got content of type {kinds}, expected text only")
    return "".join(block.text for block in message.content if block.type == "text")


def provider_of(model: "Model | str") -> str:
    """The provider's name in an inspect name."""
    return str(model).partition("/")[0]


def _foreign_address(model: "Model") -> str | None:
    """Where a model is served, if that tells it from others of its name; None at the provider's own address."""
    api, own = model.api, OWN_DOMAINS.get(provider_of(model))
    if getattr(api, "server_process", None) is not None:
        return None  # inspect serves it itself, on a port that is another in every process
    if provider_of(model).startswith("vllm"):  # its base_url is set with its first request, its own server's too
        return api.connection_key()
    if own is None:
        return api.base_url
    # the client knows what it makes of environment variables; behind a cloud's service the name says which
    client = None if getattr(api, "service", None) else getattr(api, "client", None)
    address = str(getattr(client, "base_url", None) or api.base_url or "").rstrip("/")
    host = urlsplit(address if "//" in address else f"//{address}").hostname or own
    return None if host == own or host.endswith(f".{own}") else address


def _digest(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_name)
    return hashlib.blake2b(canonical.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _name(value: object) -> str:
    return _MEMORY_ADDRESS.sub("", str(value))  # an address differs from process to process
