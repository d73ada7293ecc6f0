"""Rows, headers, grades and weights as people write them in the table of a rubric.

A header is known by its names, in any order. Five grade columns are taken best to worst by what their names mean
("Excellent, Very good, Good, Fair, Poor" are the five grades too); fewer are taken one by one.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rubrics.escapes import unescape
from rubrics.schema import Descriptors

GRADES = tuple(Descriptors.model_fields)
MAX_SLUG = 60  # characters

Separator = Literal["|", "\t"]

# best to worst; the whole part is the grade a name stands for where there are not five columns
_RANKS = {
    -0.5: "outstanding",
    0.0: "excellent|exemplary|exceptional|superior|distinguished",
    0.5: "very good",
    1.0: "good|proficient|strong|accomplished|above average",
    2.0: "fair|satisfactory|average|adequate|acceptable|competent|moderate",
    3.0: "needs improvement|needs work|developing|below average|limited|marginal",
    3.5: "poor|weak|beginning",
    4.0: "unsatisfactory|inadequate|unacceptable|insufficient|fail|failing|failed",
    4.5: "very poor|absent|none",
}
_RANK_OF = {name: rank for rank, names in _RANKS.items() for name in names.split("|")}
_COLUMNS = {
    "criterion": "criterion|criteria|dimension|category|aspect|attribute|element|component|trait|area",
    "weight": "weight|weights|weighting|percent|percentage|share|points|max points",
    "id": "id",
    "description": "description|explanation|definition|what it means",
    "statistic": "statistic|measure",
    "from": "from",
    "to": "to",
}
_COLUMN_OF = {name: column for column, names in _COLUMNS.items() for name in names.split("|")}
_WEIGHT = re.compile(r"(\d+(?:[.,]\d+)?(?:e-?\d+)?)\s*(%|percent|points|pts)?", re.IGNORECASE)
_BOLD = re.compile(r"(?<!\\)\*\*(?=\S)(.+?)(?<=\S)(?<!\\)\*\*")
_BOLD_NAME = re.compile(r"\*\*(?=\S)(.+?)(?<=\S)(?<!\\)\*\*\s*(?:[:–—-]|<br\s*/?>)?\s*(\S.*)")
_EMPHASIS = re.compile(r"([*_]{1,3})([^\s*_](?:[^*_]*[^\s*_\\])?)\1")


@dataclass(frozen=True)
class Header:
    """Columns of a table in their order; `unknown` are those whose name says nothing, with their positions.

    A column is "criterion", "weight", "id", "description", "statistic", "from", "to", a grade, or "" if unknown.
    """

    separator: Separator
    columns: tuple[str, ...]
    unknown: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Weight:
    """A weight as it was written."""

    number: float
    is_percent: bool


@dataclass(frozen=True)
class Title:
    """A criterion's title, and the short name in it of which an id can be made."""

    text: str
    name: str


def separator_of(line: str) -> Separator | None:
    """What parts the cells of a line, if it may be a row: pipes or tabs; a pipe after a backslash is none."""
    if line.lstrip().startswith("|"):
        return "|"
    if "\t" in line.strip():
        return "\t"
    return "|" if re.search(r"(?<!\\)\|", line) else None


def split_row(line: str, separator: Separator) -> list[str]:
    """Cells of a row as they are written, without the spaces around them."""
    if separator == "\t":
        return [cell.strip() for cell in line.strip("\r\n").split("\t")]
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())]
    return cells[bool(cells and not cells[0]) : len(cells) - (len(cells) > 1 and not cells[-1])]


def is_alignment(cells: Sequence[str]) -> bool:
    """Whether a row is the one under a Markdown header: dashes, with colons or without."""
    return bool(cells) and all(re.fullmatch(r":?-+:?", cell) for cell in cells)


def read_cell(cell: str) -> str:
    """Text of a cell without bold marks, without emphasis on the whole of it, escapes read."""
    cell = _BOLD.sub(r"\1", cell)
    whole = _EMPHASIS.fullmatch(cell)
    return unescape(whole.group(2) if whole else cell)


def read_title(cell: str) -> Title:
    """The title in a criterion's cell; what follows a bold name is set off by a colon."""
    found = _BOLD_NAME.fullmatch(cell)
    if found is None:
        text = read_cell(cell)
        return Title(text, text.partition(":")[0])
    name = read_cell(found.group(1).rstrip(": "))
    return Title(f"{name}: {read_cell(found.group(2))}", name)


def plain_name(text: str) -> str:
    """A name for comparison: lower case, without marks, numbering and what stands in brackets; escapes stay."""
    text = re.sub(r"[*_`]+", " ", text.strip()).strip().rstrip(":").strip()
    text = re.sub(r"^(?:\d+|[ivx]+|[a-z])[.)]\s+", "", text, flags=re.IGNORECASE)
    text = re.sub(r"[(\[][^)\]]*[)\]]", " ", text)
    return " ".join(text.replace(" & ", " and ").lower().split())


def grade_rank(text: str) -> float | None:
    """Rank of a grade's name, 0 (excellent) to 4 (unsatisfactory), or None; points beside the name do not matter."""
    name = re.sub(r"[\d%<>≥≤+.,:;=–—-]+|\bto\b|\bpoints?\b", " ", plain_name(text))
    for part in re.split(r"[/|]", name):
        if (rank := _RANK_OF.get(" ".join(part.split()))) is not None:
            return rank
    return None


def grades_of(ranks: Sequence[float]) -> list[str]:
    """Grade of each rank: by order where there are five different ones, else each by itself."""
    if len(ranks) == len(set(ranks)) == len(GRADES):
        return [GRADES[sorted(ranks).index(rank)] for rank in ranks]
    return [GRADES[min(max(int(rank), 0), 4)] for rank in ranks]


def read_header(line: str) -> Header | None:
    """The header of a table of criteria or measures, or None if the line is none.

    A header names a criterion and a weight or grade, or three grades (the first column is then the criterion, whatever
    it is called), or an id and a statistic.
    """
    separator = separator_of(line)
    if separator is None:
        return None
    cells = split_row(line, separator)
    ranks = [grade_rank(cell) for cell in cells]
    grades = iter(grades_of([rank for rank in ranks if rank is not None]))
    columns = [_column(cell) if rank is None else next(grades) for cell, rank in zip(cells, ranks, strict=True)]
    n_grades = len(set(columns) & set(GRADES))
    if n_grades >= 3 and "criterion" not in columns and columns[0] == "":
        columns[0] = "criterion"
    named = "criterion" in columns and (n_grades > 0 or "weight" in columns)
    if not named and not {"id", "statistic"} <= set(columns):
        return None
    repeated = {place for place, column in enumerate(columns) if column in columns[:place]}
    columns = ["" if place in repeated else column for place, column in enumerate(columns)]
    unknown = tuple((place, cell) for place, cell in enumerate(cells) if not columns[place] and cell)
    return Header(separator, tuple(columns), unknown)


def read_weight(text: str) -> Weight | None:
    """The weight in a cell such as "20%", "20" or "0.2", or None if there is none."""
    found = _WEIGHT.fullmatch(read_cell(text).strip())
    if found is None:
        return None
    return Weight(float(found.group(1).replace(",", ".")), found.group(2) is not None)


def in_percent(weights: Sequence[Weight]) -> tuple[list[float], str]:
    """Weights in percent, and a sentence on how they were read if it was not as they stand.

    Numbers that are all 1 or less and carry no percent sign are fractions of 1.
    """
    numbers = [weight.number for weight in weights]
    if not numbers or any(weight.is_percent for weight in weights) or max(numbers) > 1:
        return numbers, ""
    percent = [round(number * 100, 9) for number in numbers]
    shown = ", ".join(f"{number:g}" for number in numbers)
    return percent, f"weights {shown} were read as fractions of 1: {', '.join(f'{number:g}' for number in percent)}%"


def as_slug(text: str) -> str:
    """The text itself if it can be an id, else one made of it: lower case, no accents, the rest as underscores.

    Empty if nothing is left of it.
    """
    if re.fullmatch(r"[a-z][a-z0-9_]*", text):
        return text
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower().replace("'", "")
    words = re.sub(r"[^a-z0-9]+", "_", folded).strip("_")
    if len(words) > MAX_SLUG:
        words = words[: MAX_SLUG + 1].rpartition("_")[0] or words[:MAX_SLUG]
    return f"n{words}" if words[:1].isdigit() else words


def _column(cell: str) -> str:
    if cell.strip(" *_()") == "%":
        return "weight"
    parts = [part.strip(" %") for part in re.split(r"/|\band\b", plain_name(cell))]
    return next((_COLUMN_OF[part] for part in parts if part in _COLUMN_OF), "")
