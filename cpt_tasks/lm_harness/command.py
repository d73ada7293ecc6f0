"""The command `cpt-lm-eval`: lm_eval's own, with our tasks included and the chat template applied.

With our tasks only, it skips the scan of lm_eval's own and checks the names in --metadata.
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cpt_tasks.lm_harness import include_path


def main() -> None:
    """Runs lm_eval with the arguments of the command line."""
    if sys.argv[1:] == ["--include-path"]:
        print(include_path())
        return
    if find_spec("lm_eval") is None:
        sys.exit("cpt-lm-eval: lm_eval is not installed, expected the extra: pip install 'cpt-tasks[lm-eval]'")
    from cpt_tasks.lm_harness.documents import CannotRunError, check_names
    from cpt_tasks.lm_harness.lm_eval_private import command_line, skip_other_tasks

    command = command_line()
    arguments = command.parse_args()
    try:
        if hasattr(arguments, "include_path"):
            arguments = included(arguments)
        if getattr(arguments, "command", None) == "run":
            ours = {"cpt", *(path.stem for path in Path(include_path()).glob("*.yaml"))}
            if arguments.tasks and set(arguments.tasks) <= ours:
                check_names(arguments.metadata or {})
                skip_other_tasks()
        command.execute(arguments)
    except CannotRunError as error:
        sys.exit(f"cpt-lm-eval: {error}")


def included(arguments: argparse.Namespace) -> argparse.Namespace:
    """The arguments with our tasks beside a folder of the user's, and the chat template unless a file may set it."""
    theirs = arguments.include_path
    changes: dict[str, Any] = {"include_path": [include_path(), theirs] if theirs else include_path()}
    if getattr(arguments, "config", "") is None:
        changes["apply_chat_template"] = getattr(arguments, "apply_chat_template", True)
    return argparse.Namespace(**(vars(arguments) | changes))
