"""The audit shows exactly the bias put into a judge, and none in a judge that is compared with itself."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from seed import SEED_FILE

from cpt_tasks.judge_logs.audit import audit_rows
from cpt_tasks.judge_logs.texts import read_texts
from judges import JudgeFailure
from judges.audit import Audit, audit, bands, compare_wordings
from rubrics import ScoreLevel

LOW, MODERATE, HIGH = ScoreLevel
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
    assert values(result) == pytest.approx(dict.fromkeys(values(result), 1.0) | {"mae": 0, "length_slope": 0})
    assert result.bias["all"].value == 0 and math.isnan(result.bias["all"].ci_low)  # no user prompt moves it
    assert result.noise is not None
    assert (result.noise["sd"], result.noise["attainable"]) == (0, 1)


@pytest.mark.parametrize(
    ("judge", "expected"),
    [
        (lambda rows: rows["reference"] + 7, {"mae": 7, "pearson": 1, "slope": 1, "length_slope": 0}),
        # a taste for length shows as its slope per doubling
        (lambda rows: rows["reference"] + 6 * np.log2(rows["words"] / 75), {"length_slope": 6}),
        # a compressed scale is none, though length rises with the level in two rubrics, and within levels too
        (lambda rows: 30 + 0.4 * rows["reference"], {"slope": 0.4, "length_slope": 0}),
    ],
)
def test_what_was_put_into_a_judge_is_what_shows(
    judge: Fake, expected: dict[str, float], seed_rows: pd.DataFrame
) -> None:
    of = values(judged_by(off_the_ends(seed_rows), judge))
    assert {name: of[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_a_constant_bias_shows_at_every_level_and_rubric_and_in_the_icc(seed_rows: pd.DataFrame) -> None:
    result = judged_by(off_the_ends(seed_rows), lambda rows: rows["reference"] + 7)
    assert [estimate.value for estimate in result.bias.values()] == pytest.approx([7] * 8)  # all, 3 levels, 4 rubrics
    assert values(result)["icc"] < 0.99


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
    # 20 and 30 stay low, 40 becomes moderate
    of = values(audit_of(*(row(LOW, prompt, score, score + 10) for prompt, score in (("a", 20), ("b", 30), ("c", 40)))))
    expected = {"pearson": 1, "spearman": 1, "icc": 2 / 3, "mae": 10, "level_accuracy": 2 / 3}
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
    scores = {("x", LOW): 10, ("x", MODERATE): 40, ("y", LOW): 50, ("y", MODERATE): 90}
    rows = [row(level, "a", score, score, writer=writer) for (writer, level), score in scores.items()]
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
    with pytest.raises(ValueError, match="no judgment of 1 texts .refusal 1, truncated 1., expected"):
        audit_of(*failed)


def test_bands_count_what_a_judge_places_where_it_is_known_to_be() -> None:
    rows = [row(HIGH, f"p{number}", 100, judged) for number, judged in enumerate([95, 93, 92.5, 90, 80])]
    rows += [row(LOW, f"p{number}", 40, 41, rubric="s") for number in range(4)]
    rows.append(row(MODERATE, "p9", 60, NAN, failure="refusal"))
    counts = [(one.rubric, one.band, one.placed, one.n, one.is_out_of_reach) for one in bands(pd.DataFrame(rows))]
    assert counts == [
        ("all", "low", 0, 4, False),  # four judgments say too little
        ("all", "extremely_high", 2, 5, True),  # 92.5 is moderate
        ("r", "extremely_high", 2, 5, True),
        ("s", "low", 0, 4, False),
    ]


def test_wordings_are_compared_on_texts_that_all_of_them_judge() -> None:
    def judged(*scores: float) -> pd.DataFrame:
        levels = [(LOW, 10), (LOW, 20), (MODERATE, 60), (HIGH, 100), ("control", 50)]
        return pd.DataFrame([row(level, f"p{n}", known, scores[n], text=n) for n, (level, known) in enumerate(levels)])

    compared = compare_wordings({"a": judged(10, 30, 95, 95, 0), "b": judged(50, 30, NAN, 95, 60)})
    assert compared.n_texts == 4
    assert compared.band_rate == {
        "low": {"a": 1, "b": 0.5},
        "extremely_high": {"a": 1, "b": 1},
        "all": {"a": 1, "b": 0.75},
    }
    assert compared.half_range == {"low": 0.25, "extremely_high": 0, "all": 0.125}
    # 50 - 10, 30 - 30, 95 - 95, 60 - 0
    assert compared.agreement["b", "a"]["bias"].value == compared.agreement["b", "a"]["mae"].value == 25
    assert compared.agreement["b", "reference"]["bias"].value == pytest.approx((40 + 10 - 5 + 10) / 4)
    with pytest.raises(ValueError, match="no text is judged under all of them"):
        compare_wordings({"a": judged(*[NAN] * 5), "b": judged(1, 2, 3, 4, 5)})
