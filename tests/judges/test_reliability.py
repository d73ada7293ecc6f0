"""Reliability of repeated ratings: published tables, values by hand, agreement with libraries, invariants."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import cohen_kappa_score

from judges import Judgment, reliability
from judges.judgment import Rating
from judges.reliability import attainable_accuracy, noise, noise_lines, noise_values
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


def test_icc_and_alpha_of_the_published_tables() -> None:
    assert reliability.icc_2_1(SHROUT_FLEISS) == pytest.approx(0.29, abs=0.005)
    assert reliability.krippendorff_alpha(np.array(KRIPPENDORFF).T) == pytest.approx(0.849, abs=0.0005)


def test_alpha_is_that_of_inspect_on_complete_ratings() -> None:
    from inspect_ai.scorer import SampleScore, Score, krippendorff_alpha

    units = [SampleScore(score=Score(value=list(map(float, item)))) for item in SHROUT_FLEISS]
    theirs = krippendorff_alpha("interval")(units)  # type: ignore[call-arg, arg-type]
    assert reliability.krippendorff_alpha(SHROUT_FLEISS) == pytest.approx(theirs)


def test_test_retest_sd_by_hand_pools_degrees_of_freedom_and_sorts_by_the_mean() -> None:
    # squares within: (10, 14) -> 8 with 1 df; (50, 50, 56) -> 24 with 2 df; a lone 90 -> nothing. sqrt(32 / 3)
    table = [[10, 14, NAN], [50, 50, 56], [90, NAN, NAN]]
    assert reliability.test_retest_sd(table) == pytest.approx(math.sqrt(32 / 3))
    # no item with two ratings in extremely_high: it gets the SD of all
    expected = {LOW: math.sqrt(8), MODERATE: math.sqrt(12), HIGH: math.sqrt(32 / 3)}
    assert reliability.test_retest_sd_by_level(table) == pytest.approx(expected)


def test_level_kappa_averages_pairs_of_ratings_on_the_items_that_have_both() -> None:
    # levels by column: (0 1 2 0), (0 1 2 2), (0 1 2 0); an edge stays in the lower band
    table = [[10, 20, 40], [50, 41, 92.5], [95, 96, 92.6], [0, 100, 0]]
    one = cohen_kappa_score([0, 1, 2, 0], [0, 1, 2, 2], weights="quadratic")
    assert reliability.level_kappa(table) == pytest.approx((one + 1 + one) / 3)
    assert reliability.level_kappa([[10, 20], [50, 60], [95, NAN], [NAN, 0]]) == pytest.approx(1)


@given(st.lists(st.tuples(*[st.sampled_from([20.0, 60, 95])] * 2), min_size=1, max_size=30))
def test_level_kappa_agrees_with_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    ours = reliability.level_kappa(pairs)
    if len({score for pair in pairs for score in pair}) == 1:
        assert math.isnan(ours)
    else:
        first, second = np.array(pairs).astype(int).T
        assert ours == pytest.approx(cohen_kappa_score(first, second, weights="quadratic", labels=[20, 60, 95]))


@given(tables, st.integers(1, 10))
def test_reliability_is_at_most_one_and_ignores_a_shift_and_the_order_of_ratings(table: np.ndarray, by: int) -> None:
    for statistic in (reliability.icc_2_1, reliability.krippendorff_alpha, reliability.test_retest_sd):
        value = statistic(table)
        assert statistic(table + by) == pytest.approx(value, abs=1e-6, nan_ok=True), statistic.__name__
        assert statistic(table[:, ::-1]) == pytest.approx(value, abs=1e-6, nan_ok=True), statistic.__name__
    for statistic in (reliability.icc_2_1, reliability.krippendorff_alpha):
        assert not statistic(table) > 1 + 1e-9  # ratings that are nothing but noise may have no ICC


def test_attainable_accuracy_by_hand() -> None:
    # SD 7.5: low P(Z <= 40/7.5) = 1.0000; moderate 2*Phi(26.25/7.5 = 3.5) - 1 = .9995; high Phi(1) = .8413
    assert attainable_accuracy(dict.fromkeys(ScoreLevel, 7.5)) == pytest.approx(0.94696, abs=1e-5)
    assert attainable_accuracy({LOW: 0.0, MODERATE: 0.0, HIGH: 7.5}) == pytest.approx(2 / 3 + 0.84134 / 3, abs=1e-5)
    assert attainable_accuracy(dict.fromkeys(ScoreLevel, 0.0)) == 1


@pytest.mark.parametrize("sd", [3.0, 12.0, 40.0])
def test_no_true_score_of_a_band_does_better_in_simulation(sd: float) -> None:
    noise = sd * np.random.default_rng(0).standard_normal(4000)
    best = [
        max(
            (reliability.level_ranks(np.clip(true + noise, 0, 100)) == level.rank).mean()
            for true in np.linspace(*level.band, 41)
        )
        for level in ScoreLevel
    ]
    assert attainable_accuracy(dict.fromkeys(ScoreLevel, sd)) == pytest.approx(np.mean(best), abs=0.02)


def test_ratings_of_a_wrong_shape_or_range_are_named() -> None:
    with pytest.raises(ValueError, match="1 dimensions, expected"):
        reliability.test_retest_sd([1, 2, 3])
    with pytest.raises(ValueError, match="got 101, expected a number from 0 to 100"):
        reliability.level_kappa([[1, 101]])


def test_the_noise_put_in_comes_out() -> None:
    rng = np.random.default_rng(0)
    true = rng.choice([20.0, 66.0, 80.0], size=600)
    report = noise(true[:, None] + rng.normal(0, 4, (600, 5)))
    assert report["sd"] == pytest.approx(4, rel=0.05)  # 2,400 degrees of freedom: relative SE 1.4%
    variance = true.var(ddof=1)
    assert report["icc"] == pytest.approx(variance / (variance + 16), abs=0.01)
    assert report["alpha"] == pytest.approx(report["icc"], abs=0.01)
    assert (report["n_items"], report["n_ratings"], report["n_missing"]) == (600, 5, 0)


@pytest.mark.parametrize(
    ("ratings", "counts", "known"),
    [
        ([[10], [50], [NAN]], (2, 1, 1), {}),  # one rating each: nothing is known
        ([[70, 70], [70, 70]], (2, 2, 0), {"sd": 0, "attainable": 1}),  # no noise, but no reliability either
        (np.empty((0, 3)), (0, 3, 0), {}),
    ],
)
def test_what_is_not_defined_is_no_number(ratings: object, counts: tuple[int, ...], known: dict[str, float]) -> None:
    report = noise(ratings)  # type: ignore[arg-type]
    assert (report["n_items"], report["n_ratings"], report["n_missing"]) == counts
    expected = dict.fromkeys(("sd", "icc", "alpha", "level_kappa", "attainable"), NAN) | known
    assert {name: report[name] for name in expected} == pytest.approx(expected, nan_ok=True)


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
    icc, alpha = reliability.icc_2_1(between), reliability.krippendorff_alpha(between)
    assert both.startswith(f"2 judges of 3 responses: ICC(2,1) {icc:.3f}, Krippendorff's alpha {alpha:.3f}")
    assert noise_values(judgments) == pytest.approx({"panel_icc": icc, "panel_alpha": alpha})


def test_responses_that_were_judged_once_have_no_noise() -> None:
    assert noise_lines(of([], [])) == noise_lines(of(asked(0, 50))) == []
    assert noise_values(of([])) == {}
