"""Agreement statistics: published tables, values by hand, agreement with scikit-learn and inspect, invariants."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import cohen_kappa_score

from judges import reliability
from judges.reliability import agreement, attainable_accuracy, hit_probability
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


def test_icc_of_the_published_table() -> None:
    assert reliability.icc_2_1(SHROUT_FLEISS) == pytest.approx(0.29, abs=0.005)


def test_alpha_of_the_published_table_with_missing_ratings() -> None:
    assert reliability.krippendorff_alpha(np.array(KRIPPENDORFF).T) == pytest.approx(0.849, abs=0.0005)


def test_alpha_is_that_of_inspect_on_complete_ratings() -> None:
    from inspect_ai.scorer import SampleScore, Score, krippendorff_alpha

    units = [SampleScore(score=Score(value=list(map(float, item)))) for item in SHROUT_FLEISS]
    theirs = krippendorff_alpha("interval")(units)  # type: ignore[call-arg, arg-type]
    assert reliability.krippendorff_alpha(SHROUT_FLEISS) == pytest.approx(theirs)


def test_test_retest_sd_by_hand_pools_degrees_of_freedom() -> None:
    # squares within: (10, 14) -> 8 with 1 df; (50, 50, 56) -> 24 with 2 df; a lone 90 -> nothing. sqrt(32 / 3)
    table = [[10, 14, NAN], [50, 50, 56], [90, NAN, NAN]]
    assert reliability.test_retest_sd(table) == pytest.approx(math.sqrt(32 / 3))


def test_test_retest_sd_by_level_sorts_items_by_their_mean_and_falls_back_on_all() -> None:
    # low: 8 / 1; moderate: 24 / 2; no item in extremely_high: 32 / 3 from all
    found = reliability.test_retest_sd_by_level([[10, 14, NAN], [50, 50, 56]])
    assert found == pytest.approx({LOW: math.sqrt(8), MODERATE: math.sqrt(12), HIGH: math.sqrt(32 / 3)})


def test_level_kappa_averages_pairs_of_ratings() -> None:
    # levels by column: (0 1 2 0), (0 1 2 2), (0 1 2 0)
    table = np.array([[10, 20, 30], [50, 60, 70], [95, 96, 97], [0, 100, 0]])
    one = cohen_kappa_score([0, 1, 2, 0], [0, 1, 2, 2], weights="quadratic")
    assert reliability.level_kappa(table) == pytest.approx((one + 1 + one) / 3)


def test_level_kappa_compares_only_items_with_both_ratings() -> None:
    table = [[10, 20], [50, 60], [95, NAN], [NAN, 0]]
    assert reliability.level_kappa(table) == pytest.approx(1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_kappa_agrees_with_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs).T
    ours = reliability.quadratic_kappa(first, second)
    if len({*first, *second}) == 1:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(cohen_kappa_score(first, second, weights="quadratic", labels=[0, 1, 2]))


@settings(deadline=None)
@given(tables, st.integers(1, 10))
def test_shifting_all_ratings_changes_no_reliability(table: np.ndarray, shift: int) -> None:
    for statistic in (reliability.icc_2_1, reliability.krippendorff_alpha, reliability.test_retest_sd):
        assert statistic(table + shift) == pytest.approx(statistic(table), abs=1e-6, nan_ok=True), statistic.__name__


@settings(deadline=None)
@given(tables)
def test_reliability_is_at_most_one_and_ignores_the_order_of_ratings(table: np.ndarray) -> None:
    for statistic in (reliability.icc_2_1, reliability.krippendorff_alpha):
        value = statistic(table)
        assert not value > 1 + 1e-9  # ratings that are nothing but noise may have no ICC
        assert statistic(table[:, ::-1]) == pytest.approx(value, abs=1e-9, nan_ok=True)


def test_icc_sees_a_constant_bias_that_correlation_does_not() -> None:
    # between items 2*(10^2+10^2)/2 = 200, between raters 3*(2*5^2)/1 = 150, residual 0: 200 / (200 + 2*150/3)
    scores = np.array([20.0, 30, 40])
    assert agreement(scores, scores + 10) == pytest.approx(
        # 20 and 30 stay low, 40 becomes moderate: levels 0 0 0 and 0 0 1 have kappa 1 - (1/3) / (2/9 + 1/9)
        {"pearson": 1, "spearman": 1, "icc": 200 / 300, "mae": 10, "level_kappa": 0, "level_accuracy": 2 / 3}
    )


def test_agreement_of_equal_vectors_is_perfect_and_of_nothing_undefined() -> None:
    perfect = {"pearson": 1, "spearman": 1, "icc": 1, "mae": 0, "level_kappa": 1, "level_accuracy": 1}
    assert agreement([5, 50, 95], [5, 50, 95]) == pytest.approx(perfect)
    assert all(math.isnan(value) for value in agreement([], []).values())
    assert agreement([40, 92.5, 92.6], [0, 41, 100])["level_accuracy"] == 1  # an edge stays in the lower band


def test_missing_scores_have_no_pairwise_agreement() -> None:
    with pytest.raises(ValueError, match="got nan, expected a pair of numbers"):
        agreement([5, NAN], [5, 5])


def test_a_judge_without_noise_leaves_everything_attainable() -> None:
    assert attainable_accuracy(dict.fromkeys(ScoreLevel, 0.0)) == 1


def test_attainable_accuracy_by_hand() -> None:
    # SD 7.5: low P(Z <= 40/7.5) = 1.0000; moderate 2*Phi(26.25/7.5 = 3.5) - 1 = .9995; high Phi(1) = .8413
    assert hit_probability(LOW, 7.5) == pytest.approx(1, abs=1e-6)
    assert hit_probability(MODERATE, 7.5) == pytest.approx(0.99953, abs=1e-5)
    assert hit_probability(HIGH, 7.5) == pytest.approx(0.84134, abs=1e-5)
    assert attainable_accuracy(dict.fromkeys(ScoreLevel, 7.5)) == pytest.approx(0.94696, abs=1e-5)


@pytest.mark.parametrize("level", ScoreLevel)
@pytest.mark.parametrize("sd", [3.0, 12.0, 40.0])
def test_no_true_score_of_the_band_does_better_in_simulation(level: ScoreLevel, sd: float) -> None:
    rng = np.random.default_rng(0)
    noise = sd * rng.standard_normal(20_000)
    low, high = level.band
    shares = []
    for true in np.linspace(low, high, 41):
        judged = np.clip(true + noise, 0, 100)
        shares.append(np.mean([ScoreLevel.of(score) is level for score in judged[:4000]]))
    assert hit_probability(level, sd) == pytest.approx(max(shares), abs=0.025)


@settings(deadline=None)
@given(st.floats(0, 60), st.floats(0.1, 60))
def test_attainable_accuracy_falls_with_noise(sd: float, more: float) -> None:
    less = attainable_accuracy(dict.fromkeys(ScoreLevel, sd))
    assert attainable_accuracy(dict.fromkeys(ScoreLevel, sd + more)) <= less + 1e-12
    assert 1 / 3 < less <= 1


def test_ratings_of_a_wrong_shape_or_range_are_named() -> None:
    with pytest.raises(ValueError, match="1 dimensions, expected"):
        reliability.test_retest_sd([1, 2, 3])
    with pytest.raises(ValueError, match="expected a number from 0 to 100"):
        reliability.level_kappa([[1, 101]])
    with pytest.raises(ValueError, match="SD: got -1"):
        hit_probability(LOW, -1)
