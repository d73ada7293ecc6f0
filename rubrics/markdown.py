"""Writes a rubric as Markdown for people, with everything in it: `parse_rubric_text` reads back an equal rubric.

A text is written as it stands if it is read back so in its place; else with the escapes of `rubrics/escapes.py`.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rubrics.escapes import LINE_BREAK, escape
from rubrics.free_text import parse_rubric_text
from rubrics.levels import ScoreLevel
from rubrics.schema import Paraphrases, Rubric
from rubrics.tables import GRADES, read_cell, read_title, split_row

_TITLE = "# T\n\n"
_NEUTRAL = "x"  # a text that any place can hold
_LINE_BREAKS = f"{LINE_BREAK}\n"  # the text goes on in the next line


def rubric_markdown(rubric: Rubric) -> str:
    """The rubric as a Markdown page: fields, objective, table of criteria, measures, rewards, system prompts."""
    blocks = [
        f"# {_in_place(rubric.title, '# ', title=rubric.title)}",
        "\n".join(_fields(rubric)),
        _section("Objective", rubric.objective, objective=rubric.objective),
        "## Criteria\n\n" + "\n".join(_criteria(rubric)),
    ]
    if any(criterion.measure for criterion in rubric.criteria):
        blocks.append("## Measures\n\n" + "\n".join(_measures(rubric)))
    if (rewards := rubric.rewards_and_penalties) is not None:
        blocks.append(_section("Rewards and penalties", rewards, rewards_and_penalties=rewards))
    if rubric.system_prompts:
        blocks.append("## System prompts")
        blocks += [_wordings(level, rubric.system_prompts[level]) for level in ScoreLevel]
    return "\n\n".join(blocks) + "\n"


def _fields(rubric: Rubric) -> Iterator[str]:
    for name in ("id", "family", "split"):
        yield f"- {name.capitalize()}: {getattr(rubric, name)}"
    for name in ("licence", "source"):
        text, label = getattr(rubric, name), f"- {name.capitalize()}: "
        yield label + _in_place(text, _TITLE + label, **{name: text})


def _section(heading: str, text: str, **found: str) -> str:
    start = f"## {heading}\n\n"
    return (start + _in_place(text, _TITLE + start, _LINE_BREAKS, **found)).rstrip("\n")


def _criteria(rubric: Rubric) -> Iterator[str]:
    names = ["Criterion", "Id", "Weight", *(grade.replace("_", " ").capitalize() for grade in GRADES)]
    yield _row(names)
    yield _row(["---"] * len(names))
    for criterion in rubric.criteria:
        title = _cell(criterion.title, is_title=True)
        texts = [_cell(text) for text in criterion.descriptors.model_dump().values()]
        yield _row([title, criterion.id, f"{_number(criterion.weight)}%", *texts])


def _measures(rubric: Rubric) -> Iterator[str]:
    yield _row(["Id", "Statistic", "From", "To"])
    yield _row(["---"] * 4)
    for criterion in rubric.criteria:
        if measure := criterion.measure:
            yield _row([criterion.id, measure.statistic, _number(measure.start), _number(measure.end)])


def _wordings(level: ScoreLevel, wordings: Paraphrases) -> str:
    start = f"{_TITLE}## System prompts\n\n### Low, train\n\n- "
    blocks = []
    for split in ("train", "heldout"):
        blocks.append(f"### {level.value.replace('_', ' ').capitalize()}, {split}\n")
        for text in getattr(wordings, split):
            found = {ScoreLevel.LOW: {"train": (text,)}}
            blocks.append(f"- {_in_place(text, start, _LINE_BREAKS, system_prompts=found)}")
        blocks.append("")
    return "\n".join(blocks).rstrip("\n")


def _in_place(text: str, start: str, line_break: str = LINE_BREAK, **found: Any) -> str:
    """The plainest way to write a text after `start`, of which exactly the fields `found` are read back."""
    expected = replace(parse_rubric_text(f"{start}{_NEUTRAL}\n"), **found)
    for shown in (text, escape(text, line_break)):
        if parse_rubric_text(f"{start}{shown}\n") == expected:
            return shown
    return escape(text, line_break, shield=True)


def _cell(text: str, *, is_title: bool = False) -> str:
    for shown in (text, escape(text)):
        read = read_title(shown).text if is_title else read_cell(shown)
        if (
            read == text
            and "\n" not in shown
            and "\r" not in shown
            and split_row(_row([shown, ""]), "|") == [shown, ""]
        ):
            return shown
    return escape(text, shield=True)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(number: float) -> str:
    return repr(int(number)) if number.is_integer() else repr(number)
