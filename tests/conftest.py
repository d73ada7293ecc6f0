"""Shared fixtures: an offline inspect environment, and models that answer from a function."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from inspect_ai.model import ModelOutput, ModelUsage

ROOT = Path(__file__).parent.parent
# importlib mode puts nothing on the path; the recipe is a folder of scripts, found as `accelerate launch` finds it
sys.path[:0] = [str(ROOT / "recipes"), str(ROOT / "recipes" / "experiments"), str(ROOT / "tests" / "fakes")]

# read when huggingface_hub is imported, which happens at collection: with the hub, a local model waits for it a minute
os.environ["HF_HUB_OFFLINE"] = "1"

# a slow machine is no counterexample
settings.register_profile("patient", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("patient"), max_examples=100)
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSPECT_LOG_DIR", str(tmp_path_factory.mktemp("logs")))
        patch.setenv("INSPECT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("INSPECT_DISPLAY", "none")
        for name in [name for name in os.environ if name.endswith("_API_KEY") or name.startswith("INSPECT_EVAL_")]:
            patch.delenv(name)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that the processes of a run end together."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/recipes/test_dpo"))


@pytest.fixture
def in_own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In an empty folder: a call store lies in the working folder by default."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    """An empty call store."""
    from model_calls import open_store

    opened = open_store(tmp_path / "calls.sqlite")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
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


@pytest.fixture
def anthropic_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A fake Anthropic server that the provider finds by itself."""
    from fake_anthropic import FakeAnthropic

    # a model made in an earlier test would ask that test's server
    monkeypatch.setattr("inspect_ai.model._model._models", {})
    with FakeAnthropic().running() as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        # inspect keeps what it learnt of a rate limit under the API key, for the life of the process
        monkeypatch.setenv("ANTHROPIC_API_KEY", f"fake-{server.url}")
        yield server
