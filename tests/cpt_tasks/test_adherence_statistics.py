"""Statistics of configurability: values by hand, agreement with scipy and scikit-learn, invariants."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from frames import frame
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from cpt_tasks.benchmarks.rubric_adherence import statistics as metrics
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
from cpt_tasks.statistics.table import table_of
from rubrics import ScoreLevel

LOW, MODERATE, HIGH = ScoreLevel


def rows(*triples: tuple[ScoreLevel, str, float], rubric: str = "r") -> pd.DataFrame:
    return frame(
        {"rubric": rubric, "level": level, "user_prompt_id": prompt, "score": score} for level, prompt, score in triples
    )


def ranks(data: pd.DataFrame) -> list[int]:
    return [ScoreLevel(level).rank for level in data["level"]]


# two prompts, three levels. in band: a low, a moderate, a high, b low; out: b moderate (30), b high (60)
HAND = rows((LOW, "a", 10), (MODERATE, "a", 50), (HIGH, "a", 95), (LOW, "b", 30), (MODERATE, "b", 30), (HIGH, "b", 60))


def test_macro_accuracy_by_hand() -> None:
    # cells: low 2/2, moderate 1/2, high 1/2 -> (1 + .5 + .5) / 3
    assert metrics.macro_accuracy(HAND) == pytest.approx(2 / 3)


def test_macro_accuracy_weighs_cells_not_samples() -> None:
    # 3 rights at low and 1 wrong at high: by samples .75, by cells .5
    data = rows((LOW, "a", 0), (LOW, "b", 0), (LOW, "c", 0), (HIGH, "a", 0))
    assert metrics.macro_accuracy(data) == pytest.approx(0.5)


def test_a_model_that_always_scores_70_has_chance_accuracy() -> None:
    data = rows(*((level, prompt, 70) for level in ScoreLevel for prompt in "abc"))
    assert metrics.chance_accuracy(data) == pytest.approx(1 / 3)
    assert metrics.macro_accuracy(data) == pytest.approx(1 / 3)


def test_order_accuracy_by_hand() -> None:
    # prompt a: 3 of 3 right. prompt b: low=moderate tie 1/2, moderate<high 1, low<high 1 -> 5.5 of 6
    assert metrics.order_accuracy(HAND) == pytest.approx(5.5 / 6)


def test_strict_monotone_rate_by_hand() -> None:
    assert metrics.strict_monotone_rate(HAND) == pytest.approx(0.5)


def test_calibration_slope_is_the_least_squares_slope_by_hand() -> None:
    # calibrated prompt: score = midpoint -> 1; ignoring prompt: 70 everywhere -> 0
    data = rows(*((level, "a", level.midpoint) for level in ScoreLevel), *((level, "b", 70) for level in ScoreLevel))
    assert metrics.calibration_slope(data) == pytest.approx(0.5)
    slope = stats.linregress([level.midpoint for level in ScoreLevel], [30, 30, 60]).slope
    assert metrics.calibration_slope(HAND[3:]) == pytest.approx(slope)


def test_dynamic_range_by_hand() -> None:
    assert metrics.dynamic_range(HAND) == pytest.approx((95 + 60) / 2 - (10 + 30) / 2)


def test_band_error_overshoot_and_undershoot_by_hand() -> None:
    # low: 0, 0; moderate: 0, 40-30=10; high: 0, 92.5-60=32.5 -> (0 + 5 + 16.25) / 3, all of it below the bands
    assert metrics.band_error(HAND) == metrics.undershoot(HAND) == pytest.approx(21.25 / 3)
    assert metrics.overshoot(HAND) == 0
    # low: 55-40=15 and 0 above; moderate: 0 and 93-92.5=.5 above -> (7.5 + .25) / 2
    over = rows((LOW, "a", 55), (LOW, "b", 40), (MODERATE, "a", 92.5), (MODERATE, "b", 93))
    assert metrics.overshoot(over) == pytest.approx(3.875)
    assert metrics.undershoot(over) == 0


def test_tau_b_with_ties_by_hand() -> None:
    # definition, pair by pair: (C - D) / sqrt((n0 - ties in level)(n0 - ties in score)) with n0 = 15 pairs
    levels, scores = ranks(HAND), list(HAND["score"])
    concordant = discordant = tied_level = tied_score = 0
    for i in range(6):
        for j in range(i):
            a, b = np.sign(levels[i] - levels[j]), np.sign(scores[i] - scores[j])
            concordant, discordant = concordant + (a * b > 0), discordant + (a * b < 0)
            tied_level, tied_score = tied_level + (a == 0), tied_score + (b == 0)
    expected = (concordant - discordant) / math.sqrt((15 - tied_level) * (15 - tied_score))
    assert metrics.kendall_tau_b(HAND) == pytest.approx(expected)


def test_pooled_correlations_and_mean_score_take_all_rows_at_once() -> None:
    levels, scores = ranks(HAND), list(HAND["score"])
    assert metrics.kendall_tau_b_pooled(HAND) == pytest.approx(stats.kendalltau(levels, scores).statistic)
    assert metrics.mean_score(HAND) == pytest.approx((10 + 50 + 95 + 30 + 30 + 60) / 6)


@pytest.mark.parametrize(
    "name", ["weighted_kappa", "kendall_tau_b", "order_accuracy", "strict_monotone_rate", "calibration_slope"]
)
def test_statistics_are_averaged_over_rubrics(name: str) -> None:
    # 2 prompts of one rubric and 1 of another: by rubric the single prompt weighs one half
    one = HAND
    other = rows((LOW, "a", 95), (MODERATE, "a", 50), (HIGH, "a", 10), rubric="other")
    statistic = STATISTICS[name]
    assert statistic(pd.concat([one, other])) == pytest.approx((statistic(one) + statistic(other)) / 2)


def test_correlations_are_averaged_over_rubrics_not_pooled() -> None:
    up = rows((LOW, "a", 0), (MODERATE, "a", 1), (HIGH, "a", 2), rubric="up")
    down = rows((LOW, "a", 92), (MODERATE, "a", 91), (HIGH, "a", 90), rubric="down")
    assert metrics.spearman_rho(up) == pytest.approx(1)
    assert metrics.spearman_rho(pd.concat([up, down])) == pytest.approx(0)
    pooled = stats.spearmanr([0, 1, 2, 0, 1, 2], [0, 1, 2, 92, 91, 90]).statistic
    assert metrics.spearman_rho_pooled(pd.concat([up, down])) == pytest.approx(pooled)


def test_length_rho_sees_length_and_not_score() -> None:
    data = frame({"level": level, "score": 50, "words": 10 * level.rank} for level in ScoreLevel)
    assert metrics.length_rho(data) == pytest.approx(1)


judged = st.fixed_dictionaries(
    {
        "rubric": st.sampled_from(["r", "s"]),
        "level": st.sampled_from(list(ScoreLevel)),
        "user_prompt_id": st.sampled_from("abcd"),
        "score": st.sampled_from([0.0, 20.0, 40.0, 41.0, 70.0, 92.5, 93.0, 100.0]),
        "words": st.integers(0, 100),
        "wording": st.sampled_from(["heldout-0", "heldout-1", ""]),
    }
)
EVERY = STATISTICS | {"worst_wording_accuracy": metrics.worst_wording_accuracy}


@settings(deadline=None)
@given(st.lists(judged, min_size=3, max_size=40))
def test_kappa_agrees_with_scikit_learn(data: list[dict[str, Any]]) -> None:
    one = frame(row | {"rubric": "r"} for row in data)
    asked, got = ranks(one), [ScoreLevel.of(score).rank for score in one["score"]]
    ours = metrics.weighted_kappa(one)
    if len(set(asked) | set(got)) > 1:
        assert ours == pytest.approx(cohen_kappa_score(asked, got, weights="quadratic", labels=[0, 1, 2]))
    else:
        assert math.isnan(ours)


@settings(deadline=None)
@given(st.lists(judged, max_size=40))
def test_statistics_stay_in_their_ranges_and_ignore_row_order(data: list[dict[str, Any]]) -> None:
    rows = frame(data)
    for name, statistic in EVERY.items():
        value = statistic(rows)
        if math.isnan(value):
            continue
        low, high = getattr(statistic, "bounds", (0, 1)) or (-100, 100)
        assert low - 1e-9 <= value <= high + 1e-9, name
        assert statistic(rows[::-1]) == pytest.approx(value), name


@settings(deadline=None)
@given(st.lists(judged, min_size=1, max_size=40))
def test_weights_do_what_copies_and_missing_rows_do(data: list[dict[str, Any]]) -> None:
    rows = frame(data)
    first, *others = sorted(set(rows["user_prompt_id"]))
    mine = rows["user_prompt_id"] == first
    copied, missing = pd.concat([rows, rows[mine].assign(user_prompt_id="copy")]), rows[~mine]
    weights = np.array([[2.0, *np.ones(len(others))], [0.0, *np.ones(len(others))]])
    for name, statistic in STATISTICS.items():
        values = statistic.weighted(table_of(rows), weights)
        assert values[0] == pytest.approx(statistic(copied), nan_ok=True), name
        assert values[1] == pytest.approx(statistic(missing), nan_ok=True), name


@pytest.mark.parametrize("name", sorted(EVERY))
def test_no_rows_give_nan(name: str) -> None:
    assert math.isnan(EVERY[name](frame([])))


def test_constant_scores_leave_correlations_undefined() -> None:
    data = rows(*((level, prompt, 50) for level in ScoreLevel for prompt in "ab"))
    assert math.isnan(metrics.kendall_tau_b(data))
    assert math.isnan(metrics.spearman_rho(data))


def test_a_perfect_model_gets_the_best_of_everything() -> None:
    data = rows(*((level, prompt, level.midpoint) for level in ScoreLevel for prompt in "abc"))
    best = {
        "macro_accuracy",
        "weighted_kappa",
        "spearman_rho",
        "order_accuracy",
        "strict_monotone_rate",
        "calibration_slope",
    }
    for name in best:
        assert STATISTICS[name](data) == pytest.approx(1), name
    assert metrics.band_error(data) == 0
