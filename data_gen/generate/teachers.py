"""The models that are asked for responses, and the calls that ask them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_gen.generate.plan import Question
from data_gen.generate.teacher_prompts import rubric_block, teacher_messages
from data_gen.responses import CONTROL
from model_calls.call import IN_PROCESS, OWN_SERVERS, provider_of
from rubrics import Rubric, ScoreLevel

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, GenerateConfig, Model

    from model_calls import Call

CHARACTERS_PER_TOKEN = 4
MAX_CONNECTIONS = 64
TIMEOUT_SECONDS = 300
LOCAL_TIMEOUT_SECONDS = 3600  # a batch on a slow machine; nothing is paid for twice there
MIN_CACHED_CHARACTERS = 1024 * CHARACTERS_PER_TOKEN  # shorter prefixes are not cached by current Claude models


@dataclass(frozen=True)
class TeacherSettings:
    """Settings of all teachers of a run.

    Attributes:
        max_tokens: Upper bound of a reply, thinking included.
        temperature: None sends none: current Claude models refuse it.
        reasoning_effort: As inspect names it; None sends none.
        max_connections: Requests at a time; None for 64, for a local model what its provider takes.
        model_args: Arguments of inspect's `get_model`: `base_url`, and those of the provider.
    """

    max_tokens: int = 1024
    temperature: float | None = None
    reasoning_effort: str | None = None
    max_connections: int | None = None
    model_args: Mapping[str, Any] = field(default_factory=dict)


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
    _blocks: dict[str, str] = field(default_factory=dict, compare=False)  # by rubric id: rendering costs half a call

    def call(self, question: Question) -> "Call":
        """The call that asks a question; the samples of one question are separate calls."""
        from inspect_ai.model import ChatMessageSystem, ChatMessageUser

        from model_calls import Call

        is_cached = self.caches(question)
        messages: list[ChatMessage] = [ChatMessageUser(content=question.user_prompt)]
        if question.system_prompt is not None:
            messages.insert(0, ChatMessageSystem(content=question.system_prompt))
        elif question.level != CONTROL:
            level = ScoreLevel(question.level)
            messages = teacher_messages(self._block(question.rubric), level, question.user_prompt, is_cached)
        return Call(self.model, messages, _config(is_cached), replicate=str(question.sample))

    def caches(self, question: Question) -> bool:
        """Whether the provider is asked to cache the rubric of a question."""
        if question.level == CONTROL or question.system_prompt is not None:
            return False
        return len(self._block(question.rubric)) >= MIN_CACHED_CHARACTERS and str(self.model).startswith("anthropic/")

    def _block(self, rubric: Rubric) -> str:
        if rubric.id not in self._blocks:
            self._blocks[rubric.id] = rubric_block(rubric)
        return self._blocks[rubric.id]


@cache
def _config(is_cached: bool) -> "GenerateConfig":
    from inspect_ai.model import GenerateConfig

    # else a message that never comes again is written to the provider's cache
    return GenerateConfig() if is_cached else GenerateConfig(cache_prompt=False)


def teacher_of(model: str, settings: TeacherSettings) -> Teacher:
    """A teacher by inspect name, e.g. anthropic/claude-sonnet-5-5, hf/local, openai-api/fleet/MODEL.

    Raises:
        PrerequisiteError: From inspect, if a key, an address or a package of the provider is missing.
        ValueError: If the provider is unknown.
    """
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.util import AdaptiveConcurrency

    # there the number of connections is a size of batches or of a server's queue, and no rate limit is to be met
    is_local = provider_of(model) in IN_PROCESS + OWN_SERVERS
    connections = settings.max_connections or MAX_CONNECTIONS
    config = GenerateConfig(
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        reasoning_effort=settings.reasoning_effort,  # type: ignore[arg-type]  # the command checks the choice
        max_connections=settings.max_connections if is_local else None,
        # begins at what was asked for and goes below it while the provider says 429
        adaptive_connections=None if is_local else AdaptiveConcurrency(max=connections, start=connections),
        attempt_timeout=LOCAL_TIMEOUT_SECONDS if is_local else TIMEOUT_SECONDS,
    )
    arguments = dict(settings.model_args)
    bound = get_model(model, config=config, memoize=False, **arguments)
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


def characters(call: "Call") -> int:
    """Characters of the messages of a call."""
    return sum(len(message.text) for message in call.messages)
