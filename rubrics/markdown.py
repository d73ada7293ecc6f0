r"""A rubric as a text for people: the page that `cpt rubric export` writes, and what `cpt rubric import` reads.

- A table: title, fields (`- Family: poems`) and objective; a header line with criterion, weight and the five grades
  (tabs or pipes), a line for each criterion with its weight in percent; below it rewards and penalties, and a table of
  system prompts. The page has this form: `read_rubric_text(rubric_page(rubric), "")` is equal to the rubric.
- The score rubric of Prometheus (arXiv 2310.08491): a criterion with five score descriptions, as JSON
  (`criteria`, `score1_description` to `score5_description`) or text (`[criteria]`, `Score 1: ...` to `Score 5: ...`).

Marks by which any text stands in a line or a cell, and shows as meant: a backslash before a punctuation mark, `<br>`
for a line break, `&#124;` for the character of that number in Unicode.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rubrics.schema import GRADES, Rubric

FIELDS = ("id", "version", "family", "split", "licence", "source")
_MEASURE = ("statistic", "from", "to")
_WORDING = ("level", "split", "wording")
_SPECIAL = re.compile(r"[\\|*<&`]|(?<!\w)_|_(?!\w)|^#")
_MARK = re.compile(r"\\([!-/:-@\[-`{-~])|&#(\d{1,7});|<br>\n?")
_CELL = re.compile(r"((?:\\.|[^\\|]|\\$)*)(?:\||$)")


def rubric_page(rubric: Rubric) -> str:
    """The page, with everything that is in the rubric."""
    measures = _MEASURE if any(criterion.measure for criterion in rubric.criteria) else ()
    criteria = (
        {"criterion": criterion.title, "id": criterion.id, "weight": f"{_shown(criterion.weight)}%"}
        | criterion.descriptors.model_dump()
        | (criterion.measure.model_dump(by_alias=True) if criterion.measure else {})
        for criterion in rubric.criteria
    )
    blocks = [
        f"# {escape(rubric.title)}",
        "\n".join(f"- {name.capitalize()}: {escape(str(getattr(rubric, name)))}" for name in FIELDS),
        f"Objective: {escape(rubric.objective)}",
        _table(("criterion", "id", "weight", *GRADES, *measures), criteria),
    ]
    if rubric.rewards_and_penalties is not None:
        blocks.append(f"Rewards and penalties: {escape(rubric.rewards_and_penalties)}")
    wordings = [
        {"level": level, "split": split, "wording": wording}
        for level, prompts in rubric.system_prompts.items()
        for split, of_split in prompts
        for wording in of_split
    ]
    if wordings:
        blocks.append(_table(_WORDING, wordings))
    return "\n\n".join(blocks) + "\n"


def read_rubric_text(text: str, name: str) -> dict[str, Any]:
    """The fields of a rubric in a text of one of the forms above, as `Rubric` takes them; what it lacks is left out.

    `name` is that of its file without ending: the title of a form that has none.

    Raises:
        ValueError: If the text has another form, or something in it has no place in a rubric.
    """
    text = re.sub(r"\r\n?", "\n", text)
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if {"criterion", "weight"} <= {*_column_names(line)}:
            return _read_table_form(lines, number)
    criteria, *scores = re.split(r"^Score ([1-5]): *", text, flags=re.MULTILINE)
    if scores[::2] == ["1", "2", "3", "4", "5"]:
        return _prometheus(criteria.strip().removeprefix("[").removesuffix("]"), scores[1::2], name)
    if text.lstrip().startswith("{"):
        return _read_json(text, name)
    raise ValueError(
        "got prose, expected a page of `cpt rubric export`, a table whose header names criterion, weight and five "
        "grades, or criteria of Prometheus; `cpt rubric draft --from FILE --model MODEL` has a model read all else"
    )


def as_slug(text: str) -> str:
    """An id made of a text: lower case, without accents, the rest as underscores; "" if nothing is left of it."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower().replace("'", "")
    words = re.sub(r"[^a-z0-9]+", "_", folded).strip("_")[:60].strip("_")
    return f"n{words}" if words[:1].isdigit() else words


def escape(text: str) -> str:
    """The text in one line, with marks: `unescape(escape(text)) == text`."""
    marked = _SPECIAL.sub(r"\\\g<0>", text)
    shown = "".join(c if c == "\n" or c.isprintable() else f"&#{ord(c)};" for c in marked).replace("\n", "<br>")
    return re.sub(r"^ | $", "&#32;", shown)


def unescape(text: str) -> str:
    """The text with its marks read; what is no mark stays as it is."""
    return _MARK.sub(lambda mark: mark[1] or (chr(int(mark[2])) if mark[2] else "\n"), text)


def _table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    titles = [name.replace("_", " ").capitalize() for name in columns]
    cells = [[escape(_shown(row.get(name, ""))) for name in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (titles, ["---"] * len(columns), *cells))


def _shown(value: str | float) -> str:
    return value if isinstance(value, str) else repr(value).removesuffix(".0")


def _read_table_form(lines: Sequence[str], header: int) -> dict[str, Any]:
    if sections := [line for line in lines if line.startswith("## ")]:
        raise ValueError(
            f"got the section {sections[0]!r}, expected a text without sections, as `cpt rubric export` has"
        )
    end = next((number for number in range(header, len(lines)) if not lines[number].strip()), len(lines))
    wordings = next((number for number in range(end, len(lines)) if lines[number].startswith("|")), len(lines))
    content = _read_head(lines[:header]) | {"criteria": _read_criteria(lines[header:end])}
    if below := "\n".join(lines[end:wordings]).strip():
        content["rewards_and_penalties"] = _unlabelled("Rewards and penalties", below)
    for row in _read_rows(lines[wordings:], _WORDING) if wordings < len(lines) else ():
        prompts = content.setdefault("system_prompts", {}).setdefault(row["level"], {})
        prompts.setdefault(row["split"], []).append(row["wording"])
    return content


def _read_head(lines: Sequence[str]) -> dict[str, Any]:
    """Title, fields, and all other lines as the objective."""
    content: dict[str, Any] = {}
    rest = []
    for line in lines:
        named = re.fullmatch(r"(?:- )?(\w+): *(.*)", line)
        name = named.group(1).lower().replace("license", "licence") if named else ""
        if named and name in ("title", *FIELDS):
            content[name] = unescape(named.group(2))
        elif line.startswith("# "):
            content["title"] = unescape(line[2:])
        elif line.strip():
            rest.append(line.strip())
    if rest and "title" not in content:
        content["title"] = unescape(rest.pop(0))
    if rest:
        content["objective"] = _unlabelled("Objective", "\n".join(rest))
    return content


def _unlabelled(label: str, text: str) -> str:
    return unescape(re.sub(f"^{label}: *", "", text, flags=re.IGNORECASE))


def _read_criteria(lines: Iterable[str]) -> list[dict[str, Any]]:
    criteria = []
    rows = _read_rows(lines, ("criterion", "weight", *GRADES), optional=("id", *_MEASURE))
    for position, row in enumerate(rows, start=1):
        criterion = {
            "id": row.get("id") or as_slug(row["criterion"]) or f"criterion_{position}",
            "title": row["criterion"],
            "weight": row["weight"].rstrip("% ").replace(",", "."),
            "descriptors": {grade: row[grade] for grade in GRADES},
        }
        if measure := {name: row[name] for name in _MEASURE if row.get(name)}:
            criterion["measure"] = measure
        criteria.append(criterion)
    return criteria


def _read_rows(lines: Iterable[str], required: Sequence[str], optional: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    header, *body = [line for line in lines if line.strip()] or [""]
    columns = _column_names(header)
    if sorted(set(columns) - set(optional)) != sorted(required) or len(set(columns)) < len(columns):
        raise ValueError(f"got a table with columns {columns}, expected {', '.join(required)}, each once")
    for line in body:
        cells = _split_row(line)
        if all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            continue
        if len(cells) != len(columns):
            raise ValueError(
                f"row {line[:40]!r}: got {len(cells)} cells, expected {len(columns)}; write \\| for a pipe in a text"
            )
        yield dict(zip(columns, cells, strict=True))


def _split_row(line: str) -> list[str]:
    """Cells of a row, parted by tabs, else by pipes (with or without outer ones); a pipe after a backslash is none."""
    if "\t" in line:
        return [unescape(cell.strip()) for cell in line.split("\t")]
    cells = _CELL.findall(line.strip().removeprefix("|"))
    return [unescape(cell.strip()) for cell in cells[:-1]]  # the last match is the empty end of the line


def _column_names(line: str) -> list[str]:
    """Names of the columns of a header, lower case with underscores; "(90-100)" and bold marks do not count."""
    cells = (re.sub(r"\(.*?\)|[*:%]", "", cell).strip().lower().replace(" ", "_") for cell in _split_row(line))
    return ["criterion" if cell == "criteria" else cell for cell in cells]


def _read_json(text: str, name: str) -> dict[str, Any]:
    """As the Feedback Collection has it, whose keys start with `orig_`, or BiGGen Bench, whose rows nest it."""
    try:
        content = json.loads(text)
        fields = {key.removeprefix("orig_"): value for key, value in content.get("score_rubric", content).items()}
        return _prometheus(fields["criteria"], [fields[f"score{score}_description"] for score in range(1, 6)], name)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        expected = "expected the texts criteria and score1_description to score5_description of Prometheus"
        raise ValueError(f"got JSON that breaks at {error!r}, {expected}") from error


def _prometheus(criteria: str, descriptions: Sequence[str], name: str) -> dict[str, Any]:
    """One criterion; the descriptions stand worst first."""
    title = " ".join(re.split(r"[\W_]+", name)).strip().capitalize() or "Criterion"
    descriptors = dict(zip(reversed(GRADES), map(str.strip, descriptions), strict=True))
    criterion = {"id": as_slug(title) or "criterion", "title": title, "weight": 100, "descriptors": descriptors}
    return {"title": title, "objective": criteria.strip(), "criteria": [criterion]}
