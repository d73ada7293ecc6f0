"""Shows what is in a call store.

cpt calls calls.jsonl --compact
"""

from collections import Counter
from pathlib import Path

import click

from model_calls.online import USAGE_KINDS
from model_calls.store import StoreLockedError, open_store


@click.command("calls")
@click.argument("path", metavar="STORE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--compact", is_flag=True, help="First drop lines that a newer one of the same key replaced.")
def calls_command(path: Path, compact: bool) -> None:
    """Counts the calls in STORE per model, and their tokens by kind.

    Prints one line per model and way of asking, online or batch: tokens in a batch cost half.
    """
    try:
        store = open_store(path)
    except (StoreLockedError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    try:
        if compact:
            click.echo(f"{store.compact()} lines dropped")
        rows: dict[tuple[str, str], Counter[str]] = {}
        for reply in store.replies():
            row = rows.setdefault((reply.model, "batch" if reply.batch else "online"), Counter())
            row.update({"calls": 1, "refusals": int(reply.stop_reason == "content_filter"), **reply.usage})
    finally:
        store.close()
    click.echo(f"{path}: {sum(row['calls'] for row in rows.values())} calls, {path.stat().st_size / 1e6:.1f} MB")
    for (model, way), row in sorted(rows.items()):
        click.echo(f"{model}, {way}: {row['calls']} calls, {row['refusals']} refusals")
        for kind in USAGE_KINDS:
            click.echo(f"  {kind:<24} {row[kind]:>14,}")
