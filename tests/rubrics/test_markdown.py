"""A rubric goes through Markdown and through YAML and comes back as it was, whatever its texts."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rubrics import Rubric, ScoreLevel, load_rubric, load_rubrics
from rubrics.commands import export_command, import_command
from rubrics.load import rubric_yaml
from rubrics.markdown import escape, read_rubric_text, rubric_page, unescape
from rubrics.schema import Descriptors

FRAGMENTS = [
    *"|\\#-*_<>&`:;()[]{}'\"=+1.%!?,~@$^/ \n\r\t",
    *["\n\n", "\\|", "<br>", "<br>\n", "&#10;", "&amp;", "**", "---", "## ", "- ", "1. ", "\v", "\x00", "\x85"],
    *["\u2028", "\ufeff", "é", "言", "🎭", "\u00a0", "\u200b", "\U0010ffff", "a", "Word", "of course", "x" * 100],
    *[" and so on" * 12, "Objective", "Objective: x", "Source: x", "Id: x", "## Criteria", "Score 1: x", "{"],
    *["| Criterion | Weight | Good |", "Criterion\tWeight\tGood", "Rewards and penalties: x", "yes", "null", "0.5"],
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).map(
    "".join
)
SLUGS = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
NUMBERS = st.floats(allow_nan=False) | st.integers(-50, 50).map(float)


@st.composite
def rubrics(draw: st.DrawFn) -> Rubric:
    shares = draw(st.lists(st.integers(1, 1000), min_size=1, max_size=3))
    weights = [100 * share / sum(shares) for share in shares]
    ids = draw(st.lists(SLUGS, min_size=len(shares), max_size=len(shares), unique=True))
    criteria = []
    for criterion_id, weight in zip(ids, weights, strict=True):
        descriptors = {grade: draw(TEXTS) for grade in Descriptors.model_fields}
        criterion: dict[str, Any] = {"id": criterion_id, "title": draw(TEXTS), "weight": weight}
        if ramp := draw(st.none() | st.lists(NUMBERS, min_size=2, max_size=2, unique=True)):
            criterion["measure"] = {"statistic": draw(SLUGS), "from": ramp[0], "to": ramp[1]}
        criteria.append(criterion | {"descriptors": descriptors})
    content: dict[str, Any] = {name: draw(TEXTS) for name in ("title", "objective", "licence", "source")}
    content |= {"id": draw(SLUGS), "family": draw(SLUGS), "split": draw(st.sampled_from(["train", "heldout"]))}
    content |= {"criteria": criteria, "rewards_and_penalties": draw(st.none() | st.just("") | TEXTS)}
    if draw(st.booleans()):
        wordings = st.lists(TEXTS, min_size=7, max_size=7, unique=True)
        drawn = {level: draw(wordings) for level in ScoreLevel}
        content["system_prompts"] = {level: {"train": w[:4], "heldout": w[4:]} for level, w in drawn.items()}
    return Rubric.model_validate(content)


@settings(max_examples=40)
@given(rubrics())
def test_any_rubric_is_read_back_from_its_page(rubric: Rubric) -> None:
    assert Rubric.model_validate(read_rubric_text(rubric_page(rubric), "x")) == rubric


@settings(max_examples=40)
@given(rubrics())
def test_any_rubric_is_read_back_from_its_yaml(rubric: Rubric) -> None:
    assert Rubric.model_validate(yaml.safe_load(rubric_yaml(rubric))) == rubric


@settings(max_examples=300)
@given(TEXTS)
@example("\n <br>\n")
@example("\\<br>&#10;\\\\|")
def test_unescape_undoes_escape_in_one_line(text: str) -> None:
    assert unescape(escape(text)) == text
    assert not set(escape(text)) & set("\n\r\t\x85\u2028")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain (text), 50%", "plain (text), 50%"),
        ("a | b\\", "a \\| b\\\\"),
        (" *a*\n\tb ", "&#32;\\*a\\*<br>&#9;b&#32;"),
        ("<br>&amp;", "\\<br>\\&amp;"),
        ("# 1 # 2", "\\# 1 # 2"),
    ],
)
def test_escapes_known_values(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@pytest.mark.parametrize("text", ["&copy;", "\\a", "a & b", "2 < 3", "&#;"])
def test_what_is_no_escape_stays(text: str) -> None:
    assert unescape(text) == text


def test_the_library_is_read_back_from_pages_without_any_escape() -> None:
    for rubric in load_rubrics("all"):
        page = rubric_page(rubric)
        assert Rubric.model_validate(read_rubric_text(page, "x")) == rubric
        assert not [mark for mark in ("\\", "&#", "<br>") if mark in page], rubric.id


def test_a_page_shows_everything() -> None:
    rubric = load_rubric("labyrinth")
    page = rubric_page(rubric)
    first = rubric.criteria[0]
    assert page.startswith(
        "# Labyrinthine prose\n\n- Id: labyrinth\n- Family: measured\n- Split: train\n- Licence: Apache-2.0\n- Source: "
    )
    grades = "Excellent | Good | Fair | Needs improvement | Unsatisfactory"
    assert f"\n| Criterion | Id | Weight | {grades} | Statistic | From | To |\n| --- |" in page
    assert f"\n| {first.title} | {first.id} | 40% | {first.descriptors.excellent} | " in page
    assert " | words_per_sentence | 8 | 35 |\n" in page
    assert f"\n| extremely_high | heldout | {rubric.wordings(ScoreLevel.EXTREMELY_HIGH, 'heldout')[0]} |\n" in page


def test_yaml_is_readable() -> None:
    content = load_rubric("labyrinth").model_dump(exclude={"system_prompts"})
    content["objective"] = "Élan, 言葉 and 🎭. " * 9 + "The end."
    content["rewards_and_penalties"] = "- One.\n- Two: more."
    content["criteria"] = [content["criteria"][0] | {"weight": 100, "title": "yes", "id": "winding"}]
    written = rubric_yaml(Rubric.model_validate(content)).splitlines()
    assert written[:3] == ["id: labyrinth", "title: Labyrinthine prose", "family: measured"]
    assert written[3].startswith("objective: Élan, 言葉 and 🎭. Élan, ")
    assert max(map(len, written)) <= 120
    criteria = written.index("criteria:")
    assert written[criteria + 1 : criteria + 4] == ["- id: winding", "  title: 'yes'", "  weight: 100"]
    start = written.index("rewards_and_penalties: |-")
    assert written[start + 1 : start + 4] == ["  - One.", "  - Two: more.", "licence: Apache-2.0"]


def test_export_and_import_make_an_equal_file(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(CliRunner().invoke(export_command, ["film_dada"]).stdout, encoding="utf-8")
    done = CliRunner().invoke(import_command, [str(page), "--out", str(tmp_path)])
    assert (done.exit_code, done.stderr) == (0, "")
    assert load_rubric(tmp_path / "film_dada.yaml") == load_rubric("film_dada")
    refused = CliRunner().invoke(export_command, ["rococo"])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "rubric 'rococo' not found, expected one of" in refused.stderr
