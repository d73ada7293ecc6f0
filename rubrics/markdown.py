r"""A rubric as a Markdown page for people, with everything in it, and back: `read_page(rubric_page(r))` is equal to r.

Marks by which any text stands in a line or a cell, and shows as meant: a backslash before a punctuation mark, `<br>`
for a line break, `&#124;` for the character of that number in Unicode.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rubrics.levels import ScoreLevel
from rubrics.schema import GRADES, Rubric, Wordings

FIELDS = ("id", "family", "split", "licence", "source")
_SPECIAL = frozenset("\\|*_<&`")
_MARK = re.compile(r"\\([!-/:-@\[-`{-~])|&#(\d{1,7});|<br>\n?")
_SURROGATES = range(0xD800, 0xE000)  # no characters of their own: text with one cannot be written as UTF-8
_CELL = re.compile(r"((?:\\.|[^\\|]|\\$)*)(?:\||$)")
_WEIGHT = re.compile(r"(\d+(?:[.,]\d+)?(?:e-?\d+)?)\s*%?")
_SECTIONS = ("objective", "criteria", "measures", "rewards and penalties", "system prompts")
_MEASURE_COLUMNS = ("id", "statistic", "from", "to")
_COLUMN_NAMES = {"criteria": "criterion"}


def rubric_page(rubric: Rubric) -> str:
    """The page: fields, objective, table of criteria, measures, rewards, system prompts."""
    columns = ["Criterion", "Id", "Weight", *(grade.replace("_", " ").capitalize() for grade in GRADES)]
    criteria = [
        [escape(c.title), c.id, f"{_number(c.weight)}%", *map(escape, c.descriptors.model_dump().values())]
        for c in rubric.criteria
    ]
    measures = [
        [c.id, c.measure.statistic, _number(c.measure.start), _number(c.measure.end)]
        for c in rubric.criteria
        if c.measure
    ]
    fields = {name: getattr(rubric, name) for name in FIELDS}
    fields |= {name: escape(fields[name]) for name in ("licence", "source")}  # the others are plain words
    blocks = [
        f"# {escape(rubric.title)}",
        "\n".join(f"- {name.capitalize()}: {text}" for name, text in fields.items()),
        f"## Objective\n\n{_escape_lines(rubric.objective)}",
        f"## Criteria\n\n{_table(columns, criteria)}",
    ]
    if measures:
        blocks.append(f"## Measures\n\n{_table([name.capitalize() for name in _MEASURE_COLUMNS], measures)}")
    if rubric.rewards_and_penalties is not None:
        blocks.append(f"## Rewards and penalties\n\n{_escape_lines(rubric.rewards_and_penalties)}".rstrip())
    if rubric.system_prompts:
        blocks.append("## System prompts")
        blocks += [block for level in ScoreLevel for block in _wordings(level, rubric.system_prompts[level])]
    return "\n\n".join(blocks) + "\n"


def read_page(page: str) -> dict[str, Any]:
    """The fields of a rubric in a page, as `Rubric` takes them; what the page lacks is left out.

    Raises:
        ValueError: If something in the page has no place in a rubric.
    """
    head, *parts = re.split(r"^## +(.+)$", page, flags=re.MULTILINE)
    content, rest = read_head(head)
    if rest:
        raise ValueError(f"got {rest[0]!r} above the first section, expected lines such as `- Family: poems`")
    names = [name.strip().lower() for name in parts[::2]]
    if wrong := [name for name in names if name not in _SECTIONS or names.count(name) > 1]:
        raise ValueError(f"got section {wrong[0]!r}, expected each once out of {', '.join(_SECTIONS)}")
    sections = dict(zip(names, parts[1::2], strict=True))
    for field in ("objective", "rewards and penalties"):
        if field in sections:
            content[field.replace(" ", "_")] = unescape(sections[field].strip("\n"))
    content["criteria"] = read_criteria(sections.get("criteria", "").split("\n"))
    _add_measures(content["criteria"], sections.get("measures", ""))
    if "system prompts" in sections:
        content["system_prompts"] = _read_wordings(sections["system prompts"])
    return content


def read_head(text: str) -> tuple[dict[str, Any], list[str]]:
    """Title (`# Title`) and fields (`- Family: poems`) above all else, and the other lines that are not blank."""
    content: dict[str, Any] = {}
    rest = []
    for line in text.split("\n"):
        named = re.fullmatch(r"(?:- )?(\w+): *(.*)", line)
        name = named.group(1).lower().replace("license", "licence") if named else ""
        if named and name in ("title", *FIELDS):
            content[name] = unescape(named.group(2))
        elif line.startswith("# "):
            content["title"] = unescape(line[2:])
        elif line.strip():
            rest.append(line.strip())
    return content, rest


def read_criteria(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Criteria from the lines of a table that begins with its header.

    Raises:
        ValueError: If a column lacks or is unknown, a row has another number of cells, or a weight is no number.
    """
    criteria = []
    rows = _read_table(lines, ("criterion", "weight", *GRADES), optional=("id",))
    for position, row in enumerate(rows, start=1):
        weight = _WEIGHT.fullmatch(row["weight"])
        if weight is None:
            raise ValueError(f"weight of {row['criterion']!r}: got {row['weight']!r}, expected percent such as 20%")
        criterion = {
            "id": row.get("id") or as_slug(row["criterion"]) or f"criterion_{position}",
            "title": row["criterion"],
            "weight": float(weight.group(1).replace(",", ".")),
            "descriptors": {grade: row[grade] for grade in GRADES},
        }
        criteria.append(criterion)
    return criteria


def split_row(line: str) -> list[str]:
    """Cells of a row, parted by tabs, else by pipes (with or without outer ones); a pipe after a backslash is none."""
    if "\t" in line:
        return [unescape(cell.strip()) for cell in line.split("\t")]
    cells = _CELL.findall(line.strip().removeprefix("|"))
    return [unescape(cell.strip()) for cell in cells[:-1]]  # the last match is the empty end of the line


def column_names(line: str) -> list[str]:
    """Names of the columns of a header, lower case with underscores; "(90-100)" and bold marks do not count."""
    cells = (re.sub(r"\(.*?\)|[*:%]", "", cell).strip().lower().replace(" ", "_") for cell in split_row(line))
    return [_COLUMN_NAMES.get(cell, cell) for cell in cells]


def as_slug(text: str) -> str:
    """An id made of a text: lower case, without accents, the rest as underscores; "" if nothing is left of it."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower().replace("'", "")
    words = re.sub(r"[^a-z0-9]+", "_", folded).strip("_")[:60].strip("_")
    return f"n{words}" if words[:1].isdigit() else words


def escape(text: str) -> str:
    """The text in one line, with marks: `unescape(escape(text)) == text`."""
    shown = ["<br>" if character == "\n" else _shown(character) for character in text]
    for end in (0, -1) if text else ():
        if text[end] == " ":
            shown[end] = "&#32;"
    if text.startswith("#"):
        shown[0] = "\\#"
    return "".join(shown)


def unescape(text: str) -> str:
    """The text with its marks read; what is no mark stays as it is."""
    return _MARK.sub(_read_mark, text)


def _read_mark(mark: re.Match[str]) -> str:
    punctuation, number = mark.groups()
    if punctuation:
        return str(punctuation)
    if not number:
        return "\n"
    is_character = int(number) <= sys.maxunicode and int(number) not in _SURROGATES
    return chr(int(number)) if is_character else mark.group()


def _shown(character: str) -> str:
    if character in _SPECIAL:
        return "\\" + character
    return character if character.isprintable() else f"&#{ord(character)};"


def _escape_lines(text: str) -> str:
    """A text of several lines as it stands between blank lines."""
    body = text.strip("\n")
    start = text.index(body)
    breaks = len(text) - start - len(body)
    return "<br>" * start + "\n".join(map(escape, body.split("\n"))) + "<br>" * breaks


def _number(number: float) -> str:
    return repr(int(number)) if number.is_integer() else repr(number)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def _wordings(level: ScoreLevel, wordings: Wordings) -> Iterator[str]:
    for split in ("train", "heldout"):
        items = "\n".join(f"- {escape(wording)}" for wording in getattr(wordings, split))
        yield f"### {level.value.replace('_', ' ').capitalize()}, {split}\n\n{items}"


def _read_wordings(body: str) -> dict[str, dict[str, list[str]]]:
    names = {
        f"{level.replace('_', ' ')}, {split}": (level, split) for level in ScoreLevel for split in Wordings.model_fields
    }
    start, *parts = re.split(r"^### +(.+)$", body, flags=re.MULTILINE)
    prompts: dict[str, dict[str, list[str]]] = {}
    for name, items in zip(parts[::2], parts[1::2], strict=True):
        texts = re.split(r"^- ", items.strip("\n"), flags=re.MULTILINE)
        if name.strip().lower() not in names or start.strip() or texts.pop(0):
            raise ValueError(f"system prompts, {name!r}: expected a list under each of {', '.join(names)}")
        level, split = names[name.strip().lower()]
        prompts.setdefault(level, {})[split] = [unescape(text.rstrip("\n")) for text in texts]
    return prompts


def _add_measures(criteria: Sequence[dict[str, Any]], body: str) -> None:
    by_id = {criterion["id"]: criterion for criterion in criteria}
    for row in _read_table(body.split("\n"), _MEASURE_COLUMNS) if body else ():
        if row["id"] not in by_id:
            raise ValueError(f"measures: got id {row['id']!r}, expected one of {sorted(by_id)}")
        by_id[row["id"]]["measure"] = {name: row[name] for name in ("statistic", "from", "to")}


def _read_table(
    lines: Iterable[str], required: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[Mapping[str, str]]:
    header, *body = [line for line in lines if line.strip()] or [""]
    columns = column_names(header)
    if sorted(set(columns) - set(optional)) != sorted(required) or len(set(columns)) < len(columns):
        raise ValueError(f"got a table with columns {columns}, expected {', '.join(required)}, each once")
    for line in body:
        cells = split_row(line)
        if all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            continue
        if len(cells) != len(columns):
            raise ValueError(
                f"row {line[:40]!r}: got {len(cells)} cells, expected {len(columns)}; write \\| for a pipe in a text"
            )
        yield dict(zip(columns, cells, strict=True))
