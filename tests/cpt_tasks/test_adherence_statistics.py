"""Statistics of configurability: values by hand, agreement with scipy and scikit-learn, invariants."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from frames import frame
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import cohen_kappa_score, recall_score

from cpt_tasks.benchmarks.rubric_adherence import statistics as metrics
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
from cpt_tasks.statistics.table import estimates_of, table_of
from rubrics import ScoreLevel

NAN = math.nan
LOW, MODERATE, HIGH = ScoreLevel
MIDPOINTS = (20.0, 66.25, 96.25)
Cell = tuple[tuple[float, ...], tuple[int, ...]]

# scores at low, moderate and extremely high, and lengths there, of two user prompts
STUDENTS: dict[str, tuple[Cell, Cell]] = {
    "ignores": (((70, 70, 70), (50, 50, 50)), ((70, 70, 70), (90, 90, 90))),
    "perfect": ((MIDPOINTS, (50, 50, 50)), (MIDPOINTS, (90, 90, 90))),
    "reversed": ((MIDPOINTS[::-1], (50, 50, 50)), (MIDPOINTS[::-1], (90, 90, 90))),
    "length": (((70, 70, 70), (50, 100, 200)), ((70, 70, 70), (50, 100, 200))),
    "top": (((100, 100, 100), (50, 50, 50)), ((100, 100, 100), (90, 90, 90))),
    "mixed": (((10, 50, 95), (50, 50, 50)), ((30, 30, 60), (50, 50, 50))),
}
# by student, in that order. ignores, top: in band at one level of three; constant scores have no ranks.
# Reversed: kappa: disagreement (4 + 0 + 4) / 3 over expected (1 + 4 + 1 + 1 + 4 + 1) / 9 is 2, so 1 - 2; slope: offsets
# of the midpoints from their mean are -40.833, 5.417, 35.417, their squares sum to 2951.042, their products with 96.25,
# 66.25, 20 to -2863.021; 96.25 - 40 over low, 92.5 - 20 under extremely high.
# Mixed: cells low 2/2, moderate 1/2, high 1/2; pairs of different prompts and levels: 10 (low) below 30 and 60,
# 50 (moderate) below 60, 30 (low) below 50 and 95, 30 (moderate) below 95, all 6 right; under the bands by
# 10 at moderate and 32.5 at extremely high, over 2 prompts and 3 levels
EXPECTED: dict[str, tuple[float, ...]] = {
    "macro_accuracy": (1 / 3, 1, 1 / 3, 1 / 3, 1 / 3, 2 / 3),
    "chance_accuracy": (1 / 3,) * 6,
    "weighted_kappa": (0, 1, -1, 0, 0),
    "kendall_tau_b": (NAN, 1, -1, NAN, NAN),
    "spearman_rho": (NAN, 1, -1, NAN, NAN),
    "somers_d": (0, 1, -1, 0, 0, 1),
    "band_error": (52.5 / 3, 0, 128.75 / 3, 52.5 / 3, 67.5 / 3, 42.5 / 6),
    "strict_monotone_rate": (0, 1, 0, 0, 0, 1 / 2),
    "calibration_slope": (0, 1, -2863.020833 / 2951.041667, 0, 0),
    "calibration_intercept": (70, 0, (20 + 66.25 + 96.25) / 3 * (1 + 2863.020833 / 2951.041667), 70, 100),
    "dynamic_range": (0, 96.25 - 20, 20 - 96.25, 0, 0, (95 + 60) / 2 - (10 + 30) / 2),
    "overshoot": (30 / 3, 0, 56.25 / 3, 30 / 3, 67.5 / 3, 0),
    "undershoot": (22.5 / 3, 0, 72.5 / 3, 22.5 / 3, 0, 21.25 / 3),
    "signed_error": (7.5 / 3, 0, -16.25 / 3, 7.5 / 3, 67.5 / 3, -21.25 / 3),
    "mean_score": (70, (20 + 66.25 + 96.25) / 3, (20 + 66.25 + 96.25) / 3, 70, 100, 275 / 6),
    "length_rho": (0, 0, 0, 1, 0),
    "kendall_tau_b_given_length": (NAN, 1, -1, NAN),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_simulated_students_get_what_a_person_would_expect(name: str) -> None:
    for student, expected in zip(STUDENTS, EXPECTED[name], strict=False):
        rows = frame(
            {"level": level, "user_prompt_id": number, "score": scores[level.rank], "words": lengths[level.rank]}
            for number, (scores, lengths) in enumerate(STUDENTS[student])
            for level in ScoreLevel
        )
        assert getattr(metrics, name)(rows) == pytest.approx(expected, abs=1e-6, nan_ok=True), student


def under_wordings(hits: dict[str, tuple[int, ...]]) -> pd.DataFrame:
    """One cell, every user prompt under every wording: in band (1) or not (0)."""
    return frame(
        {"level": LOW, "user_prompt_id": number, "score": 10.0 if hit else 90.0, "wording": wording}
        for wording, outcomes in hits.items()
        for number, hit in enumerate(outcomes)
    )


@pytest.mark.parametrize(
    ("hits", "expected"),
    [
        # halves: prompts 0 and 2, prompts 1 and 3. By the first half b is worst (0 against 1): the second gives it 1/2.
        # By the second half a and b are tied at 1/2: the first gives them 1 and 0, 1/2 in the mean
        ({"a": (1, 0, 1, 1), "b": (0, 0, 0, 1)}, 0.5),
        # by the first half b is worst, and by the second it works: 1; by the second a is worst, the first gives it 1
        ({"a": (1, 0, 1, 1), "b": (0, 1, 0, 1)}, 1),
        ({"a": (1, 1, 1, 1), "b": (0, 0, 0, 0)}, 0),  # always the same one fails
        ({"a": (1, 1, 1, 1)}, NAN),
    ],
)
def test_worst_wording_by_hand(hits: dict[str, tuple[int, ...]], expected: float) -> None:
    assert metrics.worst_wording_accuracy(under_wordings(hits)) == pytest.approx(expected, nan_ok=True)


judged = st.fixed_dictionaries(
    {
        "rubric": st.sampled_from(["r", "s"]),
        "level": st.sampled_from(list(ScoreLevel)),
        "user_prompt_id": st.sampled_from("abcd"),
        "score": st.sampled_from([0.0, 20.0, 40.0, 41.0, 70.0, 92.5, 93.0, 100.0]),
        "reason": st.sampled_from(["", "", "", "no_response"]),
        "words": st.integers(0, 100),
        "wording": st.sampled_from(["heldout-0", "heldout-1", ""]),
    }
)
EVERY = STATISTICS | {"worst_wording_accuracy": metrics.worst_wording_accuracy}
MISSES = {"macro_accuracy", "chance_accuracy", "kendall_tau_b", "kendall_tau_b_pooled", "kendall_tau_b_ceiling"}
MISSES |= {"somers_d", "strict_monotone_rate", "worst_wording_accuracy"}


def test_what_is_no_response_is_a_miss_at_every_level_and_loses_every_comparison() -> None:
    # r, p: nothing at low, 66 and 96 hit; q: all hit; epochs of s: one of two at moderate lacks a response
    scores = {"p": (0, 66, 96), "q": (20, 66, 96), "s": (20, 66, 96)}
    rows = [
        {"level": level, "user_prompt_id": name, "score": scores[name][level.rank], "words": 50}
        for name in scores
        for level in ScoreLevel
    ]
    nothing = {"score": 0, "reason": "no_response", "words": 0}
    rows[0] |= nothing
    rows.append(rows[7] | nothing)
    table = frame(rows)
    assert metrics.macro_accuracy(table) == pytest.approx((2 / 3 + 3 / 4 + 1) / 3)
    assert metrics.strict_monotone_rate(table) == pytest.approx((0 + 1 + 0.5) / 3)
    # a rubric of one prompt weighs as much as one of three
    other = frame(
        {"rubric": "s", "level": level, "user_prompt_id": "p", "score": level.midpoint} for level in ScoreLevel
    )
    assert metrics.strict_monotone_rate(pd.concat([table, other])) == pytest.approx((0.5 + 1) / 2)
    # low p- q s, moderate p q s s-, high p q s. 3 * 4 + 3 * 3 + 4 * 3 = 33 pairs of levels; discordant with p- 4 + 3,
    # with s- 2 + 3 more. Pairs of different score: those 33, and p- with q and s, s- with p, q and s
    assert metrics.kendall_tau_b_pooled(table) == pytest.approx((33 - 2 * 12) / math.sqrt(33 * (33 + 2 + 3)))
    # of one prompt are 3 + 3 + 5 of the 33, of these discordant 2 with p- and 2 with s-; s- with s of the others
    assert metrics.kendall_tau_b(table) == pytest.approx((22 - 2 * 8) / math.sqrt(22 * (22 + 2 + 2)))
    assert metrics.somers_d(table) == pytest.approx((22 - 2 * 8) / 22)
    answered = table[table["reason"] == ""]
    assert metrics.dynamic_range(table) == metrics.dynamic_range(answered) == 76
    assert metrics.strict_monotone_rate(answered) == 1  # p lacks a level
    # offsets of the midpoints as above: of p 30 points over 30, of q and s (-816.667 + 357.5 + 3400) over 2951.042
    assert metrics.calibration_slope(table) == pytest.approx((1 + 2 * 2940.833333 / 2951.041667) / 3)
    # a student that never answers
    silent = frame(row | nothing for row in rows)
    expected = dict.fromkeys(EVERY, NAN) | {"chance_accuracy": 1 / 3, "kendall_tau_b_ceiling": 1}
    expected |= dict.fromkeys(("kendall_tau_b", "kendall_tau_b_pooled", "somers_d"), -1)
    expected |= dict.fromkeys(("macro_accuracy", "strict_monotone_rate"), 0)
    assert {name: statistic(silent) for name, statistic in EVERY.items()} == pytest.approx(expected, nan_ok=True)
    two_wordings = pd.concat([silent.assign(wording=name) for name in "ab"])
    assert metrics.worst_wording_accuracy(two_wordings) == 0


@settings(max_examples=12)
@given(st.lists(judged, max_size=25))
def test_statistics_stay_in_their_ranges_and_ignore_row_order(data: list[dict[str, Any]]) -> None:
    rows = frame(data)
    for name, statistic in EVERY.items():
        value = statistic(rows)
        low, high = getattr(statistic, "bounds", (0, 1)) or (-1000, 1000)
        assert math.isnan(value) or low - 1e-9 <= value <= high + 1e-9, name
        assert not data or statistic(rows[::-1]) == pytest.approx(value, nan_ok=True), name
        assert data or math.isnan(value), name
        if name not in MISSES:
            assert statistic(rows[rows["reason"] == ""]) == pytest.approx(value, nan_ok=True), name


@settings(max_examples=12)
@given(st.lists(judged, min_size=1, max_size=25))
def test_weights_do_what_copies_and_missing_rows_do(data: list[dict[str, Any]]) -> None:
    rows = frame(data)
    first, *others = sorted(set(rows["user_prompt_id"]))
    mine = rows["user_prompt_id"] == first
    copied, missing = pd.concat([rows, rows[mine].assign(user_prompt_id="copy")]), rows[~mine]
    weights = np.array([[2.0, *np.ones(len(others))], [0.0, *np.ones(len(others))]])
    for name, statistic in STATISTICS.items():
        values = statistic.weighted(table_of(rows), weights)
        assert values == pytest.approx([statistic(copied), statistic(missing)], nan_ok=True), name


def random_rows(seed: int) -> pd.DataFrame:
    """Three rubrics, ten prompts, scores in steps of 12.5 for ties, one response in five missing, two epochs."""
    rng = np.random.default_rng(seed)
    rows = frame(
        {
            "rubric": rubric,
            "level": level,
            "user_prompt_id": f"p{prompt}",
            "score": float(np.clip(12.5 * rng.integers(0, 7) + 12.5 * level.rank, 0, 100)),
            "words": int(rng.integers(3, 9) * 10 + 10 * level.rank),
        }
        for rubric in "rst"
        for level in ScoreLevel
        for prompt in range(10)
        for _ in range(2)
        if rng.random() > 0.2
    )
    levels = [ScoreLevel(level) for level in rows["level"]]
    return rows.assign(
        rank=[level.rank for level in levels],
        judged=[ScoreLevel.of(score).rank for score in rows["score"]],
    )


def test_user_prompts_without_a_response_are_none_to_statistics_of_responses() -> None:
    rows = random_rows(0)
    for silent in (["p3"], [f"p{number}" for number in range(5)]):  # the second leaves 5, too few for an interval
        is_silent = rows["user_prompt_id"].isin(silent)
        found = estimates_of(rows.assign(reason=np.where(is_silent, "no_response", "")), STATISTICS)
        expected = estimates_of(rows[~is_silent], STATISTICS)
        for name in STATISTICS.keys() - MISSES:
            assert vars(found[name]) == pytest.approx(vars(expected[name]), nan_ok=True), name
        assert math.isnan(found["band_error"].ci_low) == (len(silent) == 5)
        assert not math.isnan(found["macro_accuracy"].ci_low)


def partial_tau(data: pd.DataFrame) -> float:
    # by the inverse of the matrix of taus, as R's ppcor does it, not by the formula
    taus = data[["rank", "score", "words"]].corr(method="kendall").to_numpy()
    inverse = np.linalg.inv(taus)
    return float(-inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1]))


REFERENCES: dict[str, Callable[[pd.DataFrame], float]] = {
    "macro_accuracy": lambda data: recall_score(data["rank"], data["judged"], average="macro"),
    "weighted_kappa": lambda data: cohen_kappa_score(data["rank"], data["judged"], weights="quadratic"),
    "kendall_tau_b": lambda data: stats.kendalltau(data["rank"], data["score"]).statistic,
    "spearman_rho": lambda data: stats.spearmanr(data["rank"], data["score"]).statistic,
    "length_rho": lambda data: stats.spearmanr(data["rank"], data["words"]).statistic,
    "kendall_tau_b_given_length": partial_tau,
    "somers_d": lambda data: stats.somersd(data["rank"], data["score"]).statistic,
}


# over pairs of rows of different user prompts: all pairs, where each row has a user prompt of its own
OF_PAIRS = ("kendall_tau_b", "kendall_tau_b_given_length", "somers_d")
POOLED = {"kendall_tau_b_pooled": "kendall_tau_b", "spearman_rho_pooled": "spearman_rho"}


@pytest.mark.parametrize("name", [*REFERENCES, *POOLED])
def test_statistics_agree_with_libraries_within_rubric_and_averaged_or_pooled(name: str) -> None:
    for seed in range(3):
        data = random_rows(seed)
        if name in OF_PAIRS:
            data["user_prompt_id"] = [f"p{row:03}" for row in range(len(data))]
        if name in POOLED:
            expected = REFERENCES[POOLED[name]](data)
        else:
            expected = float(np.mean([REFERENCES[name](part) for _, part in data.groupby("rubric")]))
        assert getattr(metrics, name)(data) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("levels", "prompts", "tau", "pooled"),
    [
        # of the 4 pairs of a row of p (low, moderate) and one of q (low, high) 3 differ in level, of all 6 pairs 5
        ([LOW, MODERATE, LOW, HIGH], "ppqq", math.sqrt(3 / 4), math.sqrt(5 / 6)),
        # 24 prompts at three levels: 6 of the 9 pairs of two prompts; of all 72 * 71 / 2 pairs 3 * 24 * 24
        (list(ScoreLevel) * 24, np.repeat(range(24), 3).astype(str), math.sqrt(2 / 3), math.sqrt(1728 / 2556)),
        (list(ScoreLevel) * 5, np.repeat(range(5), 3).astype(str), math.sqrt(2 / 3), math.sqrt(75 / 105)),
        ([LOW, LOW], "pq", NAN, NAN),
        ([LOW, HIGH], "pp", NAN, 1),  # one user prompt
    ],
)
def test_a_perfect_order_without_ties_stands_at_the_ceiling(
    levels: list[ScoreLevel], prompts: Any, tau: float, pooled: float
) -> None:
    # scores between 0 and 100 that rise with the level and are not tied
    rows = [
        {"level": level, "user_prompt_id": prompt, "score": level.rank * 30 + number / 10}
        for number, (level, prompt) in enumerate(zip(levels, prompts, strict=True))
    ]
    data = frame(rows)
    assert metrics.kendall_tau_b_ceiling(data) == pytest.approx(tau, nan_ok=True)
    assert metrics.kendall_tau_b(data) == pytest.approx(tau, nan_ok=True)
    assert metrics.kendall_tau_b_pooled(data) == pytest.approx(pooled, nan_ok=True)
    assert metrics.spearman_rho(data) == pytest.approx(metrics.spearman_rho_ceiling(data), nan_ok=True)
    assert metrics.somers_d(data) == pytest.approx(1 if tau > 0 else NAN, nan_ok=True)


def test_the_intervals_of_tau_b_and_rho_end_where_the_ties_leave_no_room() -> None:
    # eight prompts in perfect order, some scores tied: the order is as sure as eight prompts make it, and no surer
    scores = {LOW: [10, 10, 20, 30], MODERATE: [50, 60, 60, 70], HIGH: [95, 96, 97, 98]}
    data = frame(
        {"level": level, "user_prompt_id": f"p{number}", "score": scores[level][number % 4]}
        for level in ScoreLevel
        for number in range(8)
    )
    estimates = estimates_of(data, STATISTICS)
    for name in ("kendall_tau_b", "spearman_rho"):
        estimate = estimates[name]
        assert STATISTICS[f"{name}_ceiling"](data) == pytest.approx(estimate.value)
        assert estimate.ci_high == pytest.approx(estimate.value)
        # Wilson of 8 of 8 on [-1, value]: t(7) = 2.364624
        assert (estimate.ci_low + 1) / (estimate.value + 1) == pytest.approx(8 / (8 + 2.364624**2), abs=1e-6)
    assert estimates["somers_d"].ci_high == 1
