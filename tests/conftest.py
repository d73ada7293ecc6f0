"""Shared fixtures: an offline inspect environment, and models that answer from a function."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.model import ModelOutput, ModelUsage

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INSPECT_LOG_DIR", str(tmp_path / "logs"))
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in [name for name in os.environ if name.endswith("_API_KEY") or name.startswith("INSPECT_EVAL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def mock_model() -> Callable[..., Any]:
    """Builds an inspect model that answers with `reply(messages)`; the messages it saw are in `model.seen`."""
    from inspect_ai.model import get_model

    def build(reply: Callable[[list[Any]], str], name: str = "student", stop_reason: str = "stop") -> Any:
        seen: list[list[Any]] = []

        def outputs(messages: list[Any], tools: Any, tool_choice: Any, config: Any) -> ModelOutput:
            seen.append(messages)
            output = ModelOutput.from_content(f"mockllm/{name}", reply(messages), stop_reason=stop_reason)  # type: ignore[arg-type]
            # without usage the mock counts tokens with a table it would download
            output.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
            return output

        model = get_model(f"mockllm/{name}", custom_outputs=outputs, memoize=False)
        model.seen = seen  # type: ignore[attr-defined]
        return model

    return build
