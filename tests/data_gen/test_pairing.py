"""What may train and how it is paired, split and balanced: whole rows, known values, properties."""

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
from data_gen.twins.compositions import compose
from data_gen.twins.files import PairIds, check_whole, preference_rows
from data_gen.twins.inputs import Responses, read_responses
from data_gen.twins.options import LEVEL_PAIRS, parse_level_pairs
from data_gen.twins.pairing import (
    Wordings,
    balance,
    draw_wordings,
    first_twins,
    pair_responses,
    split_twins,
)
from rubrics import ScoreLevel, load_rubrics, load_user_prompts

SEED_FILE = Path(__file__).parents[2] / "data_gen" / "seed" / "responses.jsonl"
RUBRICS = {rubric.id: rubric for rubric in load_rubrics("measured")}
SEED = [row for _, row in iter_responses([SEED_FILE], RUBRICS, Problems())]
SCORES = {ScoreLevel.LOW: 10.0, ScoreLevel.MODERATE: 70.0, ScoreLevel.EXTREMELY_HIGH: 95.0}
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


def taken(rows: list[TeacherResponse], with_also: bool = False) -> tuple[Responses, Problems]:
    problems = Problems()
    places = ((f"rows.jsonl:{number}", row) for number, row in enumerate(rows, start=1))
    return read_responses(places, RUBRICS, problems, Path(mkdtemp(dir=FOLDERS.name)), with_also), problems


def paired(responses: Responses, seed: int = 0, n_wordings: int = 1, **options: Any) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    pairs = pair_responses(responses, LEVEL_PAIRS, rng, **options)
    return draw_wordings(pairs, n_wordings, Wordings(responses.rubrics), rng)


def composed(responses: Responses, per_pool: int, **options: Any) -> pl.DataFrame:
    return compose(responses, per_pool, Wordings(responses.rubrics), np.random.default_rng(0), **options)


def rows_of(responses: Responses, twins: pl.DataFrame, **options: Any) -> list[dict[str, Any]]:
    tables = list(preference_rows(twins, responses, Wordings(responses.rubrics), PairIds(), **options))
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
    monkeypatch.setattr(files, "TWINS_PER_READ", size)
    monkeypatch.setattr(files, "TWINS_PER_WRITE", max(1, size // 3))
    responses, _ = taken(SEED)
    assert rows_of(responses, paired(responses)) == expected


# twins


def test_a_twin_is_two_rows_with_swapped_roles() -> None:
    low, high = response(LOW), response(HIGH)
    responses, _ = taken([low, high])
    first, second = rows_of(responses, paired(responses), chat_template_kwargs={"think": False}, across_teachers=True)
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
                "chat_template_kwargs": {"think": False},
                "rejected_teacher": "t",
            }.items()
        )


def test_the_seed_gives_three_twins_per_rubric_and_prompt_in_the_order_of_the_responses() -> None:
    rows = rows_of(SEED_RESPONSES, paired(SEED_RESPONSES))
    assert len(rows) == 2 * 3 * 24 * 4
    assert len({row["pair_id"] for row in rows}) == len(rows) / 2
    assert [(row["level"], row["rejected_level"]) for row in rows[:6:2]] == list(LEVEL_PAIRS)
    cells = list(dict.fromkeys((row["rubric"], row["user_prompt_id"]) for row in rows))
    assert cells == list(dict.fromkeys((row.rubric, row.user_prompt_id) for row in SEED))


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
    pairs_per_cell=st.integers(0, 5),
    min_gap=st.sampled_from([0.0, 27.0, 40.0]),
    across=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_pairs_are_distinct_within_a_cell_far_enough_apart_and_as_many_as_there_can_be(
    cells: list[tuple[str, str, ScoreLevel]], pairs_per_cell: int, min_gap: float, across: bool, seed: int
) -> None:
    rows = [
        response(
            level, number, user_prompt_id=prompt, user_prompt=prompt, teacher=teacher, score=SCORES[level] + number / 10
        )
        for number, (prompt, teacher, level) in enumerate(cells)
    ]
    scores = [SCORES[level] + number / 10 for number, (_, _, level) in enumerate(cells)]
    options = {"pairs_per_cell": pairs_per_cell, "min_gap": min_gap, "across_teachers": across}
    pairs = pairs_in(paired(taken(rows)[0], seed, **options))
    assert len(set(pairs)) == len(pairs)

    def key(number: int) -> tuple[str, ...]:
        prompt, teacher, _ = cells[number]
        return (prompt,) if across else (prompt, teacher)

    for first, second in pairs:
        assert key(first) == key(second)
        assert scores[second] - scores[first] >= min_gap
    expected: Counter[Any] = Counter()
    for cell, (low, high) in product({key(number) for number in range(len(cells))}, LEVEL_PAIRS):
        of_level = [[n for n in range(len(cells)) if key(n) == cell and cells[n][2] is level] for level in (low, high)]
        candidates = list(product(*of_level) if pairs_per_cell else zip(*of_level, strict=False))
        n_apart = sum(scores[second] - scores[first] >= min_gap for first, second in candidates)
        expected[cell, low, high] = min(n_apart, pairs_per_cell) if pairs_per_cell else n_apart
    assert Counter((key(first), cells[first][2], cells[second][2]) for first, second in pairs) == +expected


def test_positions_are_paired_in_order_when_nothing_is_drawn_and_judges_are_kept_apart() -> None:
    rows = [response(level, number) for level, number in ((LOW, 0), (HIGH, 0), (LOW, 1), (LOW, 2), (HIGH, 1))]
    rows.insert(0, response(MODERATE, judgment=judgment(70, "other")))
    assert pairs_in(paired(taken(rows)[0])) == [(1, 2), (3, 5)]


@pytest.mark.parametrize("text", ["", "low", "low:low", "low:high", "low:moderate,moderate:low", "low:moderate:low"])
def test_level_pairs_are_two_levels_each_once(text: str) -> None:
    with pytest.raises(ValueError, match="level pairs: got "):
        parse_level_pairs(text)


def test_level_pairs_are_read_with_the_lower_level_first() -> None:
    assert parse_level_pairs("extremely_high:low, low:moderate") == ((LOW, HIGH), (LOW, MODERATE))


# split and balance


def split(twins: pl.DataFrame, by: Any, n_eval: int, rubrics: list[int], seed: int = 0) -> dict[str, pl.DataFrame]:
    return split_twins(twins, by, SEED_RESPONSES.prompts, n_eval, rubrics, np.random.default_rng(seed))


@settings(max_examples=20)
@given(st.integers(1, 23), st.integers(0, 2**32 - 1))
def test_the_split_parts_no_prompt_and_no_twin(n_eval: int, seed: int) -> None:
    twins = paired(SEED_RESPONSES, n_wordings=2)
    splits = split(twins, "prompt", n_eval, [], seed)
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
        splits = split_twins(paired(responses), "prompt", responses.prompts, 1, [], np.random.default_rng(seed))
        train, held = ({rows[number].user_prompt.strip() for number in splits[name]["first"]} for name in splits)
        assert (len(splits["eval"]), len(held)) == (2, 1)
        assert not held & train


def test_a_split_by_rubric_or_both_keeps_eval_rubrics_out_of_training() -> None:
    twins, reverie = paired(SEED_RESPONSES), list(RUBRICS.values()).index(RUBRICS["reverie"])
    by_rubric = split(twins, "rubric", 4, [reverie])
    assert (len(by_rubric["train"]), len(by_rubric["eval"])) == (3 * 24 * 3, 24 * 3)
    both = split(twins, "both", 4, [reverie])
    assert (len(both["train"]), len(both["eval"])) == (3 * 20 * 3, 4 * 3)
    assert not set(both["train"]["prompt"]) & set(both["eval"]["prompt"])
    for splits in (by_rubric, both):
        assert set(splits["eval"]["rubric"]) == {reverie}
        assert reverie not in set(splits["train"]["rubric"])


@pytest.mark.parametrize(
    ("by", "n_eval", "eval_rubrics", "message"),
    [
        ("prompt", 24, [], "eval prompts: got 24, expected at most 23 of those"),
        ("both", 25, [0], "eval prompts: got 25, expected at most 24 of those"),
        ("rubric", 4, [], "eval rubrics: no twin asks for any"),
        ("rubric", 4, [0, 1, 2, 3], "no twin is left for training"),
    ],
)
def test_a_split_that_leaves_nothing_is_refused(by: Any, n_eval: int, eval_rubrics: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split(paired(SEED_RESPONSES), by, n_eval, eval_rubrics)


@settings(max_examples=30)
@given(
    keep=st.lists(st.integers(0, 287), min_size=12, max_size=200, unique=True),
    limit=st.sampled_from([0, 12, 20, 100]),
    seed=st.integers(0, 99),
)
def test_balance_gives_every_rubric_and_level_pair_as_many_twins_as_the_smallest(
    keep: list[int], limit: int, seed: int
) -> None:
    twins = paired(SEED_RESPONSES)[sorted(keep)]
    levels = tuple(ScoreLevel)

    def kinds(table: pl.DataFrame) -> Counter[Any]:
        rows = table.select("rubric", "rank_first", "rank_second").rows()
        return Counter((rubric, (levels[low], levels[high])) for rubric, low, high in rows)

    before = kinds(twins)
    balanced, cut = balance(twins, limit, np.random.default_rng(seed))
    size = min(before.values()) if not limit else min(min(before.values()), limit // len(before))
    assert kinds(balanced) == dict.fromkeys(before, size)
    assert cut == {kind: count - size for kind, count in before.items()}
    assert set(pairs_in(balanced)) <= set(pairs_in(twins))


def test_balance_refuses_a_limit_below_one_twin_each() -> None:
    with pytest.raises(ValueError, match="limit: got 11, expected at least 12, one twin"):
        balance(paired(SEED_RESPONSES), 11, np.random.default_rng(0))


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
    responses, _ = taken(rows, with_also=True)
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


def test_compositions_are_at_most_so_many_per_prompt_teacher_and_rubric_pair() -> None:
    rows = composed_rows() + [row.model_copy(update={"id": row.id + "u", "teacher": "u"}) for row in composed_rows()]
    responses, _ = taken(rows, with_also=True)
    pairs = pairs_in(composed(responses, 2))
    assert Counter(rows[first].teacher for first, _ in pairs) == {"t": 2, "u": 2}
    assert all(rows[first].teacher == rows[second].teacher for first, second in pairs)
    # 8 responses, 28 pairs, without the 6 of two low by both and one each of two like response 0 and two like 1
    assert len(composed(responses, 100, across_teachers=True)) == 20
    assert len(composed(taken(SEED, with_also=True)[0], 3)) == 0


def test_compositions_heed_the_least_gap_where_levels_differ() -> None:
    responses, _ = taken(composed_rows(), with_also=True)
    # 0 and 1 differ by 40 in broadcast and 85 in labyrinth; 0 and 2, 3 by 50, 49; 1 and 2, 3 by 65, 64
    pairs = pairs_in(composed(responses, 10, min_gap=50))
    assert {tuple(sorted(pair)) for pair in pairs} == {(0, 2), (1, 2), (1, 3)}


def test_a_composition_with_an_eval_rubric_is_kept_out_of_training() -> None:
    rows = [*composed_rows(), response(HIGH, 4, rubric="broadcast"), response(HIGH, 5, rubric="reverie")]
    rows.append(response(LOW, 6, rubric="reverie", also={"broadcast": judgment(60)}))
    rows.append(response(LOW, 7, rubric="reverie", also={"broadcast": judgment(10)}))
    responses, _ = taken(rows, with_also=True)
    twins = pl.concat([composed(responses, 10), paired(responses)], how="diagonal_relaxed")
    names = [rubric.id for rubric in responses.rubrics]
    splits = split_twins(twins, "rubric", responses.prompts, 0, [names.index("labyrinth")], np.random.default_rng(0))
    asked = {
        name: {tuple(names[n] for n in pair if n is not None) for pair in table.select("rubric", "with_rubric").rows()}
        for name, table in splits.items()
    }
    assert asked == {
        "train": {("broadcast",), ("reverie",), ("broadcast", "reverie")},
        "eval": {("labyrinth",), ("broadcast", "labyrinth")},
    }


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
    twins = paired(SEED_RESPONSES)
    [table] = preference_rows(twins, SEED_RESPONSES, Wordings(SEED_RESPONSES.rubrics), PairIds())
    check_whole(table)
    for broken in parted(table):
        with pytest.raises(AssertionError, match="the twin "):
            check_whole(broken)


def test_a_pair_id_that_is_taken_grows_and_no_twin_is_made_twice() -> None:
    ids, twins = PairIds(), [("a", "b", number) for number in range(5)]
    plain = ids.new(twins[:3]) + ids.new(twins[3:])
    # the first 12 digits of the SHA-256 of "a b 0"
    assert plain[0] == "c20621e1d5db"
    assert {len(pair_id) for pair_id in plain} == {12}
    again = ids.new(twins)
    assert [(pair_id[:12], len(pair_id)) for pair_id in again] == [(pair_id, 24) for pair_id in plain]
    with pytest.raises(AssertionError, match="was made twice"):
        ids.new(twins[:1])
