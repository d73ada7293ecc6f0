"""The console command `cpt`: everything that is neither `inspect`, `lm_eval` nor `accelerate`.

Subcommands come from the entry points `cpt_commands` and are imported only when called, so that the folders they live
in need not import one another.
"""

from importlib.metadata import EntryPoint, entry_points

import click


class _LazyGroup(click.Group):
    def _found(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group="cpt_commands")}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._found())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self._found().get(cmd_name)
        command = entry.load() if entry else None
        return command if isinstance(command, click.Command) else None


@click.command(cls=_LazyGroup)
@click.version_option(package_name="cpt-tasks")
def main() -> None:
    """Configurable preference tuning: data and reports.

    Benchmarks run with `inspect eval`, training with `accelerate`.
    """
