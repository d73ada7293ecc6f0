"""Statistics of `drift`: how a model writes when nothing is asked of its style, and how far training moved that."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cpt_tasks.statistics.frame import by_every_rubric
from cpt_tasks.statistics.paired import flipped_means
from judges.interval import NAN, Bounds, Estimate, estimates

WORDS = "(words)"  # a column beside those that are named by rubrics


def by_prompt(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per user prompt: mean score by each rubric, 0-100, rubrics as in the frame, and mean length as `WORDS`.

    What is no response has a length alone.
    """
    rows = by_every_rubric(frame)
    scores = rows.pivot_table(index="user_prompt_id", columns="judged_by", values="score", sort=False)
    return scores.join(frame.groupby("user_prompt_id")["words"].mean().rename(WORDS), how="outer").sort_index()


def moved(base: pd.DataFrame, adapter: pd.DataFrame) -> pd.DataFrame:
    """Adapter minus base, tables of `by_prompt`: what only one of the two has is left out."""
    differences = (adapter - base).reindex(columns=adapter.columns)
    return differences.dropna(how="all").dropna(axis="columns", how="all")


def column_means(table: pd.DataFrame, bounds: Mapping[str, Bounds] | None = None) -> dict[str, Estimate]:
    """Mean of every column over the user prompts that it has a value for, each weighing the same."""
    return estimates(table.reset_index(), lambda rows: dict(rows[table.columns].mean()), bounds or {})


def total_drift(differences: pd.DataFrame, seed: int) -> dict[str, float]:
    """How far all rubrics moved together, score points; nan without a pair.

    `total_drift` is the root mean square over rubrics of their mean differences. The noise of a finite sample keeps it
    above 0, and a square has no normal limit at 0, so in place of an interval `total_by_chance`: what noise alone would
    give if no rubric had moved, mean over 200 tosses, see `flipped_means`; nan with one user prompt.
    """
    scores = differences.drop(columns=WORDS, errors="ignore")
    if scores.empty:
        return {"total_drift": NAN, "total_by_chance": NAN}
    by_chance = np.sqrt(pd.DataFrame(flipped_means(scores, seed) ** 2).mean(axis=1))
    return {"total_drift": float(np.sqrt((scores.mean() ** 2).mean())), "total_by_chance": float(by_chance.mean())}
