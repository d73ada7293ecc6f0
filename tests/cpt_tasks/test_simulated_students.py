"""What simulated students get: the numbers a person would expect, and no statistic that a bad student can please."""

import numpy as np
import pandas as pd
import pytest
from frames import frame

from cpt_tasks.benchmarks.rubric_adherence import statistics as metrics
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
from rubrics import ScoreLevel

NAN = float("nan")
LOW, MODERATE, HIGH = ScoreLevel
MIDPOINTS = (20.0, 66.25, 96.25)
SAME = (50, 50, 50)

# scores at low, moderate and extremely high, and lengths there, of two user prompts
STUDENTS: dict[str, tuple[tuple[tuple[float, ...], tuple[int, ...]], ...]] = {
    "ignores the level": (((70, 70, 70), SAME), ((70, 70, 70), (90, 90, 90))),
    "perfect": ((MIDPOINTS, SAME), (MIDPOINTS, (90, 90, 90))),
    "reversed": ((MIDPOINTS[::-1], SAME), (MIDPOINTS[::-1], (90, 90, 90))),
    "only changes length": (((70, 70, 70), (50, 100, 200)), ((70, 70, 70), (50, 100, 200))),
    "always top": (((100, 100, 100), SAME), ((100, 100, 100), (90, 90, 90))),
    "noisy: follows one prompt of two": ((MIDPOINTS, SAME), ((70, 70, 70), (90, 90, 90))),
}

EXPECTED: dict[str, dict[str, float]] = {
    # in band at moderate only; off by 30 above low and 22.5 below extremely high, over 3 cells; constant: no ranks
    "ignores the level": {
        "macro_accuracy": 1 / 3,
        "weighted_kappa": 0,
        "kendall_tau_b": NAN,
        "spearman_rho": NAN,
        "order_accuracy": 1 / 2,
        "strict_monotone_rate": 0,
        "calibration_slope": 0,
        "dynamic_range": 0,
        "overshoot": 30 / 3,
        "undershoot": 22.5 / 3,
        "length_rho": 0,
        "kendall_tau_b_given_length": NAN,
    },
    "perfect": {
        "macro_accuracy": 1,
        "weighted_kappa": 1,
        "kendall_tau_b": 1,
        "spearman_rho": 1,
        "order_accuracy": 1,
        "strict_monotone_rate": 1,
        "calibration_slope": 1,
        "dynamic_range": 96.25 - 20,
        "overshoot": 0,
        "undershoot": 0,
        "length_rho": 0,
        "kendall_tau_b_given_length": 1,
    },
    # kappa: disagreement (4 + 0 + 4) / 3 over expected (1 + 4 + 1 + 1 + 4 + 1) / 9 is 2, so 1 - 2.
    # slope: offsets of the midpoints from their mean, 60.833, are -40.833, 5.417, 35.417, their squares sum to 2951.04,
    # their products with 96.25, 66.25, 20 to -2863.02. band: 96.25 - 40 over low, 92.5 - 20 under extremely high
    "reversed": {
        "macro_accuracy": 1 / 3,
        "weighted_kappa": -1,
        "kendall_tau_b": -1,
        "spearman_rho": -1,
        "order_accuracy": 0,
        "strict_monotone_rate": 0,
        "calibration_slope": -2863.02 / 2951.04,
        "dynamic_range": 20 - 96.25,
        "overshoot": 56.25 / 3,
        "undershoot": 72.5 / 3,
        "length_rho": 0,
        "kendall_tau_b_given_length": -1,
    },
    # as the one that ignores the level, and length gives it away
    "only changes length": {
        "macro_accuracy": 1 / 3,
        "weighted_kappa": 0,
        "kendall_tau_b": NAN,
        "order_accuracy": 1 / 2,
        "strict_monotone_rate": 0,
        "calibration_slope": 0,
        "overshoot": 30 / 3,
        "undershoot": 22.5 / 3,
        "length_rho": 1,
        "kendall_tau_b_given_length": NAN,
    },
    # 100 - 40 over low and 100 - 92.5 over moderate
    "always top": {
        "macro_accuracy": 1 / 3,
        "weighted_kappa": 0,
        "kendall_tau_b": NAN,
        "order_accuracy": 1 / 2,
        "strict_monotone_rate": 0,
        "calibration_slope": 0,
        "overshoot": 67.5 / 3,
        "undershoot": 0,
        "length_rho": 0,
    },
    # kappa: disagreement 1 + 1 over expected (2 * (4 + 4) + 2 * (1 + 1) + 2 * (4 + 4)) / 6 = 6, so 1 - 2/6.
    # tau-b: 3 pairs right in the first prompt, across the prompts 5 right and 1 wrong (moderate 66.25 < low 70), so
    # 3 + 5 - 1 = 7; of 15 pairs 3 are tied in level and 3 in score, so 7 / sqrt(12 * 12)
    "noisy: follows one prompt of two": {
        "macro_accuracy": (1 + 1 / 3) / 2,
        "weighted_kappa": 2 / 3,
        "kendall_tau_b": 7 / 12,
        "order_accuracy": (1 + 1 / 2) / 2,
        "strict_monotone_rate": 1 / 2,
        "calibration_slope": 1 / 2,
        "dynamic_range": (76.25 + 0) / 2,
        "overshoot": 30 / 2 / 3,
        "undershoot": 22.5 / 2 / 3,
        "length_rho": 0,
    },
}


@pytest.mark.parametrize("student", sorted(STUDENTS))
def test_a_simulated_student_gets_what_a_person_would_expect(student: str) -> None:
    rows = frame(
        {"level": level, "user_prompt_id": number, "score": scores[level.rank], "words": lengths[level.rank]}
        for number, (scores, lengths) in enumerate(STUDENTS[student])
        for level in ScoreLevel
    )
    values = {name: STATISTICS[name](rows) for name in EXPECTED[student]}
    assert values == pytest.approx(EXPECTED[student], abs=1e-6, nan_ok=True)


def test_a_judge_that_only_likes_length_leaves_little_given_length() -> None:
    # length follows the level with noise of its own, and the score follows the length with noise of its own:
    # level and score agree (tau .57), but .16 is left once length is held fixed; twice that and more is left where the
    # score follows the level just as much but not by way of length
    rng = np.random.default_rng(0)
    taus = {}
    for judge in ("length", "level"):
        rows = []
        for number in range(200):
            for level in ScoreLevel:
                words = 100 + 40 * level.rank + rng.normal(0, 30)
                score = (words if judge == "length" else 100 + 40 * level.rank + rng.normal(0, 30)) / 3
                score = float(np.clip(score + rng.normal(0, 5), 0, 100))
                rows.append({"level": level, "user_prompt_id": number, "score": score, "words": int(words)})
        taus[judge] = (metrics.kendall_tau_b(frame(rows)), metrics.kendall_tau_b_given_length(frame(rows)))
    assert taus["length"] == pytest.approx((0.57, 0.16), abs=0.02)
    assert taus["level"][0] == pytest.approx(0.57, abs=0.03)
    assert taus["level"][1] > 2 * taus["length"][1]


def under_wordings(hits: dict[str, tuple[int, ...]]) -> pd.DataFrame:
    """One cell, every user prompt under every wording: in band (1) or not (0)."""
    return frame(
        {"level": LOW, "user_prompt_id": number, "score": 10.0 if hit else 90.0, "wording": wording}
        for wording, outcomes in hits.items()
        for number, hit in enumerate(outcomes)
    )


def test_worst_wording_by_hand() -> None:
    # halves: prompts 0 and 2, prompts 1 and 3. By the first half b is worst (0 against 1): the second gives it 1/2.
    # By the second half a and b are tied at 1/2: the first gives them 1 and 0, 1/2 in the mean
    assert metrics.worst_wording_accuracy(under_wordings({"a": (1, 0, 1, 1), "b": (0, 0, 0, 1)})) == pytest.approx(0.5)
    # by the first half b is worst, and by the second it works: 1; by the second a is worst, the first gives it 1
    assert metrics.worst_wording_accuracy(under_wordings({"a": (1, 0, 1, 1), "b": (0, 1, 0, 1)})) == pytest.approx(1)
    # always the same one fails
    assert metrics.worst_wording_accuracy(under_wordings({"a": (1, 1, 1, 1), "b": (0, 0, 0, 0)})) == 0
    assert np.isnan(metrics.worst_wording_accuracy(under_wordings({"a": (1, 1, 1, 1)})))


def test_equally_good_wordings_are_not_called_bad_by_chance() -> None:
    # three wordings that all work for 60% of prompts, 8 prompts each: the lowest of the three shares is .43 on average
    rng = np.random.default_rng(0)
    outcomes = [{wording: tuple(rng.random(8) < 0.6) for wording in "abc"} for _ in range(500)]
    lowest = np.mean([min(np.mean(hits) for hits in one.values()) for one in outcomes])
    found = np.mean([metrics.worst_wording_accuracy(under_wordings(one)) for one in outcomes])  # type: ignore[arg-type]
    assert lowest < 0.47
    assert found == pytest.approx(0.6, abs=0.03)
