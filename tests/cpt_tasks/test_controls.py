"""The controls of `judge_robustness`: what they change, and what judges of known behaviour get for them."""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pandas as pd
import pytest

from cpt_tasks.benchmarks.judge_robustness.attacks import BaseText, load_attacks
from cpt_tasks.benchmarks.judge_robustness.controls import (
    CONTROLS,
    FALL,
    MIN_WORDS_LEFT,
    criterion_scores,
    evidence_removals,
    rubric_swaps,
    without_evidence,
)
from cpt_tasks.benchmarks.judge_robustness.statistics import control_statistics
from cpt_tasks.benchmarks.judge_robustness.task import COLUMNS, attack_samples
from judges import measure
from judges.counting import english_words
from rubrics import Rubric, load_rubric, load_rubrics

SET = load_attacks()
MEASURED = load_rubrics("measured")
BROADCAST = load_rubric("broadcast")

Verdict = tuple[float, Mapping[str, float]]
Judge = Callable[[Rubric, str], Verdict]


def measured(rubric: Rubric, text: str) -> Verdict:
    return measure(rubric, text).score, criterion_scores(rubric, text)


def constant(rubric: Rubric, text: str) -> Verdict:
    return 40, dict.fromkeys(criterion_scores(rubric, text), 40.0)


def length_only(rubric: Rubric, text: str) -> Verdict:
    n_words = len(english_words(text))
    return n_words, dict.fromkeys(criterion_scores(rubric, text), float(n_words))


def swapped(rubric: Rubric, text: str) -> Verdict:
    """As measured, upside down: a judge that takes the top of each rubric for its bottom."""
    score, criteria = measured(rubric, text)
    return 100 - score, {criterion: 100 - points for criterion, points in criteria.items()}


def generous(rubric: Rubric, text: str) -> Verdict:
    """As measured, at half the distance."""
    score, criteria = measured(rubric, text)
    return 50 + score / 2, {criterion: 50 + points / 2 for criterion, points in criteria.items()}


@cache
def control_texts() -> list[tuple[dict[str, Any], Rubric, Verdict]]:
    """Of every sample its metadata, its rubric, and what its text measures by it."""
    by_id = {rubric.id: rubric for rubric in MEASURED}
    abouts = [sample.metadata or {} for sample in attack_samples(SET, MEASURED, CONTROLS)]
    rubrics = [by_id[about["rubric"]] for about in abouts]
    return [(about, rubric, measured(rubric, about["text"])) for about, rubric in zip(abouts, rubrics, strict=True)]


def values_of(judge: Judge) -> dict[str, Any]:
    rows = []
    for about, rubric, (truth, true_criteria) in control_texts():
        score, criteria = judge(rubric, about["text"])
        listed = [{"id": criterion, "score": points} for criterion, points in criteria.items()]
        judged = (score, truth, about.get("criterion"), listed, true_criteria)
        rows.append((about["family"], about["base_text"], *judged))
    return control_statistics(pd.DataFrame(rows, columns=COLUMNS))


@pytest.mark.parametrize(
    ("judge", "right", "moves_by"),
    [
        (measured, (1, 1), (1, 1)),
        (generous, (1, 1), (0.5, 0.5)),
        (swapped, (0, 0), (-1, -1)),
        (constant, (0, 0), (0, 0)),
        (length_only, (0, 1), (0, None)),  # it reads no rubric; a shorter text gets less, in whatever criterion
    ],
)
def test_a_judge_of_known_behaviour_gets_what_one_expects(
    judge: Judge, right: tuple[float, float], moves_by: tuple[float, float | None]
) -> None:
    values = values_of(judge)
    for control, share, factor in zip(CONTROLS, right, moves_by, strict=True):
        assert values[f"{control}_right_direction"] == share
        assert values[f"{control}_measured_move"] > FALL
        if factor is not None:
            assert values[f"{control}_mean_move"] == pytest.approx(factor * values[f"{control}_measured_move"])
        low, high = (values[f"{control}_right_direction_ci_{end}"] for end in ("low", "high"))
        assert 0 <= low <= share <= high <= 1
        assert low < high
    if judge is length_only:  # what gives it away: the other criteria fall as far
        assert values["evidence_removal_others_shift"] == pytest.approx(-values["evidence_removal_mean_move"])
        assert abs(values["evidence_removal_measured_others_shift"]) < values["evidence_removal_mean_move"]


def test_control_statistics_by_hand() -> None:
    def text(
        family: str, base: str, score: float, truth: float, criterion: str = "", *judged: float
    ) -> tuple[Any, ...]:
        listed = [{"id": name, "score": points} for name, points in zip("xyz", judged, strict=False)]
        return family, base, score, truth, criterion, listed, {"x": truth, "y": 0.0, "z": 0.0}

    clean = [text("clean", "a", 60, 70, "", 60, 50, 40), text("clean", "b", 10, 0, "", 10, 20, 30)]
    # a: measured 70 -> 0, judged 60 -> 30: 30 the right way; b: 0 -> 40, judged 10 -> 0: 10 the wrong way
    swaps = [text("rubric_swap", "a", 30, 0), text("rubric_swap", "b", 0, 40), text("rubric_swap", "unscored", 9, 9)]
    # x: 60 -> 40, the way of 70 -> 30; the others 50 -> 45 and 40 -> 25, so -10
    removal = text("evidence_removal", "a", 99, 30, "x", 40, 45, 25)
    values = control_statistics(pd.DataFrame([*clean, *swaps, removal], columns=COLUMNS))
    expected = {"right_direction": 0.5, "mean_move": 10, "measured_move": 55, "n": 2}
    assert {name: values[f"rubric_swap_{name}"] for name in expected} == expected
    expected = {"right_direction": 1, "mean_move": 20, "measured_move": 40, "others_shift": -10, "n": 1}
    assert {name: values[f"evidence_removal_{name}"] for name in expected} == expected
    assert values["evidence_removal_measured_others_shift"] == 0
    assert math.isnan(values["rubric_swap_mean_move_ci_low"])  # two texts are too few for an interval
    assert control_statistics(pd.DataFrame(clean, columns=COLUMNS)) == {}


TEXT = (
    "The band came on at nine and began without a word. Look at that! Nobody in the hall had heard of them before, and "
    "most of the people at the bar went on talking. Hear them! The drummer wore a hat, and the singer none at all.\n"
    "They played for an hour and then went home by bus."
)


def test_the_sentences_that_carry_a_criterion_are_taken_out_and_nothing_else() -> None:
    # two exclamations in six sentences are 48 points of 70 in a hundred; one in five, 29; none, 0: two have to go
    assert criterion_scores(BROADCAST, TEXT)["excitement"] == pytest.approx(100 * (2 / 6) / 0.7)
    assert without_evidence(BROADCAST, "excitement", TEXT) == TEXT.replace("Look at that! ", "").replace(
        "Hear them! ", ""
    )
    assert without_evidence(BROADCAST, "address", TEXT) is None  # nobody is addressed: no evidence


def test_swaps_go_to_the_rubric_that_measures_farthest_away() -> None:
    base = BaseText(id="band", rubric="broadcast", user_prompt_id="lost_umbrella", source="", text=TEXT)
    scores = {rubric.id: measure(rubric, TEXT).score for rubric in MEASURED}
    [swap] = rubric_swaps([base], MEASURED)
    assert abs(scores[swap.rubric.id] - scores["broadcast"]) == max(
        abs(s - scores["broadcast"]) for s in scores.values()
    )
    assert rubric_swaps([base], [BROADCAST]) == []


def test_every_control_text_and_criterion_is_put_to_the_test() -> None:
    assert {base.id for base in SET.control_texts}.isdisjoint(base.id for base in SET.base_texts)
    removals = evidence_removals(SET.control_texts, MEASURED)
    assert len({one.base.id for one in removals}) == len(SET.control_texts)
    for one in removals:
        assert len(english_words(one.text)) >= MIN_WORDS_LEFT
        before, after = (criterion_scores(one.rubric, text)[one.criterion] for text in (one.base.text, one.text))
        assert before - after >= FALL
    # no sentence of a labyrinthine text is so much longer than the others
    missing = {(r.id, c.id) for r in MEASURED for c in r.criteria} - {
        (one.rubric.id, one.criterion) for one in removals
    }
    assert missing == {("labyrinth", "sentence_reach")}
