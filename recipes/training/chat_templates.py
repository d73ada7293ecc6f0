"""Repair chat templates that hide the system prompt, so that training and every later use render one and the same text.

A repaired template is saved with the adapter's tokenizer: transformers, inspect, lm-eval and vLLM then render what was
trained. What each family's template does is in README.md; `preflight.py` refuses whatever no repair here helps.
"""

from __future__ import annotations

from typing import Any

from jinja2.exceptions import TemplateError

from training import RecipeError

# Mistral's templates print the system text when the last message is the user's, that is, only without a completion.
# Tying it to the last *user* message gives the same text at inference and keeps it in training.
DROPS_SYSTEM = "loop.last and system_message is defined"
KEEPS_SYSTEM = "(message == user_messages[-1]) and system_message is defined"

# Folding, for templates without a system role: the system text goes to the head of the user turn, a blank line between,
# as Gemma 3 does it by itself. Only for a system turn before a user turn, both plain text; all else is left alone.
FOLDS_SYSTEM = (
    "{%- if messages | length > 1 and messages[0]['role'] == 'system' and messages[1]['role'] == 'user'"
    " and messages[0]['content'] is string and messages[1]['content'] is string %}"
    "{%- set messages = [{'role': 'user', 'content': messages[0]['content'] + '\\n\\n' + messages[1]['content']}]"
    " + messages[2:] %}{%- endif %}"
)

# A switch the caller gives still wins.
SETS_THINKING = "{%- if enable_thinking is not defined %}{%- set enable_thinking = "

_PROBE = [
    {"role": "system", "content": "Probe of the system turn."},
    {"role": "user", "content": "Probe of the user turn."},
    {"role": "assistant", "content": "Probe of the response."},
]


def shows_system(tokenizer: Any) -> bool:
    """Whether the template prints a system turn both in a prompt alone, as at inference, and before a response."""
    try:
        texts = [
            tokenizer.apply_chat_template(_PROBE[:2], tokenize=False, add_generation_prompt=True),
            tokenizer.apply_chat_template(_PROBE, tokenize=False),
        ]
    except TemplateError:
        return False
    return all(_PROBE[0]["content"] in text for text in texts)


def repair_chat_template(tokenizer: Any) -> str | None:
    """What was done to a template that hides the system turn; None if it shows it, or if nothing helps.

    The tokenizer is changed in place. Mistral's templates keep their own place for the system text, so what they render
    for a prompt that ends in a user turn stays as it was; the others are folded.
    """
    template = tokenizer.chat_template
    if not isinstance(template, str) or shows_system(tokenizer):
        return None
    repairs = {}
    if "user_messages" in template:
        repairs["system turn kept"] = template.replace(DROPS_SYSTEM, KEEPS_SYSTEM)
    repairs["system text folded into the user turn"] = FOLDS_SYSTEM + template
    for repair, repaired in repairs.items():
        tokenizer.chat_template = repaired
        if shows_system(tokenizer):
            return repair
    tokenizer.chat_template = template
    return None


def set_thinking(tokenizer: Any, enabled: bool) -> None:
    """Make `enabled` the default of the template's `enable_thinking`, in training and in every later use.

    Raises:
        RecipeError: if the template has no such switch.
    """
    if not leaves_thinking_open(tokenizer):
        raise RecipeError("enable_thinking is set, but the chat template has no such switch; leave it out")
    tokenizer.chat_template = f"{SETS_THINKING}{str(enabled).lower()} %}}{{%- endif %}}{tokenizer.chat_template}"


def leaves_thinking_open(tokenizer: Any) -> bool:
    """Whether the template reads `enable_thinking`, and `set_thinking` was not applied."""
    template = str(tokenizer.chat_template)
    return "enable_thinking" in template and not template.startswith(SETS_THINKING)


def inference_ids(tokenizer: Any, row: dict[str, Any]) -> list[int]:
    """Tokens of a preference row's prompt as a model is asked it, with the row's own settings for the template."""
    options = row.get("chat_template_kwargs") or {}
    return list(
        tokenizer.apply_chat_template(
            row["prompt"], add_generation_prompt=True, tokenize=True, return_dict=True, **options
        )["input_ids"]
    )
