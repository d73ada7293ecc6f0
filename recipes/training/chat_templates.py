"""Settle a chat template so that training and every later use render one and the same text, the system prompt included.

A settled template is saved with the adapter's tokenizer: transformers, inspect, lm-eval and vLLM then render what was
trained. What each family's template does is in README.md; `preflight.py` refuses whatever no repair here helps.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from jinja2.exceptions import TemplateError
from trl.data_utils import prepare_multimodal_messages

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

# A switch the caller gives still wins. None counts as not given: inspect and lm-eval's vllm pass it, and Jinja calls it
# defined.
SETS_THINKING = "{%- if enable_thinking is not defined or enable_thinking is none %}{%- set enable_thinking = "
SWITCHES = ("enable_thinking", "thinking", "reasoning_effort")

# Today's date, which another day of training or evaluation would print otherwise, becomes this one: the day that
# Llama's templates fall back to.
PINNED_DATE = date(2024, 7, 26)
_PRINTS_TODAY = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")

_PROBE = [
    {"role": "system", "content": "Probe of the system turn."},
    {"role": "user", "content": "Probe of the user turn."},
    {"role": "assistant", "content": "Probe of the response."},
]


def reads_images(tokenizer: Any) -> bool:
    """Whether it is the processor of a vision-language model, whose template takes messages as lists of parts."""
    return hasattr(tokenizer, "image_processor")


def tokenizer_in(tokenizer: Any) -> Any:
    """The tokenizer of a processor, or the tokenizer itself."""
    return tokenizer.tokenizer if reads_images(tokenizer) else tokenizer


def settle_template(tokenizer: Any, repair: bool, enable_thinking: bool | None) -> tuple[str | None, str | None]:
    """Change the template in place; how it was repaired, and the day that stands for today's (None: for neither).

    Raises:
        RecipeError: if `enable_thinking` is set and the template has no such switch.
    """
    if not reads_images(tokenizer):
        tokenizer.chat_template = tokenizer.get_chat_template()  # one of several, where a tokenizer has them
    repaired = repair_chat_template(tokenizer) if repair else None
    if enable_thinking is not None:
        set_thinking(tokenizer, enable_thinking)
    read_none_as_unset(tokenizer)
    date_pinned = pin_date(tokenizer)
    tokenizer_in(tokenizer).chat_template = tokenizer.chat_template
    return repaired, date_pinned


def probe_texts(tokenizer: Any, **switches: Any) -> list[str]:
    """A prompt alone, as at inference, and before a response; [] if the template refuses them."""
    probe: Any = prepare_multimodal_messages(_PROBE) if reads_images(tokenizer) else _PROBE
    try:
        return [
            tokenizer.apply_chat_template(probe[:2], tokenize=False, add_generation_prompt=True, **switches),
            tokenizer.apply_chat_template(probe, tokenize=False, **switches),
        ]
    except (TemplateError, TypeError):  # the latter for None where a text is expected
        return []


def shows_system(tokenizer: Any) -> bool:
    """Whether the template prints a system turn both in a prompt alone and before a response."""
    texts = probe_texts(tokenizer)
    return bool(texts) and all(_PROBE[0]["content"] in text for text in texts)


def repair_chat_template(tokenizer: Any) -> str | None:
    """What was done to a template that hides the system turn; None if it shows it, or if nothing helps.

    The tokenizer is changed in place. Mistral's templates keep their own place for the system text, so what they render
    for a prompt that ends in a user turn stays as it was; the others are folded, but for those of processors.
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
    return "enable_thinking" in template and SETS_THINKING not in template


def read_none_as_unset(tokenizer: Any) -> None:
    """Make a switch that is passed as None the same as one that is left out, where the template tells them apart."""
    plain = probe_texts(tokenizer)
    for switch in SWITCHES:
        if switch in tokenizer.chat_template and probe_texts(tokenizer, **{switch: None}) != plain:
            unset = f"{{%- if {switch} is none %}}{{%- set {switch} = nowhere_defined %}}{{%- endif %}}"
            tokenizer.chat_template = unset + tokenizer.chat_template


def pin_date(tokenizer: Any) -> str | None:
    """Write `PINNED_DATE` where the template prints today's date; that day as YYYY-MM-DD, None if it prints none."""
    template, count = _PRINTS_TODAY.subn(lambda call: repr(PINNED_DATE.strftime(call[2])), tokenizer.chat_template)
    tokenizer.chat_template = template
    return PINNED_DATE.isoformat() if count else None


def inference_ids(tokenizer: Any, row: dict[str, Any]) -> list[int]:
    """Tokens of a preference row's prompt as a model is asked it, with the row's own settings for the template."""
    options = row.get("chat_template_kwargs") or {}
    rendering = {"add_generation_prompt": True, "tokenize": True, "return_dict": True} | options
    if reads_images(tokenizer):
        return list(tokenizer.apply_chat_template(with_images(row), **rendering)["input_ids"][0])
    return list(tokenizer.apply_chat_template(row["prompt"], **rendering)["input_ids"])


def with_images(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The prompt of a row in parts, with its images in their places."""
    return list(prepare_multimodal_messages(row["prompt"], images=row.get("images")))
