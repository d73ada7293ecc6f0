"""Statistics of `multi_turn`: does what is asked hold from turn to turn, and how is a change of it followed?

By turn, the statistics of `rubric_adherence`. The others are a number per conversation, and their mean within
(rubric, level asked for) cells, then over those. Intervals leave out scripts in turn: at any turn a script is a user
prompt, and the turns of a conversation stay together. Prompts take every turn once, so that they move no slope; the
interval of a slope does not know that, and is a little wide. Those of `first_out_of_band` and `turns_to_band`, of which
scripts share prompts, are too narrow where prompts differ strongly.

- `persistence`: least-squares slope over the turns of the distance from the score to the band asked for, points per
  turn. 0 holds (or fails as much at every turn: read it beside the first one), above 0 fades. Answers only.
- `first_out_of_band`: turn of the first answer out of the band, from 1; one more than there are turns where none is.

Of each switch, and of the one back with `back_` before the name:

- `switch_accuracy`, `fresh_accuracy`: share, 0-1, of first answers after the switch in the band of what is asked then,
  and of answers to the same user prompt in a conversation that begins with it. `history_cost`: fresh minus switch.
- `turns_to_band`: turns from the switch to the first answer in the band, 1 for the answer after it; one more than
  there are turns where none is.

A number that hangs on an answer without a score is nan; what is no response is out of band, and in no distance.
"""

import re
from typing import Any

import numpy as np
import pandas as pd

from cpt_tasks.benchmarks.dose_response.statistics import slope
from cpt_tasks.benchmarks.multi_turn.conversations import BACK, FRESH, HELD, SWITCHED
from cpt_tasks.benchmarks.rubric_adherence.averages import over_cells
from cpt_tasks.benchmarks.rubric_adherence.statistics import band_error, macro_accuracy, somers_d
from cpt_tasks.statistics.frame import answered, in_band
from cpt_tasks.statistics.table import Statistic, estimates_of, statistic
from judges.interval import NAN, Bounds, Estimate, Floats
from rubrics import ScoreLevel

BY_TURN = {"accuracy": macro_accuracy, "order": somers_d, "calibration": band_error}
STEADY = ("persistence", "first_out_of_band")
PREFIXES = {SWITCHED: "", BACK: "back_"}
SWITCH = ("switch_accuracy", "fresh_accuracy", "history_cost", "turns_to_band")
CONVERSATION = ["conversation", "epoch"]
PAIRED = ["rubric", "level", "wording", "question", "epoch"]  # equal in a first answer and its fresh one
CELL = ["rubric", "level", "user_prompt_id"]
IN_POINTS = ("persistence", "calibration")
# In names of what `compared` gives: `rubric_adherence` tests the first turn, and of the others scripts share prompts.
UNTESTED = re.compile("turn 1 |first_out_of_band|turns_to_band")


def arms_of(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each arm, in the order of the log, and with them the fresh conversations.

    `user_prompt_id` is the script, `question` the user prompt, `hit` 1 in the band asked for, else 0, and `distance`
    the points to it; nan without a score, and the distance without a response.
    """
    if frame.empty:
        return {}
    scored = frame[frame["score"].notna()]
    has_score = scored[answered(scored)]
    gaps = [
        abs(ScoreLevel(level).distance(score))
        for level, score in zip(has_score["level"], has_score["score"], strict=True)
    ]
    rows = frame.assign(
        question=frame["user_prompt_id"],
        user_prompt_id=frame["script"],
        hit=in_band(scored).astype(float).reindex(frame.index),
        distance=pd.Series(gaps, index=has_score.index, dtype=float).reindex(frame.index),
    )
    is_fresh = rows["stage"] == FRESH
    return {str(arm): rows[is_fresh | (rows["style"] == arm)] for arm in rows.loc[~is_fresh, "style"].unique()}


def by_turn(rows: pd.DataFrame) -> dict[int, dict[str, Estimate]]:
    """The statistics of `BY_TURN` at each turn of an arm, of what is asked at that turn."""
    asked = rows[(rows["stage"] != FRESH) & rows["score"].notna()]
    return {int(str(turn)): estimates_of(part, BY_TURN) for turn, part in asked.groupby("turn")}


def measured(rows: pd.DataFrame) -> dict[str, Estimate]:
    """The other statistics of an arm by name: those of a held request, or of each switch."""
    return {name: estimates_of(part, {name: mean})[name] for name, (part, mean) in values_of(rows).items()}


def compared(frame: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, Statistic]]:
    """What models are compared by: `BY_TURN` at the first and last turn, as turns share prompts, and `values_of`."""
    numbers: dict[str, tuple[pd.DataFrame, Statistic]] = {}
    arms = arms_of(frame)
    for arm, rows in arms.items():
        answers = rows[(rows["stage"] != FRESH) & rows["score"].notna()]
        ends = {f"turn {turn} ": answers[answers["turn"] == turn] for turn in (1, rows["turn"].max())}
        of_arm = {f"{turn}{name}": (part, one) for turn, part in ends.items() for name, one in BY_TURN.items()}
        of_arm |= values_of(rows)
        numbers |= {f"{arm}: {name}" if len(arms) > 1 else name: number for name, number in of_arm.items()}
    return numbers


def values_of(rows: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, Statistic]]:
    """For each of the other statistics a row per conversation, with its number as `score`, and what averages them."""
    own = rows[rows["stage"] != FRESH].sort_values("turn", kind="stable")
    if (own["stage"] == HELD).any():
        last = float(own["turn"].max())
        numbers = [_held(part) for _, part in own.groupby(CONVERSATION, sort=False)]
        return {name: _averaged(numbers, name, (1.0, last + 1) if name != "persistence" else None) for name in STEADY}
    fresh = rows[rows["stage"] == FRESH].groupby(PAIRED)["hit"].first()
    values: dict[str, tuple[pd.DataFrame, Statistic]] = {}
    for stage in [stage for stage in PREFIXES if (own["stage"] == stage).any()]:
        parts = own[own["stage"] == stage].groupby(CONVERSATION, sort=False)
        numbers = [_switched(part, fresh) for _, part in parts]
        bounds = dict.fromkeys(SWITCH[:2], (0.0, 1.0)) | {"turns_to_band": (1.0, float(parts.size().max()) + 1)}
        values |= {f"{PREFIXES[stage]}{name}": _averaged(numbers, name, bounds.get(name)) for name in SWITCH}
    return values


def first_turn(hits: Floats, wanted: bool) -> float:
    """Place, from 1, of the first hit (or, not wanted, of the first miss); one more than there are if there is none.

    nan where one that is not known (nan) comes before it.
    """
    for place, hit in enumerate(hits, 1):
        if np.isnan(hit):
            return NAN
        if bool(hit) is wanted:
            return float(place)
    return float(len(hits) + 1)


def _held(part: pd.DataFrame) -> dict[str, Any]:
    turns, distances, hits = (part[name].to_numpy(np.float64) for name in ("turn", "distance", "hit"))
    numbers = {"persistence": slope(turns, distances), "first_out_of_band": first_turn(hits, False)}
    return {name: part.iloc[0][name] for name in (*CELL, *CONVERSATION)} | numbers


def _switched(part: pd.DataFrame, fresh: "pd.Series[float]") -> dict[str, Any]:
    first = part.iloc[0]
    hit, other = float(first["hit"]), float(fresh.get(tuple(first[PAIRED]), NAN))
    both = np.where(np.isnan(hit + other), NAN, [hit, other, other - hit])
    numbers = dict(zip(SWITCH, [*both, first_turn(part["hit"].to_numpy(np.float64), True)], strict=True))
    return {name: first[name] for name in (*CELL, *CONVERSATION)} | numbers


def _averaged(numbers: list[dict[str, Any]], name: str, bounds: Bounds | None) -> tuple[pd.DataFrame, Statistic]:
    rows = pd.DataFrame(numbers)[[*CELL, *CONVERSATION, name]].rename(columns={name: "score"})
    mean = statistic(bounds)(lambda table, weights: over_cells(table, weights, table.score))
    return rows.assign(words=0.0, reason="").dropna(subset="score"), mean
