"""Seed responses, the index of what may train, and pairing: whole rows, known values, properties."""

import json
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.pairing.compositions import compose
from data_gen.pairing.preference_files import whole_twins
from data_gen.pairing.preference_rows import PairIds, PreferenceRow, RowMaker
from data_gen.pairing.response_index import ResponseIndex, line_starts
from data_gen.pairing.twins import (
    LEVEL_PAIRS,
    Twins,
    balance,
    draw_wordings,
    first_twins,
    pair_responses,
    parse_level_pairs,
    split_twins,
)
from data_gen.responses import Problems, ResponseJudgment, TeacherResponse, iter_responses, response_id
from data_gen.seed import import_responses
from judges import measure
from rubrics import ScoreLevel, load_rubric, load_rubrics, load_user_prompts

ROOT = Path(__file__).parents[2]
SEED_FILE = ROOT / "data_gen" / "seed" / "responses.jsonl"
RUBRICS = {rubric.id: rubric for rubric in load_rubrics("measured")}
SEED = [row for _, row in iter_responses([SEED_FILE], RUBRICS, Problems())]
TEXTS = {
    ScoreLevel.LOW: "Wind came. It rained. Men ran. A boat sank. We went home and slept all night.",
    ScoreLevel.MODERATE: next(r.response for r in SEED if r.rubric == "labyrinth" and r.level is ScoreLevel.MODERATE),
    ScoreLevel.EXTREMELY_HIGH: next(
        r.response for r in SEED if r.rubric == "labyrinth" and r.level is ScoreLevel.EXTREMELY_HIGH
    ),
}
SCORES = {ScoreLevel.LOW: 10.0, ScoreLevel.MODERATE: 70.0, ScoreLevel.EXTREMELY_HIGH: 95.0}
LOW, MODERATE, HIGH = ScoreLevel


def response(level: ScoreLevel, number: int = 0, **changes: Any) -> TeacherResponse:
    """A response to garden_dusk for labyrinth by t, judged at its level; `changes` are fields, or `score`."""
    rubric = load_rubric(changes.get("rubric", "labyrinth"))
    score = changes.pop("score", SCORES[level])
    fields: dict[str, Any] = {
        "id": f"{rubric.id}-{level}-{number}-{changes.get('user_prompt_id', '')}-{changes.get('teacher', '')}",
        "user_prompt_id": "garden_dusk",
        "prompt": load_user_prompts("train").get(changes.get("user_prompt_id", "garden_dusk"), "A user prompt."),
        "rubric": rubric.id,
        "rubric_hash": rubric.hash,
        "level": level,
        "response": f"{TEXTS[level]} {number}",
        "teacher": "t",
        "judgment": judgment(score),
    }
    return TeacherResponse(**(fields | changes))


def judgment(score: float, judge: str = "measured") -> ResponseJudgment:
    return ResponseJudgment(score=score, judge=judge, prompt_version="1")


def index_of(rows: list[TeacherResponse], with_also: bool = False) -> tuple[ResponseIndex, Problems]:
    problems = Problems()
    index = ResponseIndex(RUBRICS, problems, with_also)
    for number, row in enumerate(rows, start=1):
        index.offer(f"rows.jsonl:{number}", row, 0, 0, 0)
    return index, problems


def rows_of(index: ResponseIndex, twins: Twins, responses: list[TeacherResponse]) -> list[PreferenceRow]:
    return list(RowMaker(responses.__getitem__, index.rubrics, PairIds()).rows(twins))


def seed_twins(seed: int = 0, n_wordings: int = 1) -> tuple[ResponseIndex, Twins]:
    index, _ = index_of(SEED)
    rng = np.random.default_rng(seed)
    pairs = pair_responses(index, LEVEL_PAIRS, rng)
    return index, draw_wordings(pairs, n_wordings, index.wording_counts(), rng)


# the seed


def test_the_seed_has_288_responses_each_in_its_band_by_the_measured_judge() -> None:
    assert len(SEED) == 4 * 24 * 3
    for row in SEED:
        found = measure(load_rubric(row.rubric), row.response)
        assert ScoreLevel.of(found.score) is row.level
        assert row.judgment is not None
        assert row.judgment.score == pytest.approx(found.score)
        assert row.user_prompt == load_user_prompts("train")[row.user_prompt_id]


def test_import_drops_what_is_out_of_band_and_says_so(tmp_path: Path) -> None:
    good = {"rubric": "labyrinth", "prompt": "Describe a garden at dusk.", "level": "low"}
    rows = [good | {"response": TEXTS[LOW]}, good | {"response": TEXTS[HIGH]}]
    path = tmp_path / "raw.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    kept, dropped = import_responses([path], "t")
    assert [row.response for row in kept] == [TEXTS[LOW]]
    assert kept[0].id == response_id("labyrinth", LOW, "Describe a garden at dusk.", "t")
    assert dropped == ["raw.jsonl:2: scored 100.0, outside the band of low"]
    path.write_text(json.dumps(good | {"response": "x", "level": "tiny"}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"raw.jsonl:1: level is 'tiny', expected one of"):
        import_responses([path], "t")


# what may train


TEST_PROMPT = next(iter(load_user_prompts("test").items()))
FAMILY_TEST_PROMPT = next(iter(load_user_prompts("test", "caution").items()))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"user_prompt_id": TEST_PROMPT[0]}, "test_prompt", "rows.jsonl:1: answers the test prompt 'A user prompt.'"),
        ({"prompt": TEST_PROMPT[1].upper() + " "}, "test_prompt", "expected a train prompt"),
        ({"user_prompt_id": FAMILY_TEST_PROMPT[0]}, "test_prompt", "answers the test prompt"),
        ({"prompt": FAMILY_TEST_PROMPT[1]}, "test_prompt", "answers the test prompt"),
        ({"judgment": None}, "not_verified", "rows.jsonl:1: has no judgment, expected one; run `cpt verify`"),
        ({"score": 40.5}, "out_of_band", "rows.jsonl:1: scored 40.5, expected the band of low"),
        ({"response": " \n"}, "empty_response", "rows.jsonl:1: response is empty, expected a text"),
    ],
)
def test_a_response_that_must_not_train_is_left_out_and_named(
    change: dict[str, object], kind: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    index, problems = index_of([response(LOW, **change), response(HIGH), response(MODERATE)])
    assert dict(problems.counts) == {kind: 1}
    assert message in capsys.readouterr().err
    assert len(index) == 2


def test_a_test_prompt_is_found_under_an_id_that_was_good_before() -> None:
    index, problems = index_of([response(LOW), response(HIGH, user_prompt=TEST_PROMPT[1])])
    assert (len(index), dict(problems.counts)) == (1, {"test_prompt": 1})


def test_an_id_of_a_prompt_stands_for_one_text() -> None:
    index, problems = index_of([response(LOW), response(HIGH, user_prompt="Something else."), response(MODERATE)])
    assert (len(index), dict(problems.counts)) == (2, {"prompt_mismatch": 1})


def test_a_rubric_without_system_prompts_configures_no_student() -> None:
    bare = load_rubric("labyrinth").model_copy(update={"system_prompts": {}})
    problems = Problems()
    index = ResponseIndex({"labyrinth": bare}, problems)
    index.offer("x:1", response(LOW), 0, 0, 0)
    assert (len(index), dict(problems.counts)) == (0, {"no_system_prompts": 1})


def test_controls_are_passed_over_and_are_no_problem() -> None:
    rows = [response(LOW), response(HIGH).model_copy(update={"level": "control"})]
    index, problems = index_of(rows)
    assert (len(index), index.controls, problems.counts.total()) == (1, 1, 0)


@settings(max_examples=50)
@given(st.lists(st.text("ab\n\u2028é", max_size=5), max_size=6).map("".join))
def test_line_starts_part_a_file_as_newlines_do(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("lines") / "x"
    path.write_bytes(text.encode())
    starts = line_starts(path)
    lines = [text.encode()[start:end] for start, end in zip(starts, starts[1:], strict=False)]
    assert lines == [line.encode() + b"\n" for line in text.split("\n")[:-1]] + [
        line.encode() for line in text.split("\n")[-1:] if line
    ]


# twins


def test_a_twin_is_two_rows_with_swapped_roles() -> None:
    low, high = response(LOW), response(HIGH)
    index, _ = index_of([low, high])
    rng = np.random.default_rng(0)
    twins = draw_wordings(pair_responses(index, LEVEL_PAIRS, rng), 1, index.wording_counts(), rng)
    first, second = rows_of(index, twins, [low, high])
    prompts = load_rubric("labyrinth").system_prompts
    for row, own, other in ((first, low, high), (second, high, low)):
        content = row.model_dump(mode="json", exclude_none=True)
        assert own.judgment is not None
        assert other.judgment is not None
        number = int(row.wording.rsplit("-", 1)[1])
        assert content == {
            "prompt": [
                {"role": "system", "content": prompts[ScoreLevel(own.level)].train[number]},
                {"role": "user", "content": own.user_prompt},
            ],
            "chosen": [{"role": "assistant", "content": own.response}],
            "rejected": [{"role": "assistant", "content": other.response}],
            "pair_id": first.pair_id,
            "rubric": "labyrinth",
            "level": str(own.level),
            "rejected_level": str(other.level),
            "score_chosen": own.judgment.score,
            "score_rejected": other.judgment.score,
            "user_prompt_id": "garden_dusk",
            "teacher": "t",
            "rejected_teacher": "t",
            "wording": f"labyrinth-{own.level}-train-{number}",
        }


def test_the_seed_gives_three_twins_per_rubric_and_prompt_in_the_order_of_the_responses() -> None:
    index, twins = seed_twins()
    assert len(twins) == 3 * 24 * 4
    rows = rows_of(index, twins, SEED)
    assert len({row.pair_id for row in rows}) == len(rows) / 2
    first_cell = [(row.rubric, row.user_prompt_id, row.level, row.rejected_level) for row in rows[:6:2]]
    assert first_cell == [(SEED[0].rubric, SEED[0].user_prompt_id, *levels) for levels in LEVEL_PAIRS]
    assert list(dict.fromkeys((row.rubric, row.user_prompt_id) for row in rows)) == list(
        dict.fromkeys((row.rubric, row.user_prompt_id) for row in SEED)
    )


def test_wordings_repeat_a_twin_each_time_with_its_own_draw_and_never_a_heldout_one() -> None:
    index, twins = seed_twins(seed=1, n_wordings=5)
    rows = rows_of(index, twins, SEED)
    assert len(rows) == 2 * 5 * 288
    assert len({row.pair_id for row in rows}) == 5 * 288
    assert len({row.prompt[0].content for row in rows[:10:2]}) > 1
    used = Counter(row.wording for row in rows)
    for rubric, level in product(RUBRICS.values(), ScoreLevel):
        wordings = rubric.system_prompts[level]
        shown = {row.prompt[0].content for row in rows if (row.rubric, row.level) == (rubric.id, level)}
        assert shown == set(wordings.train)
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
    index, _ = index_of(rows)
    twins = pair_responses(
        index,
        LEVEL_PAIRS,
        np.random.default_rng(seed),
        pairs_per_cell=pairs_per_cell,
        min_gap=min_gap,
        across_teachers=across,
    )
    pairs = [(rows[twin["first"]], rows[twin["second"]]) for twin in twins]
    assert len(set(zip(twins["first"], twins["second"], strict=True))) == len(twins)

    def key(row: TeacherResponse) -> tuple[str, ...]:
        return (row.user_prompt_id,) if across else (row.user_prompt_id, row.teacher)

    for first, second in pairs:
        assert key(first) == key(second)
        assert first.level.rank < second.level.rank  # type: ignore[union-attr]
        assert second.judgment.score - first.judgment.score >= min_gap  # type: ignore[union-attr]
    found = Counter((*key(first), first.level, second.level) for first, second in pairs)
    expected: Counter[Any] = Counter()
    for cell in {key(row) for row in rows}:
        for levels in LEVEL_PAIRS:
            lows, highs = ([r for r in rows if key(r) == cell and r.level is level] for level in levels)
            candidates = list(product(lows, highs) if pairs_per_cell else zip(lows, highs, strict=False))
            apart = [
                1
                for one, other in candidates
                if other.judgment.score - one.judgment.score >= min_gap  # type: ignore[union-attr]
            ]
            expected[(*cell, *levels)] = min(len(apart), pairs_per_cell) if pairs_per_cell else len(apart)
    assert found == +expected


def test_positions_are_paired_in_order_when_nothing_is_drawn() -> None:
    rows = [response(level, number) for level, number in ((LOW, 0), (HIGH, 0), (LOW, 1), (LOW, 2), (HIGH, 1))]
    index, _ = index_of(rows)
    twins = pair_responses(index, LEVEL_PAIRS, np.random.default_rng(0))
    assert list(zip(twins["first"], twins["second"], strict=True)) == [(0, 1), (2, 4)]


def test_responses_judged_by_two_judges_are_not_paired() -> None:
    rows = [response(LOW), response(HIGH, judgment=judgment(95, "other")), response(MODERATE)]
    twins = pair_responses(index_of(rows)[0], LEVEL_PAIRS, np.random.default_rng(0))
    assert list(zip(twins["first"], twins["second"], strict=True)) == [(0, 2)]


@pytest.mark.parametrize("text", ["", "low", "low:low", "low:high", "low:moderate,moderate:low", "low:moderate:low"])
def test_level_pairs_are_two_levels_each_once(text: str) -> None:
    with pytest.raises(ValueError, match="level pairs: got "):
        parse_level_pairs(text)


def test_level_pairs_are_read_with_the_lower_level_first() -> None:
    assert parse_level_pairs("extremely_high:low, low:moderate") == ((LOW, HIGH), (LOW, MODERATE))


# split and balance


@settings(max_examples=20)
@given(st.integers(1, 23), st.integers(0, 2**32 - 1))
def test_the_split_parts_no_prompt_and_no_twin(n_eval: int, seed: int) -> None:
    index, twins = seed_twins(n_wordings=2)
    splits = split_twins(twins, "prompt", index.prompts.names, n_eval, [], np.random.default_rng(seed))
    assert len(splits["train"]) + len(splits["eval"]) == len(twins)
    assert len(np.unique(splits["eval"]["prompt"])) == n_eval
    for name in ("prompt", "first"):
        assert not set(splits["train"][name]) & set(splits["eval"][name])


def test_prompts_with_one_text_under_two_ids_are_not_parted() -> None:
    rows = [
        response(level, user_prompt_id=f"p{number}", user_prompt=f"Prompt {number // 2}" + " " * (number % 2))
        for number in range(8)
        for level in (LOW, HIGH)
    ]
    index, _ = index_of(rows)
    twins = pair_responses(index, LEVEL_PAIRS, np.random.default_rng(0))
    for seed in range(5):
        splits = split_twins(twins, "prompt", index.prompts.names, 1, [], np.random.default_rng(seed))
        [text] = {rows[number].user_prompt.strip() for number in splits["eval"]["first"]}
        assert len(splits["eval"]) == 2
        assert text not in {rows[number].user_prompt.strip() for number in splits["train"]["first"]}


def test_a_split_by_rubric_or_both_keeps_eval_rubrics_out_of_training() -> None:
    index, twins = seed_twins()
    evaluated = {index.rubrics.index(RUBRICS["reverie"])}
    rng = np.random.default_rng(0)
    by_rubric = split_twins(twins, "rubric", index.prompts.names, 4, evaluated, rng)
    assert (len(by_rubric["train"]), len(by_rubric["eval"])) == (3 * 24 * 3, 24 * 3)
    assert set(by_rubric["eval"]["rubric"]) == evaluated
    both = split_twins(twins, "both", index.prompts.names, 4, evaluated, rng)
    assert (len(both["train"]), len(both["eval"])) == (3 * 20 * 3, 4 * 3)
    assert not set(both["train"]["prompt"]) & set(both["eval"]["prompt"])
    assert set(both["eval"]["rubric"]) == evaluated
    assert not set(both["train"]["rubric"]) & evaluated


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
    index, twins = seed_twins()
    with pytest.raises(ValueError, match=message):
        split_twins(twins, by, index.prompts.names, n_eval, eval_rubrics, np.random.default_rng(0))


@settings(max_examples=30)
@given(
    keep=st.lists(st.integers(0, 287), min_size=12, max_size=200, unique=True),
    limit=st.sampled_from([0, 12, 20, 100]),
    seed=st.integers(0, 99),
)
def test_balance_gives_every_rubric_and_level_pair_as_many_twins_as_the_smallest(
    keep: list[int], limit: int, seed: int
) -> None:
    _, twins = seed_twins()
    twins = twins[sorted(keep)]
    before = Counter(zip(twins["rubric"].tolist(), twins["levels"].tolist(), strict=True))
    balanced, cut = balance(twins, limit, np.random.default_rng(seed))
    after = Counter(zip(balanced["rubric"].tolist(), balanced["levels"].tolist(), strict=True))
    size = min(before.values()) if not limit else min(min(before.values()), limit // len(before))
    assert after == dict.fromkeys(before, size)
    assert cut == {kind: count - size for kind, count in before.items()}
    assert set(balanced["first"]) <= set(twins["first"])


def test_balance_refuses_a_limit_below_one_twin_each() -> None:
    with pytest.raises(ValueError, match="limit: got 11, expected at least 12, one twin"):
        balance(seed_twins()[1], 11, np.random.default_rng(0))


def test_a_limit_draws_whole_twins_and_keeps_their_order() -> None:
    _, twins = seed_twins()
    some = first_twins(twins, 10, np.random.default_rng(0))
    assert len(some) == 10
    assert list(some["first"]) == sorted(some["first"], key=list(twins["first"]).index)
    assert len(first_twins(twins, 0, np.random.default_rng(0))) == len(twins)


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
    index, _ = index_of(rows, with_also=True)
    twins = compose(index, 10, np.random.default_rng(0))
    made = rows_of(index, twins, rows)
    # broadcast + labyrinth has the responses 0 to 3, of which 2 and 3 do not differ in level: 5 of 6 pairs; reverie
    # judged only response 1
    pairs = {tuple(sorted((int(twin["first"]), int(twin["second"])))) for twin in twins}
    assert pairs == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3)}
    levels = [("moderate", "low"), ("low", "extremely_high"), ("low", "low"), ("low", "low")]
    scores = [(60, 10), (20, 95), (10, 30), (11, 31)]
    orders = set()
    for row, (own, other) in zip(
        made,
        [pair for twin in twins for pair in ((twin["first"], twin["second"]), (twin["second"], twin["first"]))],
        strict=True,
    ):
        assert row.chosen[0].content == rows[own].response
        assert row.rejected[0].content == rows[other].response
        assert (row.rubric, row.with_rubric) == ("broadcast", "labyrinth")
        assert (row.level, row.with_level) == levels[own]
        assert (row.rejected_level, row.with_rejected_level) == levels[other]
        assert (row.score_chosen, row.with_score_chosen) == scores[own]
        assert (row.score_rejected, row.with_score_rejected) == scores[other]
        wordings = []
        for rubric, level, name in zip(
            ("broadcast", "labyrinth"), levels[own], (row.wording, row.with_wording), strict=True
        ):
            assert name is not None
            start, number = name.rsplit("-", 1)
            assert start == f"{rubric}-{level}-train"
            wordings.append(load_rubric(rubric).system_prompts[ScoreLevel(level)].train[int(number)])
        order = row.prompt[0].content == "\n\n".join(wordings)
        assert order or row.prompt[0].content == "\n\n".join(reversed(wordings))
        orders.add(order)
    assert orders == {True, False}
    drawn = [[row.wording, row.with_wording] for row in made]
    numbers = [[int(str(name).rsplit("-", 1)[1]) for name in names] for names in drawn]
    for twin, first, second in zip(twins, numbers[::2], numbers[1::2], strict=True):
        assert list(twin["wordings"]) == [first[0], second[0], first[1], second[1]]
    assert list(whole_twins(made, "here")) == made


def test_compositions_are_at_most_so_many_per_prompt_teacher_and_rubric_pair() -> None:
    rows = composed_rows() + [row.model_copy(update={"id": row.id + "u", "teacher": "u"}) for row in composed_rows()]
    index, _ = index_of(rows, with_also=True)
    twins = compose(index, 2, np.random.default_rng(0))
    assert Counter(rows[twin["first"]].teacher for twin in twins) == {"t": 2, "u": 2}
    assert all(rows[twin["first"]].teacher == rows[twin["second"]].teacher for twin in twins)
    together = compose(index, 100, np.random.default_rng(0), across_teachers=True)
    # 8 responses, 28 pairs, without the 6 of two low by both and one each of two like response 0 and two like 1
    assert len(together) == 20


def test_compositions_heed_the_least_gap_where_levels_differ() -> None:
    index, _ = index_of(composed_rows(), with_also=True)
    # 0 and 1 differ by 40 in broadcast and 85 in labyrinth; 0 and 2, 3 by 50, 49; 1 and 2, 3 by 65, 64
    twins = compose(index, 10, np.random.default_rng(0), min_gap=50)
    assert {tuple(sorted((int(twin["first"]), int(twin["second"])))) for twin in twins} == {(0, 2), (1, 2), (1, 3)}


def test_a_composition_with_an_eval_rubric_is_kept_out_of_training() -> None:
    rows = [*composed_rows(), response(HIGH, 4, rubric="broadcast"), response(HIGH, 5, rubric="reverie")]
    rows.append(response(LOW, 6, rubric="reverie", also={"broadcast": judgment(60)}))
    rows.append(response(LOW, 7, rubric="reverie", also={"broadcast": judgment(10)}))
    index, _ = index_of(rows, with_also=True)
    twins = np.concatenate(
        [compose(index, 10, np.random.default_rng(0)), pair_responses(index, LEVEL_PAIRS, np.random.default_rng(0))]
    )
    names = [rubric.id for rubric in index.rubrics]
    splits = split_twins(twins, "rubric", index.prompts.names, 0, {names.index("labyrinth")}, np.random.default_rng(0))
    asked = {
        name: {tuple(names[n] for n in (twin["rubric"], twin["with_rubric"]) if n >= 0) for twin in split}
        for name, split in splits.items()
    }
    assert asked == {
        "train": {("broadcast",), ("reverie",), ("broadcast", "reverie")},
        "eval": {("labyrinth",), ("broadcast", "labyrinth")},
    }


def test_responses_without_other_judgments_give_no_composition() -> None:
    index, _ = index_of(SEED, with_also=True)
    assert len(compose(index, 3, np.random.default_rng(0))) == 0


# twins stay whole


def parted(rows: list[PreferenceRow]) -> dict[str, list[PreferenceRow]]:
    """Ways to break a file of whole twins."""
    first, second, third, fourth = rows[:4]
    return {
        "halves of two twins": [first, third, second, fourth],
        "one half": [first, second, third],
        "the same half twice": [first, first],
        "halves with ids of their own": [first, second.model_copy(update={"pair_id": third.pair_id})],
        "one user prompt less": [
            first,
            second.model_copy(update={"prompt": (second.prompt[0], second.prompt[0])}),
        ],
        "one system prompt for both": [
            first,
            second.model_copy(update={"prompt": first.prompt}),
        ],
    }


@pytest.mark.parametrize("way", list(parted(rows_of(*seed_twins(), SEED))))
def test_a_parted_twin_is_refused(way: str) -> None:
    rows = rows_of(*seed_twins(), SEED)
    assert list(whole_twins(rows, "here")) == rows
    with pytest.raises(AssertionError, match="here: the twin "):
        list(whole_twins(parted(rows)[way], "here"))


def test_a_pair_id_that_is_taken_grows_and_no_twin_is_made_twice() -> None:
    ids = PairIds()
    plain = ids.new("a", "b", 0)
    assert (len(plain), plain) == (12, PairIds().new("a", "b", 0))
    collided = PairIds()
    collided._given.add(int(plain, 16))
    assert collided.new("a", "b", 0)[:12] == plain
    with pytest.raises(AssertionError, match="made twice"):
        collided.new("a", "b", 0)
