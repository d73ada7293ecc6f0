"""Seed responses and twins: whole rows, splits, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.responses import ResponseJudgment, TeacherResponse, read_responses, response_id
from data_gen.seed import import_responses
from data_gen.twins import make_twins, split_by_prompt, twins_command
from judges import measure
from rubrics import ScoreLevel, load_rubric, load_user_prompts

ROOT = Path(__file__).parent.parent

SEED_FILE = ROOT / "data_gen" / "seed" / "responses.jsonl"
SEED = read_responses(SEED_FILE)
TEXTS = {
    ScoreLevel.LOW: "Wind came. It rained. Men ran. A boat sank. We went home and slept all night.",
    ScoreLevel.MODERATE: next(r.response for r in SEED if r.rubric == "labyrinth" and r.level is ScoreLevel.MODERATE),
    ScoreLevel.EXTREMELY_HIGH: next(r.response for r in SEED if r.rubric == "labyrinth" and r.level.rank == 2),
}


def response(level: ScoreLevel, prompt_id: str = "garden_dusk") -> TeacherResponse:
    rubric = load_rubric("labyrinth")
    prompt = load_user_prompts("train").get(prompt_id, "Describe a garden at dusk.")
    score = measure(rubric, TEXTS[level]).score
    return TeacherResponse(
        id=response_id("labyrinth", level, prompt, "t"),
        prompt_id=prompt_id,
        prompt=prompt,
        rubric="labyrinth",
        rubric_hash=rubric.hash,
        level=level,
        response=TEXTS[level],
        teacher="t",
        judgment=ResponseJudgment(score=score, judge="measured", prompt_version="1"),
    )


def test_the_seed_has_288_responses_each_in_its_band_by_the_measured_judge() -> None:
    assert len(SEED) == 4 * 24 * 3
    for row in SEED:
        judgment = measure(load_rubric(row.rubric), row.response)
        assert ScoreLevel.of(judgment.score) is row.level
        assert row.judgment is not None
        assert row.judgment.score == pytest.approx(judgment.score)
        assert row.prompt == load_user_prompts("train")[row.prompt_id]


def test_a_twin_is_two_rows_with_swapped_roles() -> None:
    low, high = response(ScoreLevel.LOW), response(ScoreLevel.EXTREMELY_HIGH)
    first, second = make_twins([low, high], np.random.default_rng(0))
    prompts = load_rubric("labyrinth").system_prompts
    for row, own, other in ((first, low, high), (second, high, low)):
        content = row.model_dump(mode="json")
        system = content.pop("prompt")
        assert [turn["role"] for turn in system] == ["system", "user"]
        assert system[0]["content"] in prompts[own.level].train
        assert system[1]["content"] == own.prompt
        number = int(content.pop("system_prompt_id").rsplit("-", 1)[1])
        assert prompts[own.level].train[number] == system[0]["content"]
        assert own.judgment is not None
        assert other.judgment is not None
        assert content == {
            "chosen": [{"role": "assistant", "content": own.response}],
            "rejected": [{"role": "assistant", "content": other.response}],
            "pair_id": first.pair_id,
            "rubric": "labyrinth",
            "level": own.level.value,
            "rejected_level": other.level.value,
            "score_chosen": own.judgment.score,
            "score_rejected": other.judgment.score,
            "prompt_id": "garden_dusk",
            "teacher": "t",
        }


def test_three_levels_give_three_twins_and_the_whole_seed_gives_288() -> None:
    assert len(make_twins([response(level) for level in ScoreLevel], np.random.default_rng(0))) == 6
    rows = make_twins(SEED, np.random.default_rng(0))
    assert len(rows) == 2 * 3 * 24 * 4
    assert len({row.pair_id for row in rows}) == len(rows) / 2


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 23), st.integers(0, 2**32 - 1))
def test_the_split_parts_no_prompt_and_no_twin(n_eval: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    train, evaluation = split_by_prompt(make_twins(SEED[:144], rng), n_eval, rng)
    assert len({row.prompt_id for row in evaluation}) == n_eval
    for key in ("prompt_id", "pair_id"):
        assert not {getattr(row, key) for row in train} & {getattr(row, key) for row in evaluation}
    test_prompts = set(load_user_prompts("test").values())
    assert not {row.prompt[1].content for row in (*train, *evaluation)} & test_prompts


def test_no_heldout_wording_reaches_the_data() -> None:
    used = {row.prompt[0].content for row in make_twins(SEED, np.random.default_rng(1))}
    heldout = {
        wording
        for rubric in ("labyrinth", "broadcast", "field_notes", "reverie")
        for wordings in load_rubric(rubric).system_prompts.values()
        for wording in wordings.heldout
    }
    assert not used & heldout


TEST_PROMPT = next(iter(load_user_prompts("test").items()))
FAMILY_TEST_PROMPT = next(iter(load_user_prompts("test", "caution").items()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_id": TEST_PROMPT[0]}, "answers the test prompt"),
        ({"prompt": TEST_PROMPT[1].upper() + " "}, "answers the test prompt"),
        ({"prompt_id": FAMILY_TEST_PROMPT[0]}, "answers the test prompt"),
        ({"prompt": FAMILY_TEST_PROMPT[1]}, "answers the test prompt"),
        ({"rubric_hash": "000000000000"}, "with hash 000000000000, expected"),
        ({"judgment": None}, "has no judgment"),
        ({"level": ScoreLevel.MODERATE}, "expected the band of moderate"),
    ],
)
def test_a_response_that_must_not_train_is_refused(change: dict[str, object], message: str) -> None:
    bad = response(ScoreLevel.LOW).model_copy(update=change)
    with pytest.raises(ValueError, match=message):
        make_twins([bad, response(ScoreLevel.EXTREMELY_HIGH)], np.random.default_rng(0))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "2: line: Invalid JSON"),
        ('{"id": "x"}', "2: prompt_id: Field required"),
        (SEED[0].model_dump_json(), "stands there twice"),
    ],
)
def test_a_bad_responses_file_is_named_with_the_line(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    path.write_text(f"{SEED[0].model_dump_json()}\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_responses(path)


def test_import_drops_what_is_out_of_band_and_says_so(tmp_path: Path) -> None:
    good = {"rubric": "labyrinth", "prompt": "Describe a garden at dusk.", "level": "low"}
    rows = [good | {"response": TEXTS[ScoreLevel.LOW]}, good | {"response": TEXTS[ScoreLevel.EXTREMELY_HIGH]}]
    path = tmp_path / "raw.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    kept, dropped = import_responses([path], "t")
    assert [row.response for row in kept] == [TEXTS[ScoreLevel.LOW]]
    assert dropped == ["raw.jsonl:2: scored 100.0, outside the band of low"]
    path.write_text(json.dumps(good | {"response": "x", "level": "tiny"}), encoding="utf-8")
    with pytest.raises(ValueError, match="raw.jsonl:1: level is 'tiny', expected one of"):
        import_responses([path], "t")


def test_the_command_is_reproducible_and_its_files_load_with_datasets(tmp_path: Path) -> None:
    for name in ("a", "b"):
        arguments = ["--responses", str(SEED_FILE), "--out", str(tmp_path / name)]
        assert CliRunner().invoke(twins_command, arguments).exit_code == 0
    assert (tmp_path / "a" / "train.jsonl").read_bytes() == (tmp_path / "b" / "train.jsonl").read_bytes()
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset("json", data_files=str(tmp_path / "a" / "eval.jsonl"), split="train")
    assert len(loaded) == 4 * 4 * 3 * 2
    assert {"prompt", "chosen", "rejected", "pair_id"} <= set(loaded.column_names)
