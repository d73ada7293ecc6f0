"""The console command `cpt`: everything that is neither `inspect`, `lm_eval` nor `accelerate`.

Subcommands come from the entry points `cpt_commands` and are imported only when called, so that the folders they live
in need not import one another. An entry "rubric draft" is the command `cpt rubric draft`.
"""

import atexit
import gc
from importlib.metadata import EntryPoint, entry_points

import click

_GROUPS = {
    "adapter": "Check trained adapters.",
    "judge": "Audit, calibrate and compare judges; forecast and halve what they cost.",
    "rubric": "Write, check, import and export rubrics.",
}


class _LazyGroup(click.Group):
    """The entries whose names begin with `prefix`, as commands and, one word further, groups."""

    prefix = ""

    def _found(self) -> dict[str, EntryPoint]:
        entries = entry_points(group="cpt_commands")
        return {entry.name.removeprefix(self.prefix): entry for entry in entries if entry.name.startswith(self.prefix)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({name.split(" ")[0] for name in self._found()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = self._found()
        if cmd_name in found:
            command = found[cmd_name].load()
            return command if isinstance(command, click.Command) else None
        if cmd_name not in self.list_commands(ctx):
            return None
        group = _LazyGroup(name=cmd_name, help=_GROUPS[cmd_name])
        group.prefix = f"{self.prefix}{cmd_name} "
        return group


@click.command(cls=_LazyGroup)
@click.version_option(package_name="cpt-tasks")
def main() -> None:
    """Configurable preference tuning: rubrics, data, judges and reports.

    Benchmarks run with `inspect eval`, training with `accelerate`.
    """
    # the hundred thousands of objects that inspect and the providers' clients make at import are never garbage: looking
    # through them time and again, and once more at the end, took a third of the time of a short command
    gc.set_threshold(10_000)
    atexit.register(gc.freeze)
