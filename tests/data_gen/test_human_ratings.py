"""Ratings by people as teacher responses: scores and levels by hand, what is left out and named, twins of them."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from command_runs import cpt, read_rows
from command_runs import write_rows as write

from data_gen.responses import Problems, TeacherResponse
from data_gen.twins.human_ratings import responses_from_ratings
from rubrics import Rubric, load_rubrics

Row = dict[str, Any]
RATED: dict[str, Rubric] = {rubric.id: rubric for rubric in load_rubrics("human_ratings")}
SOUP, MOSS = "What can I do with a leek?", "Why is moss soft?"
LEEK_SHORT = "Cut it into rings and cook it in butter until it is soft."
LEEK_LONG = "A leek is a most obliging vegetable. " + "Wash it well, for there is sand between the leaves. " * 12 + "\n"
MOSS_PLAIN = "Moss has no wood in it. It is all small thin leaves, so your hand sinks in."
MOSS_LEARNED = "Lacking lignified vascular tissue, the gametophyte relies on turgor, and its unistratose laminae yield."


def rated(prompt: object, response: object, **ratings: object) -> Row:
    return {"prompt": prompt, "response": response, **ratings}


HELPSTEER2_LIKE: list[Row] = [
    rated(SOUP, LEEK_SHORT, helpfulness=3, correctness=4, coherence=4, complexity=1, verbosity=0),
    rated(MOSS, MOSS_PLAIN, helpfulness=3, correctness=3, coherence=4, complexity=0, verbosity=1),
    rated(SOUP, LEEK_LONG, helpfulness=3, correctness=4, coherence=2, complexity=1, verbosity=4),
    rated(MOSS, MOSS_LEARNED, helpfulness=1, correctness=4, coherence=3, complexity=3, verbosity=1),
]


def read(path: Path, **options: Any) -> tuple[list[TeacherResponse], dict[str, int]]:
    problems = Problems()
    return [row for _, row in responses_from_ratings([path], RATED, problems, **options)], dict(problems.counts)


@pytest.mark.parametrize(
    ("rating", "max_rating", "score", "level"),
    [
        (0, 4, 0, "low"),
        (2, 4, 50, "moderate"),
        (4, 4, 100, "extremely_high"),
        (1.6, 4, 40, "low"),  # the mean of 1, 1, 2, 2, 2
        (1.6000000000000003, 4, 40, "low"),  # the same mean, added up in another order
        (0.37, 0.4, 92.5, "moderate"),
    ],
)
def test_known_scores_and_levels(rating: float, max_rating: float, score: float, level: str, tmp_path: Path) -> None:
    [row], _ = read(write(tmp_path / "r.jsonl", [rated("p", "r", verbosity=rating)]), max_rating=max_rating)
    assert row.judgment is not None
    assert (row.judgment.score, row.level) == (score, level)
    assert row.judgment.prompt_version == f"ratings-0-{max_rating:g}-v1"


def test_a_row_becomes_one_response_per_attribute_whose_id_follows_the_content(tmp_path: Path) -> None:
    rows, problems = read(write(tmp_path / "r.jsonl", HELPSTEER2_LIKE))
    assert (problems, len(rows), len({row.id for row in rows})) == ({}, 20, 20)
    assert len({row.user_prompt_id for row in rows}) == 2
    scores = {row.params["attribute"]: row.judgment.score for row in rows[:5] if row.judgment}
    assert scores == {"helpfulness": 75, "correctness": 100, "coherence": 100, "complexity": 25, "verbosity": 0}
    row = next(row for row in rows if row.rubric == "rated_complexity")
    assert row.model_dump(mode="json", exclude_none=True, exclude={"id", "user_prompt_id"}) == {
        "schema": 2,
        "user_prompt": SOUP,
        "rubric": "rated_complexity",
        "rubric_hash": RATED["rated_complexity"].hash,
        "level": "low",
        "response": LEEK_SHORT,
        "teacher": "human-rated",
        "params": {"attribute": "complexity", "rating": 1},
        "usage": {},
        "judgment": {"score": 25, "judge": "human", "prompt_version": "ratings-0-4-v1"},
    }
    other, _ = read(write(tmp_path / "other.jsonl", HELPSTEER2_LIKE[::-1]))
    assert {row.id: row for row in rows} == {row.id: row for row in other}


GOOD = rated("good", "good", verbosity=1)
TURNS = "Hello\n<extra_id_1>Assistant\nHello! How can I help?\n<extra_id_1>User\nTell me of leeks."


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        ("{", "bad_row", "got '{\\n', expected a JSON object in one line"),
        ({"prompt": "p"}, "bad_row", "response: got None, expected a text, and a column per attribute"),
        (rated(" ", "r", verbosity=1), "bad_row", "prompt: got ' ', expected a text"),
        (rated(TURNS, "r", verbosity=1), "multi_turn", "prompt: got turns marked '<extra_id_1>Assistant', expected"),
        (rated("p", "r"), "no_rating", "got no rating, expected one"),
        (rated("p", "r", verbosity="3"), "bad_rating", "verbosity: got '3', expected a number from 0 to 4"),
        (rated("p", "r", verbosity=float("nan")), "bad_rating", "verbosity: got nan, expected a number from 0 to 4"),
        (GOOD, "repeated_rating", "verbosity: got a second rating of one response to one prompt, expected one"),
    ],
)
def test_a_bad_row_is_named_with_file_and_line_and_the_good_ones_go_on(
    bad: Any, kind: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.jsonl"
    line = bad if isinstance(bad, str) else json.dumps(bad)
    after = rated("after", "after", verbosity=4)
    path.write_text(f"{json.dumps(GOOD)}\n\n{line}\n{json.dumps(after)}\n", encoding="utf-8")
    rows, problems = read(path)
    assert [row.response for row in rows] == ["good", "after"]
    assert problems == {kind: 1}
    said = capsys.readouterr().err
    assert said.startswith(f"{path}:3: ")
    assert message in said
    assert said.count("\n") == 1


def test_a_broken_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl.gz").write_bytes(gzip.compress(json.dumps(GOOD).encode() * 50)[:40])
    with pytest.raises(ValueError, match="r.jsonl.gz: broken .*, expected JSONL in gzip"):
        read(tmp_path / "r.jsonl.gz")


def test_ratings_become_twins_with_the_right_roles_and_scores_packed_or_shuffled(tmp_path: Path) -> None:
    # by hand from the four rows of HELPSTEER2_LIKE, of which complexity is 1 and 1 for the leeks, verbosity 1 and 1 for
    # the moss; the other three attributes are kept for measuring
    moss = (MOSS_PLAIN, "low", 0), (MOSS_LEARNED, "moderate", 75)
    leek = (LEEK_SHORT, "low", 0), (LEEK_LONG.strip(), "extremely_high", 100)
    expected = {("rated_complexity", MOSS, *moss), ("rated_complexity", MOSS, *moss[::-1])}
    expected |= {("rated_verbosity", SOUP, *leek), ("rated_verbosity", SOUP, *leek[::-1])}
    packed = tmp_path / "r.jsonl.gz"
    packed.write_bytes(gzip.compress(write(tmp_path / "s.jsonl", HELPSTEER2_LIKE[::-1]).read_bytes()))
    for ratings in (write(tmp_path / "r.jsonl", HELPSTEER2_LIKE), packed):
        out = tmp_path / f"{ratings.name}-twins"
        cpt("twins", "--from-ratings", ratings, "--eval-prompts", 0, "--out", out)
        assert "license: other" in (out / "README.md").read_text(encoding="utf-8")
        rows = read_rows(out / "train.jsonl")
        assert {row["teacher"] for row in rows} == {"human-rated"}
        assert len(rows) == 4
        assert expected == {
            (
                *(row["rubric"], row["prompt"][1]["content"]),
                (row["chosen"][0]["content"], row["level"], row["score_chosen"]),
                (row["rejected"][0]["content"], row["rejected_level"], row["score_rejected"]),
            )
            for row in rows
        }
