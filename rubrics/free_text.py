"""Reads a rubric as people write one, and says what of it has no place.

    parsed = parse_rubric_text(Path("my_rubric.txt").read_text())
    rubric = parsed.rubric(family="poems", licence="CC0-1.0", source="Workshop of May")

What is understood, in Markdown or plain text:

- the title: `# Title`, `Title: ...`, or the first line;
- sections under Markdown headings, `Name:`, or a line with nothing but the name: objective, principles, criteria,
  rewards, penalties and scoring notes, measures, system prompts. Principles have no field of their own: they stand at
  the end of the objective, below their heading. Rewards, penalties and notes are one field, in the order of the text. A
  paragraph below the title is the objective if no heading names one;
- criteria as a table (tabs, pipes, Markdown), or as headings such as `## Vocabulary (20%)` above lines
  `Excellent: ...`. What is said of a criterion beside its title follows the title after a colon;
- fields: `Family: ...`, `Licence: ...`, `Source: ...`, `Id: ...`, `Split: ...`;
- the escapes of `rubrics/escapes.py`.

Lines of a paragraph are joined; list items and headings inside a section stay lines of their own. Lines of dashes, and
bold marks in tables, carry nothing and are dropped. All else ends up in a field or in `unplaced`.
"""

import re
from dataclasses import dataclass, field

from rubrics.criteria_text import CriteriaReader
from rubrics.escapes import unescape
from rubrics.levels import ScoreLevel
from rubrics.parsed import ParsedRubric, Unplaced
from rubrics.tables import as_slug, plain_name, read_cell
from rubrics.text_lines import (
    Heading,
    field_of,
    is_rule,
    join_lines,
    read_heading,
    read_item,
    read_named,
    section_of,
    target_of,
)

_TEXTS = ("preamble", "objective", "principles", "notes", "labelled notes")
_NO_HEADING = 7  # level of a section that no Markdown heading opens: below all six
_MAX_BARE_TITLE = 120  # characters: a longer first line is a paragraph
_NOWHERE = "names nothing that a rubric has"


def parse_rubric_text(text: str) -> ParsedRubric:
    """What can be read of a rubric's text, with the lines that could not be placed. Any text is accepted."""
    reader = _Reader()
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")), start=1):
        reader.read(number, line)
    return reader.finish()


@dataclass
class _Section:
    kind: str
    level: int
    heading: str = ""
    lines: list[tuple[int, str]] = field(default_factory=list)

    def text(self) -> str:
        """Its lines as one text; below its heading, where that says what they are about."""
        text = join_lines([line for _, line in self.lines])
        return f"{self.heading}:\n{text}" if text and self.kind in ("principles", "labelled notes") else text


class _Reader:
    """Takes the lines one by one; each is placed, or told as unplaced."""

    def __init__(self) -> None:
        self._number = 0
        self._after_gap = True
        self._fields: dict[str, str] = {}
        self._sections = [_Section("preamble", _NO_HEADING)]
        self._criteria = CriteriaReader(self._leave)
        self._target: tuple[ScoreLevel, str] | None = None
        self._wordings: dict[tuple[ScoreLevel, str], list[list[str]]] = {}
        self._open_wording: list[str] | None = None
        self._notes: list[str] = []
        self._unplaced: list[Unplaced] = []

    def read(self, number: int, line: str) -> None:
        """Takes the next line."""
        self._number = number
        if not line.strip():
            self._section.lines.append((number, ""))
        elif heading := read_heading(line):
            self._heading(heading, line)
        elif not (self._table_line(line) or is_rule(line) or self._named(line)):
            self._text(line)
        if not line.strip():
            self._open_wording = None
        self._after_gap = not line.strip()

    def finish(self) -> ParsedRubric:
        """What was found in all lines."""
        criteria, notes = self._criteria.finish()
        stated = self._texts("objective")
        objective = [*(stated or self._texts("preamble")), *self._texts("principles")]
        if stated:
            for number, line in self._sections[0].lines:
                if line:
                    self._leave(line, "stands above the first heading, and the objective elsewhere", number)
        rewards = self._texts("notes", "labelled notes")
        has_rewards = any(section.kind == "notes" for section in self._sections) or rewards
        prompts: dict[ScoreLevel, dict[str, tuple[str, ...]]] = {}
        for (level, split), wordings in self._wordings.items():
            prompts.setdefault(level, {})[split] = tuple(join_lines(lines) for lines in wordings)
        return ParsedRubric(
            **self._fields,
            objective="\n\n".join(objective) or None,
            criteria=criteria,
            system_prompts=prompts,
            rewards_and_penalties="\n\n".join(rewards) if has_rewards else None,
            notes=(*self._notes, *notes),
            unplaced=tuple(sorted(self._unplaced, key=lambda unplaced: unplaced.line)),
        )

    @property
    def _section(self) -> _Section:
        return self._sections[-1]

    def _texts(self, *kinds: str) -> list[str]:
        return [text for section in self._sections if section.kind in kinds and (text := section.text())]

    def _leave(self, text: str, why: str, number: int | None = None) -> None:
        self._unplaced.append(Unplaced(number or self._number, text.strip(), why))

    def _open(self, kind: str, level: int, heading: str, first: str = "") -> None:
        self._criteria.end_section()
        self._target, self._open_wording = None, None
        lines = [(self._number, first)] if first else []
        self._sections.append(_Section(kind, level, heading.strip(" *_:"), lines))

    def _set(self, name: str, value: str, line: str) -> None:
        value = read_cell(value) if name == "title" else unescape(value)
        if name in ("id", "family") and as_slug(value) != value:
            self._notes.append(f"{name}: {value!r} cannot be one, {as_slug(value)!r} is taken")
            value = as_slug(value)
        if name in self._fields:
            self._leave(line, f"the {name} is {self._fields[name]!r} already")
        elif name == "split" and value not in ("train", "heldout"):
            self._leave(line, "expected train or heldout")
        else:
            self._fields[name] = value

    def _untitled(self) -> bool:
        return self._section.kind == "preamble" and "title" not in self._fields

    def _heading(self, heading: Heading, line: str) -> None:
        name, _, rest = (part.strip() for part in heading.text.partition(":"))
        kind, section = section_of(name), self._section
        inside = heading.level > section.level
        is_criterion = inside and section.kind == "criteria" and not self._criteria.in_table
        if kind and (not rest or kind in _TEXTS):
            self._open(kind, heading.level, name, rest)
        elif section.kind == "prompts" and (target := target_of(heading.text)):
            self._aim(target)
        elif self._untitled():
            self._set("title", rest if rest and plain_name(name) in ("title", "rubric") else heading.text, line)
        elif self._criteria.heading(heading.text, is_criterion=is_criterion):
            if section.kind != "criteria":
                self._sections.append(_Section("criteria", _NO_HEADING))
        elif inside and section.kind in _TEXTS:
            section.lines.append((self._number, line))
        else:
            self._leave(line, f"the heading {_NOWHERE}")
            self._open("unknown", heading.level, heading.text)

    def _table_line(self, line: str) -> bool:
        if kind := self._criteria.header(line):
            if self._section.kind != kind:
                self._sections.append(_Section(kind, self._section.level))
            self._criteria.leave_columns(self._number)
            return True
        return self._criteria.row(self._number, line)

    def _named(self, line: str) -> bool:
        named = read_named(line)
        if named is None:
            return self._bare_name(line.strip())
        rest, kind, name = named.rest, section_of(named.name), field_of(named.name)
        if name and rest and (not named.is_item or self._section.kind == "preamble"):
            self._set(name, rest, line)
        elif self._untitled() and rest and plain_name(named.name) == "rubric":
            self._set("title", rest, line)
        elif kind and not named.is_item and (not rest or kind in _TEXTS):
            self._open(kind, _NO_HEADING, named.name, rest)
        elif self._section.kind == "prompts" and not named.is_item and (target := target_of(named.name)):
            self._aim(target)
            if rest:
                self._wording(rest)
        else:
            return False
        return True

    def _aim(self, target: tuple[ScoreLevel, str]) -> None:
        self._target, self._open_wording = target, None

    def _bare_name(self, name: str) -> bool:
        if not name.lstrip("*_0123456789.) ")[:1].isupper():
            return False
        if self._section.kind == "prompts" and (target := target_of(name)):
            self._aim(target)
        elif kind := section_of(name):
            self._open(kind, _NO_HEADING, name)
        else:
            return False
        return True

    def _text(self, line: str) -> None:
        section = self._section
        if self._untitled() and not any(text for _, text in section.lines) and len(line) <= _MAX_BARE_TITLE:
            self._set("title", line.strip(), line)
        elif section.kind in _TEXTS:
            section.lines.append((self._number, line))
        elif section.kind == "prompts":
            self._wording(line)
        elif section.kind == "measures":
            self._leave(line, "expected a table with the columns id, statistic, from and to")
        elif section.kind == "unknown":
            self._leave(line, f"stands below {section.heading!r}, which {_NOWHERE}")
        elif not self._criteria.line(self._number, line):
            self._criteria.text(self._number, line, after_gap=self._after_gap)

    def _wording(self, line: str) -> None:
        if self._target is None:
            self._leave(line, "no heading above it says the level: low, moderate or extremely high")
            return
        item = read_item(line)
        if item is not None or self._open_wording is None:
            self._open_wording = []
            self._wordings.setdefault(self._target, []).append(self._open_wording)
        self._open_wording.append(item or line)
