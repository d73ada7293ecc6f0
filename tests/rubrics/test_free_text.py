"""Rubrics as people write them: every layout gives the same rubric."""

import pytest
from rubric_texts import (
    BOLD,
    GRADES,
    ORNAMENT,
    POINTS,
    REVERSED,
    START,
    US_SCHOOL,
    USUAL,
    VARIANTS,
    WIT,
    listed,
    markdown,
    pipes,
    prompts,
    rows,
    tabs,
)

from rubrics import Rubric, ScoreLevel, load_rubric
from rubrics.free_text import parse_rubric_text
from rubrics.tables import as_slug, grade_rank, grades_of, read_header, read_weight

SAME_RUBRIC = {
    "tabs": tabs(*USUAL),
    "pipes": pipes(*USUAL),
    "markdown": markdown(*USUAL),
    "bold": markdown(*BOLD),
    "columns in any order": tabs(*REVERSED),
    "points in the header": tabs(*POINTS, *USUAL[1:]),
    "other grade names": tabs(["Aspect", "Weighting", *VARIANTS], *USUAL[1:]),
    "grades of a school": pipes(["Category", "Weight (%)", *US_SCHOOL], *USUAL[1:]),
    "grades upside down": tabs(
        ["Criterion", "Weight", *reversed(US_SCHOOL)],
        *([*row[:2], *reversed(row[2:])] for row in USUAL[1:]),
    ),
    "no name for the first column": tabs(["", "Weight", *GRADES], *USUAL[1:]),
    "plain numbers": tabs(*rows(["Criterion", "Weight"], ["Ornament", "60"], ["Wit", "40"])),
    "decimal comma": tabs(*rows(["Criterion", "Weight"], ["Ornament", "60,0 %"], ["Wit", "40,0 %"])),
    "fractions": tabs(*rows(["Criterion", "Weight"], ["Ornament", "0.6"], ["Wit", "0.4"])),
    "weights in titles": tabs(*rows(["Criterion (weight)"], ["Ornament (60%)"], ["Wit (weight: 40%)"])),
    "bold titles with weights": markdown(*rows(["Criterion"], ["**Ornament** (60%)"], ["**Wit (40%)**"])),
    "sum of the weights": tabs(*USUAL, ["**Total**", "100%"]),
    "empty rows and cells": tabs(USUAL[0], [*USUAL[1], "", ""], [""] * 7, USUAL[2]),
    "a heading above": "## Scoring Rubric\n\n" + markdown(*USUAL),
    "empty line inside": pipes(*USUAL[:2]) + "\n" + pipes(USUAL[2]),
    "headings with grades": listed("## Ornament (60%)", ORNAMENT) + listed("### Wit [weight 40%]", WIT),
    "numbered bold headings": "Criteria\n"
    + listed("**1. Ornament (60%)**", ORNAMENT)
    + listed("**2. Wit (40%):**", WIT, [f"**{grade}** (10 points)" for grade in GRADES]),
    "weights below headings": "## Criteria\n"
    + listed("### Ornament\nWeight: 60%", ORNAMENT)
    + listed("### Wit\n\n- Weight: 40%", WIT),
    "carriage returns": tabs(*USUAL).replace("\n", "\r\n"),
}


@pytest.mark.parametrize("table", SAME_RUBRIC.values(), ids=SAME_RUBRIC.keys())
def test_every_layout_gives_the_same_rubric(table: str) -> None:
    parsed = parse_rubric_text(START + table)
    assert parsed.unplaced == ()
    rubric = parsed.rubric(id="rococo", family="films", licence="CC0-1.0", source="A test")
    names = ["excellent", "good", "fair", "needs_improvement", "unsatisfactory"]
    assert rubric == Rubric.model_validate(
        {
            "id": "rococo",
            "title": "Rococo reviews",
            "family": "films",
            "objective": "How far a review revels in ornament.",
            "criteria": [
                {
                    "id": "ornament",
                    "title": "Ornament",
                    "weight": 60,
                    "descriptors": dict(zip(names, ORNAMENT, strict=True)),
                },
                {"id": "wit", "title": "Wit", "weight": 40, "descriptors": dict(zip(names, WIT, strict=True))},
            ],
            "licence": "CC0-1.0",
            "source": "A test",
        }
    )


def test_a_rubric_like_those_of_the_paper_is_read_whole() -> None:
    parsed = parse_rubric_text(
        "Rococo reviews\nObjective: How far a review revels\nin ornament.\n\nIt need not be true.\n"
        "Core Principles:\n* Excess: more is more.\n* Play: nothing is grave,\n  not even death.\n\n"
        + tabs(*POINTS, *USUAL[1:])
        + "\nScoring Notes:\n- Reward a surprising image.\n- Never reward length.\n\nPenalties: 5 points for a plot.\n"
    )
    assert parsed.title == "Rococo reviews"
    assert parsed.objective == (
        "How far a review revels in ornament.\n\nIt need not be true.\n\n"
        "Core Principles:\n* Excess: more is more.\n* Play: nothing is grave, not even death."
    )
    assert [criterion.weight for criterion in parsed.criteria] == [60, 40]
    assert parsed.rewards_and_penalties == (
        "- Reward a surprising image.\n- Never reward length.\n\nPenalties:\n5 points for a plot."
    )
    assert parsed.unplaced == ()


def test_what_judges_read_can_be_read_back() -> None:
    for rubric_id in ("film_dada", "labyrinth"):
        rubric = load_rubric(rubric_id)
        parsed = parse_rubric_text(rubric.render())
        found = parsed.rubric(id=rubric.id, family=rubric.family, licence=rubric.licence, source=rubric.source)
        assert parsed.unplaced == ()
        assert found.render() == rubric.render()


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# Rococo *reviews*", "Rococo *reviews*"),
        ("# **Rococo**", "Rococo"),
        ("# Rubric: Rococo", "Rococo"),
        ("Title: Rococo", "Rococo"),
        ("**Rubric:** Rococo", "Rococo"),
        ("Rococo\n======", "Rococo"),
        ("\ufeff\n\nRococo", "Rococo"),
        ("# Rococo &amp; more &#8211; 1 \\* 2", "Rococo & more – 1 * 2"),
    ],
)
def test_titles(text: str, title: str) -> None:
    assert parse_rubric_text(f"{text}\n\n## Goal\nx\n").title == title


@pytest.mark.parametrize(
    ("text", "objective"),
    [
        ("## Objective\none\ntwo\n\nthree\n", "one two\n\nthree"),
        ("**Objective:** one", "one"),
        ("**Purpose**: one", "one"),
        ("1. Goal\none\n", "one"),
        ("OBJECTIVE\none<br>two  \nthree", "one\ntwo three"),
        ("one\ntwo", "one two"),
        ("## Aim\none\n### Which means\ntwo", "one\n### Which means\ntwo"),
        ("## Aim\none\n## Principles\n1. two\n   2. three\n", "one\n\nPrinciples:\n1. two\n   2. three"),
    ],
)
def test_objectives(text: str, objective: str) -> None:
    parsed = parse_rubric_text(f"# Rococo\n\n{text}")
    assert (parsed.objective, parsed.unplaced) == (objective, ())


@pytest.mark.parametrize(
    ("cell", "title", "criterion_id"),
    [
        ("**Wealth of words**: how rare they are", "Wealth of words: how rare they are", "wealth_of_words"),
        ("**Wealth of words**<br>how rare", "Wealth of words: how rare", "wealth_of_words"),
        ("Words: how rare they are", "Words: how rare they are", "words"),
        ("Words \\| sounds", "Words | sounds", "words_sounds"),
        ("Élan & naïveté", "Élan & naïveté", "elan_naivete"),
        ("2 registers", "2 registers", "n2_registers"),
        ("言葉", "言葉", "criterion_1"),
        ("*Words*", "Words", "words"),
    ],
)
def test_titles_and_ids_of_criteria(cell: str, title: str, criterion_id: str) -> None:
    [criterion] = parse_rubric_text(START + markdown(USUAL[0], [cell, "100%", *WIT])).criteria
    assert (criterion.title, criterion.id) == (title, criterion_id)


def test_a_description_follows_the_title_and_equal_titles_get_ids_of_their_own() -> None:
    row = ["Wit", "50%", *WIT, "How droll."]
    parsed = parse_rubric_text(START + tabs([*USUAL[0], "Description"], row, row))
    assert [(found.title, found.id) for found in parsed.criteria] == [
        ("Wit: How droll.", "wit"),
        ("Wit: How droll.", "wit_2"),
    ]
    below = parse_rubric_text(START + listed("## Wit (100%)\nHow droll.\nHow quick.", WIT))
    assert below.criteria[0].title == "Wit: How droll. How quick."


def test_ids_that_cannot_be_ids_are_told() -> None:
    table = tabs(["Id", *USUAL[0]], ["O 1", *USUAL[1]], ["言", *USUAL[2]])
    parsed = parse_rubric_text("Rococo\nFamily: Film reviews\n" + table)
    assert (parsed.family, [found.id for found in parsed.criteria]) == ("film_reviews", ["o_1", "wit"])
    assert parsed.notes == (
        "family: 'Film reviews' cannot be one, 'film_reviews' is taken",
        "id: 'O 1' cannot be one, 'o_1' is taken",
        "id: '言' cannot be one, one made of the title is taken",
    )


def test_fractions_are_told() -> None:
    parsed = parse_rubric_text(START + SAME_RUBRIC["fractions"])
    assert parsed.notes == ("weights 0.6, 0.4 were read as fractions of 1: 60, 40%",)


def test_system_prompts_are_read_from_lists_paragraphs_and_named_lines() -> None:
    parsed = parse_rubric_text(
        START
        + "System prompts:\n**Low**\nOne\ntwo.\n\nThree.\n\nModerate (heldout): Four.\n"
        + "High:\n1. Five.\n2. Six,\n   seven.\n"
    )
    assert parsed.system_prompts == {
        ScoreLevel.LOW: {"train": ("One two.", "Three.")},
        ScoreLevel.MODERATE: {"heldout": ("Four.",)},
        ScoreLevel.EXTREMELY_HIGH: {"train": ("Five.", "Six, seven.")},
    }
    assert parsed.unplaced == ()


def test_system_prompts_are_taken_if_they_are_complete_and_else_left_out_with_a_word() -> None:
    whole = parse_rubric_text(START + tabs(*USUAL) + prompts(4, 3, 4, 3, 5, 3))
    given = {"id": "rococo", "family": "films", "licence": "x", "source": "x"}
    assert len(whole.rubric(**given).wordings(ScoreLevel.EXTREMELY_HIGH, "train")) == 5
    assert whole.missing_prompts() == ()
    part = parse_rubric_text(START + tabs(*USUAL) + prompts(4, 3, 4, 2, 4, 3))
    assert part.rubric(**given).system_prompts == {}
    assert part.missing_prompts() == ("system prompts, moderate, heldout: got 2 wordings, expected at least 3",)


@pytest.mark.parametrize(
    ("names", "grades"),
    [
        ("excellent good fair poor", [0, 1, 2, 3]),
        ("excellent good fair poor unsatisfactory", [0, 1, 2, 3, 4]),
        ("poor fair good very_good excellent", [4, 3, 2, 1, 0]),
        ("outstanding excellent good average weak", [0, 1, 2, 3, 4]),
        ("good good", [1, 1]),
    ],
)
def test_grades_by_order_and_by_name(names: str, grades: list[int]) -> None:
    order = ["excellent", "good", "fair", "needs_improvement", "unsatisfactory"]
    ranks = [grade_rank(name) for name in names.split()]
    assert grades_of([rank for rank in ranks if rank is not None]) == [order[grade] for grade in grades]


@pytest.mark.parametrize("name", ["", "Superb", "90-100", "Goodness", "Not good"])
def test_what_is_no_grade(name: str) -> None:
    assert grade_rank(name) is None


@pytest.mark.parametrize("line", ["Criterion", "A | B", "Good\tFair", "Weight | Good", "Criterion and so on | Other"])
def test_what_is_no_header(line: str) -> None:
    assert read_header(line) is None


@pytest.mark.parametrize("text", ["", "%", "high", "20-30%", "-5", "20 points or so"])
def test_what_is_no_weight(text: str) -> None:
    assert read_weight(text) is None


def test_an_id_is_kept_or_made_and_short() -> None:
    assert as_slug("a__b_") == "a__b_"
    assert as_slug("L'Été d'un Poète") == "lete_dun_poete"
    assert as_slug("word " * 20) == "_".join(["word"] * 12)
    assert as_slug("X" * 99) == "x" * 60
