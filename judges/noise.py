"""What judgments that were made more than once say of the judge: the lines under a headline."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from judges.interval import NAN
from judges.judgment import JudgeFailureRecord, Judgment
from judges.reliability import (
    attainable_accuracy,
    icc_2_1,
    krippendorff_alpha,
    level_kappa,
    test_retest_sd,
    test_retest_sd_by_level,
)
from rubrics import ScoreLevel

Judgments = Iterable[Judgment | JudgeFailureRecord]


def noise(ratings: ArrayLike) -> dict[str, float]:
    """What repeated judgments of the same responses say about a judge, by the statistics of `reliability`.

    With one rating per response all statistics are nan.

    Args:
        ratings: Shape (n_items, n_ratings), 0-100, nan where unscored.

    Returns:
        `n_items` rated at least once, `n_ratings` asked for of each, `n_missing` of all; test-retest `sd` in score
        points, and by the level of the mean score `sd_low`, `sd_moderate`, `sd_extremely_high`; `icc` of the responses
        with all ratings, `alpha`, `level_kappa`; and what a perfect student could get from a judge this noisy,
        `attainable` from one rating and `attainable_of_mean` from the mean of all, whose noise is smaller by the root
        of their number.

    Raises:
        ValueError: If the array does not have two dimensions or a rating is outside 0-100.
    """
    table = np.asarray(ratings, dtype=float)
    sd_by_level = test_retest_sd_by_level(table)
    of_mean = {level: sd / np.sqrt(table.shape[1]) for level, sd in sd_by_level.items()}
    return {
        "n_items": int((~np.isnan(table)).any(axis=1).sum()),
        "n_ratings": table.shape[1],
        "n_missing": int(np.isnan(table).sum()),
        "sd": test_retest_sd(table),
        **{f"sd_{level}": sd for level, sd in sd_by_level.items()},
        "icc": icc_2_1(table),
        "alpha": krippendorff_alpha(table),
        "level_kappa": level_kappa(table),
        "attainable": attainable_accuracy(sd_by_level),
        "attainable_of_mean": attainable_accuracy(of_mean),
    }


def lines_of(noise: Mapping[str, float]) -> list[str]:
    """The statistics of `noise` in words, a line each: repeats, agreement, ceiling."""
    by_level = ", ".join(f"{level} {noise[f'sd_{level}']:.1f}" for level in ScoreLevel)
    return [
        f"{noise['n_ratings']} ratings of {noise['n_items']} responses, {noise['n_missing']} missing; test-retest SD "
        f"{noise['sd']:.1f} points ({by_level})",
        _reliability(noise),
        f"attainable accuracy {noise['attainable_of_mean']:.3f} by the mean of {noise['n_ratings']} ratings, "
        f"{noise['attainable']:.3f} by one: what a perfect student could get from a judge this noisy",
    ]


def noise_lines(judgments: Judgments) -> list[str]:
    """What repeats and panels say about the judges, a statement per line; [] where each response was judged once."""
    table = _table(judgments)
    tables = _repeats(table)
    lines = [
        f"{judge}: {line}" if len(tables) > 1 else line
        for judge, repeats in tables.items()
        for line in lines_of(noise(repeats))
    ]
    panel = _panel(table)
    if panel is not None:
        between = noise(panel)
        lines.append(
            f"{between['n_ratings']} judges of {between['n_items']} responses: {_reliability(between)}, SD between "
            f"judges {between['sd']:.1f} points"
        )
    return lines


def noise_values(judgments: Judgments) -> dict[str, float]:
    """The same for inspect: test-retest SD and attainable accuracy of a single judge, ICC and alpha of a panel."""
    table = _table(judgments)
    values: dict[str, float] = {}
    tables = list(_repeats(table).values())
    if len(tables) == 1:
        repeats = noise(tables[0])
        values |= {"judge_test_retest_sd": repeats["sd"], "attainable_accuracy": repeats["attainable_of_mean"]}
    panel = _panel(table)
    if panel is not None:
        values |= {"panel_icc": icc_2_1(panel), "panel_alpha": krippendorff_alpha(panel)}
    return values


def _reliability(noise: Mapping[str, float]) -> str:
    return (
        f"ICC(2,1) {noise['icc']:.3f}, Krippendorff's alpha {noise['alpha']:.3f}, level kappa "
        f"{noise['level_kappa']:.3f}"
    )


def _table(judgments: Judgments) -> pd.DataFrame:
    """One row per rating: the number of its response, seat, repeat, judge, and score, nan if it failed."""
    rows = [
        (response, rating.seat, rating.repeat, rating.judge, NAN if rating.score is None else rating.score)
        for response, judgment in enumerate(judgments)
        for rating in judgment.ratings
    ]
    return pd.DataFrame(rows, columns=["response", "seat", "repeat", "judge", "score"])


def _repeats(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For each judge that was asked more than once its scores, a row per response and a column per asking.

    Judges of one name are told apart by their seat.
    """
    # a judge that failed every asking of a response has no name there
    names = table.dropna(subset="score").groupby("seat")["judge"].first()
    tables = {}
    for seat in sorted(table["seat"].unique()):
        scores = table[table["seat"] == seat].pivot(index="response", columns="repeat", values="score")
        name = names.get(seat, f"judge {seat}")
        if scores.shape[1] > 1:
            tables[f"{name} (seat {seat + 1})" if (names == name).sum() > 1 else name] = scores
    return tables


def _panel(table: pd.DataFrame) -> pd.DataFrame | None:
    """Scores by the judges of a panel, repeats averaged, a row per response; None for a single judge."""
    means = table.groupby(["response", "seat"])["score"].mean().unstack()
    return means if means.shape[1] > 1 else None
