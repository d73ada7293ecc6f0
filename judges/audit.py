"""Compares a judge with known scores of the same responses: measured ones, those of people, or of another judge.

Judgments are rows of a frame, one per text and asking, since one judgment is what a benchmark uses. A statistic that is
not defined on its rows is nan. Intervals are those of `interval`, clustered on user prompts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import scipy  # its parts are imported when first used: `scipy.stats` takes a second

from judges.interval import NAN, ROUNDING, Estimate, estimates
from judges.reliability import icc_2_1, level_ranks, noise
from rubrics import ScoreLevel

BOUNDS = {
    **dict.fromkeys(("pearson", "spearman", "within_level_pearson"), (-1.0, 1.0)),
    **dict.fromkeys(("level_accuracy", "order_accuracy"), (0.0, 1.0)),
}
WORDING_STATISTICS = ("spearman", "level_accuracy", "mae")
MIN_KNOWN = 5  # judgments of texts in a band, below which nothing is said of it


@dataclass(frozen=True)
class Audit:
    """What a comparison with known scores says of a judge.

    Attributes:
        unscored: Judgments that did not work, by failure mode; `n_judgments` did.
        bias: Mean of judged - reference, score points: of all texts ("all"), and of those of every level and rubric.
        noise: `reliability.noise` over the repeats, or None where texts were judged once.
    """

    n_texts: int
    n_judgments: int
    unscored: Mapping[str, int]
    statistics: Mapping[str, Estimate]
    bias: Mapping[str, Estimate]
    noise: Mapping[str, float] | None


def audit(rows: pd.DataFrame) -> Audit:
    """The audit of judgments.

    A row per judgment has `text`, a number that the repeats of a text share; `rubric` and `writer`, among whose texts
    levels are put in order; `level` that the text was written for, "control" for none; `user_prompt_id`, the cluster of
    the intervals; `words`, at least 1; `reference`, the known score, 0-100; `judged`, 0-100, or nan with the failure
    mode in `failure`.

    Raises:
        ValueError: If there is no judgment.
    """
    failed = rows.loc[rows["judged"].isna(), "failure"]
    unscored = {str(mode): int(count) for mode, count in failed.value_counts().sort_index().items()}
    judgments = rows.dropna(subset="judged")
    n_texts = rows["text"].nunique()
    if judgments.empty:
        listed = ", ".join(f"{mode} {count}" for mode, count in unscored.items())
        raise ValueError(f"audit: got no judgment of {n_texts} texts ({listed}), expected at least one")
    levels = [*ScoreLevel, *sorted(set(judgments["level"]) - set(ScoreLevel))]  # control comes last
    groups = {"all": judgments}
    groups |= {level: judgments[judgments["level"] == level] for level in levels}
    groups |= {str(rubric): of_rubric for rubric, of_rubric in judgments.groupby("rubric")}
    asked = rows.assign(repeat=rows.groupby("text").cumcount()).pivot(index="text", columns="repeat", values="judged")
    return Audit(
        n_texts=n_texts,
        n_judgments=len(judgments),
        unscored=unscored,
        statistics=estimates(judgments, audit_statistics, BOUNDS),
        bias={name: estimates(group, _bias, {})["bias"] for name, group in groups.items()},
        noise=noise(asked) if asked.shape[1] > 1 else None,
    )


def audit_statistics(judgments: pd.DataFrame) -> dict[str, float]:
    """How judged and reference scores agree, by name.

    Returns:
        `pearson` and `spearman` (mean ranks for ties), -1 to 1; `icc`, ICC(2,1), at most 1, which unlike the
        correlations sees a constant bias; `level_accuracy`, share with the same score level, 0-1;
        `within_level_pearson`: linear correlation within (rubric, level): does the judge see more than the level?
        nan where one of the scores has one value in every cell;
        `order_accuracy`, 0-1: share of pairs of texts of one user prompt and two levels that the judge puts in the
        right order, ties 1/2, within rubric and writer, then averaged (over all pairs of texts, where a benchmark's
        order accuracy compares the mean scores of its cells);
        `mae`: mean absolute difference, score points;
        `slope`: score points that the judge gives per point of the reference, 1 on the same scale;
        `length_slope`: score points that judged - reference gains per doubling of the words. Least squares within
        (rubric, level), given the reference, so that neither a length that rises with the level nor a compressed scale
        passes for a taste for length. nan where a cell's texts are equally long, or as long as the reference says.
    """
    columns = judgments[["reference", "judged"]].assign(length=np.log2(judgments["words"].astype(float)))
    reference, judged = columns["reference"].to_numpy(float), columns["judged"].to_numpy(float)
    varies = np.ptp(reference) > 0 and np.ptp(judged) > 0
    cells = [judgments["rubric"], judgments["level"]]
    known, given, length = (columns - columns.groupby(cells).transform("mean")).to_numpy(float).T
    scale = np.sqrt((known @ known) * (given @ given))
    beyond = length - known * (length @ known) / (known @ known) if known @ known > ROUNDING else length
    return {
        "pearson": float(scipy.stats.pearsonr(reference, judged).statistic) if varies else NAN,
        "spearman": float(scipy.stats.spearmanr(reference, judged).statistic) if varies else NAN,
        "icc": icc_2_1(np.column_stack([reference, judged])),
        "level_accuracy": float((level_ranks(reference) == level_ranks(judged)).mean()),
        "within_level_pearson": float(known @ given / scale) if scale > ROUNDING else NAN,
        "order_accuracy": _order_accuracy(judgments),
        "mae": float(np.abs(judged - reference).mean()),
        "slope": float(scipy.stats.linregress(reference, judged).slope) if varies else NAN,
        "length_slope": float(beyond @ (given - known) / (beyond @ beyond)) if beyond @ beyond > ROUNDING else NAN,
    }


@dataclass(frozen=True)
class BandReach:
    """How many judgments of texts known to be in a band, `n`, put them there, `placed`; `rubric` "all" is of all."""

    rubric: str
    band: str
    n: int
    placed: int

    @property
    def attainable(self) -> float:
        """Accuracy at this level, 0-1, of a student all of whose responses are like these texts."""
        return self.placed / self.n

    @property
    def is_out_of_reach(self) -> bool:
        """Whether fewer than half are placed there, of at least `MIN_KNOWN`."""
        return self.n >= MIN_KNOWN and self.attainable < 0.5


def bands(rows: pd.DataFrame) -> list[BandReach]:
    """Where a judge places texts whose band is known by their reference, of all rubrics first, then of each.

    `rows` are those of `audit`. A band that no text is in is left out.
    """
    judgments = rows.dropna(subset="judged")
    known, judged = (level_ranks(judgments[name].to_numpy(float)) for name in ("reference", "judged"))
    reach = []
    for rubric in ["all", *sorted(judgments["rubric"].unique())]:
        is_of_it = (judgments["rubric"] == rubric).to_numpy() | (rubric == "all")
        for rank, band in enumerate(ScoreLevel):
            is_known = is_of_it & (known == rank)
            if is_known.any():
                reach.append(BandReach(rubric, band.value, int(is_known.sum()), int((judged[is_known] == rank).sum())))
    return reach


@dataclass(frozen=True)
class Wordings:
    """What the wording of a judge's question does to its verdicts, on the texts that are judged under every wording.

    Attributes:
        band_rate: Share of judgments in the band that the text was asked for, 0-1, mean over rubrics: by level, and
            under "all" the mean over levels; for each the shares by wording. Empty where no text has a level.
        half_range: Half of the range of `band_rate` over the wordings, by the same keys: the ± of a rate that is due
            to wording alone. Levels that move apart cancel out in "all".
        agreement: `WORDING_STATISTICS` and `bias`, the mean difference in points, of the judgments under the first
            name of a pair against the second: another wording, or "reference".
    """

    n_texts: int
    band_rate: Mapping[str, Mapping[str, float]]
    half_range: Mapping[str, float]
    agreement: Mapping[tuple[str, str], Mapping[str, Estimate]]


def compare_wordings(rows: Mapping[str, pd.DataFrame]) -> Wordings:
    """The comparison of a judge's wordings, from the rows of `audit` under each, in one order of texts and askings.

    Raises:
        ValueError: If no text is judged under all of them.
    """
    first, *_ = rows.values()
    judged = pd.DataFrame({name: of_wording["judged"].to_numpy(float) for name, of_wording in rows.items()})
    is_shared = judged.notna().all(axis=1).groupby(first["text"].to_numpy()).transform("all")
    shared, judged = first[is_shared.to_numpy()], judged[is_shared.to_numpy()].set_axis(first.index[is_shared])
    if shared.empty:
        raise ValueError(f"wordings {', '.join(rows)}: no text is judged under all of them, expected at least one")
    scores = judged.assign(reference=shared["reference"])
    pairs = [(name, "reference") for name in rows] + [(b, a) for a, b in combinations(rows, 2)]
    rates = _band_rates(shared, judged)
    return Wordings(
        n_texts=shared["text"].nunique(),
        band_rate=rates,
        half_range={key: float(np.ptp(list(of_wording.values())) / 2) for key, of_wording in rates.items()},
        agreement={
            (name, other): estimates(
                shared.assign(judged=scores[name], reference=scores[other]), _wording_statistics, BOUNDS
            )
            for name, other in pairs
        },
    )


def _band_rates(rows: pd.DataFrame, judged: pd.DataFrame) -> dict[str, dict[str, float]]:
    rates: dict[str, dict[str, float]] = {}
    wordings = [str(name) for name in judged]
    for level in ScoreLevel:
        is_asked = rows["level"] == level.value
        if is_asked.any():
            hits = (judged[is_asked].apply(level_ranks) == level.rank).groupby(rows.loc[is_asked, "rubric"]).mean()
            rates[level.value] = {name: float(hits[name].mean()) for name in wordings}
    if rates:
        rates["all"] = {name: float(np.mean([by_name[name] for by_name in rates.values()])) for name in wordings}
    return rates


def _wording_statistics(judgments: pd.DataFrame) -> dict[str, float]:
    statistics = audit_statistics(judgments)
    return {name: statistics[name] for name in WORDING_STATISTICS} | _bias(judgments)


def _order_accuracy(judgments: pd.DataFrame) -> float:
    rank = judgments["level"].map({level.value: level.rank for level in ScoreLevel})
    group = ["rubric", "writer"]
    ranked = judgments[[*group, "user_prompt_id", "judged"]].assign(rank=rank)
    pairs = ranked.merge(ranked, on=[*group, "user_prompt_id"], suffixes=("_low", "_high"))
    pairs = pairs[pairs["rank_low"] < pairs["rank_high"]]
    right = pairs[group].assign(right=0.5 + 0.5 * np.sign(pairs["judged_high"] - pairs["judged_low"]))
    return float(right.groupby(group)["right"].mean().mean())


def _bias(judgments: pd.DataFrame) -> dict[str, float]:
    return {"bias": float((judgments["judged"] - judgments["reference"]).mean())}
