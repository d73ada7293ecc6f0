"""Side effects, composition, wordings and drift: values by hand and simulated students."""

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from frames import frame
from scipy import stats

from cpt_tasks.benchmarks.composition.statistics import composition_statistics, joint_responses, off_course
from cpt_tasks.benchmarks.drift.statistics import WORDS, by_prompt, column_means, moved, total_drift
from cpt_tasks.benchmarks.paraphrase_robustness.statistics import (
    contrast,
    with_hits,
    wording_statistics,
    worst_by_chance,
)
from cpt_tasks.benchmarks.rubric_adherence.side_effects import CELL, shifts_by_prompt, side_effect_statistics
from cpt_tasks.samples import ALONE, TOGETHER, UNPROMPTED
from rubrics import ScoreLevel

LOW, MODERATE, HIGH = ScoreLevel
NAN = float("nan")


def matrix(shifts: dict[tuple[str, str], list[float]]) -> pd.DataFrame:
    """Shifts of a student whose scores are 10 at low, and so much more at extremely_high on prompts 0, 1, ..."""
    rows = []
    for asked in dict.fromkeys(asked for asked, _ in shifts):
        by_rubric = {judged: by_prompt for (steered, judged), by_prompt in shifts.items() if steered == asked}
        for prompt in range(len(by_rubric[asked])):
            for level in ScoreLevel:
                scores = {judged: 10 + shift[prompt] * (level is HIGH) for judged, shift in by_rubric.items()}
                row = {"rubric": asked, "level": level, "user_prompt_id": str(prompt)}
                rows.append(row | {"score": scores.pop(asked), "also": scores})
    return shifts_by_prompt(frame(rows))


def test_side_effects_by_hand() -> None:
    shifts = matrix({("r", "r"): [80, 80], ("r", "q"): [20, 0], ("q", "q"): [90, 70], ("q", "r"): [-10, 10]})
    cells = shifts.groupby(CELL)["shift"].agg(["mean", "size"])
    assert cells["mean"].to_dict() == {("r", "r"): 80, ("r", "q"): 10, ("q", "q"): 80, ("q", "r"): 0}
    assert set(cells["size"]) == {2}
    values = side_effect_statistics(shifts, seed=0)
    # off the diagonal |10| and |0|, mean 5; the diagonal's mean is 80
    assert values["side_effects"] == pytest.approx(5 / 80)
    assert (values["sensibility"], values["specificity"]) == (1, 1)
    # off it 20, 0 and -10, 10 are 10, -10 and -10, 10 off their means: with signs tossed both means are 0 or, one
    # time in two, 10, times sqrt(2 / 1)
    assert values["side_effects_by_chance"] == pytest.approx(math.sqrt(2) * 5 / 80, abs=0.015)
    # true side effects are no noise, and the noise of one user prompt cannot be seen
    steady = side_effect_statistics(matrix({("r", "r"): [80, 90], ("r", "q"): [20, 20]}), seed=0)
    assert (steady["side_effects"], steady["side_effects_by_chance"]) == (20 / 85, 0)
    single = side_effect_statistics(matrix({("r", "r"): [80], ("r", "q"): [20]}), seed=0)
    assert (single["side_effects"], math.isnan(single["side_effects_by_chance"])) == (20 / 80, True)


def test_a_student_that_moves_another_rubric_more_ranks_low_in_its_row_and_not_in_its_column() -> None:
    # row r: 20 of {20, 60, 5} is second of three; row q is first of {80, 0}
    # column r: 20 of {20, 0}, column q: 80 of {60, 80}, both first
    shifts = matrix({("r", "r"): [20], ("r", "q"): [60], ("r", "s"): [5], ("q", "q"): [80], ("q", "r"): [0]})
    values = side_effect_statistics(shifts, seed=0)
    assert values["sensibility"] == pytest.approx((2 / 3 + 1) / 2)
    assert values["specificity"] == 1
    # s is judged and never asked for: |60| |5| |0| over (20 + 80) / 2
    assert values["side_effects"] == pytest.approx((65 / 3) / 50)


def test_side_effects_are_undefined_without_other_rubrics_or_without_a_range() -> None:
    assert all(math.isnan(value) for value in side_effect_statistics(matrix({("r", "r"): [80, 90]}), 0).values())
    reversed_student = side_effect_statistics(matrix({("r", "r"): [-80, -90], ("r", "q"): [10, 10]}), 0)
    assert (math.isnan(reversed_student["side_effects"]), reversed_student["sensibility"]) == (True, 0.5)
    assert shifts_by_prompt(frame([])).empty
    # a prompt without one of the levels is left out, and epochs are averaged
    asked = [(LOW, "p", 0), (HIGH, "p", 50), (HIGH, "p", 70), (HIGH, "q", 100)]
    names = ("level", "user_prompt_id", "score")
    shifts = shifts_by_prompt(frame(dict(zip(names, row, strict=True)) for row in asked))
    assert shifts[["user_prompt_id", "shift"]].to_numpy().tolist() == [["p", 60]]


def test_miscalibration_and_orthogonality_by_hand() -> None:
    achieved = [[60, 30], [0, 0], [100, 0], [0, 50], [130, 0]]
    miscalibration, orthogonality = off_course([[100, 0]] * 5, achieved, [[0, 0]] * 5)
    # e = z* - z: (40, -30), (100, 0), (0, 0), (100, -50), (-30, 0); d = (100, 0)
    assert miscalibration == pytest.approx([0.4, 1, 0, 1, 0.3])
    # at right angles 30, 0, 0, 50, 0; moved |z - z0| = sqrt(60^2 + 30^2), 0, 100, 50, 130; floor 1e-4 * 100
    assert orthogonality == pytest.approx([30 / (math.sqrt(4500) + 0.01), 0, 0, 50 / 50.01, 0])
    # nothing asked, or a score missing
    assert np.isnan(off_course([[50, 50]] * 2, [[60, 60]] * 2, [[50, 50], [NAN, 50]])).all()


Pair = tuple[float, float]


def joints(*rows: tuple[str, tuple[ScoreLevel, ScoreLevel], Pair, Pair, Pair]) -> pd.DataFrame:
    """Joint responses: user prompt, levels of a and b, scores together, alone and without a system prompt."""
    samples: list[dict[str, Any]] = []
    for prompt, levels, together, alone, base in rows:
        common = {"user_prompt_id": prompt, "rubric": "a"}
        asked = {"level": levels[0], "with_rubric": "b", "with_level": levels[1], "cell": TOGETHER}
        samples.append(common | asked | {"score": together[0], "also": {"b": together[1]}})
        for rubric, level, score in zip("ab", levels, alone, strict=True):
            samples.append({"user_prompt_id": prompt, "rubric": rubric, "level": level, "score": score, "cell": ALONE})
        samples.append(common | {"score": base[0], "also": {"b": base[1]}, "cell": UNPROMPTED})
    return joint_responses(frame(samples).drop_duplicates(["user_prompt_id", "rubric", "level", "with_level", "cell"]))


def test_composition_by_hand() -> None:
    asked = (LOW, HIGH)
    values = composition_statistics(
        joints(
            ("p", asked, (10, 50), (10, 95), (40, 46.25)),
            ("q", asked, (50, 95), (10, NAN), (NAN, NAN)),
            ("s", asked, (10, NAN), (10, 50), (NAN, NAN)),
        )
    )
    # a: together p and s in, q out, alone all in. b: q lacks the response alone and s the joint one, so p only
    assert values["accuracy_together"] == pytest.approx((2 / 3 + 0) / 2)
    assert values["accuracy_alone"] == pytest.approx((1 + 1) / 2)
    assert values["interference"] == pytest.approx((-1 / 3 - 1) / 2)
    # p only: b missed together, both in their bands alone
    assert (values["both_right"], values["both_right_alone"]) == (0, 1)
    # z0 = (40, 46.25), z* = (20, 96.25), z = (10, 50): d = (-20, 50), e = (10, 46.25), e.d = 2112.5, d.d = 2900
    assert values["miscalibration"] == pytest.approx(2112.5 / 2900)
    assert all(math.isnan(value) for value in composition_statistics(joint_responses(frame([]))).values())


def worded(wording: str, prompt: str, score: float, level: ScoreLevel = LOW, **where: str) -> dict[str, Any]:
    return {"level": level, "user_prompt_id": prompt, "wording": wording, "score": score} | where


def test_wordings_by_hand() -> None:
    rows = with_hits(
        frame([worded("w0", "p", 10), worded("w0", "q", 50), worded("w1", "p", 30), worded("w1", "q", 30)])
    )
    values = wording_statistics(rows)
    # p: 10, 30 and q: 50, 30, squared deviations 200 each, one degree of freedom each
    assert values["wording_sd"] == pytest.approx(math.sqrt(400 / 2))
    # w0 hits 1 of 2, w1 2 of 2
    assert (values["mean_accuracy"], values["worst_accuracy"], values["worst_drop"]) == (0.75, 0.5, 0.25)
    # however p's two hits and q's hit and miss are shuffled, one wording has 1/2 and the other 1
    assert worst_by_chance(rows, seed=0) == 0.5
    # one wording says nothing about wordings
    one = rows[:1]
    assert all(math.isnan(value) for value in (*wording_statistics(one).values(), worst_by_chance(one, seed=0)))


@pytest.mark.parametrize(("deaf", "worst"), [(True, 0), (False, 2 / 3)])
def test_a_student_deaf_to_one_wording_is_told_from_one_that_is_noisy(deaf: bool, worst: float) -> None:
    # deaf to the third wording, or off as often at a wording that differs from prompt to prompt
    off = [(k, n, k == 2 if deaf else (k + n) % 3 == 2) for k in range(3) for n in range(12)]
    rows = with_hits(frame(worded(f"w{k}", str(n), 70 if wrong else 10) for k, n, wrong in off))
    values = wording_statistics(rows)
    assert (values["mean_accuracy"], values["worst_accuracy"]) == pytest.approx((2 / 3, worst))
    # shuffled, both are the same student; the lowest of three noisy wordings is well below 2/3
    assert 0.45 < worst_by_chance(rows, seed=0) < 0.6


def test_contrasts_pair_what_was_asked_both_ways() -> None:
    # at the system turn 20 and 96.25, from the user's 70 at both ends
    ways = itertools.product((LOW, HIGH), ("system", "user"), "pq")
    scores = [(level, turn, p, level.midpoint if turn == "system" else 70) for level, turn, p in ways]
    rows = with_hits(frame(worded("w0", p, score, level, position=turn) for level, turn, p, score in scores))
    assert contrast(rows, "position") == pytest.approx({"position_accuracy": -1, "position_range": -76.25})
    assert math.isnan(contrast(rows, "style")["style_accuracy"])
    # q has no number: 0 - 1 on p alone
    asked = [worded("w0", "p", 10), worded("w0", "p", 50, style="number"), worded("w0", "q", 10)]
    assert contrast(with_hits(frame(asked)), "style")["style_accuracy"] == -1


def unprompted(*rows: tuple[str, float, dict[str, float]]) -> pd.DataFrame:
    """The table of responses without a system prompt: user prompt, words, scores by rubrics."""
    samples = []
    for prompt, words, scores in rows:
        (rubric, score), *also = scores.items()
        samples.append({"rubric": rubric, "user_prompt_id": prompt, "score": score, "words": words, "also": dict(also)})
    return by_prompt(frame(samples))


def test_drift_by_hand() -> None:
    base = unprompted(("p", 100, {"r": 50, "q": 20}), ("s", 80, {"r": 60}))
    tuned = unprompted(("p", 90, {"r": 53, "q": 24}), ("t", 10, {"r": 99}))
    differences = moved(base, tuned)
    # only p was answered by both: r +3, q +4, root of (9 + 16) / 2; 10 words less
    assert {name: mean.value for name, mean in column_means(differences).items()} == {"r": 3, "q": 4, WORDS: -10}
    one = total_drift(differences, seed=0)
    assert (one["total_drift"], math.isnan(one["total_by_chance"])) == (pytest.approx(math.sqrt(12.5)), True)
    # the same at a second prompt: all of it is drift, and nothing is noise
    both = total_drift(pd.concat([differences, differences.rename({"p": "u"})]), seed=0)
    assert both == {"total_drift": pytest.approx(math.sqrt(12.5)), "total_by_chance": 0}
    assert {name: mean.value for name, mean in column_means(base).items()} == {"r": 55, "q": 20, WORDS: 90}
    assert total_drift(moved(base, base), seed=0)["total_drift"] == 0
    # six prompts are enough for an interval, that of a t-test; q has a score at five of them
    six = unprompted(*((f"p{n}", 50 + n, {"r": n * n} | ({"q": n} if n else {})) for n in range(6)))
    means = column_means(six)
    theirs = stats.ttest_1samp([n * n for n in range(6)], 0).confidence_interval()
    assert (means["r"].ci_low, means["r"].ci_high) == pytest.approx((theirs.low, theirs.high))
    assert (means["q"].value, math.isnan(means["q"].ci_low)) == (3, True)
    nothing = moved(base, tuned[1:])
    assert (len(nothing), column_means(nothing)) == (0, {})
    assert all(math.isnan(value) for value in total_drift(nothing, seed=0).values())


def test_what_is_no_response_is_no_hit_and_has_no_score() -> None:
    nothing = {"score": 0, "reason": "no_response", "words": 3}
    # two wordings, one of them not answered by p
    rows = with_hits(frame([worded("w0", "p", 10), worded("w0", "q", 30), worded("w1", "p", 0) | nothing]))
    assert rows["hit"].tolist() == [1, 1, 0]
    values = wording_statistics(rows)
    assert (values["worst_accuracy"], values["mean_accuracy"], values["wording_sd"]) == (
        0,
        0.5,
        pytest.approx(NAN, nan_ok=True),
    )
    # both rubrics asked for at low: in no band together; the one that is answered alone is
    common = {"user_prompt_id": "p", "rubric": "a", "level": LOW}
    samples = [
        common | nothing | {"with_rubric": "b", "with_level": LOW, "cell": TOGETHER, "also": {"b": 0}},
        common | {"score": 10, "cell": ALONE},
        common | nothing | {"rubric": "b", "cell": ALONE},
        common | {"score": 50, "also": {"b": 50}, "level": "none", "cell": UNPROMPTED},
    ]
    joint = composition_statistics(joint_responses(frame(samples)))
    shown = [joint[name] for name in ("accuracy_together", "accuracy_alone", "both_right", "both_right_alone")]
    assert (shown, math.isnan(joint["miscalibration"])) == ([0, 0.5, 0, 0], True)
    # side effects and drift leave it out, but for its length
    asked = [
        {"level": level, "user_prompt_id": p, "score": 50, "also": {"q": 20}} for level in (LOW, HIGH) for p in "pq"
    ]
    shifts = shifts_by_prompt(frame([asked[0] | nothing, *asked[1:]]))
    assert set(shifts["user_prompt_id"]) == {"q"}
    table = by_prompt(frame([{"user_prompt_id": "p"} | nothing, {"user_prompt_id": "q", "score": 60, "words": 9}]))
    assert table[WORDS].to_dict() == {"p": 3, "q": 9}
    assert table["r"].to_dict() == pytest.approx({"p": NAN, "q": 60}, nan_ok=True)
