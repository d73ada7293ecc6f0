"""Reads the criteria of a rubric's text: rows of a table, or headings with a line for each grade."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from rubrics.parsed import ParsedCriterion
from rubrics.schema import Measure
from rubrics.tables import (
    GRADES,
    Header,
    Weight,
    as_slug,
    grade_rank,
    grades_of,
    in_percent,
    is_alignment,
    plain_name,
    read_cell,
    read_header,
    read_title,
    read_weight,
    separator_of,
    split_row,
)
from rubrics.text_lines import join_lines, read_criterion_title, read_item, read_named

NO_COLUMN = "names no column that a rubric has"
NO_CRITERION = "is neither a row of the criteria's table nor a grade of a criterion"
_IN_TITLE = re.compile(r"\s*[(\[](?:weight:? )?(\d[^()\[\]]*)[)\]]", re.IGNORECASE)

Leave = Callable[[str, str, int], None]


@dataclass
class _Draft:
    """A criterion being read; `name` is what its id is made of, `grades` are (line number, rank, lines)."""

    title: str
    name: str
    id: str | None
    weight: Weight | None
    descriptors: dict[str, str] = field(default_factory=dict)
    explanation: list[str] = field(default_factory=list)
    grades: list[tuple[int, float, list[str]]] = field(default_factory=list)


class CriteriaReader:
    """Takes the lines that may belong to criteria; `leave(text, why, line number)` is told what has no place."""

    def __init__(self, leave: Leave) -> None:
        self._leave = leave
        self._header: Header | None = None
        self._drafts: list[_Draft] = []
        self._listed: _Draft | None = None  # the criterion whose heading stands above
        self._measures: list[tuple[int, str, Mapping[str, str]]] = []
        self._notes: list[str] = []
        self._total: tuple[int, str, float] | None = None

    @property
    def in_table(self) -> bool:
        """Whether a header stands above, in the same section."""
        return self._header is not None

    def end_section(self) -> None:
        """A heading was met: rows and grades below it belong to nothing above."""
        self._header, self._listed = None, None

    def header(self, line: str) -> str | None:
        """Which table begins, "criteria" or "measures", if the line is a header; a row of names is none."""
        header = read_header(line)
        if header is None or (self._header and header.unknown):
            return None
        self._header, self._listed = header, None
        return "measures" if "statistic" in header.columns else "criteria"

    def leave_columns(self, number: int) -> None:
        """Tells the columns of the header just read that have no place."""
        for _, name in self._header.unknown if self._header else ():
            self._leave(name, NO_COLUMN, number)

    def row(self, number: int, line: str) -> bool:
        """Takes a row of the table that has begun, if the line is one."""
        header = self._header
        if header is None or separator_of(line) is None:
            return False
        cells = split_row(line, header.separator)
        if len(cells) < 2 and not line.lstrip().startswith("|"):
            return False
        if is_alignment(cells):
            return True
        columns = header.columns
        if any(cells[len(columns) :]):
            why = f"got {len(cells)} cells, expected {len(columns)}; a pipe inside a text is written \\|"
            self._leave(line, why, number)
            return True
        for place, name in header.unknown:
            if place < len(cells) and cells[place]:
                self._leave(cells[place], f"stands in column {name!r}, which {NO_COLUMN}", number)
        row = {column: cell for column, cell in zip(columns, cells, strict=False) if column and cell}
        self._place(row, header, number, line)
        return True

    def heading(self, text: str, *, is_criterion: bool) -> bool:
        """Begins a criterion if a heading says a weight in percent, or is known to name one."""
        found = read_criterion_title(text)
        weight = read_weight(found.weight) if found else None
        if found and weight and (is_criterion or weight.is_percent or "weight" in text.lower()):
            title = read_title(found.title)
            self._listed = _Draft(title.text, title.name, found.id, weight)
        elif is_criterion:
            title = read_title(text)
            self._listed = _Draft(title.text, title.name, None, None)
        else:
            return False
        self._drafts.append(self._listed)
        return True

    def line(self, number: int, line: str) -> bool:
        """Takes a line such as `- Good: ...`, `Weight: 20%` or `Title (20%)`, if the line is one."""
        named = read_named(line)
        if self._listed and named and named.rest:
            rank = grade_rank(named.name)
            weight = read_weight(named.rest) if plain_name(named.name) == "weight" else None
            if rank is not None:
                self._listed.grades.append((number, rank, [named.rest]))
                return True
            if weight and self._listed.weight is None:
                self._listed.weight = weight
                return True
        return "%" in line and self.heading(line.strip(), is_criterion=False)

    def text(self, number: int, line: str, *, after_gap: bool) -> None:
        """Takes any other line: more of the grade above it, or of what a criterion's title says."""
        if self._listed is None or read_item(line) is not None or (after_gap and self._listed.grades):
            self._leave(line, NO_CRITERION, number)
        elif self._listed.grades:
            self._listed.grades[-1][2].append(line)
        else:
            self._listed.explanation.append(line)

    def finish(self) -> tuple[tuple[ParsedCriterion, ...], tuple[str, ...]]:
        """The criteria, and sentences on what was not read as it stands."""
        percent, note = in_percent([draft.weight for draft in self._drafts if draft.weight])
        self._check_total(sum(draft.weight.number for draft in self._drafts if draft.weight), sum(percent))
        weights, ids = iter(percent), self._ids()
        measures = dict(self._found_measures(ids))
        criteria = tuple(
            ParsedCriterion(
                title=": ".join([draft.title, *filter(None, [join_lines(draft.explanation)])]),
                id=criterion_id,
                weight=next(weights) if draft.weight else None,
                descriptors=draft.descriptors | dict(self._listed_descriptors(draft)),
                measure=measures.get(criterion_id),
            )
            for draft, criterion_id in zip(self._drafts, ids, strict=True)
        )
        return criteria, (*self._notes, *filter(None, [note]))

    def _place(self, row: Mapping[str, str], header: Header, number: int, line: str) -> None:
        if "statistic" in header.columns:
            self._measures.append((number, line, row))
        elif "criterion" not in row:
            if row:
                self._leave(line, "the row names no criterion", number)
        elif plain_name(row["criterion"]) in ("total", "sum", "total score") and not set(row) & set(GRADES):
            weight = read_weight(row.get("weight", ""))
            if weight and self._total is None:
                self._total = (number, line, weight.number)
            else:
                self._leave(line, "is neither a criterion nor the sum of the weights", number)
        else:
            self._row(row, number, weight_in_title="weight" not in header.columns)

    def _row(self, row: Mapping[str, str], number: int, *, weight_in_title: bool) -> None:
        written, text = row.get("weight"), row["criterion"]
        found = _IN_TITLE.search(text) if weight_in_title else None
        if found and read_weight(found.group(1)):
            written, text = found.group(1), text[: found.start()] + text[found.end() :]
        weight = read_weight(written) if written else None
        if written and weight is None:
            self._leave(written, "is no weight, expected a number such as 20%", number)
        title = read_title(text)
        draft = _Draft(title.text, title.name, self._id(row), weight)
        draft.descriptors = {grade: read_cell(row[grade]) for grade in GRADES if grade in row}
        draft.explanation = [row["description"]] if "description" in row else []
        self._drafts.append(draft)

    def _id(self, row: Mapping[str, str]) -> str | None:
        written = read_cell(row.get("id", ""))
        found = as_slug(written) or None
        if written and written != found:
            self._notes.append(
                f"id: {written!r} cannot be one, {repr(found) if found else 'one made of the title'} is taken"
            )
        return found

    def _listed_descriptors(self, draft: _Draft) -> Iterator[tuple[str, str]]:
        seen = set()
        for grade, (number, _, lines) in zip(
            grades_of([rank for _, rank, _ in draft.grades]), draft.grades, strict=True
        ):
            if grade in seen:
                self._leave(join_lines(lines), f"{draft.title!r} has a descriptor for {grade} already", number)
            else:
                yield grade, join_lines(lines)
            seen.add(grade)

    def _ids(self) -> list[str]:
        taken = {draft.id for draft in self._drafts if draft.id}
        ids = []
        for position, draft in enumerate(self._drafts, start=1):
            base = criterion_id = draft.id or as_slug(draft.name) or f"criterion_{position}"
            count = 1
            while not draft.id and criterion_id in taken:
                count += 1
                criterion_id = f"{base}_{count}"
            taken.add(criterion_id)
            ids.append(criterion_id)
        return ids

    def _found_measures(self, ids: list[str]) -> Iterator[tuple[str, Measure]]:
        seen = set()
        for number, line, row in self._measures:
            criterion_id = row.get("id", "")
            if criterion_id not in ids or criterion_id in seen:
                self._leave(line, f"{criterion_id!r} is no id of a criterion without a measure", number)
                continue
            try:
                measure = Measure.model_validate({name: row.get(name) for name in ("statistic", "from", "to")})
            except ValidationError as error:
                problem = error.errors()[0]
                place = "".join(f"{part}: " for part in problem["loc"])
                self._leave(line, place + problem["msg"].removeprefix("Value error, "), number)
                continue
            seen.add(criterion_id)
            yield criterion_id, measure

    def _check_total(self, *sums: float) -> None:
        if self._total:
            number, line, total = self._total
            if all(abs(total - found) > 0.01 for found in sums):
                self._leave(line, f"the weights sum to {sums[0]:g}", number)
