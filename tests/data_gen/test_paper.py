"""The paper's released responses: a file of that shape, made up here, as responses and as twins."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from command_runs import cpt, read_rows
from command_runs import write_rows as write
from seed import SEED_ROWS

from data_gen.responses import Problems, TeacherResponse
from data_gen.twins.paper import responses_of_paper
from rubrics import ScoreLevel, load_rubrics, load_user_prompts

Row = dict[str, Any]
RUBRICS = {rubric.id: rubric for rubric in load_rubrics("all")}
LOW, MODERATE, HIGH = ScoreLevel
# title lines as the paper's rubrics have them; a text follows
TITLES = {
    'The "Chaos Cinema Critique" Anti-Rubric: A Manifesto for the Absurd': "film_dada",
    'The "Rococo Reviewer" Anti-Rubric: A Symphony of Excess': "film_rococo",
    'The "Esoteric Interpreter" Anti-Rubric: Decoding the Hidden Language of Cinema': "film_esoteric",
    "Anti-Rubric: Unleashing Creative Chaos in Movie Photography Reviews": "film_unconventional",
}
QUALIFIERS = {"high": HIGH, "50/100 score": MODERATE, "low": LOW}
FILMS = ("Alien", "Ran", "Vertigo")


def row(title: str, qualifier: str, film: str, **changes: Any) -> Row:
    prompt = f"Write a review of the cinematography of {film}"
    response = (
        f"On {film}, as {qualifier} as can be: the light falls slowly through the long rooms and nobody speaks of it."
    )
    rubric = f"{title}\n\nObjective: esoteric and rococo words that name no rubric"
    return {
        "prompt": prompt,
        "rubric": rubric,
        "qualifier": qualifier,
        "response": response,
        "model": "o3-mini",
    } | changes


RELEASED = [row(title, qualifier, film) for title in TITLES for film in FILMS for qualifier in QUALIFIERS]


def read(source: Path | str) -> tuple[list[TeacherResponse], dict[str, int]]:
    problems = Problems()
    return list(responses_of_paper(str(source), RUBRICS, problems)), dict(problems.counts)


def test_rubrics_and_qualifiers_become_ours(tmp_path: Path) -> None:
    responses, problems = read(write(tmp_path / "released.jsonl", RELEASED))
    assert problems == {}
    expected = [(name, level) for name in TITLES.values() for _ in FILMS for level in QUALIFIERS.values()]
    assert [(response.rubric, response.level) for response in responses] == expected
    first = responses[0]
    assert first.user_prompt == "Write a review of the cinematography of Alien"
    assert (first.teacher, first.judgment, first.params) == ("o3-mini", None, {"qualifier": "high"})
    assert len({response.user_prompt_id for response in responses}) == len(FILMS)


def test_jsonl_parquet_and_the_hub_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    expected = read(write(tmp_path / "released.jsonl", RELEASED))
    pl.DataFrame(RELEASED).write_parquet(tmp_path / "released.parquet")
    assert read(tmp_path / "released.parquet") == expected
    named = []

    def load_dataset(name: str) -> dict[str, list[Row]]:
        named.append(name)
        return {"train": RELEASED}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read("vicgalle/creative-rubrics") == expected
    assert named == ["vicgalle/creative-rubrics"]


def test_a_broken_parquet_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "released.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="released.parquet: expected a JSONL or Parquet file"):
        read(tmp_path / "released.parquet")


TITLE = next(iter(TITLES))


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (row(TITLE, "low", "Ran", response=" "), "bad_row", "released.jsonl:2: response: got ' ', expected a text"),
        (row(TITLE, "low", "Ran", model=None), "bad_row", "model: got None, expected a text; columns are prompt, rub"),
        (row(TITLE, "75/100", "Ran"), "unknown_qualifier", "qualifier: got '75/100', expected one of 'low', '50/100"),
        (
            row("Noir", "low", "Ran"),
            "unknown_rubric",
            "rubric: got 'Noir\\n\\nObjective: esoteric and rococo words that",
        ),
        (RELEASED[0], "repeated_row", "released.jsonl:2: stands there twice, expected each row once"),
    ],
)
def test_a_bad_row_is_named_and_left_out(
    bad: Row, kind: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    responses, problems = read(write(tmp_path / "released.jsonl", [RELEASED[0], bad, RELEASED[1]]))
    assert (len(responses), problems) == (2, {kind: 1})
    assert message in capsys.readouterr().err


def test_twins_have_no_scores_and_the_heldout_rubric_is_in_none(tmp_path: Path) -> None:
    path, out = write(tmp_path / "released.jsonl", RELEASED), tmp_path / "out"
    test_prompt = next(iter(load_user_prompts("test", "film_reviews").values()))
    write(path, [*RELEASED, row(TITLE, "low", "", prompt=test_prompt)])
    result = cpt("twins", "--from-paper", path, "--eval-prompts", 1, "--out", out)
    assert "left out: 9 film_unconventional" in result.output
    assert "1 bad rows skipped: 1 test_prompt" in result.output
    rows = [twin for name in ("train", "eval") for twin in read_rows(out / f"{name}.jsonl")]
    assert len(rows) == 3 * len(FILMS) * 3 * 2
    assert list(rows[0]) == [
        *("prompt", "chosen", "rejected", "pair_id", "rubric", "level", "rejected_level"),
        *("user_prompt_id", "teacher", "wording"),
    ]
    first, second = rows[:2]
    assert (first["level"], first["rejected_level"]) == ("low", "moderate")
    assert (first["chosen"], first["rejected"]) == (second["rejected"], second["chosen"])
    assert "as low as can be" in first["chosen"][0]["content"]
    assert first["prompt"][0]["content"] in RUBRICS["film_dada"].wordings(LOW, "train")
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["judges"], manifest["licence"]) == (["none, the level is the one asked for"], "other")
    assert "--from-paper released.jsonl" in manifest["command"]
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "| film_dada | low:moderate | o3-mini | 2 | 1 | – | – |" in card


def test_the_responses_beside_the_twins_can_be_verified_and_paired_by_score(tmp_path: Path) -> None:
    rows = [
        {**seed, "rubric": "labyrinth", "prompt": seed["user_prompt"], "model": "t", "qualifier": qualifier}
        for seed in SEED_ROWS
        for qualifier in [{"low": "low", "moderate": "50/100 score", "extremely_high": "high"}[seed["level"]]]
        if seed["rubric"] == "labyrinth"
    ]
    cpt("twins", "--from-paper", write(tmp_path / "r.jsonl", rows), "--out", tmp_path / "out")
    cpt("verify", tmp_path / "out" / "paper_responses.jsonl", "--out", tmp_path / "verified")
    result = cpt("twins", "--responses", tmp_path / "verified" / "responses.jsonl", "--out", tmp_path / "scored")
    assert "train.jsonl: 60 twins, 120 rows" in result.output
    assert read_rows(tmp_path / "scored" / "train.jsonl")[0]["score_chosen"] <= 40
