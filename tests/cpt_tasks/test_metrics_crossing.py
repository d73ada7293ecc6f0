"""Leakage, composition, paraphrases and drift: values by hand, simulated students, agreement with slow loops."""

import math

import numpy as np
import pytest

from cpt_tasks.metrics.cell_means import Resamples
from cpt_tasks.metrics.composition import Joint, composition_statistics, miscalibration, orthogonality
from cpt_tasks.metrics.drift import Unprompted, drift_between, mean_words, unprompted_scores
from cpt_tasks.metrics.leakage import CrossScore, Leakage, leakage_matrix
from cpt_tasks.metrics.paraphrases import Worded, contrast, wording_statistics
from rubrics import ScoreLevel

LOW, MODERATE, HIGH = ScoreLevel
NAN = float("nan")


def test_cell_means_agree_with_a_slow_loop_over_resamples() -> None:
    rng = np.random.default_rng(1)
    cells, prompts = list("aabbbcab"), list("pqpqrpqr")
    values = rng.uniform(0, 100, 8)
    values[2] = NAN
    resamples = Resamples.draw(prompts, 20, seed=3)
    found = resamples.cell_means(cells, prompts, values)
    for weights, draw in zip(resamples.weights, found.rows, strict=True):
        for cell in "abc":
            drawn = [
                value
                for place, prompt, value in zip(cells, prompts, values, strict=True)
                if place == cell and not math.isnan(value)
                for _ in range(int(weights[resamples.place[prompt]]))
            ]
            expected = np.mean(drawn) if drawn else NAN
            assert draw[found.column[cell]] == pytest.approx(expected, nan_ok=True)
    # the data as they are, each of p, q, r left out, the draws
    assert len(found.rows) == 1 + 3 + 20
    assert found.macro().value == pytest.approx(np.nanmean(found.rows[0]))


def test_one_user_prompt_or_none_gives_no_interval() -> None:
    one = Resamples.draw(["p"], 10, seed=0).cell_means(["a"], ["p"], [5.0]).macro()
    assert one.value == 5 and math.isnan(one.ci_low)
    assert math.isnan(Resamples.draw([], 10, seed=0).cell_means([], [], []).macro().value)


def matrix(shifts: dict[tuple[str, str], list[float]]) -> Leakage:
    """The matrix of a student whose scores are 10 at low, and so much more at extremely_high on prompts 0, 1, ..."""
    rows = [
        CrossScore(steered, scored, level, str(prompt), 10 + shift * (level is HIGH))
        for (steered, scored), by_prompt in shifts.items()
        for prompt, shift in enumerate(by_prompt)
        for level in (LOW, MODERATE, HIGH)
    ]
    return leakage_matrix(rows, 200, seed=0)


def test_leakage_by_hand() -> None:
    found = matrix({("r", "r"): [80, 80], ("r", "q"): [20, 0], ("q", "q"): [90, 70], ("q", "r"): [-10, 10]})
    by_cell = {(each.steered, each.scored): each for each in found.shifts}
    assert {cell: each.shift.value for cell, each in by_cell.items()} == {
        ("r", "r"): 80,
        ("r", "q"): 10,
        ("q", "q"): 80,
        ("q", "r"): 0,
    }
    assert by_cell["r", "q"].n == 2
    # off the diagonal |10| and |0|, mean 5; the diagonal's mean is 80
    assert found.leakage.value == pytest.approx(5 / 80)
    assert (found.sensibility.value, found.specificity.value) == (1, 1)
    # off it, prompts 20, 0 and -10, 10 with signs tossed: |10| and |0| or |0| and |10| turned: (|±20| / 2 + 0) / 2 and
    # (10 + 10) / 2 when the signs differ: 5 or 10, mean about 7.5
    assert found.leakage_by_chance.value == pytest.approx(7.5 / 80, abs=0.01)
    # two prompts: the bootstrap draws their means, 0, 10 or 20
    assert (by_cell["r", "q"].shift.ci_low, by_cell["r", "q"].shift.ci_high) == (0, 20)


def test_a_student_that_moves_another_rubric_more_ranks_low_in_its_row_and_not_in_its_column() -> None:
    # row r: 20 of {20, 60, 5} is second of three; row q is first of {80, 0}
    # column r: 20 of {20, 0}, column q: 80 of {60, 80}, both first
    found = matrix({("r", "r"): [20], ("r", "q"): [60], ("r", "s"): [5], ("q", "q"): [80], ("q", "r"): [0]})
    assert found.sensibility.value == pytest.approx((2 / 3 + 1) / 2)
    assert found.specificity.value == 1
    # s is judged and never asked for: |60| |5| |0| over (20 + 80) / 2
    assert found.leakage.value == pytest.approx((65 / 3) / 50)


def test_leakage_is_undefined_without_other_rubrics_or_without_a_range() -> None:
    alone = matrix({("r", "r"): [80, 90]})
    assert [math.isnan(each.value) for each in (alone.leakage, alone.sensibility, alone.specificity)] == [True] * 3
    reversed_student = matrix({("r", "r"): [-80, -90], ("r", "q"): [10, 10]})
    assert math.isnan(reversed_student.leakage.value)
    assert reversed_student.sensibility.value == 0.5
    assert leakage_matrix([], 10, seed=0).shifts == []


def test_a_prompt_without_one_of_the_levels_is_left_out_and_epochs_are_averaged() -> None:
    rows = [
        CrossScore("r", "r", level, prompt, score)
        for level, prompt, score in [(LOW, "p", 0), (HIGH, "p", 50), (HIGH, "p", 70), (HIGH, "q", 100)]
    ]
    [cell] = leakage_matrix(rows, 10, seed=0).shifts
    assert (cell.n, cell.shift.value) == (1, 60)


def test_miscalibration_and_orthogonality_by_hand() -> None:
    request, base = [100, 0], [0, 0]
    achieved = [[60, 30], [0, 0], [100, 0], [0, 50], [130, 0]]
    # e = z* - z: (40, -30), (100, 0), (0, 0), (100, -50), (-30, 0); d = (100, 0)
    assert miscalibration([request] * 5, achieved, [base] * 5) == pytest.approx([0.4, 1, 0, 1, 0.3])
    # at right angles 30, 0, 0, 50, 0; moved |z - z0| = sqrt(60^2 + 30^2), 0, 100, 50, 130; floor 1e-4 * 100
    expected = [30 / (math.sqrt(4500) + 0.01), 0, 0, 50 / 50.01, 0]
    assert orthogonality([request] * 5, achieved, [base] * 5) == pytest.approx(expected)
    # nothing asked, or a score missing
    for at in ([[50, 50]], [[NAN, 50]]):
        assert np.isnan(miscalibration([[50, 50]], [[60, 60]], at)).all()
        assert np.isnan(orthogonality([[50, 50]], [[60, 60]], at)).all()


def joint(prompt: str, together: tuple[float, float], alone: tuple[float, float], **more: tuple[float, float]) -> Joint:
    return Joint(("a", "b"), (LOW, HIGH), prompt, together, alone, **more)


def test_composition_by_hand() -> None:
    joints = [
        joint("p", (10, 50), (10, 95), base=(40, 46.25)),
        joint("q", (50, 95), (10, NAN)),
        joint("s", (10, NAN), (10, 50)),
    ]
    found = {name: each.value for name, each in composition_statistics(joints, 50, seed=0).items()}
    # a: together p and s in, q out, alone all in. b: q lacks the response alone and s the joint one, so p only
    assert found["accuracy_together"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["accuracy_alone"] == pytest.approx((1 + 1) / 2)
    assert found["interference"] == pytest.approx((-1 / 3 - 1) / 2)
    # p only: b missed together, both in their bands alone
    assert (found["both_right"], found["both_right_alone"]) == (0, 1)
    # z0 = (40, 46.25), z* = (20, 96.25), z = (10, 50): d = (-20, 50), e = (10, 46.25), e.d = 2112.5, d.d = 2900
    assert found["miscalibration"] == pytest.approx(2112.5 / 2900)
    assert all(math.isnan(each.value) for each in composition_statistics([], 10, seed=0).values())


def test_a_student_that_follows_one_of_two_rubrics_loses_the_other_only_in_company() -> None:
    one = [
        Joint(("a", "b"), (first, second), prompt, (first.midpoint, 70), (first.midpoint, second.midpoint), (70, 70))
        for first in (LOW, HIGH)
        for second in (LOW, HIGH)
        for prompt in "pqr"
    ]
    found = {name: each.value for name, each in composition_statistics(one, 50, seed=0).items()}
    assert (found["accuracy_alone"], found["accuracy_together"], found["interference"]) == (1, 0.5, -0.5)
    assert (found["both_right"], found["both_right_alone"]) == (0, 1)
    # it moved on the first axis only: what is missing lies off the request, but nothing was done that was not asked
    both = [Joint(each.rubrics, each.levels, each.user_prompt, each.alone, each.alone, each.base) for each in one]
    perfect = {name: each.value for name, each in composition_statistics(both, 50, seed=0).items()}
    assert (perfect["miscalibration"], perfect["orthogonality"], perfect["interference"]) == (0, 0, 0)
    assert found["miscalibration"] > 0.2


def worded(wording: str, prompt: str, score: float, level: ScoreLevel = LOW, **where: str) -> Worded:
    return Worded(
        "r", level, prompt, wording, where.get("position", "system"), where.get("style", "descriptive"), score
    )


def test_wordings_by_hand() -> None:
    rows = [worded("w0", "p", 10), worded("w0", "q", 50), worded("w1", "p", 30), worded("w1", "q", 30)]
    found = {name: each.value for name, each in wording_statistics(rows, 50, seed=0).items()}
    # p: 10, 30 and q: 50, 30, squared deviations 200 each, one degree of freedom each
    assert found["wording_sd"] == pytest.approx(math.sqrt(400 / 2))
    # w0 hits 1 of 2, w1 2 of 2
    assert (found["mean_accuracy"], found["worst_accuracy"], found["worst_drop"]) == (0.75, 0.5, 0.25)
    # however p's two hits and q's hit and miss are shuffled, one wording has 1/2 and the other 1
    assert found["worst_by_chance"] == 0.5


def test_a_student_deaf_to_one_wording_is_told_from_one_that_is_noisy() -> None:
    prompts = [str(number) for number in range(12)]
    deaf = [worded(f"w{k}", prompt, 70 if k == 2 else 10) for k in range(3) for prompt in prompts]
    noisy = [
        worded(f"w{k}", prompt, 70 if (k + n) % 3 == 2 else 10) for k in range(3) for n, prompt in enumerate(prompts)
    ]
    for rows, worst in ((deaf, 0), (noisy, 2 / 3)):
        found = {name: each.value for name, each in wording_statistics(rows, 50, seed=0).items()}
        assert found["mean_accuracy"] == pytest.approx(2 / 3)
        assert found["worst_accuracy"] == pytest.approx(worst)
        # shuffled, both are the same student; the lowest of three noisy wordings is well below 2/3
        assert 0.45 < found["worst_by_chance"] < 0.6
    sds = [wording_statistics(rows, 50, seed=0)["wording_sd"].value for rows in (deaf, noisy)]
    assert sds[0] == pytest.approx(sds[1])


def test_cells_with_one_wording_say_nothing_about_wordings() -> None:
    assert all(math.isnan(each.value) for each in wording_statistics([worded("w0", "p", 10)], 10, seed=0).values())


def test_a_student_that_hears_the_system_turn_only() -> None:
    rows = [
        worded(
            "w0",
            prompt,
            (level.midpoint if position == "system" else 70) + 2 * (prompt == "q"),
            level,
            position=position,
        )
        for level in (LOW, HIGH)
        for position in ("system", "user")
        for prompt in "pq"
    ]
    found = contrast(rows, "position", 50, seed=0)
    assert (found["accuracy"].value, found["accuracy"].ci_low, found["accuracy"].ci_high) == (-1, -1, -1)
    # user: 70 at both ends; system: 96.25 - 20
    assert found["range"].value == pytest.approx(-76.25)
    assert math.isnan(contrast(rows, "style", 10, seed=0)["accuracy"].value)


def test_contrasts_pair_what_was_asked_both_ways() -> None:
    rows = [worded("w0", "p", 10), worded("w0", "p", 50, style="number"), worded("w0", "q", 10)]
    # q has no number: 0 - 1 on p alone
    assert contrast(rows, "style", 10, seed=0)["accuracy"].value == -1


def test_drift_by_hand() -> None:
    base = [Unprompted("r", "p", 50, 100), Unprompted("q", "p", 20, 100), Unprompted("r", "s", 60, 80)]
    tuned = [Unprompted("r", "p", 53, 90), Unprompted("q", "p", 24, 90), Unprompted("r", "t", 99, 10)]
    found = drift_between(base, tuned, 50, seed=0)
    # only p was answered by both: r +3, q +4, root of (9 + 16) / 2; 10 words less
    assert {rubric: each.value for rubric, each in found.shifts.items()} == {"r": 3, "q": 4}
    assert found.total.value == pytest.approx(math.sqrt(12.5))
    # one prompt, turned round or not: the same root either way
    assert found.total_by_chance.value == pytest.approx(math.sqrt(12.5))
    assert (found.words.value, found.n) == (-10, 1)
    assert unprompted_scores(base, 50, seed=0)["r"].value == 55
    # each response counts once, however many rubrics judged it
    assert mean_words(base, 50, seed=0).value == 90


def test_noise_is_told_from_drift_by_its_size_under_chance() -> None:
    rng = np.random.default_rng(0)

    def rows(shift: float) -> list[Unprompted]:
        noisy = rng.normal(50 + shift, 5, (4, 24)).clip(0, 100)
        return [Unprompted(str(r), str(p), float(noisy[r, p]), 50) for r in range(4) for p in range(24)]

    same, moved = (drift_between(rows(0), rows(shift), 50, seed=0) for shift in (0, 10))
    # SD of a mean difference: sqrt(2) * 5 / sqrt(24) = 1.4
    assert same.total.value == pytest.approx(same.total_by_chance.value, abs=0.7)
    assert moved.total.value > 3 * moved.total_by_chance.value


def test_a_student_that_did_not_move_has_no_drift() -> None:
    rows = [Unprompted(rubric, prompt, 10.0 * int(prompt), 50) for rubric in "rq" for prompt in "123"]
    found = drift_between(rows, rows, 50, seed=0)
    assert (found.total.value, found.total.ci_high, found.words.value) == (0, 0, 0)
    empty = drift_between(rows, [], 50, seed=0)
    assert (empty.n, empty.shifts, math.isnan(empty.total.value)) == (0, {}, True)
