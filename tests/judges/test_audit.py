"""The audit shows exactly the bias put into a judge, and none in a judge that is compared with itself."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cpt_tasks.judge_logs.texts import audit_rows, read_texts
from judges import JudgeFailure
from judges.audit import Audit, audit
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
    return rows.assign(reference=20 + 0.6 * rows["reference"])


def row(level: str, prompt: str, reference: float, judged: float, **more: object) -> dict[str, object]:
    known = {"rubric": "r", "writer": "", "level": level, "user_prompt_id": prompt, "words": 50, "failure": ""}
    return known | {"text": f"{prompt} {level}", "reference": reference, "judged": judged} | more


def audit_of(*rows: dict[str, object]) -> Audit:
    return audit(pd.DataFrame(rows))


def values(result: Audit) -> dict[str, float]:
    return {name: estimate.value for name, estimate in result.statistics.items()}


def test_the_measured_judge_against_itself_is_perfect(seed_rows: pd.DataFrame) -> None:
    result = judged_by(seed_rows, *[lambda rows: rows["reference"]] * 2)
    assert (result.n_texts, result.n_judgments, result.unscored) == (288, 576, {})
    perfect = dict.fromkeys(values(result), 1.0) | {"mae": 0, "length_slope": 0}
    assert values(result) == pytest.approx(perfect)
    assert result.bias["all"].value == 0 and math.isnan(result.bias["all"].ci_low)  # no user prompt moves it
    assert result.noise is not None
    assert [result.noise[name] for name in ("sd", "attainable", "level_kappa")] == [0, 1, 1]


def test_a_constant_bias_of_7_shows_as_7_everywhere(seed_rows: pd.DataFrame) -> None:
    result = judged_by(off_the_ends(seed_rows), lambda rows: rows["reference"] + 7)
    assert [estimate.value for estimate in result.bias.values()] == pytest.approx([7] * 8)  # all, 3 levels, 4 rubrics
    of = values(result)
    assert (of["mae"], of["pearson"], of["slope"]) == pytest.approx((7, 1, 1))
    assert of["icc"] < 0.99
    assert of["length_slope"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("slope", [6.0, -9.0])
def test_a_taste_for_length_shows_as_its_slope_per_doubling(seed_rows: pd.DataFrame, slope: float) -> None:
    result = judged_by(off_the_ends(seed_rows), lambda rows: rows["reference"] + slope * np.log2(rows["words"] / 75))
    assert result.statistics["length_slope"].value == pytest.approx(slope)


def test_a_compressed_scale_is_no_taste_for_length(seed_rows: pd.DataFrame) -> None:
    # length rises with the level in two rubrics, and within levels too; the error of such a judge falls with both
    result = judged_by(seed_rows, lambda rows: 30 + 0.4 * rows["reference"])
    assert result.bias[LOW].value > 20
    assert result.statistics["slope"].value == pytest.approx(0.4)
    assert result.statistics["length_slope"].value == pytest.approx(0, abs=1e-6)


def test_a_judge_that_turns_the_rubric_round_is_below_zero(seed_rows: pd.DataFrame) -> None:
    of = values(judged_by(seed_rows, lambda rows: 100 - rows["reference"]))
    assert (of["pearson"], of["slope"], of["order_accuracy"]) == pytest.approx((-1, -1, 0))
    assert of["reference_order_accuracy"] == 1


def test_length_slope_by_hand() -> None:
    # one cell, reference constant: words 25, 50, 100 -> log2 -1, 0, 1 about the mean; errors 0, 3, 12 -> slope 12 / 2
    given = (("a", 25, 0), ("b", 50, 3), ("c", 100, 12))
    result = audit_of(*(row(LOW, prompt, 20, 20 + error, words=words) for prompt, words, error in given))
    assert result.statistics["length_slope"].value == pytest.approx(6)


def test_bias_order_and_agreement_by_hand() -> None:
    # errors: a low +10, a moderate -20, b low +40 -> mean 10; order: a 20 < 30 right, b has one level
    result = audit_of(row(LOW, "a", 10, 20), row(MODERATE, "a", 50, 30), row(LOW, "b", 30, 70))
    biases = {name: estimate.value for name, estimate in result.bias.items()}
    assert biases == pytest.approx({"all": 10, LOW: 25, MODERATE: -20, HIGH: NAN, "r": 10}, nan_ok=True)
    of = values(result)
    assert (of["order_accuracy"], of["level_accuracy"], of["mae"]) == pytest.approx((1, 1 / 3, 70 / 3))
    assert result.noise is None
    assert math.isnan(of["length_slope"])  # all texts are equally long
    # ICC of 20 30 40 and the same + 10: between items 200, between raters 150, residual 0: 200 / (200 + 2*150/3);
    # 20 and 30 stay low, 40 becomes moderate: levels 0 0 0 and 0 0 1 have kappa 1 - (1/3) / (2/9 + 1/9)
    of = values(audit_of(*(row(LOW, prompt, score, score + 10) for prompt, score in (("a", 20), ("b", 30), ("c", 40)))))
    expected = {"pearson": 1, "spearman": 1, "icc": 2 / 3, "mae": 10, "level_kappa": 0, "level_accuracy": 2 / 3}
    assert {name: of[name] for name in expected} == pytest.approx(expected)


def test_correlation_within_levels_by_hand() -> None:
    # low: reference -5 5, judged -1 1 about the means; high: -2 2 and 2 -2 -> (5 + 5 - 4 - 4) / sqrt(58 * 10)
    rows = [row(LOW, "a", 10, 20), row(LOW, "b", 20, 22), row(HIGH, "a", 94, 99), row(HIGH, "b", 98, 95)]
    of = values(audit_of(*rows))
    assert of["within_level_pearson"] == pytest.approx(2 / math.sqrt(580))
    assert of["pearson"] > 0.99
    assert math.isnan(values(audit_of(*rows[::2]))["within_level_pearson"])  # one text a cell


def test_levels_are_put_in_order_within_one_writer_and_a_control_has_none() -> None:
    # each writer is in order; across writers 50 (low) would stand above 40 (moderate)
    rows = [
        row(level, "a", score, score, writer=writer)
        for writer, scores in (("x", (10, 40)), ("y", (50, 90)))
        for level, score in zip((LOW, MODERATE), scores, strict=True)
    ]
    result = audit_of(*rows, row("control", "a", 0, 3, writer="x"))
    assert result.statistics["order_accuracy"].value == 1
    assert result.bias["control"].value == 3


def test_intervals_are_clustered_by_prompt() -> None:
    # errors of one prompt move together: the SE of the mean is that of 40 prompts, not of 120 texts
    errors = np.linspace(-20, 20, 40)
    bias = audit_of(*(row(level, f"p{p}", 50, 50 + e) for p, e in enumerate(errors) for level in ScoreLevel)).bias
    half = 2.022691 * errors.std(ddof=1) / math.sqrt(40)  # t(39) = 2.022691
    assert (bias["all"].ci_low, bias["all"].ci_high) == pytest.approx((-half, half))


def test_unscored_judgments_are_counted_by_mode_and_are_no_number() -> None:
    failed = [row(HIGH, "a", 95, NAN, failure=mode) for mode in ("refusal", "truncated")]
    result = audit_of(row(LOW, "a", 10, 10), row(LOW, "a", 10, NAN, failure="refusal"), *failed)
    assert result.unscored == {"refusal": 2, "truncated": 1}
    assert (result.n_texts, result.n_judgments, result.bias["all"].value) == (2, 1, 0)
    assert result.noise is not None
    assert (result.noise["n_items"], result.noise["n_missing"]) == (1, 3)
    with pytest.raises(ValueError, match="no judgment of 1 texts .refusal 1, truncated 1., expected"):
        audit_of(*failed)
