"""The statistics agree with scipy, scikit-learn and statsmodels on random data with ties and missing responses."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from frames import frame
from scipy import stats
from sklearn.metrics import cohen_kappa_score, recall_score
from statsmodels.stats.inter_rater import cohens_kappa

from cpt_tasks.benchmarks.rubric_adherence import statistics as metrics
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
from rubrics import ScoreLevel

RUBRICS = ("r", "s", "t")


def random_rows(seed: int) -> pd.DataFrame:
    """Three rubrics, ten prompts, scores in steps of 12.5 for ties, one response in five missing, two epochs."""
    rng = np.random.default_rng(seed)
    rows = frame(
        {
            "rubric": rubric,
            "level": level,
            "user_prompt_id": f"p{prompt}",
            "score": float(np.clip(12.5 * rng.integers(0, 7) + 12.5 * level.rank, 0, 100)),
            "words": int(rng.integers(3, 9) * 10 + 10 * level.rank),
        }
        for rubric in RUBRICS
        for level in ScoreLevel
        for prompt in range(10)
        for _ in range(2)
        if rng.random() > 0.2
    )
    levels = [ScoreLevel(level) for level in rows["level"]]
    return rows.assign(
        rank=[level.rank for level in levels],
        midpoint=[level.midpoint for level in levels],
        judged=[ScoreLevel.of(score).rank for score in rows["score"]],
    )


def prompt_means(data: pd.DataFrame) -> list[pd.DataFrame]:
    means = data.groupby(["user_prompt_id", "rank", "midpoint"], as_index=False)["score"].mean()
    return [group for _, group in means.groupby("user_prompt_id")]


def order(data: pd.DataFrame) -> float:
    # Somers' D of a prompt is (right - wrong) / pairs of different levels; level means make one row a level.
    # scipy gives nan, and not 0, where no pair is right or wrong
    groups = [group for group in prompt_means(data) if len(group) > 1]
    shares = [(np.nan_to_num(stats.somersd(group["rank"], group["score"]).statistic) + 1) / 2 for group in groups]
    return float(np.average(shares, weights=[len(group) * (len(group) - 1) for group in groups]))


def monotone(data: pd.DataFrame) -> float:
    wide = data.pivot_table(index="user_prompt_id", columns="rank", values="score").dropna()
    return float(((wide[0] < wide[1]) & (wide[1] < wide[2])).mean())


def slope(data: pd.DataFrame) -> float:
    groups = [group for group in prompt_means(data) if len(group) > 1]
    return float(np.mean([stats.linregress(group["midpoint"], group["score"]).slope for group in groups]))


def partial_tau(data: pd.DataFrame) -> float:
    # by the inverse of the matrix of taus, as R's ppcor does it, not by the formula
    taus = data[["rank", "score", "words"]].corr(method="kendall").to_numpy()
    inverse = np.linalg.inv(taus)
    return float(-inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1]))


def statsmodels_kappa(data: pd.DataFrame) -> float:
    counts = np.zeros((3, 3))
    np.add.at(counts, (data["rank"], data["judged"]), 1)
    return float(cohens_kappa(counts, wt="quadratic").kappa)


REFERENCES: dict[str, list[Callable[[pd.DataFrame], float]]] = {
    "macro_accuracy": [lambda data: recall_score(data["rank"], data["judged"], average="macro")],
    "weighted_kappa": [
        lambda data: cohen_kappa_score(data["rank"], data["judged"], weights="quadratic"),
        statsmodels_kappa,
    ],
    "kendall_tau_b": [lambda data: stats.kendalltau(data["rank"], data["score"]).statistic],
    "spearman_rho": [lambda data: stats.spearmanr(data["rank"], data["score"]).statistic],
    "length_rho": [lambda data: stats.spearmanr(data["rank"], data["words"]).statistic],
    "kendall_tau_b_given_length": [partial_tau],
    "order_accuracy": [order],
    "strict_monotone_rate": [monotone],
    "calibration_slope": [slope],
    "dynamic_range": [lambda data: data[data["rank"] == 2]["score"].mean() - data[data["rank"] == 0]["score"].mean()],
}


@pytest.mark.parametrize("name", sorted(REFERENCES))
@pytest.mark.parametrize("seed", range(3))
def test_within_rubric_statistics_agree(name: str, seed: int) -> None:
    rows = data = random_rows(seed)
    for reference in REFERENCES[name]:
        expected = np.mean([reference(data[data["rubric"] == rubric]) for rubric in RUBRICS])
        assert STATISTICS[name](rows) == pytest.approx(expected)


def test_pooled_statistics_agree() -> None:
    rows = data = random_rows(3)
    tau, rho = stats.kendalltau(data["rank"], data["score"]), stats.spearmanr(data["rank"], data["score"])
    assert metrics.kendall_tau_b_pooled(rows) == pytest.approx(tau.statistic)
    assert metrics.spearman_rho_pooled(rows) == pytest.approx(rho.statistic)


def test_band_errors_agree_with_clipping() -> None:
    rows = data = random_rows(4)
    edges = np.array([level.band for level in ScoreLevel])[data["rank"]]
    data["off"] = data["score"] - data["score"].clip(edges[:, 0], edges[:, 1])
    cells = data.groupby(["rubric", "rank"])["off"]
    assert metrics.overshoot(rows) == pytest.approx(cells.apply(lambda off: off.clip(lower=0).mean()).mean())
    assert metrics.undershoot(rows) == pytest.approx(cells.apply(lambda off: -off.clip(upper=0).mean()).mean())
    assert metrics.band_error(rows) == pytest.approx(cells.apply(lambda off: off.abs().mean()).mean())
