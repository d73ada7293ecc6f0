"""The models that are asked for responses, and the calls that ask them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_gen.generate.questions import Question
from model_calls import Call
from model_calls.call import IN_PROCESS, OWN_SERVERS, chat_of, provider_of

if TYPE_CHECKING:
    from inspect_ai.model import Model

MAX_CONNECTIONS = 64
MAX_TOKENS = 6000  # of a reply: models that think by default spend some thousands; leaves room in a context of 8192
TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Teacher:
    """A model that is asked for responses.

    Attributes:
        model: Inspect model with its settings.
        name: As it stands in rows: without the path of a folder.
        workers: Questions asked at a time; connections are bounded by the model's own settings.
    """

    model: "Model"
    name: str
    workers: int = 2 * MAX_CONNECTIONS

    def call(self, question: Question) -> Call:
        """The call that asks a question; the samples of one question are separate calls."""
        image = question.picture.data_uri if question.picture else ""
        messages = chat_of(question.system_prompt, question.text, image)
        return Call(self.model, messages, replicate=str(question.sample))


def teacher_of(
    model: str,
    model_args: Mapping[str, Any] | None = None,
    max_connections: int | None = None,
    is_asked: bool = True,
    **settings: Any,
) -> Teacher:
    """A teacher by inspect name, e.g. anthropic/claude-sonnet-5-5, hf/local, openai-api/fleet/MODEL.

    `model_args` are those of inspect's `get_model`: `base_url`, and those of the provider. `max_connections` are
    requests at a time; None for 64, for a local model what its provider takes. One that is not `is_asked`, only known
    by the keys of its calls, needs no API key. `settings` are those of inspect's `GenerateConfig`; one that is None is
    not sent.

    Raises:
        PrerequisiteError: From inspect, if an API key, an address or a package of the provider is missing.
        ValueError: If the provider is unknown.
    """
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.util import AdaptiveConcurrency

    # there the number of connections is a size of batches or of a server's queue, and no rate limit is to be met
    is_local = provider_of(model) in IN_PROCESS + OWN_SERVERS
    connections = max_connections or MAX_CONNECTIONS
    config = GenerateConfig(
        max_connections=max_connections if is_local else None,
        # begins at what was asked for and goes below it while the provider says 429
        adaptive_connections=None if is_local else AdaptiveConcurrency(max=connections, start=connections),
        # as long as so many tokens take at 20 a second: what is cancelled is paid, and not kept
        attempt_timeout=None if is_local else max(TIMEOUT_SECONDS, settings.get("max_tokens", 0) // 20),
        cache_prompt=False,  # else messages that never come again are written to the provider's cache, which costs
        **settings,
    )
    arguments = dict(model_args or {})
    key = {} if is_asked or is_local else {"api_key": "none"}
    bound = get_model(model, config=config, memoize=False, **arguments | key)
    return Teacher(bound, teacher_name(model, arguments), 2 * connections)


def teacher_name(model: str, model_args: Mapping[str, Any]) -> str:
    """The name of a teacher for rows: the inspect name, with folders by their last part only.

    `hf/local` with `model_path=DIR` is `hf/` and the name of DIR; any other name that the user chose stays.
    """
    provider, _, name = model.partition("/")
    if name == "local" and "model_path" in model_args:
        return f"{provider}/{Path(str(model_args['model_path'])).name}"
    parts = [Path(part).name if part.startswith(("/", ".", "~")) else part for part in name.split(":")]
    return f"{provider}/{':'.join(parts)}"
