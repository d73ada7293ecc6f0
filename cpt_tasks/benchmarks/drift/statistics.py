"""Statistics of `drift`: how a model writes when nothing is asked of its style, and how far training moved that.

Rows are judgments, as `statistics.frame.by_every_rubric` gives them.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cpt_tasks.statistics.paired import flipped_means
from judges.interval import NAN, Estimate, estimates


@dataclass(frozen=True)
class Drift:
    """What differs between a base and an adapter on the same user prompts.

    Attributes:
        shifts: Rubric -> mean of adapter minus base, score points.
        total: Root mean square of the shifts over rubrics, score points. The noise of a finite sample keeps it above 0,
            and a square has no normal limit at 0, so in place of an interval:
        total_by_chance: What it would be if base and adapter were one model: the two exchanged or not by chance for
            each user prompt, mean over 200 times.
        words: Mean change of length, words.
        n: User prompts that both answered and at least one rubric scored twice.
    """

    shifts: dict[str, Estimate]
    total: Estimate
    total_by_chance: Estimate
    words: Estimate
    n: int


def mean_scores(rows: pd.DataFrame) -> dict[str, Estimate]:
    """Mean score s0, 0-100, by rubric, in the order of the rows."""
    return {
        str(rubric): estimates(part, lambda kept: {"score": float(kept["score"].mean())}, {"score": (0, 100)})["score"]
        for rubric, part in rows.groupby("judged_by", sort=False)
    }


def mean_words(rows: pd.DataFrame) -> Estimate:
    """Mean length of the responses in words, each user prompt weighing the same; nan without any."""
    words = rows.groupby("user_prompt_id")["words"].mean().reset_index()
    return estimates(words, lambda kept: {"words": float(kept["words"].mean())}, {})["words"]


def drift_between(base: pd.DataFrame, adapter: pd.DataFrame, seed: int) -> Drift:
    """How far the adapter moved, paired by user prompt: what only one of the two has is left out."""
    before, after = (
        rows.pivot_table(index="user_prompt_id", columns="judged_by", values="score", sort=False)
        for rows in (base, adapter)
    )
    moved = (after - before).dropna(how="all").dropna(axis="columns", how="all").sort_index()
    order = [rubric for rubric in dict.fromkeys(adapter["judged_by"]) if rubric in moved.columns]
    moved = moved[order]
    lengths = [rows.groupby("user_prompt_id")["words"].mean() for rows in (adapter, base)]
    differences = moved.assign(words=(lengths[0] - lengths[1]).reindex(moved.index)).reset_index()
    shifts = estimates(differences, lambda kept: {name: float(kept[name].mean()) for name in [*order, "words"]}, {})
    words = shifts.pop("words")
    return Drift(
        shifts=shifts,
        total=Estimate(float(np.sqrt((moved.mean() ** 2).mean()))),
        total_by_chance=Estimate(
            float(np.sqrt((flipped_means(moved, seed) ** 2).mean(axis=1)).mean()) if len(moved) else NAN
        ),
        words=words,
        n=len(moved),
    )
