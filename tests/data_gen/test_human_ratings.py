"""Ratings by people as teacher responses: shapes of files, scores and levels by hand, what is left out and named."""

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.responses import Problems, TeacherResponse
from data_gen.twins.command import twins_command
from data_gen.twins.human_ratings import rating_score, responses_from_ratings
from rubrics import Rubric, ScoreLevel, load_rubrics, load_user_prompts

Row = dict[str, Any]
RATED: dict[str, Rubric] = {rubric.id: rubric for rubric in load_rubrics("human_ratings")}
ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
SOUP = "What can I do with a leek?"
LEEK_SHORT = "Cut it into rings and cook it in butter until it is soft."
LEEK_LONG = "A leek is a most obliging vegetable. " + "Wash it well, for there is sand between the leaves. " * 12
MOSS = "Why is moss soft?"
MOSS_PLAIN = "Moss has no wood in it. It is all small thin leaves, so your hand sinks in."
MOSS_LEARNED = "Lacking lignified vascular tissue, the gametophyte relies on turgor, and its unistratose laminae yield."


def rated(prompt: object, response: object, **ratings: object) -> Row:
    return {"prompt": prompt, "response": response, **ratings}


HELPSTEER2_LIKE: list[Row] = [
    rated(SOUP, LEEK_SHORT, helpfulness=3, correctness=4, coherence=4, complexity=1, verbosity=0),
    rated(MOSS, MOSS_PLAIN, helpfulness=3, correctness=3, coherence=4, complexity=0, verbosity=1),
    rated(SOUP, LEEK_LONG, helpfulness=3, correctness=4, coherence=2, complexity=1, verbosity=4),
    rated(MOSS, MOSS_LEARNED, helpfulness=2, correctness=4, coherence=3, complexity=3, verbosity=1),
]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path, **options: Any) -> tuple[list[TeacherResponse], dict[str, int]]:
    problems = Problems()
    return [row for _, row in responses_from_ratings(path, RATED, problems, **options)], dict(problems.counts)


@pytest.mark.parametrize(
    ("rating", "max_rating", "score", "level"),
    [
        (0, 4, 0, "low"),
        (1, 4, 25, "low"),
        (2, 4, 50, "moderate"),
        (3, 4, 75, "moderate"),
        (4, 4, 100, "extremely_high"),
        (1.6, 4, 40, "low"),  # the mean of 1, 1, 2, 2, 2
        (1.6000000000000003, 4, 40, "low"),  # the same mean, added up in another order
        (3.75, 4, 93.75, "extremely_high"),
        (2, 5, 40, "low"),
        (9.25, 10, 92.5, "moderate"),
        (0.37, 0.4, 92.5, "moderate"),
    ],
)
def test_known_scores_and_levels(rating: float, max_rating: float, score: float, level: str, tmp_path: Path) -> None:
    [row], _ = read(write(tmp_path / "r.jsonl", [rated("p", "r", verbosity=rating)]), max_rating=max_rating)
    assert row.judgment is not None
    assert (row.judgment.score, row.level) == (score, level)


@given(st.floats(0, 1), st.floats(1e-3, 1e9))
def test_score_and_level_agree_for_any_rating_on_any_scale(share: float, max_rating: float) -> None:
    score = rating_score(share * max_rating, max_rating)
    assert 0 <= score <= 100
    assert score == pytest.approx(100 * share, abs=1e-6)
    assert ScoreLevel.of(score).distance(score) == 0


def test_a_row_of_helpsteer2_becomes_one_response_per_attribute(tmp_path: Path) -> None:
    rows, problems = read(write(tmp_path / "r.jsonl", HELPSTEER2_LIKE[:1]))
    assert (problems, len({row.user_prompt_id for row in rows})) == ({}, 1)
    scores = {row.params["attribute"]: (str(row.level), row.judgment and row.judgment.score) for row in rows}
    assert scores == {
        "helpfulness": ("moderate", 75),
        "correctness": ("extremely_high", 100),
        "coherence": ("extremely_high", 100),
        "complexity": ("low", 25),
        "verbosity": ("low", 0),
    }
    [row] = [row for row in rows if row.rubric == "rated_complexity"]
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


def test_ids_follow_the_content_and_not_the_place(tmp_path: Path) -> None:
    one, _ = read(write(tmp_path / "a.jsonl", HELPSTEER2_LIKE))
    other, _ = read(write(tmp_path / "b.jsonl", HELPSTEER2_LIKE[::-1]))
    assert {row.id: row for row in one} == {row.id: row for row in other}
    assert len({row.id for row in one}) == len(one) == 20
    answers = [rated("a", "Yes.", verbosity=0), rated("b", "Yes.", verbosity=1)]
    assert [row.user_prompt for row in read(write(tmp_path / "c.jsonl", answers))[0]] == ["a", "b"]


def test_several_responses_in_a_row_keep_their_model_and_id(tmp_path: Path) -> None:
    responses = [
        {"text": LEEK_SHORT, "ratings": {"verbosity": 0.5, "style": 9}, "id": "x1"},
        {"text": LEEK_LONG, "ratings": {"verbosity": 4, "complexity": None}, "model": "m1", "id": 7},
    ]
    row = {"prompt": [{"role": "user", "content": SOUP}], "model": "m0", "responses": responses}
    rows, problems = read(write(tmp_path / "r.jsonl", [row]))
    assert problems == {}
    assert [(row.user_prompt, row.response, str(row.level), row.params) for row in rows] == [
        (SOUP, LEEK_SHORT, "low", {"attribute": "verbosity", "rating": 0.5, "model": "m0", "source_id": "x1"}),
        (SOUP, LEEK_LONG, "extremely_high", {"attribute": "verbosity", "rating": 4, "model": "m1", "source_id": 7}),
    ]


def test_both_shapes_in_jsonl_gzip_or_parquet_give_the_same_rows(tmp_path: Path) -> None:
    plain = write(tmp_path / "r.jsonl", HELPSTEER2_LIKE)
    expected = read(plain)
    several = [
        {"prompt": row["prompt"], "responses": [{"text": row["response"], "ratings": {n: row[n] for n in ATTRIBUTES}}]}
        for row in HELPSTEER2_LIKE
    ]
    assert read(write(tmp_path / "a.jsonl", several)) == expected
    packed = tmp_path / "r.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read(packed) == expected
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for rows in (HELPSTEER2_LIKE, several):
        parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "r.parquet")
        assert read(tmp_path / "r.parquet") == expected


def test_an_attribute_can_rate_a_rubric_of_ones_own_choice_on_a_scale_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [rated(SOUP, LEEK_LONG, chattiness=7, verbosity=0)])
    [row], _ = read(path, attributes={"chattiness": "rated_verbosity"}, max_rating=7)
    assert (row.rubric, row.level, row.params["attribute"]) == ("rated_verbosity", "extremely_high", "chattiness")
    assert row.judgment is not None
    assert row.judgment.prompt_version == "ratings-0-7-v1"


GOOD = rated("good", "good", verbosity=1)
TURNS = "Hello\n<extra_id_1>Assistant\nHello! How can I help?\n<extra_id_1>User\nTell me of leeks."
TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
HELPSTEER3 = {"context": TALK[:1], "response1": "a", "response2": "b", "overall_preference": -2}


def several(*responses: object) -> Row:
    return {"prompt": "p", "responses": list(responses)}


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        ("{", "bad_row", "got '{\\n', expected a JSON object in one line"),
        ("\xff", "bad_row", "not UTF-8"),
        ("[" * 100_000, "bad_row", "expected a JSON object in one line"),
        ({"prompt": "p"}, "bad_row", "got the fields ['prompt'], expected `response` with a column per attribute"),
        (rated(" ", "r", verbosity=1), "bad_row", "prompt: got ' ', expected a text"),
        (rated(["a"], "r", verbosity=1), "bad_row", "prompt: got ['a'], expected a text"),
        (rated([{"role": "user"}], "r", verbosity=1), "bad_row", "prompt: got None, expected a text"),
        (rated("half a \ud83d", "r", verbosity=1), "bad_row", "prompt: got 'half a \\ud83d', expected a text"),
        (rated("p", 5, verbosity=1), "bad_row", "response: got 5, expected a text"),
        (rated(TURNS, "r", verbosity=1), "multi_turn", "prompt: got turns marked '<extra_id_1>Assistant', expected"),
        (rated(TALK, "r", verbosity=1), "multi_turn", "prompt: got turns of ['user', 'assistant', 'user'], expected"),
        (rated("p", "r"), "no_rating", "got no rating of 'r', expected one or more on coherence, complexity, correct"),
        (rated("p", "r", verbosity=5), "bad_rating", "verbosity: got 5, expected a number from 0 to 4"),
        (rated("p", "r", verbosity="3"), "bad_rating", "verbosity: got '3', expected a number from 0 to 4"),
        (rated("p", "r", verbosity=True), "bad_rating", "verbosity: got True, expected a number from 0 to 4"),
        (rated("p", "r", verbosity=float("nan")), "bad_rating", "verbosity: got nan, expected a number from 0 to 4"),
        (GOOD, "repeated_rating", "got a second verbosity rating of one response to one prompt, expected one"),
        (HELPSTEER3, "bad_row", "got two responses and which is preferred, but no rating of either; expected"),
        (several(), "bad_row", "responses: got [], expected a list of {text, ratings}"),
        (several("oops"), "bad_row", "responses.0: got 'oops', expected {text, ratings}"),
        (several({"text": "r"}), "bad_row", "responses.0.ratings: got None, expected a rating by attribute"),
        (several({"ratings": {}}), "bad_row", "responses.0.text: got None, expected a text"),
        (several({"text": "r", "ratings": {"verbosity": 9}}), "bad_rating", "responses.0.ratings.verbosity: got 9"),
    ],
)
def test_a_bad_row_is_named_with_file_and_line_and_the_good_ones_go_on(
    bad: Any, kind: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.jsonl"
    line = bad if isinstance(bad, str) else json.dumps(bad)
    after = rated("after", "after", verbosity=4)
    path.write_bytes(f"{json.dumps(GOOD)}\n\n{line}\n{json.dumps(after)}\n".encode("latin-1"))
    rows, problems = read(path)
    assert [row.response for row in rows] == ["good", "after"]
    assert problems == {kind: 1}
    said = capsys.readouterr().err
    assert said.startswith(f"{path}:3: ")
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_rating": 0}, "max_rating: got 0, expected a number above 0"),
        ({"max_rating": float("inf")}, "max_rating: got inf, expected a number above 0"),
        ({"attributes": {}}, "attributes: got none, expected some, or a rubric rated_"),
        ({"attributes": {"x": "rococo"}}, "attributes: 'x' rates 'rococo', expected one of ['rated_coherence'"),
        ({"attributes": {"x": "rated_verbosity", "y": "rated_verbosity"}}, "expected a rubric of its own for each"),
    ],
)
def test_a_wrong_parameter_is_one_sentence(options: Row, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:
        read(write(tmp_path / "r.jsonl", HELPSTEER2_LIKE), **options)
    assert message in str(error.value)


def test_a_missing_or_broken_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none.jsonl: no such file, expected JSON lines"):
        read(tmp_path / "none.jsonl")
    whole = gzip.compress(json.dumps(GOOD).encode() * 50)
    flipped = whole[:10] + bytes([whole[10] ^ 0xFF]) + whole[11:]  # the first byte after the header: zlib refuses it
    for content in (b"no gzip", whole[: len(whole) // 2], flipped):
        (tmp_path / "r.jsonl.gz").write_bytes(content)
        with pytest.raises(ValueError, match="r.jsonl.gz: broken .*, expected JSONL in gzip"):
            read(tmp_path / "r.jsonl.gz")
    (tmp_path / "r.parquet").write_bytes(b"no parquet")
    with pytest.raises(ValueError, match="r.parquet: not readable as Parquet"):
        read(tmp_path / "r.parquet")


RATINGS = st.one_of(st.integers(-1, 6), st.floats(0, 4), st.none(), st.text(max_size=2), st.booleans())
TEXTS = st.sampled_from(["", " ", "a", "b", "c", "d", "e"])
RESPONSES = st.lists(st.tuples(TEXTS, st.dictionaries(st.sampled_from("uvw"), RATINGS)), max_size=5)


@settings(max_examples=40)
@given(st.lists(st.tuples(TEXTS, RESPONSES), max_size=5))
def test_nothing_is_lost_and_a_bad_response_does_not_take_its_neighbours_along(
    table: list[tuple[str, list[tuple[str, dict[str, Any]]]]],
) -> None:
    # one outcome, a row or a problem: per row without a prompt or responses; else per response without a text or
    # ratings; else per rating on an attribute asked for (w is not)
    expected = 0
    rows = []
    for prompt, responses in table:
        for text, ratings in responses if prompt.strip() else []:
            asked = [rating for name, rating in ratings.items() if name in "uv" and rating is not None]
            expected += max(1, len(asked)) if text.strip() else 1
        expected += 1 if not prompt.strip() or not responses else 0
        items = [{"text": text, "ratings": ratings} for text, ratings in responses]
        rows.append({"prompt": prompt, "responses": items})
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "r.jsonl", rows)
        good, problems = read(path, attributes={"u": "rated_verbosity", "v": "rated_complexity"})
    assert len(good) + sum(problems.values()) == expected
    assert len({row.id for row in good}) == len(good)


def test_ratings_become_twins_with_the_right_roles_and_scores_packed_or_shuffled(tmp_path: Path) -> None:
    # by hand from the four rows of HELPSTEER2_LIKE; responses of one level make no twin: helpfulness 3 and 3, 3 and 2;
    # correctness 4 and 4 of the leeks; complexity 1 and 1 of the leeks; verbosity 1 and 1 of the moss
    pairs = {
        "train": [
            ("rated_complexity", (MOSS_PLAIN, "low", 0), (MOSS_LEARNED, "moderate", 75)),
            ("rated_verbosity", (LEEK_SHORT, "low", 0), (LEEK_LONG, "extremely_high", 100)),
        ],
        "eval": [
            ("rated_coherence", (LEEK_SHORT, "extremely_high", 100), (LEEK_LONG, "moderate", 50)),
            ("rated_coherence", (MOSS_PLAIN, "extremely_high", 100), (MOSS_LEARNED, "moderate", 75)),
            ("rated_correctness", (MOSS_PLAIN, "moderate", 75), (MOSS_LEARNED, "extremely_high", 100)),
        ],
    }
    expected = {
        name: sorted(row for rubric, one, other in table for row in ((rubric, *one, *other), (rubric, *other, *one)))
        for name, table in pairs.items()
    }
    packed = tmp_path / "r.jsonl.gz"
    packed.write_bytes(gzip.compress(write(tmp_path / "s.jsonl", HELPSTEER2_LIKE[::-1]).read_bytes()))
    assert twins(write(tmp_path / "r.jsonl", HELPSTEER2_LIKE), tmp_path / "a") == expected
    assert twins(packed, tmp_path / "b") == expected


def twins(ratings: Path, out: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of train and eval as (rubric, chosen text, level, score, rejected text, level, score), sorted."""
    arguments = ["--from-ratings", str(ratings), "--split-by", "rubric", "--strict", "--out", str(out)]
    result = CliRunner().invoke(twins_command, arguments)
    assert result.exit_code == 0, result.output
    assert "license: other" in (out / "README.md").read_text(encoding="utf-8")
    tables = {}
    for name in ("train", "eval"):
        rows = [json.loads(line) for line in (out / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        assert {(row["teacher"], row["prompt"][1]["content"]) for row in rows} == {
            ("human-rated", SOUP),
            ("human-rated", MOSS),
        }
        tables[name] = sorted(
            (
                *(row["rubric"], row["chosen"][0]["content"], row["level"], row["score_chosen"]),
                *(row["rejected"][0]["content"], row["rejected_level"], row["score_rejected"]),
            )
            for row in rows
        )
    return tables


def test_style_is_trained_and_quality_held_out_on_prompts_of_their_own() -> None:
    assert set(RATED) == {f"rated_{name}" for name in ATTRIBUTES}
    train = {rubric.id for rubric in RATED.values() if rubric.split == "train"}
    assert train == {"rated_complexity", "rated_verbosity"}
    assert all("HelpSteer2 (arXiv 2406.08673; data CC-BY-4.0)" in rubric.source for rubric in RATED.values())
    own = load_user_prompts("train", "human_ratings") | load_user_prompts("test", "human_ratings")
    assert len(own) == 48
    for family in {rubric.family for rubric in load_rubrics("all")} - {"human_ratings"}:
        others = load_user_prompts("train", family) | load_user_prompts("test", family)
        assert not set(own.values()) & set(others.values())
