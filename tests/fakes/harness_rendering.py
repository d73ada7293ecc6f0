"""How the harnesses around us render a chat: their own code, with a tokenizer and no model."""

from __future__ import annotations

import ast
import logging
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jinja2
import pytest
from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser

Turns = list[dict[str, str]]


def prompts_by_harness(tokenizer: Any, turns: Turns) -> dict[str, str]:
    """The prompt as each harness writes it where nobody sets a switch."""
    return {"inspect hf": by_inspect(tokenizer, turns)} | {
        f"lm_eval {name}": by_lm_eval(name, tokenizer, turns)
        for name in ("huggingface", "vllm_causallms")
        if find_spec("lm_eval")
    }


def by_inspect(tokenizer: Any, turns: Turns) -> str:
    from inspect_ai.model._providers.hf import HuggingFaceAPI

    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser}
    messages = cast(list[ChatMessage], [kinds[turn["role"]](content=turn["content"]) for turn in turns])
    api = object.__new__(HuggingFaceAPI)  # its __init__ loads a model
    api.tokenizer, api.chat_template, api.use_chat_template, api.enable_thinking = tokenizer, None, None, None
    return api.hf_chat(messages, [])


@cache
def method_of(module: str) -> Any:
    """From its source: the module of vllm cannot be imported without vllm."""
    spec = find_spec(f"lm_eval.models.{module}")
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    [method] = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "apply_chat_template"
    ]
    names: dict[str, Any] = {"jinja2": jinja2, "cast": cast, "eval_logger": logging.getLogger(__name__)}
    future = ast.parse("from __future__ import annotations").body
    exec(compile(ast.Module([*future, method], []), spec.origin, "exec"), names)
    return names["apply_chat_template"]


def by_lm_eval(module: str, tokenizer: Any, turns: Turns) -> str:
    model = SimpleNamespace(tokenizer=tokenizer, hf_chat_template=None, enable_thinking=None, chat_template_args={})
    return str(method_of(module)(model, turns))


def set_day(monkeypatch: pytest.MonkeyPatch, day: str) -> None:
    """The day that transformers' templates and ours take for today, YYYY-MM-DD."""
    import datetime

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Clock:
            return cls.fromisoformat(day)

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Clock)
    monkeypatch.setattr("cpt_tasks.rendering.datetime", Clock)
