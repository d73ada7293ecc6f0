"""Tables and figures as report.md shows them."""

from collections.abc import Mapping

import pandas as pd


def tables_markdown(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """A heading and a table for each caption."""
    return [part for caption, rows in tables.items() for part in (f"### {caption}", rows.to_markdown(index=False))]


def image(stem: str, file: str) -> str:
    """A figure by its file name, with its stem as the text that stands for it."""
    return f"![{stem.replace('_', ' ')}]({file})"
