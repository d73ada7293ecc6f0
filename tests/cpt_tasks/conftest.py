"""Logs of `rubric_adherence`, each made once."""

from collections.abc import Callable
from typing import Any

import pytest
from students import evaluated, follows

from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence


@pytest.fixture(scope="session")
def log_of(mock_model: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The path of a log of a student, on four user prompts a level of `broadcast` unless parameters say otherwise.

    A test that changes a log changes a copy.
    """
    made: dict[tuple[Any, ...], str] = {}

    def log_of(name: str = "student", reply: Callable[[list[Any]], str] = follows, **parameters: Any) -> str:
        key = (name, reply, *sorted(parameters.items()))
        if key not in made:
            settings = {"rubrics": "broadcast", "judge": "measured", "limit_per_cell": 4} | parameters
            options = {"max_connections": 10, "log_dir": str(tmp_path_factory.mktemp("log"))}
            made[key] = evaluated(rubric_adherence(**settings), mock_model(reply, name=name), **options).location
        return made[key]

    return log_of
