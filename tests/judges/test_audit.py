"""The audit shows exactly the bias put into a judge, and none in a judge that is compared with itself."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from judges import JudgeFailure
from judges.audit import Audit, audit
from judges.audit_page import audit_rows
from judges.texts import read_texts
from rubrics import ScoreLevel

LOW, MODERATE, HIGH = ScoreLevel
SEED_FILE = Path(__file__).parents[2] / "data_gen" / "seed" / "responses.jsonl"
NAN = float("nan")
Fake = Callable[[pd.DataFrame], "pd.Series[float]"]


@pytest.fixture(scope="module")
def seed_rows() -> pd.DataFrame:
    """The 288 seed texts with their measured scores, not yet judged."""
    texts = read_texts(SEED_FILE)
    return audit_rows(texts, [[JudgeFailure("refusal", "not asked")]] * len(texts))


def judged_by(rows: pd.DataFrame, *fakes: Fake) -> Audit:
    """Audit of a judge whose repeats are functions of the rows."""
    return audit(pd.concat([rows.assign(judged=fake(rows), failure="") for fake in fakes]))


def off_the_ends(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the scale squeezed to 20-80, so that a bias put in is not clipped at 0 or 100."""
    return rows.assign(measured=20 + 0.6 * rows["measured"])


def row(level: str, prompt: str, measured: float, judged: float, **more: object) -> dict[str, object]:
    known = {"rubric": "r", "writer": "", "level": level, "user_prompt_id": prompt, "words": 50, "failure": ""}
    return known | {"text": f"{prompt} {level}", "measured": measured, "judged": judged} | more


def audit_of(*rows: dict[str, object]) -> Audit:
    return audit(pd.DataFrame(rows))


def test_the_measured_judge_against_itself_is_perfect(seed_rows: pd.DataFrame) -> None:
    found = judged_by(seed_rows, *[lambda rows: rows["measured"]] * 2)
    of = found.statistics
    assert (found.n_texts, found.n_judgments, found.unscored) == (288, 576, {})
    perfect = ("pearson", "spearman", "icc", "level_kappa", "level_accuracy", "within_level_pearson")
    assert [of[name] for name in perfect] == pytest.approx([1] * 6)
    assert of["mae"] == 0
    for estimate in (*found.bias.values(), found.length_slope):
        assert estimate.value == 0 and math.isnan(estimate.ci_low)  # no user prompt moves it
    assert math.isnan(of["length_partial_rho"])  # nothing is left to explain
    for name in ("tau_b", "pair_order_accuracy", "share_0", "share_100", "distinct"):
        assert of[f"judged_{name}"] == of[f"measured_{name}"]
    assert of["judged_pair_order_accuracy"] == 1
    assert found.noise is not None
    assert [found.noise[name] for name in ("sd", "attainable", "level_kappa")] == [0, 1, 1]


def test_a_constant_bias_of_7_shows_as_7_everywhere(seed_rows: pd.DataFrame) -> None:
    found = judged_by(off_the_ends(seed_rows), lambda rows: rows["measured"] + 7)
    assert [estimate.value for estimate in found.bias.values()] == pytest.approx([7] * 8)  # all, 3 levels, 4 rubrics
    assert found.statistics["mae"] == pytest.approx(7)
    assert found.statistics["pearson"] == pytest.approx(1)
    assert found.statistics["icc"] < 0.99
    assert found.length_slope.value == pytest.approx(0, abs=1e-9)


def test_a_bias_on_real_scores_shows_where_the_scale_has_room(seed_rows: pd.DataFrame) -> None:
    found = judged_by(seed_rows, lambda rows: (rows["measured"] + 7).clip(upper=100))
    assert found.bias[LOW].value == pytest.approx(7)
    high = seed_rows[seed_rows["level"] == HIGH]["measured"]
    assert found.bias[HIGH].value == pytest.approx((100 - high).clip(upper=7).mean())


@pytest.mark.parametrize("slope", [6.0, -9.0])
def test_a_taste_for_length_shows_as_its_slope_per_doubling(seed_rows: pd.DataFrame, slope: float) -> None:
    found = judged_by(off_the_ends(seed_rows), lambda rows: rows["measured"] + slope * np.log2(rows["words"] / 75))
    assert found.length_slope.value == pytest.approx(slope)
    assert found.statistics["length_partial_rho"] * np.sign(slope) > 0.4


def test_a_compressed_scale_is_no_taste_for_length(seed_rows: pd.DataFrame) -> None:
    # length rises with the level in two rubrics, and within levels too; the error of such a judge falls with both
    steps = {LOW: 40.0, MODERATE: 60.0, HIGH: 70.0}
    fakes: list[Fake] = [
        lambda rows: rows["measured"].map(lambda score: steps[ScoreLevel.of(score)]),
        lambda rows: 30 + 0.4 * rows["measured"],
    ]
    for fake in fakes:
        found = judged_by(seed_rows, fake)
        assert found.bias[LOW].value > 20
        assert found.length_slope.value == pytest.approx(0, abs=1e-6)
        assert math.isnan(found.statistics["length_partial_rho"])


def test_a_saturating_judge_shows_its_exact_hundreds(seed_rows: pd.DataFrame) -> None:
    found = judged_by(seed_rows, lambda rows: (rows["measured"] > 40) * 100.0)
    # levels of the seed: 96 low, 96 moderate, 96 extremely high; of the 3 pairs of a prompt one is tied: 2.5 / 3
    expected = {
        "judged_share_0": 1 / 3,
        "judged_share_100": 2 / 3,
        "judged_distinct": 2,
        "measured_distinct": 96,
        "level_accuracy": 2 / 3,
        "judged_pair_order_accuracy": 2.5 / 3,
    }
    assert {name: found.statistics[name] for name in expected} == pytest.approx(expected)
    assert found.bias[MODERATE].value > 25


def test_noise_of_a_known_sd_is_found(seed_rows: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    fake: Fake = lambda rows: rows["measured"] + rng.normal(0, 4, len(rows))  # noqa: E731
    found = judged_by(off_the_ends(seed_rows), *[fake] * 4)
    assert found.noise is not None
    assert found.noise["sd"] == pytest.approx(4, rel=0.08)  # 864 degrees of freedom: relative SE 2.4%
    assert found.statistics["mae"] == pytest.approx(4 * math.sqrt(2 / math.pi), rel=0.08)
    assert found.bias["all"].ci_low < 0 < found.bias["all"].ci_high


def test_a_judge_that_turns_the_rubric_round_is_below_zero(seed_rows: pd.DataFrame) -> None:
    of = judged_by(seed_rows, lambda rows: 100 - rows["measured"]).statistics
    assert (of["pearson"], of["judged_pair_order_accuracy"]) == (pytest.approx(-1), 0)
    assert of["judged_tau_b"] == pytest.approx(-of["measured_tau_b"])


def test_length_slope_by_hand() -> None:
    # one cell, measured constant: words 25, 50, 100 -> log2 -1, 0, 1 about the mean; errors 0, 3, 12 -> slope 12 / 2
    given = (("a", 25, 0), ("b", 50, 3), ("c", 100, 12))
    found = audit_of(*(row(LOW, prompt, 20, 20 + error, words=words) for prompt, words, error in given))
    assert found.length_slope.value == pytest.approx(6)


@pytest.mark.parametrize(
    ("judged", "rho"),
    [
        # ranks: measured 1 2 3 4 5, words 1 4 2 5 3, judged 1 4 2 5 3: given the measured rank, judged is words
        ([12, 20, 15, 30, 19], 1),
        # judged 1 2 4 5 3 and words leave, after their slopes .7 and .5 on 1..5 (means 3): -.6 -.3 1 1.3 -1.4
        # and -1 1.5 -1 1.5 -1, so (.6 - .45 - 1 + 1.95 + 1.4) / sqrt(5.1 * 7.5)
        ([12, 15, 20, 30, 19], 2.5 / math.sqrt(5.1 * 7.5)),
    ],
)
def test_partial_rho_is_the_correlation_of_what_the_measured_ranks_leave(judged: list[float], rho: float) -> None:
    measured, lengths = [10, 12, 14, 16, 18], [50, 80, 60, 90, 70]
    rows = [
        row(LOW, f"p{number}", known, score, words=length)
        for number, (known, length, score) in enumerate(zip(measured, lengths, judged, strict=True))
    ]
    assert audit_of(*rows).statistics["length_partial_rho"] == pytest.approx(rho)


def test_bias_and_order_by_hand() -> None:
    # errors: a low +10, a moderate -20, b low +40 -> mean 10; order: a 20 < 30 right, b has one level
    found = audit_of(row(LOW, "a", 10, 20), row(MODERATE, "a", 50, 30), row(LOW, "b", 30, 70))
    biases = {name: estimate.value for name, estimate in found.bias.items()}
    assert biases == pytest.approx({"all": 10, LOW: 25, MODERATE: -20, HIGH: NAN, "r": 10}, nan_ok=True)
    assert found.statistics["judged_pair_order_accuracy"] == 1
    assert found.noise is None
    assert math.isnan(found.length_slope.value)  # all texts are equally long


def test_correlation_within_levels_by_hand() -> None:
    # low: measured -5 5, judged -1 1 about the means; high: -2 2 and 2 -2 -> (5 + 5 - 4 - 4) / sqrt(58 * 10)
    rows = [row(LOW, "a", 10, 20), row(LOW, "b", 20, 22), row(HIGH, "a", 94, 99), row(HIGH, "b", 98, 95)]
    of = audit_of(*rows).statistics
    assert of["within_level_pearson"] == pytest.approx(2 / math.sqrt(580))
    assert of["pearson"] > 0.99
    one_text_a_cell = audit_of(row(LOW, "a", 10, 20), row(HIGH, "a", 94, 99))
    assert math.isnan(one_text_a_cell.statistics["within_level_pearson"])


def test_levels_are_put_in_order_within_one_writer_and_a_control_has_none() -> None:
    # each writer is in order; across writers 50 (low) would stand above 40 (moderate)
    rows = [
        row(level, "a", score, score, writer=writer)
        for writer, scores in (("x", (10, 40)), ("y", (50, 90)))
        for level, score in zip((LOW, MODERATE), scores, strict=True)
    ]
    found = audit_of(*rows, row("control", "a", 0, 3, writer="x"))
    assert (found.statistics["judged_pair_order_accuracy"], found.statistics["judged_tau_b"]) == (1, 1)
    assert found.bias["control"].value == 3


def test_intervals_are_clustered_by_prompt() -> None:
    # errors of one prompt move together: the SE of the mean is that of 40 prompts, not of 120 texts
    errors = np.linspace(-20, 20, 40)
    rows = [row(level, f"p{p}", 50, 50 + error) for p, error in enumerate(errors) for level in ScoreLevel]
    found = audit_of(*rows).bias["all"]
    # t(39) = 2.022691
    half = 2.022691 * errors.std(ddof=1) / math.sqrt(40)
    assert (found.ci_low, found.ci_high) == pytest.approx((-half, half))


def test_unscored_judgments_are_counted_by_mode_and_are_no_number() -> None:
    failed = [row(HIGH, "a", 95, NAN, failure=mode) for mode in ("refusal", "truncated")]
    found = audit_of(row(LOW, "a", 10, 10), row(LOW, "a", 10, NAN, failure="refusal"), *failed)
    assert found.unscored == {"refusal": 2, "truncated": 1}
    assert (found.n_texts, found.n_judgments, found.bias["all"].value) == (2, 1, 0)
    assert found.statistics["measured_share_100"] == 0 and found.statistics["measured_distinct"] == 1
    assert found.noise is not None
    assert (found.noise["n_items"], found.noise["n_missing"]) == (1, 3)
    with pytest.raises(ValueError, match="no judgment of 1 texts .refusal 1, truncated 1., expected"):
        audit_of(*failed)
