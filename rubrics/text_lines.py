"""What a single line of a rubric's text may be: a heading, a named line, a list item, the title of a criterion."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rubrics.escapes import unescape
from rubrics.levels import ScoreLevel
from rubrics.tables import plain_name

_SECTIONS = {
    "objective": "objective|objectives|goal|goals|purpose|aim|overview",
    "principles": "principles|core principles|guiding principles|key principles|general principles|philosophy",
    "criteria": "criteria|rubric|scoring rubric|grading rubric|evaluation rubric|assessment rubric|scoring criteria|"
    "grading criteria|evaluation criteria|assessment criteria|criteria table|rubric table|criteria and weights",
    "notes": "rewards and penalties|scoring notes|notes|scoring guidelines|scoring instructions|grading notes",
    "labelled notes": "rewards|reward|penalties|penalty|bonus|bonuses|bonus points|deductions|important notes|"
    "additional notes|notes for judges|notes for graders|instructions for judges",
    "measures": "measures",
    "prompts": "system prompts",
}
_SECTION_OF = {name: kind for kind, names in _SECTIONS.items() for name in names.split("|")}
_FIELD_OF = {name: name for name in ("title", "id", "family", "split", "licence", "source")} | {"license": "licence"}

_HEADING = re.compile(r"\s{0,3}(#{1,6}) +(\S.*)")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d+[.)])\s+(\S.*)")
_RULE = re.compile(r"\s*([-=*_])(?:\s*\1){2,}\s*")
_NAMED = re.compile(
    r"\s*(?P<item>[-*+•]\s+)?"
    r"(?:\*\*(?P<bold>[^*:]+)(?::\s*\*\*|\*\*\s*(?:\([^()]*\)\s*)?:)|(?P<name>[^\W_][^*:]*?)\s*:)\s*(?P<rest>.*)"
)
_CRITERION = re.compile(
    r"(?:(?:criterion )?\d+[.:)]\s+)?(?P<title>\S.*?)\s*(?:[(\[](?:id: (?P<id>[a-z][a-z0-9_]*), )?(?:weight:? )?"
    r"(?P<weight>\d[^()\[\]]*)[)\]]|[-–—:]\s*(?P<percent>\d[\d.,]*\s*%)):?",
    re.IGNORECASE,
)
_TARGET = re.compile(r"(low|moderate|(?:extremely )?high)\W*(train|training|heldout|held[ -]out)?\W*")


@dataclass(frozen=True)
class Heading:
    """A Markdown heading: level 1 (`#`) to 6, and its text as it is written."""

    level: int
    text: str


@dataclass(frozen=True)
class Named:
    """`Name: rest`, bold or not, as a list item or not; `rest` may be empty."""

    name: str
    rest: str
    is_item: bool


@dataclass(frozen=True)
class CriterionTitle:
    """`Title (20%)` or `Title (id: x, weight 20%)`: the weight as it is written."""

    title: str
    id: str | None
    weight: str


def read_heading(line: str) -> Heading | None:
    """The heading that a line is, or None."""
    found = _HEADING.fullmatch(line.rstrip())
    return Heading(len(found.group(1)), found.group(2)) if found else None


def read_named(line: str) -> Named | None:
    """The name and the rest of a line such as `Licence: MIT` or `**Objective**:`, or None."""
    found = _NAMED.fullmatch(line.rstrip())
    if found is None:
        return None
    return Named(found.group("bold") or found.group("name"), found.group("rest"), found.group("item") is not None)


def read_item(line: str) -> str | None:
    """Text of a list item, or None if the line is none."""
    found = _ITEM.fullmatch(line.rstrip())
    return found.group(1) if found else None


def is_rule(line: str) -> bool:
    """Whether a line is a horizontal rule or an underline."""
    return _RULE.fullmatch(line) is not None


def read_criterion_title(text: str) -> CriterionTitle | None:
    """The title of a criterion with its weight in it, or None."""
    found = _CRITERION.fullmatch(re.sub(r"(?<!\\)\*\*", "", text).strip())
    if found is None:
        return None
    return CriterionTitle(found.group("title"), found.group("id"), found.group("weight") or found.group("percent"))


def section_of(name: str) -> str | None:
    """Which section a heading opens: "objective", "principles", "criteria", "notes", ...; None if it opens none."""
    return _SECTION_OF.get(plain_name(name))


def field_of(name: str) -> str | None:
    """Which field of a rubric a name means, or None."""
    return _FIELD_OF.get(plain_name(name))


def target_of(name: str) -> tuple[ScoreLevel, str] | None:
    """Level and split ("train" if none is said) of the wordings below a heading such as "Low, heldout", or None."""
    words = re.sub(r"[*_`\[()\]]+", " ", name).lower()
    found = _TARGET.fullmatch(" ".join(words.split()))
    if found is None:
        return None
    level, split = found.groups()
    levels = {"low": ScoreLevel.LOW, "moderate": ScoreLevel.MODERATE}
    return levels.get(level, ScoreLevel.EXTREMELY_HIGH), "heldout" if split and split.startswith("held") else "train"


def join_lines(lines: Sequence[str]) -> str:
    """Lines as one text: paragraphs joined by spaces and parted by an empty line; list items keep their lines."""
    text, last, gap = "", "", False
    for line in lines:
        keeps_line = _ITEM.match(line) or _HEADING.match(line)
        line = line.rstrip() if keeps_line and text else line.strip()
        if not line:
            gap = True
            continue
        if text:
            text += "\n\n" if gap else "\n" if keeps_line or _HEADING.match(last) else " "
        text, last, gap = text + line, line, False
    return unescape(text)
