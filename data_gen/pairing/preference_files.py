"""Writes preference files, JSONL or Parquet, as the rows come.

The two rows of a twin stand next to each other in one file: what parts them is refused.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Protocol

import click

from data_gen.pairing.preference_rows import PreferenceRow

Format = Literal["jsonl", "parquet"]

ROWS_PER_GROUP = 10_000
TEXT_COLUMNS = ("rejected_teacher", "with_rubric", "with_level", "with_rejected_level", "with_wording")
SCORE_COLUMNS = ("with_score_chosen", "with_score_rejected")
COMPOSITION_COLUMNS = (*TEXT_COLUMNS[1:], *SCORE_COLUMNS)
OPTIONAL_COLUMNS = ("chat_template_kwargs", *TEXT_COLUMNS, *SCORE_COLUMNS)


def whole_twins(rows: Iterable[PreferenceRow], where: str) -> Iterator[PreferenceRow]:
    """The rows, as they come, as long as they are whole twins.

    Raises:
        AssertionError: At the first row whose other half does not stand next to it, or is not its mirror image.
    """
    half: PreferenceRow | None = None
    for row in rows:
        if half is not None and (
            row.pair_id != half.pair_id
            or row.chosen != half.rejected
            or row.rejected != half.chosen
            or row.prompt[1] != half.prompt[1]
            or row.prompt[0] == half.prompt[0]
        ):
            raise AssertionError(f"{where}: the twin {half.pair_id} is followed by {row.pair_id}, expected its mirror")
        half = row if half is None else None
        yield row
    if half is not None:
        raise AssertionError(f"{where}: the twin {half.pair_id} has one half, expected two")


def write_preferences(
    folder: Path, name: str, formats: Sequence[Format], rows: Iterable[PreferenceRow], columns: Sequence[str] = ()
) -> int:
    """Writes one file in each format, as the rows come, and returns how many rows; in place once all are written.

    Args:
        folder: Where to; made if there is none.
        name: Of the files, without ending.
        formats: Which.
        rows: Whole twins.
        columns: Those of `OPTIONAL_COLUMNS` that the files have; null where a row has none.

    Raises:
        AssertionError: If a twin is not whole; nothing is left under the names then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    absent = set(OPTIONAL_COLUMNS) - set(columns)
    unfinished = {ending: folder / f"{name}.{ending}.unfinished" for ending in formats}
    count = 0
    try:
        with ExitStack() as stack:
            sinks = [stack.enter_context(_SINKS[ending](path, absent)) for ending, path in unfinished.items()]
            for row in whole_twins(rows, name):
                for sink in sinks:
                    sink.write(row)
                count += 1
        for ending, written in unfinished.items():
            written.replace(folder / f"{name}.{ending}")
    finally:
        for written in unfinished.values():
            written.unlink(missing_ok=True)
    return count


class _Sink(Protocol):
    def __init__(self, path: Path, absent: set[str]) -> None: ...
    def __enter__(self) -> "_Sink": ...
    def __exit__(self, *exception: object) -> None: ...
    def write(self, row: PreferenceRow) -> None: ...


class _Jsonl:
    def __init__(self, path: Path, absent: set[str]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._absent = absent

    def __enter__(self) -> "_Jsonl":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def write(self, row: PreferenceRow) -> None:
        self._file.write(row.model_dump_json(exclude=self._absent) + "\n")


class _Parquet:
    def __init__(self, path: Path, absent: set[str]) -> None:
        self._path, self._absent = path, absent
        self._rows: list[dict[str, Any]] = []
        self._writer: Any = None

    def __enter__(self) -> "_Parquet":
        require_pyarrow()
        return self

    def __exit__(self, *exception: object) -> None:
        self._flush()
        self._writer.close()

    def write(self, row: PreferenceRow) -> None:
        self._rows.append(row.model_dump(mode="json", exclude=self._absent))
        if len(self._rows) == ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        if self._writer is None:
            schema = _parquet_schema(self._absent, self._rows[0] if self._rows else {})
            self._writer = pq.ParquetWriter(self._path, schema, compression="zstd")
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._writer.schema))
        self._rows.clear()


_SINKS: Mapping[Format, type[_Sink]] = {"jsonl": _Jsonl, "parquet": _Parquet}


def require_pyarrow() -> None:
    """Raises click.ClickException, saying what to install, if pyarrow is missing."""
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise click.ClickException("Parquet needs pyarrow: pip install 'cpt-tasks[data]'") from error


def _parquet_schema(absent: set[str], first: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    messages = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    types = {name: pa.string() for name in PreferenceRow.model_fields}
    types |= {name: messages for name in ("prompt", "chosen", "rejected")}
    types |= {name: pa.float64() for name in ("score_chosen", "score_rejected", *SCORE_COLUMNS)}
    types["chat_template_kwargs"] = pa.array([first.get("chat_template_kwargs")]).type  # the same in every row
    return pa.schema([(name, kind) for name, kind in types.items() if name not in absent])
