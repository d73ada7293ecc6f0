"""Reads judged responses of teachers into one frame.

A row is a response: the columns of `COLUMNS`. `where` is its place, `score` 0-100. The judge of all of them is the
same; rows of an edited rubric are left out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from data_gen.responses import Problems, iter_responses
from rubrics import Rubric

COLUMNS = ["where", "writer", "rubric", "rubric_hash", "level", "user_prompt_id", "score", "response", "judge"]
LeftOut = dict[str, Counter[str]]


def read_rows(paths: Iterable[Path], rubrics: Mapping[str, Rubric]) -> tuple[pd.DataFrame, LeftOut]:
    """The judged responses of files by writer, and what was left out, by where and why.

    Rows that are bad or unjudged are said on stderr, counted and left out. `rubrics` by id.

    Raises:
        ValueError: If a file is missing, no row is judged, or rows have different judges.
    """
    problems = Problems()
    rows = pd.DataFrame(_teacher_rows(paths, rubrics, problems), columns=COLUMNS)
    if rows.empty:
        raise ValueError(f"no judged response among {problems.counts.total()} rows; judge them: cpt verify --keep all")
    rows = rows.sort_values("writer", kind="stable", ignore_index=True)
    _check_same_judge(rows)
    return rows, {"responses files": problems.counts}


def _teacher_rows(
    paths: Iterable[Path], rubrics: Mapping[str, Rubric], problems: Problems
) -> Iterator[tuple[Any, ...]]:
    for where, row in iter_responses(paths, rubrics, problems):
        if row.judgment is None:
            problems.add("unjudged", f"{where}: no judgment, expected one; judge the rows with `cpt verify --keep all`")
            continue
        judge = f"{row.judgment.judge} (judge version {row.judgment.prompt_version})"
        about = (row.rubric, row.rubric_hash, str(row.level), row.user_prompt_id)
        yield where, row.teacher, *about, row.judgment.score, row.response, judge


def _check_same_judge(rows: pd.DataFrame) -> None:
    expected = rows["judge"].iloc[0]
    odd = rows[rows["judge"] != expected]
    if len(odd):
        where, rubric, got = odd.iloc[0][["where", "rubric", "judge"]]
        raise ValueError(
            f"{where}: judge of {rubric!r} is {got}, expected {expected} as in the rows before; different judges "
            "cannot stand in one report"
        )
