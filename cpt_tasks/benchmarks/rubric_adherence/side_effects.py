"""Side effects: what asking for one rubric does to the scores by the others. Numbers and tables.

Cell (r, q) of the matrix is what happens to the score by rubric q when a model that is asked for rubric r is asked for
extremely_high instead of low. Its diagonal is the dynamic range; the rest is side effects. `rubric_adherence` judged by
further rubrics (`also`) and `composition` have one.
"""

from typing import Any

import numpy as np
import pandas as pd

from cpt_tasks.report.run import Run
from cpt_tasks.report.section import ModelSummaries
from cpt_tasks.report.text import cell, cells, counted, json_of
from cpt_tasks.statistics.frame import by_every_rubric, with_level
from cpt_tasks.statistics.paired import flipped_means
from judges.interval import NAN, Estimate, estimates
from rubrics import ScoreLevel

METRICS = ("side_effects", "side_effects_by_chance", "sensibility", "specificity")
INTRO = (
    "Side effects: what asking for a rubric at extremely_high instead of low does to the scores by every rubric, in "
    "score points, on the same user prompts. The diagonal is the dynamic range. `side_effects` is the mean absolute "
    "shift off the diagonal over the mean of the diagonal (0 is best); read it against `side_effects_by_chance`, what "
    "noise alone would give. `sensibility` and `specificity` are the percentile rank of the diagonal in its row and in "
    "its column (1 is best). Absolute values and ranks have no interval."
)
LOW, HIGH = ScoreLevel.LOW.value, ScoreLevel.EXTREMELY_HIGH.value
CELL = ["rubric", "judged_by"]


def shifts_by_prompt(frame: pd.DataFrame) -> pd.DataFrame:
    """Score at extremely_high minus score at low, in score points, by (rubric, judged_by, user_prompt_id).

    From the responses that were asked for one rubric alone. Repeated ones are averaged; a prompt that lacks one of the
    two levels is left out.
    """
    asked = with_level(frame)
    judged = by_every_rubric(asked[asked["with_rubric"] == ""])
    means = judged.groupby([*CELL, "user_prompt_id", "level"], sort=False)["score"].mean().unstack(sort=False)
    means = means.reindex(columns=[LOW, HIGH])
    return (means[HIGH] - means[LOW]).dropna().rename("shift").reset_index()


def side_effect_statistics(shifts: pd.DataFrame, seed: int) -> dict[str, float]:
    """The numbers of `METRICS`, from the shifts by prompt.

    - `side_effects`: mean absolute shift off the diagonal over the mean of the diagonal; 0 when asking for a rubric
      changes no other, 1 when it changes others as much. nan without a cell off the diagonal, or if the diagonal's mean
      is not above 0. The noise of a finite sample keeps it above 0, so beside it:
    - `side_effects_by_chance`: what it would be with this diagonal if the shifts off it were noise around 0. nan
      where every shift is of one user prompt.
    - `sensibility`: percentile rank, 0-1, of the diagonal cell among the shifts of its row (of all rubrics, does the
      one asked for move most?), mean over rows; 1 is best, 1 / n what the worst gets; ties get the highest rank. nan
      with fewer than two cells. `specificity`: the same within its column.

    Source of sensibility and specificity: Plastic Labs, steerability-eval (2024).
    """
    matrix = shifts.pivot_table(index="user_prompt_id", columns=CELL, values="shift", sort=True)
    means = matrix.mean()
    own = means.index.get_level_values("rubric") == means.index.get_level_values("judged_by")
    diagonal = float(means[own].mean())

    def relative(rows: np.ndarray) -> float:
        return float(pd.DataFrame(np.abs(rows)).mean(axis=1).mean()) / diagonal if diagonal > 0 else NAN

    return {
        "side_effects": relative(means[~own].to_numpy()[None]),
        "side_effects_by_chance": relative(flipped_means(matrix.loc[:, ~own], seed)),
        "sensibility": _percentile(means.unstack()),
        "specificity": _percentile(means.unstack().T),
    }


def with_side_effects(entry: dict[str, Any], run: Run, seed: int) -> dict[str, Any]:
    """An entry of summary.json with the cells under `side_effects` and the summary numbers in its `metrics`.

    The entry as it is, for a run that was judged by no further rubric.
    """
    shifts = shifts_by_prompt(run.frame)
    if (shifts["rubric"] == shifts["judged_by"]).all():
        return entry
    matrix = []
    for (steered, scored), rows in shifts.groupby(CELL, sort=False):
        shift = estimates(rows, lambda part: {"shift": float(part["shift"].mean())}, {})["shift"].to_json()
        named = {"shift": shift.pop("value")} | shift
        matrix.append({"steered": steered, "scored": scored, "n": len(rows)} | named)
    statistics = side_effect_statistics(shifts, seed)
    return entry | {
        "side_effects": matrix,
        "metrics": entry["metrics"] | json_of({name: Estimate(value) for name, value in statistics.items()}),
        "further_failures": run.judging.further_failures,
    }


def side_effect_tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """The summary numbers of every model, and each model's matrix, steered rubrics as rows; {} without any."""
    measured = {name: part for name, part in models.items() if part.get("side_effects")}
    rows = []
    matrices = {}
    for name, part in measured.items():
        numbers = cells({metric: part["metrics"][metric] for metric in METRICS})
        rows.append({"model": name} | numbers | {"failed judgments": counted(part["further_failures"])})
        shown = [
            {"asked for": entry["steered"], "judged by": entry["scored"]}
            | {"shift": cell(entry | {"value": entry["shift"]}, 1)}
            for entry in part["side_effects"]
        ]
        table = pd.DataFrame(shown).pivot(index="asked for", columns="judged by", values="shift")
        caption = f"Side effects of {name}: asked for (row), judged by (column), score points"
        matrices[caption] = table.fillna("").rename_axis(columns=None).reset_index()
    return {"Side effects": pd.DataFrame(rows)} | matrices if measured else {}


def _percentile(grid: pd.DataFrame) -> float:
    """Mean percentile rank of the diagonal cells among their rows; rows with one cell are left out."""
    ranks = grid.rank(axis=1, method="max", pct=True)[grid.notna().sum(axis=1) > 1]
    diagonal = [ranks.at[name, name] for name in ranks.index.intersection(ranks.columns)]
    return float(pd.Series(diagonal, dtype=float).mean())
