"""Tests of the recipe, which need the extra `train`."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("trl") else ["test_*.py"]


@pytest.fixture
def here(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: the `workspace` of the module."""
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", ""))  # the command may set it
    return workspace
