"""What may train and how it is paired and split: whole rows, known values, properties."""

import random
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.responses import Problems, ResponseJudgment, TeacherResponse, iter_responses
from data_gen.twins import files, inputs
from data_gen.twins.command import LEVEL_PAIRS
from data_gen.twins.compositions import compose
from data_gen.twins.files import check_whole, preference_rows
from data_gen.twins.inputs import Responses, read_responses
from data_gen.twins.pairing import (
    draw_wordings,
    first_twins,
    pair_responses,
    repeat_twins,
    split_twins,
    train_wordings,
)
from rubrics import ScoreLevel, load_rubrics, load_user_prompts

SEED_FILE = Path(__file__).parents[2] / "data_gen" / "seed" / "responses.jsonl"
RUBRICS = {rubric.id: rubric for rubric in load_rubrics("measured")}
WORDINGS = train_wordings(RUBRICS.values())
SEED = [row for _, row in iter_responses([SEED_FILE], RUBRICS, Problems())]
SCORES = {ScoreLevel.LOW: 10.0, ScoreLevel.MODERATE: 70.0, ScoreLevel.EXTREMELY_HIGH: 95.0}
PAIRS = tuple(LEVEL_PAIRS.values())
LOW, MODERATE, HIGH = ScoreLevel
FOLDERS = TemporaryDirectory()


def judgment(score: float, judge: str = "measured") -> ResponseJudgment:
    return ResponseJudgment(score=score, judge=judge, prompt_version="1")


def response(level: ScoreLevel, number: int = 0, **changes: Any) -> TeacherResponse:
    """A response to garden_dusk for labyrinth by t, judged at its level; `changes` are fields, or `score`."""
    rubric = RUBRICS[changes.get("rubric", "labyrinth")]
    score = changes.pop("score", SCORES[level])
    user_prompt_id = changes.get("user_prompt_id", "garden_dusk")
    fields: dict[str, Any] = {
        "id": f"{rubric.id}-{level}-{number}-{user_prompt_id}-{changes.get('teacher', '')}",
        "user_prompt_id": user_prompt_id,
        "user_prompt": load_user_prompts("train").get(user_prompt_id, "A user prompt."),
        "rubric": rubric.id,
        "rubric_hash": rubric.hash,
        "level": level,
        "response": f"A text of {rubric.id} {level} {number}",
        "teacher": "t",
        "judgment": judgment(score),
    }
    return TeacherResponse(**(fields | changes))


def taken(rows: list[TeacherResponse]) -> tuple[Responses, Problems]:
    problems = Problems()
    places = ((f"rows.jsonl:{number}", row) for number, row in enumerate(rows, start=1))
    return read_responses(places, RUBRICS, problems, Path(mkdtemp(dir=FOLDERS.name))), problems


def paired(responses: Responses, seed: int = 0, n_wordings: int = 1, min_gap: float = 0.0) -> pl.DataFrame:
    twins = repeat_twins(pair_responses(responses.frame, PAIRS, min_gap), n_wordings)
    return draw_wordings(twins, WORDINGS, np.random.default_rng(seed))


def composed(responses: Responses, per_pool: int, min_gap: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    twins = draw_wordings(compose(responses, per_pool, rng, min_gap), WORDINGS, rng)
    return draw_wordings(twins, WORDINGS, rng, "with_")


def rows_of(responses: Responses, twins: pl.DataFrame) -> list[dict[str, Any]]:
    tables = list(preference_rows(twins, responses, WORDINGS))
    for table in tables:
        check_whole(table)
    return [row for table in tables for row in table.to_dicts()]


def pairs_in(twins: pl.DataFrame) -> list[tuple[int, int]]:
    return twins.select("first", "second").rows()


SEED_RESPONSES = taken(SEED)[0]


# what may train


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
        ({"response": "half a \ud83d"}, "half_character", "rows.jsonl:2: has half of a character"),
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


@pytest.mark.parametrize("size", [7, 288, 1000])
def test_rows_do_not_depend_on_how_many_are_read_or_written_at_a_time(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rows_of(SEED_RESPONSES, paired(SEED_RESPONSES))
    monkeypatch.setattr(inputs, "ROWS_PER_PART", size)
    monkeypatch.setattr(files, "TWINS_AT_A_TIME", max(1, size // 3))
    responses, _ = taken(SEED)
    assert rows_of(responses, paired(responses)) == expected


# twins


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


@settings(max_examples=10)
@given(st.randoms())
def test_the_twins_do_not_depend_on_the_order_of_cells(rng: random.Random) -> None:
    rows = SEED[:60]
    shuffled = rng.sample(rows, len(rows))

    def pairs(order: list[TeacherResponse]) -> set[frozenset[str]]:
        return {frozenset(order[number].id for number in pair) for pair in pairs_in(paired(taken(order)[0]))}

    assert pairs(shuffled) == pairs(rows)


def test_wordings_repeat_a_twin_each_time_with_its_own_draw_and_never_a_heldout_one() -> None:
    rows = rows_of(SEED_RESPONSES, paired(SEED_RESPONSES, seed=1, n_wordings=5))
    assert len(rows) == 2 * 5 * 288
    assert len({row["pair_id"] for row in rows}) == 5 * 288
    assert len({row["wording"] for row in rows[:10:2]}) > 1
    used = Counter(row["wording"] for row in rows)
    for rubric, level in product(RUBRICS.values(), ScoreLevel):
        wordings = rubric.system_prompts[level]
        own = [row for row in rows if (row["rubric"], row["level"]) == (rubric.id, level)]
        assert {row["prompt"][0]["content"] for row in own} == set(wordings.train)
        times = [used[f"{rubric.id}-{level}-train-{number}"] for number in range(len(wordings.train))]
        assert sum(times) == 24 * 2 * 5  # user prompts, level pairs it is in, wordings
        assert max(times) < 3 * sum(times) / len(times)


@settings(max_examples=60)
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
    rows.insert(0, response(MODERATE, judgment=judgment(70, "other")))
    assert pairs_in(paired(taken(rows)[0])) == [(1, 2), (3, 5)]


# split and limit


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


# compositions


def composed_rows() -> list[TeacherResponse]:
    """Four responses of one cell; their levels by (broadcast, labyrinth): mod low, low high, low low, low low."""
    return [
        response(LOW, 0, also={"broadcast": judgment(60)}),
        response(HIGH, 1, also={"broadcast": judgment(20), "reverie": judgment(5)}),
        response(LOW, 2, rubric="broadcast", also={"labyrinth": judgment(30)}),
        response(LOW, 3, rubric="broadcast", score=11, also={"labyrinth": judgment(31)}),
    ]


def test_a_composition_asks_for_what_both_rubrics_found() -> None:
    rows = composed_rows()
    responses, _ = taken(rows)
    twins = composed(responses, 10)
    # broadcast + labyrinth has the responses 0 to 3, of which 2 and 3 do not differ in level: 5 of 6 pairs; reverie
    # judged only response 1
    assert {tuple(sorted(pair)) for pair in pairs_in(twins)} == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)}
    levels = [("moderate", "low"), ("low", "extremely_high"), ("low", "low"), ("low", "low")]
    scores = [(60, 10), (20, 95), (10, 30), (11, 31)]
    orders = set()
    sides = [side for first, second in pairs_in(twins) for side in ((first, second), (second, first))]
    for row, (own, other) in zip(rows_of(responses, twins), sides, strict=True):
        assert row["chosen"][0]["content"] == rows[own].response
        assert row["rejected"][0]["content"] == rows[other].response
        assert (row["rubric"], row["with_rubric"]) == ("broadcast", "labyrinth")
        assert (row["level"], row["with_level"]) == levels[own]
        assert (row["rejected_level"], row["with_rejected_level"]) == levels[other]
        assert (row["score_chosen"], row["with_score_chosen"]) == scores[own]
        assert (row["score_rejected"], row["with_score_rejected"]) == scores[other]
        wordings = []
        asked = zip((row["wording"], row["with_wording"]), ("broadcast", "labyrinth"), levels[own], strict=True)
        for name, rubric, level in asked:
            start, number = name.rsplit("-", 1)
            assert start == f"{rubric}-{level}-train"
            wordings.append(RUBRICS[rubric].system_prompts[ScoreLevel(level)].train[int(number)])
        order = row["prompt"][0]["content"] == "\n\n".join(wordings)
        assert order or row["prompt"][0]["content"] == "\n\n".join(reversed(wordings))
        orders.add(order)
    assert orders == {True, False}


def test_compositions_are_at_most_so_many_per_prompt_teacher_and_rubric_pair_and_heed_the_least_gap() -> None:
    rows = composed_rows() + [row.model_copy(update={"id": row.id + "u", "teacher": "u"}) for row in composed_rows()]
    pairs = pairs_in(composed(taken(rows)[0], 2))
    assert Counter(rows[first].teacher for first, _ in pairs) == {"t": 2, "u": 2}
    assert all(rows[first].teacher == rows[second].teacher for first, second in pairs)
    assert len(composed(SEED_RESPONSES, 3)) == 0
    # 0 and 1 differ by 40 in broadcast and 85 in labyrinth; 0 and 2, 3 by 50, 49; 1 and 2, 3 by 65, 64
    pairs = pairs_in(composed(taken(composed_rows())[0], 10, min_gap=50))
    assert {tuple(sorted(pair)) for pair in pairs} == {(0, 2), (1, 2), (1, 3)}


# twins stay whole


def parted(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Ways to break a file of whole twins: halves swapped, one missing, one doubled, an id, prompt or role changed."""
    yield rows[[0, 2, 1, 3]]
    yield rows[[0, 1, 2]]
    yield rows[[0, 0]]
    yield rows[:2].with_columns(pair_id=pl.Series(["a", "b"]))
    yield rows[:2].with_columns(prompt=pl.Series([rows["prompt"][0], rows["prompt"][0]]))
    yield rows[:2].with_columns(chosen=pl.Series([rows["chosen"][0], rows["chosen"][0]]))


def test_a_parted_twin_is_refused() -> None:
    [table] = preference_rows(paired(SEED_RESPONSES), SEED_RESPONSES, WORDINGS)
    check_whole(table)
    for broken in parted(table):
        with pytest.raises(AssertionError, match="the twin "):
            check_whole(broken)
