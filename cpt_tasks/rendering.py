"""How a local model reads a chat: a benchmark stops where its template drops a turn, and notes what it adds."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from inspect_ai.model import ChatMessage, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from model_calls.inspect_private import PrerequisiteError, local_chat, local_template
from model_calls.visible import OPENED, THOUGHT_OPENED

PRINTS_TODAY = re.compile(r"""strftime_now\(\s*["'](.*?)["']\s*\)""")


@solver
def check_rendering() -> Solver:
    """Lets a sample pass if the model under test, where it runs here, is shown every turn of it once begun.

    What the template adds goes into the sample's metadata, see `rendering_notes`. Models behind an API or a server
    render their chats where we cannot look, and pass.

    Raises:
        PrerequisiteError: While solving, with the sentence of `rendering_problem`.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        api = get_model().api
        if problem := rendering_problem(api, state.messages):
            raise PrerequisiteError(f"{state.model}: {problem}")
        state.metadata |= rendering_notes(api, state.messages)
        return state

    return solve


def rendering_problem(api: Any, messages: Sequence[ChatMessage]) -> str:
    """What is wrong with a chat as a local transformers model would read it; "" if nothing is, or if it is not one.

    A turn's text may be missing, and a beginning-of-sequence token stand twice, once by the template and once by the
    tokenizer, which training does not do.
    """
    rendered = local_chat(api, messages)
    if rendered is None:
        return ""
    missing = [message.role for message in messages if message.text.strip() not in rendered]
    if missing:
        return (
            f"the chat template leaves out the {missing[0]} turn, so the model would not see what is asked; pass "
            "another with -M chat_template=... (openvino/: -M tokenizer_path=FOLDER), or benchmark an adapter folder "
            "of recipes/dpo_lora.py, whose template is repaired"
        )
    ids = api.tokenizer(rendered, **(api.tokenizer_call_args or {}))["input_ids"]
    if api.tokenizer.bos_token_id is not None and list(ids[:2]) == [api.tokenizer.bos_token_id] * 2:
        return (
            "the chat begins with two beginning-of-sequence tokens, one of the template and one of the tokenizer; pass "
            "-M 'tokenizer_call_args={\"add_special_tokens\": false}'"
        )
    return ""


def rendering_notes(api: Any, messages: Sequence[ChatMessage]) -> dict[str, str]:
    """What the template of a local model adds to a chat; {} if nothing, or if the model is not a local one.

    `template_head` is all that it writes before the first turn's text, in a chat without a system turn; `template_date`
    is today's date as it prints it, which makes the prompt another one tomorrow; `thought_opened` says that the prompt
    ends in the marker that opens a chain of thought.
    """
    rendered = local_chat(api, messages)
    if rendered is None:
        return {}
    notes = {THOUGHT_OPENED: "by the template"} if OPENED.search(rendered) else {}
    if messages[0].role != "system":
        notes["template_head"] = rendered[: rendered.find(messages[0].text.strip())]
    today = datetime.now()
    printed = [
        date for style in PRINTS_TODAY.findall(local_template(api)) if (date := today.strftime(style)) in rendered
    ]
    return notes | ({"template_date": printed[0]} if printed else {})
