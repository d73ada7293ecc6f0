"""A short name of the server."""

import pytest
from fake_anthropic import FakeAnthropic


@pytest.fixture
def server(anthropic_server: FakeAnthropic) -> FakeAnthropic:
    return anthropic_server
