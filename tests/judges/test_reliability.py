"""Reliability of repeated ratings: published tables, values by hand, agreement with a library, invariants."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from judges import Judgment, reliability
from judges.judgment import Rating
from judges.reliability import (
    attainable_accuracy,
    icc_2_1,
    krippendorff_alpha,
    noise,
    noise_lines,
    noise_values,
)
from rubrics import ScoreLevel

LOW, MODERATE, HIGH = ScoreLevel
NAN = float("nan")

# Shrout and Fleiss 1979, table 2: six targets by four judges; table 4 gives ICC(2,1) = .29
SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]

# Krippendorff 2011, section E: four observers by twelve units with missing data; interval alpha = .849
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]

tables = arrays.arrays(
    float, st.tuples(st.integers(2, 8), st.integers(2, 4)), elements=st.integers(0, 90).map(float)
).filter(lambda table: np.ptp(table) > 0)


def test_icc_and_alpha_of_the_published_tables_and_of_inspect() -> None:
    from inspect_ai.scorer import SampleScore, Score
    from inspect_ai.scorer import krippendorff_alpha as of_inspect

    assert icc_2_1(SHROUT_FLEISS) == pytest.approx(0.29, abs=0.005)
    assert krippendorff_alpha(np.array(KRIPPENDORFF).T) == pytest.approx(0.849, abs=0.0005)
    units = [SampleScore(score=Score(value=list(map(float, item)))) for item in SHROUT_FLEISS]
    theirs = of_inspect("interval")(units)  # type: ignore[call-arg, arg-type]
    assert krippendorff_alpha(SHROUT_FLEISS) == pytest.approx(theirs)


@given(tables, st.integers(1, 10))
def test_reliability_is_at_most_one_and_ignores_a_shift_and_the_order_of_ratings(table: np.ndarray, by: int) -> None:
    for statistic in (icc_2_1, krippendorff_alpha, reliability.test_retest_sd):
        value = statistic(table)
        for changed in (table + by, table[:, ::-1]):
            assert statistic(changed) == pytest.approx(value, abs=1e-6, nan_ok=True), statistic.__name__
    for statistic in (icc_2_1, krippendorff_alpha):
        assert not statistic(table) > 1 + 1e-9  # ratings that are nothing but noise may have no ICC


def test_the_sd_by_hand_pools_degrees_of_freedom_and_sorts_by_the_mean() -> None:
    # squares within: (10, 14) -> 8 with 1 df; (50, 50, 56) -> 24 with 2 df; a lone 90 -> nothing. sqrt(32 / 3)
    found = noise([[10, 14, NAN], [50, 50, 56], [90, NAN, NAN]])
    # no item with two ratings in extremely_high: it gets the SD of all
    expected = {"sd": math.sqrt(32 / 3), "sd_low": math.sqrt(8), "sd_moderate": math.sqrt(12)}
    expected |= {"sd_extremely_high": math.sqrt(32 / 3), "n_items": 3, "n_ratings": 3, "n_missing": 3}
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("ratings", "counts", "known"),
    [
        ([[10], [50], [NAN]], (2, 1, 1), {}),  # one rating each: nothing is known
        ([[70, 70], [70, 70]], (2, 2, 0), {"sd": 0, "attainable": 1}),  # no noise, but no reliability either
        (np.empty((0, 3)), (0, 3, 0), {}),
    ],
)
def test_what_is_not_defined_is_no_number(ratings: object, counts: tuple[int, ...], known: dict[str, float]) -> None:
    found = noise(ratings)  # type: ignore[arg-type]
    assert (found["n_items"], found["n_ratings"], found["n_missing"]) == counts
    expected = dict.fromkeys(("sd", "icc", "alpha", "attainable"), NAN) | known
    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("sds", "accuracy"),
    [
        # SD 7.5: low P(Z <= 40/7.5) = 1.0000; moderate 2*Phi(26.25/7.5 = 3.5) - 1 = .9995; high Phi(1) = .8413
        ((7.5, 7.5, 7.5), 0.94696),
        ((0.0, 0.0, 7.5), 2 / 3 + 0.84134 / 3),
        ((0.0, 0.0, 0.0), 1),
    ],
)
def test_attainable_accuracy_by_hand(sds: tuple[float, ...], accuracy: float) -> None:
    assert attainable_accuracy(dict(zip(ScoreLevel, sds, strict=True))) == pytest.approx(accuracy, abs=1e-5)


def asked(seat: int, *scores: float | None) -> list[Rating]:
    return [Rating(seat=seat, judge="j", repeat=repeat, score=score) for repeat, score in enumerate(scores)]


def of(*ratings: list[Rating]) -> list[Judgment]:
    common = {"score": 50, "judge": "j", "prompt_version": "1", "rubric_hash": "h"}
    return [Judgment(**common, ratings=tuple(asked)) for asked in ratings]  # type: ignore[arg-type]


def test_repeats_of_one_judge_read_as_a_sentence() -> None:
    judgments = of(asked(0, 10, 14), [], asked(0, 50, 50), asked(0, 95, None))
    [line] = noise_lines(judgments)
    # squares within: 8 and 0 with a degree of freedom each: sqrt(4) = 2; low sqrt(8), the top band has none of its own
    assert line.startswith(
        "j (seat 1): 2 ratings of 3 responses, 1 missing; test-retest SD 2.0 points "
        "(low 2.8, moderate 0.0, extremely_high 2.0); ICC(2,1) "
    )
    assert "; attainable accuracy 1.000 by the mean of 2 ratings, 1.000 by one: what a perfect" in line
    assert noise_values(judgments)["judge_test_retest_sd"] == pytest.approx(2)


def test_a_panel_says_what_its_judges_agree_on() -> None:
    scores = [(10, 20, 30, 34), (60, 60, None, None), (95, 99, 90, 94)]
    judgments = of(*(asked(0, a, b) + asked(1, c, d) for a, b, c, d in scores))
    first, second, both = noise_lines(judgments)
    assert (first.split(":")[0], second.split(":")[0]) == ("j (seat 1)", "j (seat 2)")
    between = [[15, 32], [60, NAN], [97, 92]]  # repeats averaged
    icc, alpha = icc_2_1(between), krippendorff_alpha(between)
    assert both.startswith(f"2 judges of 3 responses: ICC(2,1) {icc:.3f}, Krippendorff's alpha {alpha:.3f}")
    assert noise_values(judgments) == pytest.approx({"panel_icc": icc, "panel_alpha": alpha})


def test_responses_that_were_judged_once_have_no_noise() -> None:
    assert noise_lines(of([], [])) == noise_lines(of(asked(0, 50))) == []
    assert noise_values(of([])) == {}
