"""How a report writes tables, estimates and figures as text."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cpt_tasks.report.run import Run, cluster_count, notes_of
from judges.interval import NAN, Estimate, cluster_note
from rubrics.files import running_command, write_whole


def tables_markdown(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """A heading and a table for each caption."""
    return [part for caption, rows in tables.items() for part in (f"### {caption}", rows.to_markdown(index=False))]


def table(rows: Sequence[tuple[object, ...]], *columns: str) -> str:
    """Rows as a Markdown table; numbers stand as they are, where tabulate would write the text 1.000 as 1."""
    return str(pd.DataFrame(rows, columns=list(columns)).to_markdown(index=False, disable_numparse=True))


def image(stem: str, file: str) -> str:
    """A figure by its file name, with its stem as the text that stands for it."""
    return f"![{stem.replace('_', ' ')}]({file})"


def cell(estimate: Mapping[str, Any] | None, digits: int = 2, sign: bool = False) -> str:
    """An estimate of summary.json as a table shows it, see `Estimate.text`; "undefined" for None."""
    return "undefined" if estimate is None else Estimate.from_json(estimate).text(digits, sign)


def cells(metrics: Mapping[str, Any], in_points: Container[str] = ()) -> dict[str, str]:
    """`cell` of each estimate, by name; with one digit of those in score points, else with two."""
    return {name: cell(estimate, 1 if name in in_points else 2) for name, estimate in metrics.items()}


def number(value: float | None, digits: int = 3) -> str:
    """A number without an interval, "undefined" for None."""
    return Estimate(NAN if value is None else value).text(digits)


def json_of(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    """Estimates as summary.json holds them, by name."""
    return {str(name): estimate.to_json() for name, estimate in estimates.items()}


def counted(counts: Mapping[str, int]) -> str:
    """`a 2, b 1`, or "none"."""
    return ", ".join(f"{what} {count}" for what, count in counts.items()) or "none"


def runs_notes(runs: Sequence[Run]) -> list[str]:
    """What must be said of the intervals of a benchmark's runs, and of the runs, a statement each."""
    frames = [run.frame for run in runs]
    counts = {cluster_count(frame) for frame in frames}
    by_rubric = {cluster_count(rows) for frame in frames for _, rows in frame.groupby("rubric")} - counts
    notes = [cluster_note(n) for n in sorted(counts)]
    notes += [f"by rubric, {note}" for n in sorted(by_rubric) if (note := cluster_note(n))]
    remarks = [f"{run.name}: {line}" for run in runs for line in run.remarks]
    return [note for note in (*notes, *notes_of(runs), *remarks) if note]


def write_command(out: Path) -> None:
    """Writes the command that is running into command.txt, without the folders of this machine."""
    write_whole(out / "command.txt", f"{running_command()}\n")
