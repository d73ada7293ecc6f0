"""`cpt rubric import`: what it writes, says and refuses."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rubric_texts import FOUR, NO_CRITERION, START, USUAL, prompts, tabs

from rubrics import load_rubric
from rubrics.commands import import_command


def run(tmp_path: Path, text: str | bytes, *arguments: Any) -> tuple[int, str, str]:
    file = tmp_path / "rococo.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    result = CliRunner().invoke(import_command, [str(file), *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def test_the_command_writes_a_file_that_loads_and_says_what_it_took(tmp_path: Path) -> None:
    status, out, err = run(tmp_path, START + tabs(*USUAL), "--out", tmp_path)
    path = tmp_path / "rococo_reviews.yaml"
    rubric = load_rubric(path)
    assert (rubric.family, rubric.licence, rubric.source) == ("imported", "unknown", "rococo.txt")
    assert (status, out) == (0, f"{path}: 2 criteria, 0 lines or cells unplaced\n")
    assert err.splitlines() == [
        "id: not in the text, 'rococo_reviews' is taken; change it with --id",
        "family: not in the text, 'imported' is taken; change it with --family",
        "licence: not in the text, 'unknown' is taken; fill it in",
        "source: not in the text, 'rococo.txt' is taken; change it with --source",
        f"no system prompts yet: `cpt rubric prompts {path} --model MODEL` writes them",
    ]


def test_options_come_before_the_text_and_the_text_before_defaults(tmp_path: Path) -> None:
    text = f"{START[:14]}\nFamily: Film reviews\nLicence: MIT\nId: Rococo\n{START[16:]}" + tabs(*USUAL)
    options = ["--licence", "CC0-1.0", "--source", "Us", "--out", tmp_path]
    status, _, err = run(tmp_path, text, *options)
    rubric = load_rubric(tmp_path / "rococo.yaml")
    assert (rubric.family, rubric.licence, rubric.source) == ("film_reviews", "CC0-1.0", "Us")
    assert status == 0
    assert "not in the text" not in err


def test_exit_status_1_if_something_is_unplaced_and_the_file_is_written(tmp_path: Path) -> None:
    status, _, err = run(
        tmp_path, START + tabs(*USUAL) + "Stray.\n", "--out", tmp_path / "rococo.yaml", "--id", "rococo"
    )
    assert status == 1
    assert f"unplaced: line 8: 'Stray.': {NO_CRITERION}" in err
    assert load_rubric(tmp_path / "rococo.yaml").title == "Rococo reviews"
    status, _, err = run(tmp_path, START + tabs(*USUAL) + prompts(4, 3, 4, 3, 4, 2), "--out", tmp_path)
    assert status == 1
    assert "extremely_high, heldout: got 2 wordings, expected at least 3" in err
    assert load_rubric(tmp_path / "rococo_reviews.yaml").system_prompts == {}


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (b"\xff\xfe", [], "cannot be read: 'utf-8' codec can't decode byte 0xff"),
        (START, [], "no rubric can be made of it: criteria: not found, expected a table"),
        (START + tabs(*FOUR), [], "no unsatisfactory, expected five; descriptors of 'Wit'"),
        (START + tabs(*USUAL), ["--id", "No Slug"], "no rubric can be made of it: id: String should match"),
        (START + tabs(*USUAL), ["--out", "other.yaml"], "other.yaml: expected the name rococo_reviews.yaml, since"),
        (START + tabs(*USUAL), ["--out", "no/rococo_reviews.yaml"], "no: no such folder; make it"),
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


def test_force_overwrites(tmp_path: Path) -> None:
    (tmp_path / "rococo_reviews.yaml").write_text("old")
    assert run(tmp_path, START + tabs(*USUAL), "--out", tmp_path, "--force")[0] == 0
    assert load_rubric(tmp_path / "rococo_reviews.yaml").title == "Rococo reviews"


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(import_command, [str(tmp_path / "none.txt")])
    assert result.exit_code == 2
    assert "none.txt: cannot be read: No such file or directory" in result.stderr
