"""Commands run in this process, and the files that they read and write."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from click.testing import CliRunner, Result

from cpt_tasks.cli import main
from rubrics.files import read_jsonl, write_jsonl


def cpt(*arguments: object, code: int = 0) -> Result:
    """What comes of a command line that begins with `cpt`, with its words as the program's own arguments."""
    with patch.object(sys, "argv", ["/bin/cpt", *map(str, arguments)]):
        return ran(main, *arguments, code=code)


def ran(command: Any, *arguments: object, code: int = 0) -> Result:
    """What comes of a command that ends by itself, with this exit code."""
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert done.exit_code == code and isinstance(done.exception, SystemExit | None), done.output
    return done


def succeeds(command: Any, *arguments: object) -> str:
    """What a command prints."""
    return ran(command, *arguments).output


def fails(command: Any, *arguments: object) -> str:
    """What a command prints, on one line, that refuses its input in a sentence."""
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert done.exit_code != 0 and isinstance(done.exception, SystemExit), done.output
    return done.output.replace("\n", " ")


def inspect(*arguments: object, cwd: Path, code: int = 0, **environment: str) -> str:
    """What the command `inspect` prints, on one line, in a process of its own."""
    command = [str(Path(sys.executable).with_name("inspect")), *map(str, arguments), "--display", "plain"]
    done = subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def strict_json(path: Path) -> Any:
    """The content of a JSON file; nan is none."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file."""
    path.read_text(encoding="utf-8")  # of whole characters
    return [row for _, row in read_jsonl(path)]


def write_rows(path: Path, rows: Iterable[Any]) -> Path:
    """Writes a JSONL file."""
    write_jsonl(path, rows)
    return path
