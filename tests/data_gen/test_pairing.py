"""What may train and how it is paired and split: whole rows, known values, properties."""

from collections import Counter
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seed import RUBRICS, SCORES, SEED, response

from data_gen.responses import Problems, TeacherResponse
from data_gen.twins import files, inputs
from data_gen.twins.command import LEVEL_PAIRS
from data_gen.twins.files import preference_rows
from data_gen.twins.inputs import Responses, read_responses
from data_gen.twins.pairing import (
    draw_wordings,
    first_twins,
    pair_responses,
    repeat_twins,
    split_twins,
    train_wordings,
)
from rubrics import ScoreLevel, load_user_prompts

WORDINGS = train_wordings(RUBRICS.values())
PAIRS = tuple(LEVEL_PAIRS.values())
LOW, MODERATE, HIGH = ScoreLevel
FOLDERS = TemporaryDirectory()
HALF, MIRRORED = ("pair_id", "chosen", "rejected"), ("pair_id", "rejected", "chosen")


def taken(rows: list[TeacherResponse]) -> tuple[Responses, Problems]:
    problems = Problems()
    places = ((f"rows.jsonl:{number}", row) for number, row in enumerate(rows, start=1))
    return read_responses(places, RUBRICS, problems, Path(mkdtemp(dir=FOLDERS.name))), problems


def paired(responses: Responses, seed: int = 0, n_wordings: int = 1, min_gap: float = 0.0) -> pl.DataFrame:
    twins = repeat_twins(pair_responses(responses.frame, PAIRS, min_gap), n_wordings)
    return draw_wordings(twins, WORDINGS, np.random.default_rng(seed))


def rows_of(responses: Responses, twins: pl.DataFrame) -> list[dict[str, Any]]:
    rows = [row for table in preference_rows(twins, responses, WORDINGS) for row in table.to_dicts()]
    for one, other in zip(rows[::2], rows[1::2], strict=True):  # the two halves of a twin
        assert one["prompt"][0] != other["prompt"][0] and one["prompt"][1:] == other["prompt"][1:]
        assert [one[key] for key in HALF] == [other[key] for key in MIRRORED]
    return rows


def pairs_in(twins: pl.DataFrame) -> list[tuple[int, int]]:
    return twins.select("first", "second").rows()


SEED_RESPONSES = taken(SEED)[0]


TEST_PROMPT = next(iter(load_user_prompts("test").items()))
FAMILY_TEST_PROMPT = next(iter(load_user_prompts("test", "caution").items()))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"user_prompt_id": TEST_PROMPT[0]}, "test_prompt", "rows.jsonl:2: answers the test prompt 'A user prompt.'"),
        ({"user_prompt": TEST_PROMPT[1].upper() + " "}, "test_prompt", "expected a train prompt"),
        ({"user_prompt_id": FAMILY_TEST_PROMPT[0]}, "test_prompt", "answers the test prompt"),
        ({"user_prompt": FAMILY_TEST_PROMPT[1]}, "test_prompt", "answers the test prompt"),
        ({"user_prompt": "Something else."}, "prompt_mismatch", "stood for another text before, got 'Something else.'"),
        ({"judgment": None}, "not_verified", "rows.jsonl:2: has no judgment, expected one; run `cpt verify`"),
        ({"score": 40.5}, "out_of_band", "rows.jsonl:2: scored 40.5, expected the band of low"),
        ({"response": " \n"}, "empty_response", "rows.jsonl:2: response is empty, expected a text"),
        ({"response": "half a \ufffd"}, "broken_character", "rows.jsonl:2: response has a broken character (U+FFFD)"),
        ({"response": "A<|im_end|>B"}, "control_token", "rows.jsonl:2: response has the control token '<|im_end|>'"),
        ({"user_prompt": "[INST] Hi"}, "control_token", "rows.jsonl:2: user prompt has the control token '[INST]'"),
    ],
)
def test_a_response_that_must_not_train_is_left_out_and_named(
    change: dict[str, Any], kind: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    responses, problems = taken([response(HIGH), response(LOW, **change), response(MODERATE)])
    assert dict(problems.counts) == {kind: 1}
    assert message in capsys.readouterr().err
    assert len(responses.frame) == 2


def test_controls_and_unwanted_rubrics_are_passed_over_and_are_no_problem() -> None:
    rows = [response(LOW), response(HIGH).model_copy(update={"level": "control"})]
    rows.append(response(HIGH).model_copy(update={"rubric": "mine"}))
    responses, problems = taken(rows)
    assert (len(responses.frame), responses.passed_over) == (1, {"control": 1, "mine": 1})
    assert problems.counts.total() == 0


def test_a_rubric_without_system_prompts_configures_no_student(tmp_path: Path) -> None:
    bare, problems = RUBRICS["labyrinth"].model_copy(update={"system_prompts": {}}), Problems()
    responses = read_responses([("x:1", response(LOW))], {"labyrinth": bare}, problems, tmp_path)
    assert (len(responses.frame), dict(problems.counts)) == (0, {"no_system_prompts": 1})


def test_rows_do_not_depend_on_how_many_are_read_or_written_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = rows_of(SEED_RESPONSES, paired(SEED_RESPONSES))
    monkeypatch.setattr(inputs, "ROWS_PER_PART", 7)
    monkeypatch.setattr(files, "TWINS_AT_A_TIME", 5)
    responses, _ = taken(SEED)
    assert rows_of(responses, paired(responses)) == expected


def test_a_twin_is_two_rows_with_swapped_roles() -> None:
    low, high = response(LOW), response(HIGH)
    responses, _ = taken([low, high])
    first, second = rows_of(responses, paired(responses))
    # the first 12 digits of the SHA-256 of the two ids and 0
    assert first["pair_id"] == "850d7e5388a2"
    prompts = RUBRICS["labyrinth"].system_prompts
    for row, own, other in ((first, low, high), (second, high, low)):
        number = int(row["wording"].rsplit("-", 1)[1])
        assert list(row.items()) == list(
            {
                "prompt": [
                    {"role": "system", "content": prompts[ScoreLevel(own.level)].train[number]},
                    {"role": "user", "content": own.user_prompt},
                ],
                "chosen": [{"role": "assistant", "content": own.response}],
                "rejected": [{"role": "assistant", "content": other.response}],
                "pair_id": first["pair_id"],
                "rubric": "labyrinth",
                "level": str(own.level),
                "rejected_level": str(other.level),
                "score_chosen": SCORES[ScoreLevel(own.level)],
                "score_rejected": SCORES[ScoreLevel(other.level)],
                "user_prompt_id": "garden_dusk",
                "teacher": "t",
                "wording": f"labyrinth-{own.level}-train-{number}",
            }.items()
        )


def test_wordings_repeat_a_twin_each_time_with_its_own_draw_and_never_a_heldout_one() -> None:
    rows = rows_of(SEED_RESPONSES, paired(SEED_RESPONSES, seed=1, n_wordings=20))
    assert len(rows) == 2 * 20 * 288
    assert len({row["pair_id"] for row in rows}) == 20 * 288
    assert len({row["wording"] for row in rows[:10:2]}) > 1
    used = Counter(row["wording"] for row in rows)
    for rubric, level in product(RUBRICS.values(), ScoreLevel):
        wordings = rubric.system_prompts[level]
        own = [row for row in rows if (row["rubric"], row["level"]) == (rubric.id, level)]
        assert {row["prompt"][0]["content"] for row in own} == set(wordings.train)
        times = [used[f"{rubric.id}-{level}-train-{number}"] for number in range(len(wordings.train))]
        assert sum(times) == 24 * 2 * 20  # user prompts, level pairs it is in, wordings
        assert max(times) < 3 * sum(times) / len(times)


@settings(max_examples=25)
@given(
    cells=st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["t", "u"]), st.sampled_from(list(ScoreLevel))),
        max_size=24,
    ),
    min_gap=st.sampled_from([0.0, 27.0, 40.0]),
)
def test_pairs_are_distinct_within_a_cell_far_enough_apart_and_as_many_as_there_can_be(
    cells: list[tuple[str, str, ScoreLevel]], min_gap: float
) -> None:
    scores = [SCORES[level] + number / 10 for number, (_, _, level) in enumerate(cells)]
    rows = [
        response(level, number, user_prompt_id=prompt, user_prompt=prompt, teacher=teacher, score=scores[number])
        for number, (prompt, teacher, level) in enumerate(cells)
    ]
    pairs = pairs_in(paired(taken(rows)[0], min_gap=min_gap))
    assert len(set(pairs)) == len(pairs)
    for first, second in pairs:
        assert cells[first][:2] == cells[second][:2]
        assert scores[second] - scores[first] >= min_gap
    expected: Counter[Any] = Counter()
    for cell, (low, high) in product({cell[:2] for cell in cells}, PAIRS):
        of_level = [[n for n in range(len(cells)) if cells[n] == (*cell, level)] for level in (low, high)]
        candidates = zip(*of_level, strict=False)
        expected[cell, low, high] = sum(scores[second] - scores[first] >= min_gap for first, second in candidates)
    assert Counter((cells[first][:2], cells[first][2], cells[second][2]) for first, second in pairs) == +expected


def test_responses_are_paired_in_order_and_judges_are_kept_apart() -> None:
    rows = [response(level, number) for level, number in ((LOW, 0), (HIGH, 0), (LOW, 1), (LOW, 2), (HIGH, 1))]
    rows.insert(0, response(MODERATE, judge="other"))
    assert pairs_in(paired(taken(rows)[0])) == [(1, 2), (3, 5)]


@settings(max_examples=20)
@given(st.integers(1, 23), st.integers(0, 2**32 - 1))
def test_the_split_parts_no_prompt_and_no_twin(n_eval: int, seed: int) -> None:
    twins = paired(SEED_RESPONSES, n_wordings=2)
    splits = split_twins(twins, n_eval, np.random.default_rng(seed))
    assert len(splits["train"]) + len(splits["eval"]) == len(twins)
    assert splits["eval"]["prompt"].n_unique() == n_eval
    for name in ("prompt", "first", "second"):
        assert not set(splits["train"][name]) & set(splits["eval"][name])


def test_prompts_with_one_text_under_two_ids_are_not_parted() -> None:
    texts = [f"Prompt {number // 2}" + " " * (number % 2) for number in range(8)]
    rows = [
        response(level, user_prompt_id=f"p{number}", user_prompt=text)
        for number, text in enumerate(texts)
        for level in (LOW, HIGH)
    ]
    responses, _ = taken(rows)
    for seed in range(5):
        splits = split_twins(paired(responses), 1, np.random.default_rng(seed))
        train, held = ({rows[number].user_prompt.strip() for number in splits[name]["first"]} for name in splits)
        assert (len(splits["eval"]), len(held)) == (2, 1)
        assert not held & train


def test_a_limit_draws_whole_twins_and_keeps_their_order() -> None:
    twins = paired(SEED_RESPONSES)
    some, all_pairs = pairs_in(first_twins(twins, 10, np.random.default_rng(0))), pairs_in(twins)
    assert len(some) == 10
    assert some == sorted(some, key=all_pairs.index)
    assert pairs_in(first_twins(twins, 0, np.random.default_rng(0))) == all_pairs
