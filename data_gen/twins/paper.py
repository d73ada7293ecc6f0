"""The responses that the paper released, as teacher responses: the source of `cpt twins --from-paper FILE`.

A row has a user prompt, a rubric, a qualifier (the level asked for), a response and the model that wrote it:

    {"prompt": …, "rubric": "The Rococo Reviewer …", "qualifier": "50/100 score", "response": …, "model": …}

Source: arXiv 2506.11702, `vicgalle/creative-rubrics` on the hub. `rubric` is the text of a rubric, or its title; the
four of the paper stand for the rubrics of film photography here, which were written anew. Nobody scored these
responses: the level is the one asked for, as in the paper.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from data_gen.responses import Problems, TeacherResponse, content_id
from rubrics import Rubric, ScoreLevel
from rubrics.files import read_jsonl

COLUMNS = ("prompt", "rubric", "qualifier", "response", "model")
EXPECTED = "expected a JSONL or Parquet file, or the id of a data set on the hub"
# what the titles of the paper's rubrics have and no other has
TITLES = {
    "chaos cinema": "film_dada",
    "rococo": "film_rococo",
    "esoteric": "film_esoteric",
    "creative chaos": "film_unconventional",
}
QUALIFIERS = {
    "low": ScoreLevel.LOW,
    "50/100 score": ScoreLevel.MODERATE,
    "moderate": ScoreLevel.MODERATE,
    "high": ScoreLevel.EXTREMELY_HIGH,
    "extremely high": ScoreLevel.EXTREMELY_HIGH,
}


def responses_of_paper(source: str, rubrics: Mapping[str, Rubric], problems: Problems) -> Iterator[TeacherResponse]:
    """One response without a judgment per row, in the order of the rows.

    Named in `problems` and left out are rows without one of the columns as a text ("bad_row"), with another qualifier
    ("unknown_qualifier"), of a rubric that is none of the paper's, nor the id of one here ("unknown_rubric"), and rows
    that stand there twice ("repeated_row"). Ids are hashes, so they follow the content. The source is a JSONL file,
    packed with gzip or not, a Parquet file, or the id of a data set on the hub, all of whose splits are read.

    Raises:
        ValueError: If there is no such file or data set, or it is broken.
    """
    hashes = {name: rubric.hash for name, rubric in rubrics.items()}  # slow to take for every row
    seen: set[str] = set()
    for where, row in _rows(source, problems):
        if empty := [name for name in COLUMNS if not isinstance(row.get(name), str) or not row[name].strip()]:
            got = f"got {repr(row.get(empty[0]))[:60]}"
            problems.add("bad_row", f"{where}: {empty[0]}: {got}, expected a text; columns are {', '.join(COLUMNS)}")
            continue
        level = QUALIFIERS.get(row["qualifier"].strip().casefold())
        title = row["rubric"].strip().partition("\n")[0].strip()
        rubric = next((ours for words, ours in TITLES.items() if words in title.casefold()), title)
        response_id = content_id(*(row[name] for name in COLUMNS))
        if level is None:
            expected = ", ".join(map(repr, QUALIFIERS))
            problems.add(
                "unknown_qualifier", f"{where}: qualifier: got {row['qualifier']!r}, expected one of {expected}"
            )
        elif rubric not in hashes:
            got = repr(row["rubric"])[:60]
            expected = f"a rubric of the paper, or the id of one here; such as {', '.join(sorted(TITLES.values()))}"
            problems.add("unknown_rubric", f"{where}: rubric: got {got}, expected {expected}")
        elif response_id in seen:
            problems.add("repeated_row", f"{where}: stands there twice, expected each row once; the first stays")
        else:
            seen.add(response_id)
            yield TeacherResponse(
                id=response_id,
                user_prompt_id=content_id(row["prompt"]),
                user_prompt=row["prompt"],
                rubric=rubric,
                rubric_hash=hashes[rubric],
                level=level,
                response=row["response"],
                teacher=row["model"],
                params={"qualifier": row["qualifier"]},
            )


def _rows(source: str, problems: Problems) -> Iterator[tuple[str, Mapping[str, Any]]]:
    path = Path(source)
    if not path.is_file():
        yield from _rows_of_hub(source)
    elif path.suffix == ".parquet":
        try:
            table = pl.read_parquet(path)
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"{path}: {EXPECTED} ({' '.join(str(error).split())[:200]})") from error
        for number, row in enumerate(table.iter_rows(named=True), start=1):
            yield f"{path}:{number}", row
    else:
        for number, row in read_jsonl(path, skip=lambda message: problems.add("bad_row", message)):
            yield f"{path}:{number}", row


def _rows_of_hub(name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise ValueError(f"{name}: no such file; a data set of the hub needs `pip install datasets`") from error
    try:
        splits = load_dataset(name)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name}: {EXPECTED} ({' '.join(str(error).split())[:200]})") from error
    for split, rows in splits.items():
        for number, row in enumerate(rows, start=1):
            yield f"{name} {split}:{number}", row
