"""Rubrics as texts: read back as they were from their page and YAML; what `cpt rubric import` reads and refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from command_runs import ran, succeeds
from hypothesis import given, settings
from hypothesis import strategies as st

from rubrics import Rubric, ScoreLevel, load_rubric, load_rubrics
from rubrics.commands import export_command, import_command
from rubrics.load import rubric_yaml
from rubrics.markdown import read_rubric_text, rubric_page
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
    ids = draw(st.lists(SLUGS, min_size=len(shares), max_size=len(shares), unique=True))
    criteria = []
    for criterion_id, share in zip(ids, shares, strict=True):
        criterion: dict[str, Any] = {"id": criterion_id, "title": draw(TEXTS), "weight": 100 * share / sum(shares)}
        if ramp := draw(st.none() | st.lists(NUMBERS, min_size=2, max_size=2, unique=True)):
            criterion["measure"] = {"statistic": draw(SLUGS), "from": ramp[0], "to": ramp[1]}
        criteria.append(criterion | {"descriptors": {grade: draw(TEXTS) for grade in Descriptors.model_fields}})
    content: dict[str, Any] = {name: draw(TEXTS) for name in ("title", "objective", "licence", "source")}
    content |= {"id": draw(SLUGS), "family": draw(SLUGS), "split": draw(st.sampled_from(["train", "heldout"]))}
    content |= {"criteria": criteria, "rewards_and_penalties": draw(st.none() | st.just("") | TEXTS)}
    if draw(st.booleans()):
        wordings = st.lists(TEXTS, min_size=7, max_size=7, unique=True)
        drawn = {level: draw(wordings) for level in ScoreLevel}
        content["system_prompts"] = {level: {"train": w[:4], "heldout": w[4:]} for level, w in drawn.items()}
    return Rubric.model_validate(content)


@settings(max_examples=20)
@given(rubrics())
def test_any_rubric_is_read_back_from_its_page_and_its_yaml(rubric: Rubric) -> None:
    assert Rubric.model_validate(read_rubric_text(rubric_page(rubric), "x")) == rubric
    assert Rubric.model_validate(yaml.safe_load(rubric_yaml(rubric))) == rubric


def test_the_library_is_read_back_from_pages_without_any_escape() -> None:
    for rubric in load_rubrics("all"):
        page = rubric_page(rubric)
        assert Rubric.model_validate(read_rubric_text(page, "x")) == rubric
        assert not [mark for mark in ("\\", "&#", "<br>") if mark in page], rubric.id


# import

START = "Rococo reviews\n\nObjective: How far a review revels in ornament.\n\n"
GRADES = ["Excellent", "Good", "Fair", "Needs Improvement", "Unsatisfactory"]
POINTS = [f"{grade} ({points})" for grade, points in zip(GRADES, "90-100 70–89 50-69 30-49 <30".split(), strict=True)]
ORNAMENT = ["Everywhere.", "Often.", "At times.", "Once.", "Never."]
WIT = ["It sparkles.", "It is lively.", "It is mild.", "It is faint.", "No wit."]
USUAL = [["Criterion", "Weight", *GRADES], ["Ornament", "60%", *ORNAMENT], ["Wit", "40%", *WIT]]
OTHER_FIELDS = {"id": "rococo", "family": "films", "licence": "CC0-1.0", "source": "A test"}


def tabs(*rows: list[str]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def pipes(*rows: list[str]) -> str:
    return "".join(" | ".join(row) + "\n" for row in rows)


def markdown(*rows: list[str]) -> str:
    lines = [f"| {' | '.join(row)} |\n" for row in rows]
    return "".join([lines[0], "|" + " :--- |" * len(rows[0]) + "\n", *lines[1:]])


@pytest.mark.parametrize(
    "text",
    [
        START + tabs(*USUAL),
        START + pipes(*USUAL),
        START + markdown(*USUAL),
        START + tabs(*([*reversed(row)] for row in USUAL)),
        START + tabs(["Criteria", "Weight (%)", *POINTS], *USUAL[1:]),
        START + tabs([f"**{name}**" for name in USUAL[0]], *USUAL[1:]),
        START + tabs(USUAL[0], ["Ornament", "60", *ORNAMENT], ["Wit", "40,0 %", *WIT]),
        START + markdown(["Id", *USUAL[0]], ["ornament", *USUAL[1]], ["", *USUAL[2]]),
        START.replace("Rococo", "# Rococo") + markdown(*USUAL),
        START.replace("Rococo", "Title: Rococo") + markdown(*USUAL),
        (START + tabs(*USUAL)).replace("\n", "\r\n"),
    ],
)
def test_every_layout_of_the_table_gives_the_same_rubric(text: str) -> None:
    expected = {
        "title": "Rococo reviews",
        "objective": "How far a review revels in ornament.",
        "criteria": [
            {
                "id": name.lower(),
                "title": name,
                "weight": weight,
                "descriptors": dict(zip(Descriptors.model_fields, texts, strict=True)),
            }
            for name, weight, texts in (("Ornament", 60, ORNAMENT), ("Wit", 40, WIT))
        ],
    }
    content = OTHER_FIELDS | read_rubric_text(text, "x")
    assert Rubric.model_validate(content) == Rubric.model_validate(OTHER_FIELDS | expected)


def test_what_stands_around_the_table_is_kept() -> None:
    start = "Rococo\nFamily: films\n- License: MIT\n\nOne of its aims.\n- Two: \\*more\\*.\n\n"
    content = read_rubric_text(start + tabs(*USUAL) + "\nNever reward length.\n\nPenalties: 5 points.\n", "x")
    assert (content["title"], content["family"], content["licence"]) == ("Rococo", "films", "MIT")
    assert content["objective"] == "One of its aims.\n- Two: *more*."
    assert content["rewards_and_penalties"] == "Never reward length.\n\nPenalties: 5 points."


PROMETHEUS = {
    "criteria": "Does the model keep to humour?",
    **{f"score{score}_description": f"Humour of grade {score}." for score in range(1, 6)},
}
PROMETHEUS_TEXT = "[Does the model keep to humour?]\n" + "".join(
    f"Score {score}: Humour of grade {score}.\n" for score in range(1, 6)
)


@pytest.mark.parametrize(
    "text",
    [
        PROMETHEUS_TEXT,
        json.dumps({f"orig_{name}": text for name, text in PROMETHEUS.items()} | {"output": "..."}),
        json.dumps({"id": 3, "score_rubric": PROMETHEUS}),
    ],
)
def test_criteria_of_prometheus_are_one_criterion_best_score_first(text: str) -> None:
    rubric = Rubric.model_validate(OTHER_FIELDS | read_rubric_text(text, "dry_humour"))
    assert (rubric.title, rubric.objective) == ("Dry humour", "Does the model keep to humour?")
    [criterion] = rubric.criteria
    assert (criterion.id, criterion.weight) == ("dry_humour", 100)
    assert list(criterion.descriptors.model_dump().values()) == [f"Humour of grade {n}." for n in (5, 4, 3, 2, 1)]


# the commands


def run(tmp_path: Path, text: str | bytes, *arguments: Any, code: int = 0) -> Result:
    file = tmp_path / "rococo.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ran(import_command, file, *arguments, code=code)


def test_the_command_writes_a_file_that_loads_and_says_what_it_took(tmp_path: Path) -> None:
    path = tmp_path / "rococo_reviews.yaml"
    path.write_text("old")
    done = run(tmp_path, "\ufeff" + START + tabs(*USUAL), "--out", tmp_path, "--force")
    rubric = load_rubric(path)
    assert (rubric.title, rubric.family, rubric.licence) == ("Rococo reviews", "imported", "unknown")
    assert done.stdout == f"{path}: 2 criteria\n"
    assert done.stderr.splitlines() == [
        "id: not in the text, 'rococo_reviews' is taken; change it with --id",
        "family: not in the text, 'imported' is taken; change it with --family",
        "licence: not in the text, 'unknown' is taken; change it with --licence",
        "source: not in the text, 'rococo.txt' is taken; change it with --source",
        f"no system prompts yet: `cpt rubric prompts {path} --model MODEL` writes them",
    ]


def test_options_come_before_the_text_and_the_text_before_defaults(tmp_path: Path) -> None:
    text = "Family: films\nLicence: MIT\nId: rococo\n" + START + tabs(*USUAL)
    done = run(tmp_path, text, "--licence", "CC0-1.0", "--source", "Us", "--out", tmp_path)
    rubric = load_rubric(tmp_path / "rococo.yaml")
    assert (rubric.family, rubric.licence, rubric.source) == ("films", "CC0-1.0", "Us")
    assert "not in the text" not in done.stderr


PAGE = rubric_page(load_rubric("labyrinth"))
PROSE = "got prose, expected a page of `cpt rubric export`, a table"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (b"\xff\xfe", "", "no rubric can be made of it: in UTF-16, expected UTF-8"),
        (START + "\n<|eot_id|>", "", "got the control token '<|eot_id|>', expected plain text"),
        ("How droll it is.", "", f"rococo.txt: no rubric can be made of it: {PROSE}"),
        (PROMETHEUS_TEXT.replace("Score 5", "Score 6"), "", PROSE),
        (START + tabs([*USUAL[0], "Good"], *USUAL[1:]), "", "expected criterion, weight, excellent, good, fair"),
        (START + pipes(*USUAL, ["Total", "100%"]), "", "row 'Total | 100%': got 2 cells, expected 7; write \\| for"),
        (START + "## Criteria\n" + tabs(*USUAL), "", "got the section '## Criteria', expected a text without sections"),
        (PAGE.replace("| Split |", "| Part |"), "", "got a table with columns ['level', 'part', 'wording']"),
        ("{", "", "JSON that breaks at JSONDecodeError("),
        ('{"score_rubric": {"criteria": "x"}}', "", "JSON that breaks at KeyError('score1_description'), expected the"),
        (START + tabs(*USUAL[:2]), "", "no rubric can be made of it: weights sum to 60, expected 100"),
        (START + tabs(*USUAL), "--out=kept", "exists; expected another folder with --out, or --force"),
    ],
)
def test_exit_status_2_and_nothing_written_if_there_is_no_rubric(
    text: str | bytes, options: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "kept" / "rococo_reviews.yaml"
    kept.parent.mkdir()
    kept.write_text("kept")
    done = run(tmp_path, text, *filter(None, [options]), code=2)
    assert done.stdout == "" and message in done.stderr
    assert [path.name for path in tmp_path.rglob("*.yaml")] == ["rococo_reviews.yaml"]
    assert kept.read_text() == "kept"


def test_export_and_import_make_an_equal_file(tmp_path: Path) -> None:
    assert run(tmp_path, succeeds(export_command, "film_dada"), "--out", tmp_path).stderr == ""
    assert load_rubric(tmp_path / "film_dada.yaml") == load_rubric("film_dada")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (export_command, "rubric 'none' not found, expected one of"),
        (import_command, "none: cannot be read: No such file or directory"),
    ],
)
def test_a_missing_file_is_one_sentence(command: Any, message: str) -> None:
    done = ran(command, "none", code=2)
    assert done.stdout == "" and message in done.stderr
