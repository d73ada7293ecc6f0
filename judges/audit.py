"""Audits a judge without people: its judgments of texts whose score is known, because it was measured.

Judgments are rows of a frame, one per text and asking, since one judgment is what a benchmark uses. A statistic that is
not defined on its rows is nan. Intervals are those of `interval`, clustered on user prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy  # its parts are imported when first used: `scipy.stats` takes a second

from judges.interval import NAN, Estimate, estimates
from judges.noise import noise
from judges.reliability import agreement
from rubrics import MAX_SCORE, MIN_SCORE, ScoreLevel

_CELL = ["rubric", "level"]
_GROUP = ["rubric", "writer"]
_RANKS = {level.value: level.rank for level in ScoreLevel}
_TINY = 1e-9


@dataclass(frozen=True)
class Audit:
    """Everything an audit says; in `statistics`, `judged_*` and `measured_*` are the same of the judge and the truth.

    Attributes:
        n_texts: Texts audited.
        n_judgments: Judgments that worked.
        unscored: Judgments that did not, by failure mode.
        statistics: Those of `audit_statistics`, by name.
        bias: Mean of judged - measured, score points: of all texts ("all"), and of the texts of every level and rubric.
        length_slope: Score points that judged - measured gains per doubling of the words, see `length_slope`.
        noise: Self-consistency over repeats as `noise.noise`, or None where texts were judged once.
    """

    n_texts: int
    n_judgments: int
    unscored: Mapping[str, int]
    statistics: Mapping[str, float]
    bias: Mapping[str, Estimate]
    length_slope: Estimate
    noise: Mapping[str, float] | None


def audit(rows: pd.DataFrame) -> Audit:
    """The audit of judgments.

    Args:
        rows: One per judgment: `text`, a number that the repeats of a text share; `rubric` and `writer`, among whose
            texts levels are put in order; `level` that the text was written for, "control" for none; `user_prompt_id`,
            the cluster of the intervals; `words`, at least 1; `measured`, the known score, 0-100; `judged`, 0-100, or
            nan with the failure mode in `failure`.

    Raises:
        ValueError: If there is no judgment, or a score is outside 0-100.
    """
    unscored = {
        str(mode): int(count) for mode, count in rows.loc[rows["judged"].isna(), "failure"].value_counts().items()
    }
    judgments = rows.dropna(subset="judged")
    n_texts = rows["text"].nunique()
    if judgments.empty:
        listed = ", ".join(f"{mode} {count}" for mode, count in unscored.items())
        raise ValueError(f"audit: got no judgment of {n_texts} texts ({listed}), expected at least one")
    groups = {"all": judgments}
    levels = [*ScoreLevel, *sorted(set(judgments["level"]) - set(ScoreLevel))]  # control comes last
    groups |= {level: judgments[judgments["level"] == level] for level in levels}
    groups |= {str(rubric): of_rubric for rubric, of_rubric in judgments.groupby("rubric")}
    asked = rows.assign(repeat=rows.groupby("text").cumcount()).pivot(index="text", columns="repeat", values="judged")
    return Audit(
        n_texts=n_texts,
        n_judgments=len(judgments),
        unscored=unscored,
        statistics=audit_statistics(judgments),
        bias={name: estimates(group, _bias, {})["bias"] for name, group in groups.items()},
        length_slope=estimates(judgments, lambda some: {"slope": length_slope(some)}, {})["slope"],
        noise=noise(asked) if asked.shape[1] > 1 else None,
    )


def audit_statistics(judgments: pd.DataFrame) -> dict[str, float]:
    """Numbers without an interval, by name.

    Returns:
        Those of `reliability.agreement`, and
        `within_level_pearson`: linear correlation of measured and judged within (rubric, level): does the judge see
        more than the level? nan where one of them has one value in every cell;
        `length_partial_rho`: rank correlation of judged score and words given the measured score, -1 to 1, of ranks
        within (rubric, level); nan where the measured score explains all ranks;
        `tau_b`: Kendall's tau-b of level and score; of the measured score it is the value to reach, below 1 since a
        level holds many scores; and `pair_order_accuracy`, both within rubric and writer, then averaged;
        `share_0`, `share_100` and `distinct`: exact 0s and 100s, 0-1, and the number of distinct scores.
    """
    texts = judgments.drop_duplicates("text")
    by_score = {"judged": judgments["judged"], "measured": texts["measured"]}
    return {
        **agreement(judgments["measured"], judgments["judged"]),
        "within_level_pearson": _correlation(*_within_cells(judgments[["measured", "judged"]], judgments)),
        "length_partial_rho": _length_partial_rho(judgments),
        **{f"{score}_tau_b": _tau_b(judgments, score) for score in by_score},
        **{f"{score}_pair_order_accuracy": pair_order_accuracy(judgments, score) for score in by_score},
        **{f"{score}_share_0": float((values == MIN_SCORE).mean()) for score, values in by_score.items()},
        **{f"{score}_share_100": float((values == MAX_SCORE).mean()) for score, values in by_score.items()},
        **{f"{score}_distinct": values.round(6).nunique() for score, values in by_score.items()},
    }


def pair_order_accuracy(judgments: pd.DataFrame, score: str) -> float:
    """Share of pairs of texts of one user prompt and two levels that a score puts in the right order, ties 1/2.

    Within rubric and writer, then averaged. Over all pairs of texts, where a benchmark's order accuracy compares the
    mean scores of its cells.

    Args:
        judgments: Rows of an audit with a score.
        score: Its column, "judged" or "measured".
    """
    ranked = judgments.assign(rank=judgments["level"].map(_RANKS))[[*_GROUP, "user_prompt_id", "rank", score]]
    pairs = ranked.merge(ranked, on=[*_GROUP, "user_prompt_id"], suffixes=("_low", "_high"))
    pairs = pairs[pairs["rank_low"] < pairs["rank_high"]]
    right = pairs[_GROUP].assign(right=0.5 + 0.5 * np.sign(pairs[f"{score}_high"] - pairs[f"{score}_low"]))
    return float(right.groupby(_GROUP)["right"].mean().mean())


def length_slope(judgments: pd.DataFrame) -> float:
    """Score points that judged - measured gains per doubling of the words.

    Least squares within (rubric, level), given the measured score, so that neither a length that rises with the level
    nor a compressed scale passes for a taste for length. nan where the texts of a cell are equally long, or as long as
    the measured score says.
    """
    columns = pd.DataFrame(
        {
            "length": np.log2(judgments["words"].astype(float)),
            "error": judgments["judged"] - judgments["measured"],
            "measured": judgments["measured"],
        }
    )
    length, error, measured = _within_cells(columns, judgments)
    left = _beyond(length, measured)
    return float(left @ error / (left @ left)) if left @ left > _TINY else NAN


def _bias(judgments: pd.DataFrame) -> Mapping[str, float]:
    return {"bias": float((judgments["judged"] - judgments["measured"]).mean())}


def _length_partial_rho(judgments: pd.DataFrame) -> float:
    ranks = judgments.groupby(_CELL)[["judged", "words", "measured"]].rank()
    judged, words, measured = _within_cells(ranks, judgments)
    return _correlation(_beyond(judged, measured), _beyond(words, measured))


def _tau_b(judgments: pd.DataFrame, score: str) -> float:
    ranked = judgments.assign(rank=judgments["level"].map(_RANKS)).dropna(subset="rank")
    taus = []
    for _, group in ranked.groupby(_GROUP):
        defined = group["rank"].nunique() > 1 and group[score].nunique() > 1
        taus.append(scipy.stats.kendalltau(group["rank"], group[score]).statistic if defined else NAN)
    return float(np.mean(taus)) if taus else NAN


def _within_cells(columns: pd.DataFrame, judgments: pd.DataFrame) -> Sequence[np.ndarray]:
    """The columns less their means within (rubric, level), one vector each."""
    cells = [judgments[name] for name in _CELL]
    return list((columns - columns.groupby(cells).transform("mean")).to_numpy(float).T)


def _beyond(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What a vector has beyond its least-squares fit by another, both about their means."""
    return values - known * (values @ known) / (known @ known) if known @ known > _TINY else values


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    scale = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / scale) if scale > _TINY else NAN
