"""Calls of a Claude model, which the fake Anthropic server answers, and a schema for its replies."""

from typing import Any

from inspect_ai.model import ChatMessageUser, GenerateConfig, Model, ResponseSchema, get_model
from inspect_ai.util import json_schema
from pydantic import BaseModel

from model_calls import Call


class Verdict(BaseModel):
    reason: str
    score: float


SCHEMA = ResponseSchema(name="verdict", json_schema=json_schema(Verdict))


def fake_model(name: str = "anthropic/claude-sonnet-5-5", **config: Any) -> Model:
    return get_model(name, config=GenerateConfig(**({"max_tokens": 1000} | config)), memoize=False)


def calls(numbers: range, model: Model | None = None) -> list[Call]:
    """One call for each number, with it in its text."""
    model = model or fake_model()
    return [Call(model, [ChatMessageUser(content=f"Text {number}.")]) for number in numbers]
