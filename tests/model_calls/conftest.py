"""A call store of its own for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_anthropic import FakeAnthropic

from model_calls import CallStore, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CallStore]:
    store = open_store(tmp_path / "calls.sqlite")
    yield store
    store.close()


@pytest.fixture
def server(anthropic_server: FakeAnthropic) -> FakeAnthropic:
    return anthropic_server
