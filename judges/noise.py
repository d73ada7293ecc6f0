"""What judgments that were made more than once say of the judge: the lines under a headline."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from judges.interval import NAN
from judges.judgment import Rating
from judges.reliability import (
    attainable_accuracy,
    icc_2_1,
    krippendorff_alpha,
    level_kappa,
    test_retest_sd,
    test_retest_sd_by_level,
)
from rubrics import ScoreLevel

Ratings = Sequence[Rating]


@dataclass(frozen=True)
class NoiseReport:
    """What repeated judgments of the same responses say about a judge.

    Attributes:
        n_items: Responses rated at least once.
        n_ratings: Ratings per response asked for.
        n_missing: Ratings that are missing, over all responses.
        sd: Test-retest SD, score points.
        sd_by_level: The same within each band that the mean score of a response lies in.
        icc: ICC(2,1), of the responses with all their ratings.
        alpha: Krippendorff's alpha (interval).
        level_kappa: Quadratic-weighted kappa of levels, mean over pairs of ratings.
        attainable: Best macro accuracy, 0-1, that a perfect student could get from one rating of a judge this noisy.
        attainable_of_mean: The same from the mean of `n_ratings` ratings, whose noise is smaller by their square root.
    """

    n_items: int
    n_ratings: int
    n_missing: int
    sd: float
    sd_by_level: Mapping[ScoreLevel, float]
    icc: float
    alpha: float
    level_kappa: float
    attainable: float
    attainable_of_mean: float

    def lines(self) -> list[str]:
        """The report in words, a line each: repeats, agreement, ceiling."""
        by_level = ", ".join(f"{level.value} {sd:.1f}" for level, sd in self.sd_by_level.items())
        return [
            f"{self.n_ratings} ratings of {self.n_items} responses, {self.n_missing} missing; test-retest SD "
            f"{self.sd:.1f} points ({by_level})",
            f"ICC(2,1) {self.icc:.3f}, Krippendorff's alpha {self.alpha:.3f}, level kappa {self.level_kappa:.3f}",
            f"attainable accuracy {self.attainable_of_mean:.3f} by the mean of {self.n_ratings} ratings, "
            f"{self.attainable:.3f} by one: what a perfect student could get from a judge this noisy",
        ]


def noise_report(ratings: ArrayLike) -> NoiseReport:
    """Every statistic of `reliability` on repeated judgments, shape (n_items, n_ratings), nan where unscored.

    Responses without any rating are left out of `n_items`. With one rating per response all statistics are nan.

    Raises:
        ValueError: If the array does not have two dimensions or a rating is outside 0-100.
    """
    table = np.asarray(ratings, dtype=float)
    sd_by_level = test_retest_sd_by_level(table)
    rated = table[~np.isnan(table).all(axis=1)]
    shrunk = {level: sd / np.sqrt(table.shape[1]) for level, sd in sd_by_level.items()}
    return NoiseReport(
        n_items=len(rated),
        n_ratings=table.shape[1],
        n_missing=int(np.isnan(table).sum()),
        sd=test_retest_sd(rated),
        sd_by_level=sd_by_level,
        icc=icc_2_1(rated),
        alpha=krippendorff_alpha(rated),
        level_kappa=level_kappa(rated),
        attainable=attainable_accuracy(sd_by_level),
        attainable_of_mean=attainable_accuracy(shrunk),
    )


def noise_lines(ratings: Iterable[Ratings]) -> list[str]:
    """What repeats and panels say about the judges, a statement per line; [] where each response was judged once.

    Args:
        ratings: `Judgment.ratings`, or those of the failure, of every response; empty ones are left out.
    """
    table = _table(ratings)
    tables = _repeats(table)
    lines = [
        f"{judge}: {line}" if len(tables) > 1 else line
        for judge, repeats in tables.items()
        for line in noise_report(repeats).lines()
    ]
    panel = _panel(table)
    if panel is not None:
        between = noise_report(panel)
        lines.append(
            f"{between.n_ratings} judges of {between.n_items} responses: ICC(2,1) {between.icc:.3f}, Krippendorff's "
            f"alpha {between.alpha:.3f}, level kappa {between.level_kappa:.3f}, SD between judges {between.sd:.1f} "
            "points"
        )
    return lines


def noise_values(ratings: Iterable[Ratings]) -> dict[str, float]:
    """The same for inspect: test-retest SD and attainable accuracy of a single judge, ICC and alpha of a panel."""
    table = _table(ratings)
    values: dict[str, float] = {}
    tables = list(_repeats(table).values())
    if len(tables) == 1:
        noise = noise_report(tables[0])
        values |= {"judge_test_retest_sd": noise.sd, "attainable_accuracy": noise.attainable_of_mean}
    panel = _panel(table)
    if panel is not None:
        values |= {"panel_icc": icc_2_1(panel), "panel_alpha": krippendorff_alpha(panel)}
    return values


def _table(ratings: Iterable[Ratings]) -> pd.DataFrame:
    """One row per rating: the number of its response, seat, repeat, judge, and score, nan if it failed."""
    rows = [
        (response, rating.seat, rating.repeat, rating.judge, NAN if rating.score is None else rating.score)
        for response, of_response in enumerate(ratings)
        for rating in of_response
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
