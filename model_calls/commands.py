"""`cpt calls`: shows what is in a call store, and forgets what failed in it.

cpt calls calls/judge.sqlite
cpt calls forget calls/judge.sqlite --failed
"""

from collections import Counter
from pathlib import Path
from typing import Any

import click
import yaml

from model_calls.call import Reply
from model_calls.errors import clear_errors, was_cut_off
from model_calls.online import USAGE_KINDS
from model_calls.store import open_store


def _is_there(_context: click.Context, _parameter: click.Parameter, path: Path) -> Path:
    # without the usage line of click, which names `cpt calls show` where `cpt calls` was typed
    if not path.is_file():
        raise click.ClickException(f"{path}: not found, expected a call store, such as calls/judge.sqlite")
    return path


_STORE = click.argument("path", metavar="STORE", type=click.Path(path_type=Path), callback=_is_there)


def model_args(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    """The callback of an option `-M NAME=VALUE`, the value in YAML: arguments of a model, by name."""
    try:
        return {name: yaml.safe_load(value) for name, value in (one.split("=", 1) for one in given)}
    except (ValueError, yaml.YAMLError) as error:
        raise click.BadParameter(f"got {', '.join(given)}, expected NAME=VALUE, the value in YAML") from error


class _Shows(click.Group):
    """`cpt calls STORE` is `cpt calls show STORE`."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


@click.command("calls", cls=_Shows)
def calls_command() -> None:
    """Shows what is in a call store (cpt calls STORE), and forgets what failed in it."""


@calls_command.command("show")
@_STORE
def show_command(path: Path) -> None:
    """Counts the calls in STORE per model, and their tokens by kind.

    Prints one line per model and way of asking, online or batch: tokens in a batch cost half.
    """
    with clear_errors():
        store = open_store(path)
        rows: dict[str, Counter[str]] = {}
        for reply in store.replies():
            row = rows.setdefault(f"{reply.model}, {'batch' if reply.batch else 'online'}", Counter())
            row.update({"calls": 1, "refusals": int(reply.stop_reason == "content_filter"), **reply.usage})
        waiting = len(store.in_batches())
        store.close()
    click.echo(f"{store.path}: {sum(row['calls'] for row in rows.values())} calls")
    if waiting:
        click.echo(f"{waiting} calls are in batches whose results are not in the store yet")
    for name, row in sorted(rows.items()):
        click.echo(f"{name}: {row['calls']} calls, {row['refusals']} refusals")
        for kind in USAGE_KINDS:
            click.echo(f"  {kind:<24} {row[kind]:>14,}")


@calls_command.command("forget")
@_STORE
@click.option("--failed", is_flag=True, help="Those that failed.")
@click.option("--batch", metavar="ID", help="Not replies, but that this batch was sent: the provider has it no more.")
def forget_command(path: Path, failed: bool, batch: str | None) -> None:
    """Deletes replies from STORE, so that the command that asked for them asks again, and pays again.

    Failed are the replies to a judge where none of its attempts gave a verdict; a run marks them when it meets them,
    in a store of any age. Of other replies, those that were refused or cut off.
    """
    if failed == bool(batch):
        raise click.UsageError("expected --failed or --batch ID")
    with clear_errors():
        store = open_store(path)
        if batch:
            known = store.execute("DELETE FROM batches WHERE batch = ? RETURNING batch", batch)
            said = f"{batch} is {'forgotten' if known else 'not in it'}"
        else:
            count, keys = len(store), [reply.key for reply in store.replies() if _has_failed(reply)]
            store.forget(keys)
            said = f"forgot {len(keys)} of {count} replies"
        store.close()
    click.echo(f"{store.path}: {said}")


def _has_failed(reply: Reply) -> bool:
    if "response_schema" in reply.params:  # of a judge, who asks up to three times, so a cut reply may be made good
        return bool(reply.unusable)
    return reply.stop_reason == "content_filter" or was_cut_off(reply.stop_reason)
