"""How a report writes tables, estimates and figures as text."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from judges.interval import MIN_CLUSTERS, Estimate, cluster_note


def tables_markdown(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """A heading and a table for each caption."""
    return [part for caption, rows in tables.items() for part in (f"### {caption}", rows.to_markdown(index=False))]


def image(stem: str, file: str) -> str:
    """A figure by its file name, with its stem as the text that stands for it."""
    return f"![{stem.replace('_', ' ')}]({file})"


def cell(estimate: Mapping[str, Any] | None, digits: int = 2, sign: bool = False) -> str:
    """An estimate of summary.json as a table shows it, see `Estimate.text`; "undefined" for None."""
    return "undefined" if estimate is None else Estimate.from_json(estimate).text(digits, sign)


def interval_note(n_user_prompts: Sequence[int]) -> str:
    """What must be said of the intervals of tables with so many user prompts each; "" where nothing must."""
    notes = {n: cluster_note(n) for n in sorted(set(n_user_prompts))}
    few = [n for n in notes if n < MIN_CLUSTERS]
    shown = [notes[few[-1]]] if few else []
    return "; ".join(shown + [note for n, note in notes.items() if note and n >= MIN_CLUSTERS][:1])


def models_note(models: Mapping[str, Mapping[str, Any]]) -> str:
    """`interval_note` for a benchmark's part of summary.json."""
    return interval_note([part["user_prompts"] for part in models.values() if part.get("user_prompts")])
