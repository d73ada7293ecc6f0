"""What is asked of a model, what came back, and the key that says whether two questions are the same."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, ChatMessageUser, GenerateConfig, Model

KEY_VERSION = 1
IN_PROCESS = ("hf", "nnterp", "openvino", "transformer_lens")  # inspect's providers that compute here, and ours
OWN_SERVERS = ("llama-cpp-python", "ollama", "sglang", "vllm")  # those that ask a server of the user's

# settings and arguments of how a call is made, not what is asked: these leave the key alone
_TRANSPORT = set(
    "adaptive_connections attempt_timeout batch cache cache_prompt fail_on_refusal max_connections max_retries "
    "stream_idle_timeout timeout".split()
)
# the address counts by what the provider made of it, see `_foreign_address`
_TRANSPORT_ARGS = set(
    "api_key auth_token base_url cache_ttl default_headers http_client max_retries streaming timeout".split()
)
# by inspect provider: the domain at which its model names mean its own models. At any other address, and of any other
# provider, a name is whatever a server was told to answer to.
_OWN_DOMAINS = {
    "anthropic": "anthropic.com",
    "deepseek": "deepseek.com",
    "google": "googleapis.com",
    "grok": "x.ai",
    "mistral": "mistral.ai",
    "moonshot": "moonshot.ai",
    "openai": "openai.com",
    "perplexity": "perplexity.ai",
}
_MEMORY_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def _no_config() -> "GenerateConfig":
    from inspect_ai.model import GenerateConfig  # so late, so that `--help` does not wait for inspect

    return GenerateConfig()


@dataclass(frozen=True)
class Call:
    """One question to one model; its messages are texts and pictures, without tools and the like.

    `config` holds settings on top of the model's own (those of a running inspect task are not seen). `replicate` tells
    apart askings of the same question that are meant to be separate, e.g. repeats of a judge.
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
        """Hash of roles, texts and pictures.

        Cache marks are no part of it, nor is how a text is cut into blocks of a message without pictures.
        """
        return _digest([[message.role, content_of(message)] for message in self.messages])

    @cached_property
    def key(self) -> str:
        """Hash of all that decides the reply and of the version of this scheme; 32 hex digits.

        That is the model's name, its arguments (weights, precision, ...), params, extra headers, messages and
        replicate; and the address, unless it is the provider's own: two servers can serve different weights under one
        name. Of arguments, headers and address nothing but this hash is ever written down.

        Raises:
            ValueError: If a message holds anything but text and pictures.
        """
        arguments = {name: value for name, value in self.model.model_args.items() if name not in _TRANSPORT_ARGS}
        if weights := _weight_hashes(self.model):
            arguments["weights"] = weights
        headers = self.config.extra_headers or self.model.config.extra_headers or {}
        asked = [name_of(self.model), arguments, headers, self.params, self.messages_hash, self.replicate]
        address = _foreign_address(self.model)
        return _digest([KEY_VERSION, *asked, *([address] if address else [])])

    def reply(self, **answer: Any) -> "Reply":
        """A reply to this call, of the other fields of `Reply`."""
        return Reply(
            key=self.key,
            model=name_of(self.model),
            params=self.params,
            messages_hash=self.messages_hash,
            replicate=self.replicate,
            **answer,
        )


@dataclass(frozen=True)
class Reply:
    """What came back, as it is kept; key, params, messages_hash and replicate are those of the call."""

    key: str
    model: str  # inspect name of the model asked
    served_model: str  # as the provider reported it
    params: Mapping[str, Any]
    messages_hash: str
    replicate: str
    text: str  # "" where there is none
    stop_reason: str  # as inspect names it: "stop", "max_tokens", "content_filter" (a refusal), ...
    usage: Mapping[str, int]  # tokens by kind (input_tokens, output_tokens, input_tokens_cache_read, ...)
    request_id: str  # the provider's, "" if unknown
    created: str  # UTC, ISO 8601
    attempts: int = 1  # requests whose reply could not be read, plus this one; in a batch, the round that answered
    batch: bool = False  # whether it came through a provider batch, at half the price
    unusable: str = ""  # how whoever asked could use neither this nor another attempt, e.g. "malformed_json"


def text_of(message: "ChatMessage") -> str:
    """All text of a message.

    Raises:
        ValueError: If it holds anything but text.
    """
    content = message.content
    has_tools = message.role == "tool" or (message.role == "assistant" and message.tool_calls)
    if has_tools or (not isinstance(content, str) and any(block.type != "text" for block in content)):
        raise ValueError(f"message of role {message.role!r}: got pictures, tools or the like, expected text only")
    return content if isinstance(content, str) else "".join(block.text for block in content if block.type == "text")


def content_of(message: "ChatMessage") -> str | list[dict[str, Any]]:
    """The text of a message; of a user's with a picture in it, its parts in the form of OpenAI's chat completions.

    Raises:
        ValueError: If it holds anything else.
    """
    blocks = [] if isinstance(message.content, str) else message.content
    if message.role != "user" or {block.type for block in blocks} - {"text"} != {"image"}:
        return text_of(message)
    parts: list[dict[str, Any]] = []
    for block in blocks:
        if block.type == "text":
            parts.append({"type": "text", "text": block.text})
        elif block.type == "image":
            parts.append({"type": "image_url", "image_url": {"url": block.image}})
    return parts


def user_message(text: str, image: str = "") -> "ChatMessageUser":
    """A user's turn: a text, after the image that it is about if there is one, as a URI that holds it."""
    from inspect_ai.model import ChatMessageUser, ContentImage, ContentText

    return ChatMessageUser(content=[ContentImage(image=image), ContentText(text=text)] if image else text)


def chat_of(system_prompt: str | None, text: str, image: str = "") -> "list[ChatMessage]":
    """A user's turn, see `user_message`, after a system turn if there is a text for one."""
    from inspect_ai.model import ChatMessageSystem

    system = [] if system_prompt is None else [ChatMessageSystem(content=system_prompt)]
    return [*system, user_message(text, image)]


def _weight_hashes(model: "Model") -> list[tuple[str, str]]:
    """Name and SHA-256 of what decides a reply in the folder of a model that runs here: trained anew it is another."""
    folder = Path(str(model.model_args.get("model_path") or name_of(model).partition("/")[2]))
    if provider_of(model) not in IN_PROCESS or not folder.is_dir():
        return []
    patterns = ("*.safetensors", "*config.json", "*.jinja")
    files = [(path, path.stat()) for pattern in patterns for path in sorted(folder.glob(pattern))]
    return [(path.name, _sha256(path, about.st_size, about.st_mtime_ns)) for path, about in files]


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def name_of(model: "Model") -> str:
    """`provider/name` as the model was asked for; inspect's vLLM takes an adapter's name off with the first request."""
    return getattr(model.api, "qualified_model_name", None) or str(model)


def provider_of(model: "Model | str") -> str:
    """The provider's name in an inspect name."""
    return str(model).partition("/")[0]


def _foreign_address(model: "Model") -> str | None:
    """Where a model is served, if that tells it from others of its name; None at the provider's own address."""
    api, own = model.api, _OWN_DOMAINS.get(provider_of(model))
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
