"""What repeats and panels say of a judge: the noise put in is found, and what is missing is counted."""

import numpy as np
import pytest

from judges import Judgment, Rating
from judges.noise import noise, noise_lines, noise_values
from judges.reliability import icc_2_1, krippendorff_alpha

NAN = float("nan")


def test_the_noise_put_in_is_found() -> None:
    rng = np.random.default_rng(0)
    true = rng.choice([20.0, 66.0, 80.0], size=600)
    report = noise(true[:, None] + rng.normal(0, 4, (600, 5)))
    assert report["sd"] == pytest.approx(4, rel=0.05)  # 2,400 degrees of freedom: relative SE 1.4%
    variance = true.var(ddof=1)
    assert report["icc"] == pytest.approx(variance / (variance + 16), abs=0.01)
    assert report["alpha"] == pytest.approx(report["icc"], abs=0.01)
    assert (report["n_items"], report["n_ratings"], report["n_missing"]) == (600, 5, 0)


@pytest.mark.parametrize(
    ("ratings", "counts", "known"),
    [
        ([[10], [50], [NAN]], (2, 1, 1), {}),  # one rating each: nothing is known
        ([[70, 70], [70, 70]], (2, 2, 0), {"sd": 0, "attainable": 1}),  # no noise, but no reliability either
        (np.empty((0, 3)), (0, 3, 0), {}),
    ],
)
def test_what_is_not_defined_is_no_number(ratings: object, counts: tuple[int, ...], known: dict[str, float]) -> None:
    report = noise(ratings)  # type: ignore[arg-type]
    assert (report["n_items"], report["n_ratings"], report["n_missing"]) == counts
    expected = dict.fromkeys(("sd", "icc", "alpha", "level_kappa", "attainable"), NAN) | known
    assert {name: report[name] for name in expected} == pytest.approx(expected, nan_ok=True)


def asked(seat: int, name: str, *scores: float | None) -> list[Rating]:
    return [Rating(seat=seat, judge=name, repeat=repeat, score=score) for repeat, score in enumerate(scores)]


def of(*ratings: list[Rating]) -> list[Judgment]:
    common = {"score": 50, "judge": "j", "prompt_version": "1", "rubric_hash": "h"}
    return [Judgment(**common, ratings=tuple(asked)) for asked in ratings]  # type: ignore[arg-type]


def test_repeats_of_one_judge_read_as_three_lines() -> None:
    judgments = of(asked(0, "j", 10, 14), [], asked(0, "j", 50, 50), asked(0, "j", 95, None))
    lines = noise_lines(judgments)
    # squares within: 8 and 0 with a degree of freedom each: sqrt(4) = 2; low sqrt(8), the top band has none of its own
    assert lines[0] == (
        "2 ratings of 3 responses, 1 missing; test-retest SD 2.0 points (low 2.8, moderate 0.0, extremely_high 2.0)"
    )
    assert lines[2].startswith("attainable accuracy 1.000 by the mean of 2 ratings, 1.000 by one: what a perfect")
    assert noise_values(judgments)["judge_test_retest_sd"] == pytest.approx(2)


def test_a_panel_says_what_its_judges_agree_on_and_names_two_of_one_name_by_seat() -> None:
    scores = [(10, 20, 30, 34), (60, 60, None, None), (95, 99, 90, 94)]
    judgments = of(*(asked(0, "j", a, b) + asked(1, "j", c, d) for a, b, c, d in scores))
    lines = noise_lines(judgments)
    assert [line.split(":")[0] for line in lines[:6]] == ["j (seat 1)"] * 3 + ["j (seat 2)"] * 3
    between = [[15, 32], [60, NAN], [97, 92]]  # repeats averaged
    assert lines[6].startswith(f"2 judges of 3 responses: ICC(2,1) {icc_2_1(between):.3f}, Krippendorff's alpha")
    expected = {"panel_icc": icc_2_1(between), "panel_alpha": krippendorff_alpha(between)}
    assert noise_values(judgments) == pytest.approx(expected)


def test_responses_that_were_judged_once_have_no_noise() -> None:
    assert noise_lines(of([], [])) == noise_lines(of(asked(0, "j", 50))) == []
    assert noise_values(of([])) == {}
