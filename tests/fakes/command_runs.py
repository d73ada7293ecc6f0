"""Commands run in this process, and the JSON that they write."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner


def succeeds(command: Any, *arguments: object) -> str:
    """What a command prints."""
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def fails(command: Any, *arguments: object) -> str:
    """What a command prints, on one line, that refuses its input in a sentence."""
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert done.exit_code != 0 and "Traceback" not in done.output, done.output
    return done.output.replace("\n", " ")


def strict_json(path: Path) -> Any:
    """The content of a JSON file; nan is none."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
