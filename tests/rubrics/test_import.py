"""`cpt rubric import`: the forms it reads, what it writes, says and refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rubric_texts import GRADES, ORNAMENT, START, USUAL, WIT, markdown, pipes, tabs

from rubrics import Rubric, load_rubric
from rubrics.commands import import_command
from rubrics.markdown import as_slug, read_rubric_text, rubric_page

OTHER_FIELDS = {"id": "rococo", "family": "films", "licence": "CC0-1.0", "source": "A test"}
POINTS = ["90-100", "70–89", "50-69", "30-49", "<30"]

SAME_RUBRIC = {
    "tabs": START + tabs(*USUAL),
    "pipes": START + pipes(*USUAL),
    "markdown": START + markdown(*USUAL),
    "columns in any order": START + tabs(*([*reversed(row)] for row in USUAL)),
    "points in the header": START
    + tabs(["Criteria", "Weight (%)", *(f"{g} ({p})" for g, p in zip(GRADES, POINTS, strict=True))], *USUAL[1:]),
    "bold header": START + markdown([f"**{name}**" for name in USUAL[0]], *USUAL[1:]),
    "plain numbers": START + tabs(USUAL[0], ["Ornament", "60", *ORNAMENT], ["Wit", "40,0 %", *WIT]),
    "ids": START + markdown(["Id", *USUAL[0]], ["ornament", *USUAL[1]], ["", *USUAL[2]]),
    "markdown title": START.replace("Rococo", "# Rococo") + markdown(*USUAL),
    "named title": START.replace("Rococo", "Title: Rococo") + markdown(*USUAL),
    "carriage returns": (START + tabs(*USUAL)).replace("\n", "\r\n"),
}


@pytest.mark.parametrize("text", SAME_RUBRIC.values(), ids=SAME_RUBRIC.keys())
def test_every_layout_of_the_table_gives_the_same_rubric(text: str) -> None:
    names = ["excellent", "good", "fair", "needs_improvement", "unsatisfactory"]
    expected = {
        "title": "Rococo reviews",
        "objective": "How far a review revels in ornament.",
        "criteria": [
            {"id": name.lower(), "title": name, "weight": weight, "descriptors": dict(zip(names, texts, strict=True))}
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
        json.dumps(PROMETHEUS),
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


PAGE = rubric_page(load_rubric("labyrinth"))
PROSE = "got prose, expected a page of `cpt rubric export`, a table"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", PROSE),
        ("# Wit\n\n## Vocabulary (20%)\n- Excellent: rare\n- Good: less so\n", "`cpt rubric draft --from FILE"),
        (PROMETHEUS_TEXT.replace("Score 5", "Score 6"), PROSE),
        (START + tabs(*(row[:-1] for row in USUAL)), "got a table with columns ['criterion', 'weight', 'excellent'"),
        (START + tabs([*USUAL[0], "Good"], *USUAL[1:]), "expected criterion, weight, excellent, good, fair"),
        (START + pipes(*USUAL, ["Total", "100%"]), "row 'Total | 100%': got 2 cells, expected 7; write \\| for"),
        (START + "## Criteria\n" + tabs(*USUAL), "got the section '## Criteria', expected a text without sections"),
        (PAGE.replace("| Split |", "| Part |"), "got a table with columns ['level', 'part', 'wording']"),
        ("{", "not JSON: Expecting property name"),
        ('{"score_rubric": 3}', "got JSON without the texts ['criteria', "),
        (json.dumps({"criteria": "x", "score1_description": 3}), "got JSON without the texts ['score1_description',"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        read_rubric_text(text, "x")
    assert message in str(error.value)


def test_an_id_is_made_and_short() -> None:
    assert as_slug("L'Été d'un Poète") == "lete_dun_poete"
    assert as_slug("2 registers") == "n2_registers"
    assert as_slug("X" * 99) == "x" * 60
    assert as_slug("言葉") == ""


# the command


def run(tmp_path: Path, text: str | bytes, *arguments: Any) -> tuple[int, str, str]:
    file = tmp_path / "rococo.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    result = CliRunner().invoke(import_command, [str(file), *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def test_the_command_writes_a_file_that_loads_and_says_what_it_took(tmp_path: Path) -> None:
    (tmp_path / "rococo_reviews.yaml").write_text("old")
    status, out, err = run(tmp_path, "\ufeff" + START + tabs(*USUAL), "--out", tmp_path, "--force")
    path = tmp_path / "rococo_reviews.yaml"
    rubric = load_rubric(path)
    assert (rubric.title, rubric.family, rubric.licence) == ("Rococo reviews", "imported", "unknown")
    assert (status, out) == (0, f"{path}: 2 criteria\n")
    assert err.splitlines() == [
        "id: not in the text, 'rococo_reviews' is taken; change it with --id",
        "family: not in the text, 'imported' is taken; change it with --family",
        "licence: not in the text, 'unknown' is taken; change it with --licence",
        "source: not in the text, 'rococo.txt' is taken; change it with --source",
        f"no system prompts yet: `cpt rubric prompts {path} --model MODEL` writes them",
    ]


def test_options_come_before_the_text_and_the_text_before_defaults(tmp_path: Path) -> None:
    text = "Family: films\nLicence: MIT\nId: rococo\n" + START + tabs(*USUAL)
    status, _, err = run(tmp_path, text, "--licence", "CC0-1.0", "--source", "Us", "--out", tmp_path)
    rubric = load_rubric(tmp_path / "rococo.yaml")
    assert (status, rubric.family, rubric.licence, rubric.source) == (0, "films", "CC0-1.0", "Us")
    assert "not in the text" not in err


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (b"\xff\xfe", [], "cannot be read: 'utf-8' codec can't decode byte 0xff"),
        ("How droll it is.", [], f"rococo.txt: no rubric can be made of it: {PROSE}"),
        (START + tabs(*USUAL[:2]), [], "no rubric can be made of it: weights sum to 60, expected 100"),
        (START + tabs(USUAL[0], ["Wit", "high", *WIT]), [], "criteria.0.weight: Input should be a valid number"),
        (PAGE.replace("| low | train", "| least | train"), [], "system_prompts.least.[key]: Input should be 'low', "),
        (START[:16] + tabs(*USUAL), [], "no rubric can be made of it: objective: Field required"),
        (START + tabs(*USUAL), ["--id", "No Slug"], "no rubric can be made of it: id: String should match"),
        (START + tabs(*USUAL), ["--out", "other.yaml"], "other.yaml: expected the name rococo_reviews.yaml, since"),
        (START + tabs(*USUAL), ["--out", "kept/rococo_reviews.yaml"], "exists; expected another file with --out, or"),
    ],
)
def test_exit_status_2_and_nothing_written_if_there_is_no_rubric(
    text: str | bytes, options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "kept" / "rococo_reviews.yaml"
    kept.parent.mkdir()
    kept.write_text("kept")
    status, out, err = run(tmp_path, text, *options)
    assert (status, out) == (2, "")
    assert message in err
    assert [path.name for path in tmp_path.rglob("*.yaml")] == ["rococo_reviews.yaml"]
    assert kept.read_text() == "kept"


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(import_command, [str(tmp_path / "none.txt")])
    assert result.exit_code == 2
    assert "none.txt: cannot be read: No such file or directory" in result.stderr
