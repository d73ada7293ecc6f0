"""The vocabulary: levels, schema, loader, library."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from rubrics import (
    Measure,
    Rubric,
    ScoreLevel,
    all_user_prompts,
    load_rubric,
    load_rubrics,
    load_user_prompts,
    rubric_ids,
)
from rubrics.load import FAMILY_PROMPTS, LIBRARY

MORE = "antithesis asides doubtful how_to overheard questioning tongue_twister unfolding".split()


def test_cuts_belong_to_the_lower_level_and_a_score_outside_0_100_is_refused() -> None:
    assert [ScoreLevel.of(score).rank for score in (0, 40, 40.01, 92.5, 92.51, 100)] == [0, 0, 1, 1, 2, 2]
    for score in (-0.1, 100.1, float("nan")):
        with pytest.raises(ValueError, match="expected a number from 0 to 100"):
            ScoreLevel.of(score)


@pytest.mark.parametrize(
    ("level", "distances"),
    # of 0, 39, 40, 92, 92.5 and 100. 40 and 92.5 are scored lower by `of`, but there is no least score above a cut
    [
        ("low", [0, 0, 0, 52, 52.5, 60]),
        ("moderate", [-40, -1, 0, 0, 0, 7.5]),
        ("extremely_high", [-92.5, -53.5, -52.5, -0.5, 0, 0]),
    ],
)
def test_distance_from_the_band_is_signed_and_0_on_its_edges(level: str, distances: list[float]) -> None:
    assert [ScoreLevel(level).distance(score) for score in (0, 39, 40, 92, 92.5, 100)] == distances


@pytest.mark.parametrize(("start", "end", "values"), [(8, 35, [-3, 8, 21.5, 35, 50]), (20, 9, [25, 20, 14.5, 9, -3])])
def test_a_ramp_goes_from_0_to_100_and_stays_there(start: float, end: float, values: list[float]) -> None:
    ramp = Measure(statistic="words_per_sentence", start=start, end=end)
    assert [ramp.score(value) for value in values] == pytest.approx([0, 0, 50, 100, 100])


def test_system_prompts_are_a_few_sentences_and_no_wording_is_in_both_splits() -> None:
    seen: dict[str, str] = {}
    for rubric in load_rubrics("all"):
        for level, wordings in rubric.system_prompts.items():
            for wording in (*wordings.train, *wordings.heldout):
                sentences = [part for part in wording.replace("!", ".").split(".") if part.strip()]
                assert 1 <= len(sentences) <= 6, wording
                assert wording not in seen, f"{wording!r} is in {seen.get(wording)} and {rubric.id} {level}"
                seen[wording] = f"{rubric.id} {level}"


def test_user_prompts_are_24_train_and_24_test_per_file_and_none_is_both_of_any() -> None:
    train, test = all_user_prompts("train"), all_user_prompts("test")
    n_files = len(list(FAMILY_PROMPTS.glob("*.yaml")))  # and the general one, without that of pictures
    assert len(train) == len(test) == 24 * n_files
    assert len(set(train.values()) | set(test.values())) == len({*train, *test}) == 48 * n_files
    for family in {rubric.family for rubric in load_rubrics("all")}:
        assert [len(load_user_prompts(split, family)) for split in ("train", "test")] == [24, 24]
    assert load_user_prompts("test", "measured") == load_user_prompts("test")
    assert load_user_prompts("test", "caution") != load_user_prompts("test")


@pytest.mark.parametrize(
    ("selection", "ids"),
    [
        ("all", rubric_ids()),
        ("core", [name for name in rubric_ids() if not name.startswith(("rated_", "picture_")) and name not in MORE]),
        ("heldout", "caution_deference caution_safety explain_hedging film_unconventional persona_socratic tone_irony"),
        ("measured", "broadcast field_notes labyrinth reverie"),
        ("measured_more", MORE),
        ("reverie, broadcast", "reverie broadcast"),
        ("reverie, measured_more", ["reverie", *MORE]),
    ],
)
def test_a_selection_is_all_core_a_split_a_family_or_ids_in_the_order_asked_for(selection: str, ids: Any) -> None:
    assert [rubric.id for rubric in load_rubrics(selection)] == (ids.split() if isinstance(ids, str) else ids)
    with pytest.raises(ValueError, match="each once"):
        load_rubrics("reverie,reverie")
    with pytest.raises(ValueError, match=r"\['measured', 'reverie'\] select \['reverie'\] more than once"):
        load_rubrics("measured,reverie")


def test_wordings_are_those_of_the_level_and_split_and_may_be_absent() -> None:
    content = _content()
    for level in ScoreLevel:
        for split in ("train", "heldout"):
            expected = content["system_prompts"][level.value][split]
            assert list(load_rubric("labyrinth").wordings(level, split)) == expected
    load_rubric("labyrinth").system_prompts.clear()  # of this copy alone
    assert load_rubric("labyrinth").system_prompts
    del content["system_prompts"]
    rubric = Rubric.model_validate(content)
    assert (rubric.system_prompts, rubric.hash) == ({}, load_rubric("labyrinth").hash)
    with pytest.raises(ValueError, match="'labyrinth' has no system prompts, .*`cpt rubric prompts`"):
        rubric.wordings(ScoreLevel.LOW, "train")


def test_render_shows_every_descriptor_and_weight_and_no_measure() -> None:
    rubric = load_rubric("labyrinth")
    text = rubric.render()
    for criterion in rubric.criteria:
        assert f"weight {criterion.weight:g}%" in text
        assert all(descriptor in text for descriptor in criterion.descriptors.model_dump().values())
    assert "words_per_sentence" not in text


# criteria, measures and weights of the library: committed logs and data rows are tied to them
HASHES = dict(
    pair.split(":")
    for pair in """
broadcast:7f49c35c9aa0 caution_deference:1d28618e97e3 caution_safety:42546684f32b explain_depth:3cdf573ce20f
explain_examples:eafed5611baf explain_hedging:97b552ac3873 field_notes:9cbdae75add0 film_dada:a9ffe7b924cb
film_esoteric:d5580bf58866 film_rococo:ec1c0fce1ce3 film_unconventional:48b2321c7b15 labyrinth:04b302c0eac3
persona_old_sailor:3cae78245302 persona_socratic:5ea914ac51d2 rated_coherence:2bc4ad94bad7
rated_complexity:ef9c56fe60e0 rated_correctness:7663ae5d1662 rated_helpfulness:2a8d5db654c6
rated_verbosity:714bfa1c7baf reverie:87c9434aacae tone_formality:9754676c1338 tone_irony:f50726adefbf
tone_warmth:3eb19d69a945
antithesis:3d4de5c0ef27 asides:7f8bb5594b3a doubtful:887666eee702 how_to:9cff2fc12ca2 overheard:2b5e8bd8c99d
questioning:0d15ac4c03d7 tongue_twister:4c367ca8b748 unfolding:9a87238cb3a8
picture_coverage:bac7bdc8000e
""".split()
)


def test_the_hashes_of_the_library_stay() -> None:
    assert {rubric.id: rubric.hash for rubric in load_rubrics("all")} == HASHES


def test_hash_follows_what_is_graded_and_not_the_system_prompts_or_the_split() -> None:
    content = _content()
    original = Rubric.model_validate(content).hash
    content["criteria"][0]["measure"]["to"] = 36
    assert Rubric.model_validate(content).hash != original
    content = _content()
    content["system_prompts"]["low"]["train"][0] = "Another wording. It means the same."
    assert Rubric.model_validate(content).hash == original
    assert Rubric.model_validate(_content() | {"version": 2}).hash == original
    for field in ("split", "family", "licence", "source"):
        assert Rubric.model_validate(_content() | {field: "heldout"}).hash == original
    for field in ("title", "objective", "rewards_and_penalties"):
        assert Rubric.model_validate(_content() | {field: "heldout"}).hash != original


def _content() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((LIBRARY / "labyrinth.yaml").read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["criteria"][0].update(weight=35), "weights sum to 95, expected 100"),
        (lambda c: c.update(colour="red"), "colour: Extra inputs are not permitted, got 'red'"),
        (
            lambda c: c["system_prompts"].pop("moderate"),
            "system_prompts lack ['moderate'], expected ['low', 'moderate', 'extremely_high']",
        ),
        (lambda c: c["criteria"][1].update(id=c["criteria"][0]["id"]), "repeat, expected each id once"),
        (lambda c: c["criteria"][0]["measure"].update(to=8), "from and to are both 8.0, expected two different values"),
        (
            lambda c: c["system_prompts"]["low"]["heldout"].append(c["system_prompts"]["low"]["train"][0]),
            "wording given twice",
        ),
    ],
)
def test_a_bad_file_is_named_with_what_it_got_and_what_was_expected(change: Any, message: str, tmp_path: Path) -> None:
    content = _content()
    change(content)
    path = tmp_path / "labyrinth.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ValueError) as error:
        load_rubric(path)
    assert "labyrinth.yaml: " in str(error.value)
    assert message in str(error.value)


def test_the_file_name_must_be_the_id_of_one_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "maze.yaml"
    path.write_text(yaml.safe_dump(_content()), encoding="utf-8")
    with pytest.raises(ValueError, match="id is 'labyrinth', expected the file's name 'maze'"):
        load_rubric(path)
    with pytest.raises(ValueError, match="'rococo' not found, expected one of"):
        load_rubric("rococo")
