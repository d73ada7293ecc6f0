"""What of a rubric's text has no place, or is missing, is told exactly."""

import pytest
from rubric_texts import (
    FOUR,
    GRADES,
    NO_CRITERION,
    ORNAMENT,
    START,
    USUAL,
    WIT,
    listed,
    markdown,
    pipes,
    rows,
    tabs,
)

from rubrics.free_text import parse_rubric_text

NOWHERE = "names nothing that a rubric has"

UNPLACED: dict[str, tuple[str, list[tuple[int, str, str]]]] = {
    "stray line below the table": (
        START + tabs(*USUAL) + "Total: see above.",
        [(8, "Total: see above.", NO_CRITERION)],
    ),
    "too many cells": (
        START + pipes(USUAL[0], ["Ornament", "60%", "a", *ORNAMENT], USUAL[2]),
        [
            (
                6,
                "Ornament | 60% | a | Everywhere. | Often. | At times. | Once. | Never.",
                "got 8 cells, expected 7; a pipe inside a text is written \\|",
            )
        ],
    ),
    "unknown column": (
        START + tabs(["Remarks", *USUAL[0]], ["Mine", *USUAL[1]], ["", *USUAL[2]]),
        [
            (5, "Remarks", "names no column that a rubric has"),
            (6, "Mine", "stands in column 'Remarks', which names no column that a rubric has"),
        ],
    ),
    "column twice": (
        START + tabs([*USUAL[0], "Good"], [*USUAL[1], "Well."], USUAL[2]),
        [
            (5, "Good", "names no column that a rubric has"),
            (6, "Well.", "stands in column 'Good', which names no column that a rubric has"),
        ],
    ),
    "row without criterion": (
        START + tabs(*USUAL, ["", "5%", "More."]),
        [(8, "5%\tMore.", "the row names no criterion")],
    ),
    "weight that is none": (
        START + tabs(USUAL[0], ["Ornament", "high", *ORNAMENT], USUAL[2]),
        [(6, "high", "is no weight, expected a number such as 20%")],
    ),
    "wrong total": (START + tabs(*USUAL, ["Total", "90%"]), [(8, "Total\t90%", "the weights sum to 100")]),
    "total without number": (
        START + tabs(*USUAL, ["Total", "all"]),
        [(8, "Total\tall", "is neither a criterion nor the sum of the weights")],
    ),
    "unknown section": (
        START + "## History\nBorn in May.\n\n### Youth\nLong ago.\n\n## Goal\nMore.\n",
        [
            (5, "## History", f"the heading {NOWHERE}"),
            (6, "Born in May.", f"stands below 'History', which {NOWHERE}"),
            (8, "### Youth", f"the heading {NOWHERE}"),
            (9, "Long ago.", f"stands below 'Youth', which {NOWHERE}"),
        ],
    ),
    "two titles": (f"# Rococo\nTitle: Baroque\n{START[16:]}", [(2, "Title: Baroque", "the title is 'Rococo' already")]),
    "text above the objective": (
        "Rococo\nA preface.\n\nBy nobody.\n" + START[16:],
        [
            (2, "A preface.", "stands above the first heading, and the objective elsewhere"),
            (4, "By nobody.", "stands above the first heading, and the objective elsewhere"),
        ],
    ),
    "unknown split": (
        f"{START[:14]}\n- Split: test\n{START[16:]}",
        [(2, "- Split: test", "expected train or heldout")],
    ),
    "bullet that is no grade": (
        START + listed("## Wit (100%)", WIT, ["Superb", *GRADES[1:]]),
        [(6, "- Superb: It sparkles.", NO_CRITERION)],
    ),
    "grade twice": (
        START + listed("## Wit (100%)", WIT, ["Good", *GRADES[1:]]),
        [(7, "It is lively.", "'Wit' has a descriptor for good already")],
    ),
    "text after the grades": (
        START + listed("## Wit (100%)", WIT) + "Add it all up.\n",
        [(12, "Add it all up.", NO_CRITERION)],
    ),
    "system prompts of no level": (
        START + "## System prompts\nThree levels.\n\n### Middling\n- Write.\n",
        [
            (6, "Three levels.", "no heading above it says the level: low, moderate or extremely high"),
            (8, "### Middling", f"the heading {NOWHERE}"),
            (9, "- Write.", f"stands below 'Middling', which {NOWHERE}"),
        ],
    ),
    "measures": (
        START
        + "## Measures\nBy machine.\n\n"
        + pipes(
            ["Id", "Statistic", "From", "To"],
            ["wit", "x", "0", "1"],
            ["joy", "y", "2", "2"],
            ["joy", "y", "few", "2"],
        )
        + "\n"
        + markdown(USUAL[0], ["Joy", "100%", *WIT]),
        [
            (6, "By machine.", "expected a table with the columns id, statistic, from and to"),
            (9, "wit | x | 0 | 1", "'wit' is no id of a criterion without a measure"),
            (10, "joy | y | 2 | 2", "measure y: from and to are both 2.0, expected two different values"),
            (11, "joy | y | few | 2", "from: Input should be a valid number, unable to parse string as a number"),
        ],
    ),
}


@pytest.mark.parametrize(("text", "expected"), UNPLACED.values(), ids=UNPLACED.keys())
def test_what_has_no_place_is_told_with_its_line_and_the_reason(
    text: str, expected: list[tuple[int, str, str]]
) -> None:
    assert [(found.line, found.text, found.why) for found in parse_rubric_text(text).unplaced] == expected


MISSING: dict[str, tuple[str, list[str]]] = {
    "four columns": (
        START + tabs(*FOUR),
        [f"descriptors of '{title}': no unsatisfactory, expected five" for title in ("Ornament", "Wit")],
    ),
    "four other columns": (
        START + tabs(["Criterion", "Weight", "Excellent", "Good", "Poor", "Inadequate"], FOUR[1]),
        ["descriptors of 'Ornament': no fair, expected five", "weights: 60, read as percent, sum to 60, expected 100"],
    ),
    "no weights": (
        START + tabs(*rows(["Criterion"], ["Ornament"], ["Wit"])),
        ["weight of 'Ornament': not found, expected percent", "weight of 'Wit': not found, expected percent"],
    ),
    "weights of 95": (
        START + tabs(USUAL[0], ["Ornament", "55", *ORNAMENT], USUAL[2]),
        ["weights: 55 + 40, read as percent, sum to 95, expected 100"],
    ),
    "fractions of 0.9": (
        START + tabs(*rows(["Criterion", "Weight"], ["Ornament", "0.6"], ["Wit", "0.3"])),
        ["weights: 60 + 30, read as percent, sum to 90, expected 100"],
    ),
    "an empty cell": (
        START + tabs(USUAL[0], ["Joy", "100", "All of it.", "", "x", "y", "z"]),
        ["descriptors of 'Joy': no good, expected five"],
    ),
    "nothing": (
        "",
        [
            "title: not found, expected a heading or a line of its own above everything else",
            "objective: not found, expected a heading or line 'Objective' with a text",
            "criteria: not found, expected a table whose header names criterion, weight and five grades from excellent "
            "to unsatisfactory, or headings such as '## Vocabulary (20%)' above lines 'Excellent: ...'",
        ],
    ),
}


@pytest.mark.parametrize(("text", "expected"), MISSING.values(), ids=MISSING.keys())
def test_what_is_missing_is_told(text: str, expected: list[str]) -> None:
    parsed = parse_rubric_text(text)
    assert list(parsed.missing()) == expected
    assert parsed.unplaced == ()
    with pytest.raises(ValueError) as error:
        parsed.rubric(id="x", family="x", licence="x", source="x")
    assert str(error.value) == "; ".join(expected)
