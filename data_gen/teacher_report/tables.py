"""The tables of `cpt teachers` as Markdown, from the rows of `teacher_numbers.py`."""

import math
from collections.abc import Sequence

import pandas as pd

from data_gen.teacher_report.bias import BIASES
from data_gen.teacher_report.numbers import ALL_LEVELS, DYNAMIC_RANGE, LENGTH_RHO, MACRO, Carried, Number, Opening
from data_gen.teacher_report.statistics import LEVELS, LOW
from judges.agreement import Estimate

UNDEFINED = "–"
WRITER = "teacher or model"
LENGTH_RHO_TITLE = "Spearman's rho of level and length"
TITLES = {bias.key: bias.title for bias in BIASES} | {
    "score": "judged score",
    LENGTH_RHO: LENGTH_RHO_TITLE,
}
DIGITS = {bias.key: bias.digits for bias in BIASES} | {"score": 1, LENGTH_RHO: 2}
# numbers without interval: key, title, digits
COUNTED = (
    ("words_sd", "SD of length", 1),
    ("top_1_opening", "commonest opening", 3),
    ("top_5_openings", "five commonest", 3),
    ("distinct_openings", "different openings", 3),
)


def table_2(numbers: Sequence[Number]) -> str:
    """Mean judged score by teacher and level with intervals, as Markdown: Table 2 of arXiv 2506.11702."""
    rows = []
    for (name, kind), mine in _by_writer(numbers).items():
        found = {(number.statistic, number.level): number for number in mine if number.rubric == MACRO}
        scores = [found.get(("score", level)) for level in LEVELS]
        cells = [_cell(number.estimate, 1) if number else UNDEFINED for number in scores]
        spread = found[DYNAMIC_RANGE, ALL_LEVELS].estimate
        rows.append((label(name, kind), *cells, _cell(spread, 1), str(sum(number.n for number in scores if number))))
    return _markdown(rows, (WRITER, *LEVELS, "range", "n"))


def band_table(numbers: Sequence[Number]) -> str:
    """Share of scores in the band asked for, by writer and level, with n; as Markdown."""
    rows = []
    for (name, kind), mine in _by_writer(numbers).items():
        found = {number.level: number for number in mine if (number.rubric, number.statistic) == (MACRO, "in_band")}
        cells = [f"{_cell(f.estimate, 2)}, n {f.n}" if (f := found.get(level)) else UNDEFINED for level in LEVELS[LOW:]]
        rows.append((label(name, kind), *cells))
    return _markdown(rows, (WRITER, *LEVELS[LOW:]))


def bias_table(numbers: Sequence[Number], name: str, kind: str) -> str:
    """Biases of one writer by level, means over rubrics, with intervals where there are any; as Markdown."""
    found = {(n.statistic, n.level): n for n in _by_writer(numbers)[name, kind] if n.rubric == MACRO}
    rows = []
    shown = [(bias.key, bias.title, bias.digits) for bias in BIASES]
    for key, title, digits in (*shown, *COUNTED):
        cells = [_cell(f.estimate, digits) if (f := found.get((key, level))) else UNDEFINED for level in LEVELS]
        rows.append((title, *cells))
    rho = _cell(found[LENGTH_RHO, ALL_LEVELS].estimate, DIGITS[LENGTH_RHO])
    return f"{_markdown(rows, (label(name, kind), *LEVELS))}\n\n{LENGTH_RHO_TITLE}: {rho}."


def rubric_table(numbers: Sequence[Number]) -> str:
    """Mean judged score by writer, rubric and level, with intervals; as Markdown."""
    rows = []
    for (name, kind), mine in _by_writer(numbers).items():
        found = {(number.rubric, number.level): number for number in mine if number.statistic == "score"}
        for rubric in sorted({number.rubric for number in mine} - {MACRO}):
            estimates = [found.get((rubric, level)) for level in LEVELS]
            cells = [_cell(number.estimate, 1) if number else UNDEFINED for number in estimates]
            rows.append((label(name, kind), rubric, *cells))
    return _markdown(rows, (WRITER, "rubric", *LEVELS))


def carried_table(shares: Sequence[Carried]) -> str:
    """Teacher, base and student beside each other by statistic and level, with the share carried over; as Markdown."""
    rows = []
    for row in shares:
        digits = DIGITS[row.statistic]
        values = (row.teacher_value, row.base_value, row.student_value)
        cells = [_number(value, digits) for value in values]
        rows.append((TITLES[row.statistic], row.level, *cells, _cell(row.difference, digits), _cell(row.share, 2)))
    return _markdown(rows, ("", "level", "teacher", "base", "student", "teacher - base", "carried share"))


def openings_table(openings: Sequence[Opening]) -> str:
    """The given openings with how often they were used; as Markdown."""
    rows = [(label(o.writer, o.kind), o.rubric, o.level, o.opening, f"{o.count} of {o.n}") for o in openings]
    return _markdown(rows, (WRITER, "rubric", "level", "begins with", "responses"))


def label(name: str, kind: str) -> str:
    """Name of a writer in tables and figures; of a model with what it is in brackets."""
    return name if kind == "teacher" else f"{name} ({kind})"


def _by_writer(numbers: Sequence[Number]) -> dict[tuple[str, str], list[Number]]:
    found: dict[tuple[str, str], list[Number]] = {}
    for number in numbers:
        found.setdefault((number.writer, number.kind), []).append(number)
    return found


def _cell(estimate: Estimate, digits: int) -> str:
    if math.isnan(estimate.value) or math.isnan(estimate.ci_low):
        return _number(estimate.value, digits)
    value, low, high = (_number(part, digits) for part in (estimate.value, estimate.ci_low, estimate.ci_high))
    return f"{value} [{low}, {high}]"


def _number(value: float, digits: int) -> str:
    return UNDEFINED if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def _markdown(rows: Sequence[tuple[str, ...]], columns: Sequence[str]) -> str:
    # numbers stay text, or tabulate would write 1.0 as 1
    return str(pd.DataFrame(rows, columns=list(columns)).to_markdown(index=False, disable_numparse=True))
