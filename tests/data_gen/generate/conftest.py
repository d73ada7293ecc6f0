"""An empty folder for every run of `cpt generate`, and a mock model in the place of teachers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_gen.generate.teachers import Teacher


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # the default call store lies in the working folder
    monkeypatch.setattr("data_gen.generate.asking.POLL_SECONDS", 0.02)


@pytest.fixture
def mock_teacher(mock_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Puts a mock model that answers with `reply(messages)` in the place of every teacher."""

    def put(reply: Callable[[list[Any]], str], **options: Any) -> Any:
        model = mock_model(reply, **options)
        teacher = Teacher(model, "mockllm/t", workers=8)
        monkeypatch.setattr("data_gen.generate.command.teacher_of", lambda *_, **settings: teacher)
        return model

    return put
