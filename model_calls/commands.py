"""Shows what is in a call store.

cpt calls calls/judge.sqlite
"""

from collections import Counter
from pathlib import Path

import click

from model_calls.errors import clear_errors
from model_calls.online import USAGE_KINDS
from model_calls.store import open_store


@click.command("calls")
@click.argument("path", metavar="STORE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def calls_command(path: Path) -> None:
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
