"""The request that inspect's online path sends to Anthropic for a call, for the batch path to send the same.

Inspect offers no way to see a request before it is sent. The parts come from methods of its provider, which are not
documented but know each model family; a test holds the whole against what the online path sends.
"""

from typing import Any

from inspect_ai.model import ChatMessageSystem, GenerateConfig
from inspect_ai.model._model import collapse_consecutive_messages_for_api
from inspect_ai.model._providers.anthropic import AnthropicAPI, cache_control_param

from model_calls.call import Call

Body = tuple[dict[str, Any], tuple[str, ...]]


async def request_body(call: Call) -> Body:
    """The body of a request, and the beta features that its header names.

    Raises:
        ValueError: If the call is not for Anthropic's own service, or a setting has no place in a batch.
    """
    api = anthropic_api(call)
    config = call.model.config.merge(call.config)
    if config.max_tokens is None:
        config.max_tokens = api.max_tokens_for_config(config)
    if config.extra_headers or config.fallback_models:
        setting = "extra_headers" if config.extra_headers else "fallback_models"
        raise ValueError(f"config.{setting} is set: a batch has no place for it; ask online, or leave it out")
    # also sets the context variable that marks inside messages take their lifetime from
    cache_ttl = api._resolve_cache_ttl(config.merge(GenerateConfig(batch=True))).ttl
    before = [ChatMessageSystem(content=config.system_message)] if config.system_message else []
    turns = collapse_consecutive_messages_for_api([*before, *call.messages], api)
    system, tools, _, messages, automatic = await api.resolve_chat_input(turns, [], config, cache_ttl)
    parameters, extra_body, _, betas = api.completion_config(config)
    body: dict[str, Any] = {"messages": messages, "tools": tools}
    body |= {"system": system} if system else {}
    body |= {"cache_control": cache_control_param(cache_ttl)} if automatic else {}
    body |= parameters
    if api.is_using_thinking(config) and (api.is_claude_4() or api.is_claude_5() or api.is_claude_latest()):
        betas.append("interleaved-thinking-2025-05-14")
    api.apply_thinking_block_binding(body, betas)
    body |= extra_body | (api.extra_body or {})
    return body, tuple(dict.fromkeys(betas))


def anthropic_api(call: Call) -> AnthropicAPI:
    """The provider of a call's model.

    Raises:
        ValueError: If it is not Anthropic's own service.
    """
    api = call.model.api
    if not isinstance(api, AnthropicAPI) or api.service is not None:
        raise ValueError(f"{call.model} has no batches here, only models on Anthropic's own service do: ask it online")
    return api
