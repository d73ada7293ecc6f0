"""The audit shows exactly the bias put into a judge, and none in a judge that is compared with itself."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from judges import measure
from judges.audit import Audit, AuditRow, audit
from judges.measures import words
from rubrics import ScoreLevel, load_rubrics

LOW, MODERATE, HIGH = ScoreLevel
SEED_FILE = Path(__file__).parents[2] / "data_gen" / "seed" / "responses.jsonl"
Fake = Callable[[float, int], float]


@pytest.fixture(scope="module")
def seed_rows() -> list[AuditRow]:
    """The 288 seed texts with their measured scores, not yet judged."""
    rubrics = {rubric.id: rubric for rubric in load_rubrics("measured")}
    rows = []
    for line in SEED_FILE.read_text(encoding="utf-8").splitlines():
        text = json.loads(line)
        measured = measure(rubrics[text["rubric"]], text["response"]).score
        level, length = ScoreLevel(text["level"]), len(words(text["response"]))
        rows.append(AuditRow(text["rubric"], level, text["prompt_id"], length, measured, ()))
    return rows


def judged_by(rows: list[AuditRow], *fakes: Fake) -> Audit:
    """Audit of a judge whose repeats are the functions of measured score and words."""
    judged = [
        AuditRow(
            row.rubric,
            row.level,
            row.prompt_id,
            row.words,
            row.measured,
            tuple(fake(row.measured, row.words) for fake in fakes),
        )
        for row in rows
    ]
    return audit(judged)


def off_the_ends(rows: list[AuditRow]) -> list[AuditRow]:
    """The rows with the scale squeezed to 20-80, so that a bias put in is not clipped at 0 or 100."""
    return [AuditRow(row.rubric, row.level, row.prompt_id, row.words, 20 + 0.6 * row.measured, ()) for row in rows]


def test_the_measured_judge_against_itself_is_perfect(seed_rows: list[AuditRow]) -> None:
    found = judged_by(seed_rows, *[lambda measured, _: measured] * 2)
    agreement = found.agreement
    assert (found.n_texts, found.n_judgments, found.unscored) == (288, 576, {})
    assert (agreement.pearson, agreement.spearman, agreement.icc) == pytest.approx((1, 1, 1))
    assert (agreement.mae, agreement.level_kappa, agreement.level_accuracy) == (0, 1, 1)
    assert found.within_level_pearson == pytest.approx(1)
    for estimate in (found.bias, *found.bias_by_level.values(), *found.bias_by_rubric.values(), found.length.slope):
        assert (estimate.value, estimate.ci_low, estimate.ci_high) == (0, 0, 0)
    assert math.isnan(found.length.partial_rho)  # nothing is left to explain
    assert found.judged_saturation == found.measured_saturation
    assert found.judged_tau_b == found.measured_tau_b
    assert found.judged_order_accuracy == found.measured_order_accuracy == 1
    assert found.noise is not None
    assert (found.noise.sd, found.noise.attainable, found.noise.level_kappa) == (0, 1, 1)
    assert (found.noise.icc, found.noise.alpha) == pytest.approx((1, 1))


def test_a_constant_bias_of_7_shows_as_7_everywhere(seed_rows: list[AuditRow]) -> None:
    found = judged_by(off_the_ends(seed_rows), lambda measured, _: measured + 7)
    for estimate in (found.bias, *found.bias_by_level.values(), *found.bias_by_rubric.values()):
        assert (estimate.value, estimate.ci_low, estimate.ci_high) == pytest.approx((7, 7, 7))
    assert found.agreement.mae == pytest.approx(7)
    assert found.agreement.pearson == pytest.approx(1)
    assert found.agreement.icc < 0.99
    assert found.length.slope.value == pytest.approx(0, abs=1e-9)
    assert found.judged_order_accuracy == 1


def test_a_bias_on_real_scores_shows_where_the_scale_has_room(seed_rows: list[AuditRow]) -> None:
    found = judged_by(seed_rows, lambda measured, _: min(100, measured + 7))
    assert found.bias_by_level[LOW].value == pytest.approx(7)
    room = [min(7, 100 - row.measured) for row in seed_rows if row.level is HIGH]
    assert found.bias_by_level[HIGH].value == pytest.approx(sum(room) / len(room))


@pytest.mark.parametrize("slope", [6.0, -9.0])
def test_a_taste_for_length_shows_as_its_slope_per_doubling(seed_rows: list[AuditRow], slope: float) -> None:
    found = judged_by(off_the_ends(seed_rows), lambda measured, length: measured + slope * math.log2(length / 75))
    estimate = found.length.slope
    assert (estimate.value, estimate.ci_low, estimate.ci_high) == pytest.approx((slope, slope, slope))
    assert found.length.partial_rho * np.sign(slope) > 0.4


def test_a_compressed_scale_is_no_taste_for_length(seed_rows: list[AuditRow]) -> None:
    # length rises with the level in two rubrics, and within levels too; the error of such a judge falls with both
    steps: Fake = lambda measured, _: {LOW: 40.0, MODERATE: 60.0, HIGH: 70.0}[ScoreLevel.of(measured)]  # noqa: E731
    for fake in (steps, lambda measured, _: 30 + 0.4 * measured):
        found = judged_by(seed_rows, fake)
        assert found.bias_by_level[LOW].value > 20
        assert found.length.slope.value == pytest.approx(0, abs=1e-6)
        assert math.isnan(found.length.partial_rho)


def test_length_slope_by_hand() -> None:
    # one cell, measured constant: words 25, 50, 100 -> log2 -1, 0, 1 about the mean; errors 0, 3, 12 -> slope 12 / 2
    rows = [
        AuditRow("r", LOW, prompt, length, 20, (20 + error,))
        for prompt, length, error in (("a", 25, 0), ("b", 50, 3), ("c", 100, 12))
    ]
    assert audit(rows).length.slope.value == pytest.approx(6)


def test_a_saturating_judge_shows_its_exact_hundreds(seed_rows: list[AuditRow]) -> None:
    found = judged_by(seed_rows, lambda measured, _: 100.0 if measured > 40 else 0.0)
    # levels of the seed: 96 low, 96 moderate, 96 extremely high
    assert found.judged_saturation.share_0 == pytest.approx(1 / 3)
    assert found.judged_saturation.share_100 == pytest.approx(2 / 3)
    assert found.judged_saturation.distinct == 2
    assert found.measured_saturation.distinct == 96
    assert found.agreement.level_accuracy == pytest.approx(2 / 3)
    # of the 3 pairs of a prompt one is tied: (1 + 1 + .5) / 3
    assert found.judged_order_accuracy == pytest.approx(2.5 / 3)
    assert found.bias_by_level[MODERATE].value > 25


def test_noise_of_a_known_sd_is_found(seed_rows: list[AuditRow]) -> None:
    rng = np.random.default_rng(0)
    found = judged_by(off_the_ends(seed_rows), *[lambda measured, _: measured + float(rng.normal(0, 4))] * 4)
    assert found.noise is not None
    assert found.noise.sd == pytest.approx(4, rel=0.08)  # 864 degrees of freedom: relative SE 2.4%
    assert found.agreement.mae == pytest.approx(4 * math.sqrt(2 / math.pi), rel=0.08)
    assert found.bias.ci_low < 0 < found.bias.ci_high


def test_a_judge_that_turns_the_rubric_round_is_below_zero(seed_rows: list[AuditRow]) -> None:
    found = judged_by(seed_rows, lambda measured, _: 100 - measured)
    assert found.agreement.pearson == pytest.approx(-1)
    assert found.judged_order_accuracy == 0
    assert found.judged_tau_b == pytest.approx(-found.measured_tau_b)


def row(level: ScoreLevel, prompt: str, measured: float, *judged: float, failures: tuple[str, ...] = ()) -> AuditRow:
    return AuditRow("r", level, prompt, 50, measured, judged, failures)


def test_partial_rho_is_the_correlation_of_what_the_measured_ranks_leave() -> None:
    measured, lengths, judged = [10, 12, 14, 16, 18], [50, 80, 60, 90, 70], [12, 20, 15, 30, 19]
    rows = [
        AuditRow("r", LOW, f"p{number}", length, known, (score,))
        for number, (known, length, score) in enumerate(zip(measured, lengths, judged, strict=True))
    ]
    # ranks: measured 1 2 3 4 5, words 1 4 2 5 3, judged 1 4 2 5 3: given the measured rank, judged is words
    assert audit(rows).length.partial_rho == pytest.approx(1)
    swapped = [replace(row, judged=(score,)) for row, score in zip(rows, [12, 15, 20, 30, 19], strict=True)]
    # judged 1 2 4 5 3 and words leave, after their slopes .7 and .5 on 1..5 (means 3): -.6 -.3 1 1.3 -1.4
    # and -1 1.5 -1 1.5 -1, so (.6 - .45 - 1 + 1.95 + 1.4) / sqrt(5.1 * 7.5)
    assert audit(swapped).length.partial_rho == pytest.approx(2.5 / math.sqrt(5.1 * 7.5))


def test_saturation_of_the_truth_leaves_out_texts_that_were_not_judged() -> None:
    found = audit([row(LOW, "a", 0, 10), row(LOW, "b", 20, 30), row(HIGH, "a", 100, failures=("refusal",))])
    assert (found.measured_saturation.share_0, found.measured_saturation.share_100) == (0.5, 0)
    assert found.measured_saturation.distinct == 2


def test_bias_and_order_by_hand() -> None:
    # errors: a low +10, a moderate -20, b low +40 -> mean 10; order: a 20 < 30 right, b has one level
    found = audit([row(LOW, "a", 10, 20), row(MODERATE, "a", 50, 30), row(LOW, "b", 30, 70)])
    assert found.bias.value == pytest.approx(10)
    assert found.bias_by_level[LOW].value == pytest.approx(25)
    assert found.bias_by_level[MODERATE].value == pytest.approx(-20)
    assert math.isnan(found.bias_by_level[MODERATE].ci_low)  # one prompt has no interval
    assert math.isnan(found.bias_by_level[HIGH].value)
    assert found.judged_order_accuracy == 1
    assert found.noise is None
    assert math.isnan(found.length.slope.value)  # all texts are equally long


def test_correlation_within_levels_by_hand() -> None:
    # low: measured -5 5, judged -1 1 about the means; high: -2 2 and 2 -2 -> (5 + 5 - 4 - 4) / sqrt(58 * 10)
    rows = [row(LOW, "a", 10, 20), row(LOW, "b", 20, 22), row(HIGH, "a", 94, 99), row(HIGH, "b", 98, 95)]
    assert audit(rows).within_level_pearson == pytest.approx(2 / math.sqrt(580))
    assert audit(rows).agreement.pearson > 0.99
    assert math.isnan(audit([row(LOW, "a", 10, 20), row(HIGH, "a", 94, 99)]).within_level_pearson)


def test_levels_are_put_in_order_within_one_writer() -> None:
    # each writer is in order; across writers 50 (low) would stand above 40 (moderate)
    rows = [
        AuditRow("r", level, "a", 50, score, (score,), writer=writer)
        for writer, scores in (("x", (10, 40)), ("y", (50, 90)))
        for level, score in zip((LOW, MODERATE), scores, strict=True)
    ]
    found = audit(rows)
    assert (found.judged_order_accuracy, found.judged_tau_b) == (1, 1)


def test_intervals_are_clustered_by_prompt() -> None:
    # errors of one prompt move together: the SE of the mean is that of 40 prompts, not of 120 texts
    errors = np.linspace(-20, 20, 40)
    rows = [row(level, f"p{p}", 50, 50 + error) for p, error in enumerate(errors) for level in ScoreLevel]
    found = audit(rows).bias
    assert (found.ci_high - found.ci_low) / 2 == pytest.approx(1.96 * errors.std() / math.sqrt(40), rel=0.1)
    assert audit(rows).bias == found


def test_unscored_judgments_are_counted_by_mode_and_are_no_number() -> None:
    found = audit([row(LOW, "a", 10, 10, failures=("refusal",)), row(HIGH, "a", 95, failures=("refusal", "truncated"))])
    assert found.unscored == {"refusal": 2, "truncated": 1}
    assert (found.n_texts, found.n_judgments, found.bias.value) == (2, 1, 0)
    assert found.noise is not None
    assert (found.noise.n_items, found.noise.n_missing) == (1, 3)


def test_an_audit_without_any_judgment_is_refused() -> None:
    with pytest.raises(ValueError, match="no judgment of 1 texts .refusal 1., expected"):
        audit([row(LOW, "a", 10, failures=("refusal",))])
