"""The judged responses of a run as the page holds them: all scores in columns, and texts for reading."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cpt_tasks.report.run import Run
from model_calls.errors import was_cut_off
from rubrics import ScoreLevel

LEVELS = tuple(level.value for level in ScoreLevel)
EDGE = 0.1
CODED = ("rubric", "level", "user_prompt_id", "wording", "note")


@dataclass(frozen=True)
class Samples:
    """The scored samples of one model on one benchmark, in the order of its log.

    Attributes:
        task: Name of the benchmark.
        model: Name of the model.
        frame: `rubric`; `level` asked for, a numeric target as text, or another word where no level was asked for;
            `user_prompt_id`, `wording`, `epoch`; `score`, 0-100; `miss`, see `miss`; `words`; `note`, "no response",
            "cut at the token limit" or ""; `system_prompt`, `user_prompt`, `response`; `criteria`, the judge's
            (id, score, reason) by criterion; `holistic`, the judge's overall score, 0-100, or None.
    """

    task: str
    model: str
    frame: pd.DataFrame

    @property
    def rubrics(self) -> list[str]:
        """Ids of the rubrics, as they come."""
        return list(self.frame["rubric"].unique())


def samples_of(run: Run) -> Samples:
    """The scored samples of a run."""
    rows = run.scored.reset_index(drop=True)
    judgments = [record.judgment for record in rows["record"]]
    targets = rows["target"].map(lambda target: "" if math.isnan(target) else f"{target:g}")
    # a benchmark of numeric targets names the target beside the band that holds it
    levels = targets.where(targets != "", rows["level"])
    kept = ["rubric", "user_prompt_id", "wording", "epoch", "score", "system_prompt", "user_prompt", "response"]
    frame = rows[kept].assign(
        level=levels,
        miss=[miss(level, score) for level, score in zip(levels, rows["score"], strict=True)],
        words=rows["words"].astype(int),
        note=[_note(reason, stop) for reason, stop in zip(rows["reason"], rows["stop_reason"], strict=True)],
        criteria=pd.Series([[(one.id, one.score, one.reason) for one in given.criteria] for given in judgments]),
        holistic=pd.Series([given.holistic for given in judgments], dtype=object),
    )
    return Samples(run.task, run.name, frame)


def miss(level: str, score: float) -> float:
    """Score points outside what was asked for: below it negative, above it positive, 0 inside.

    Against a numeric target it is the plain difference; nan where no level was asked for.
    """
    if level in LEVELS:
        asked = ScoreLevel(level)
        # the lower edge of a band belongs to the level below: a hair outside
        return asked.distance(score) or (0.0 if ScoreLevel.of(score) is asked else -EDGE)
    return score - _number(level)


def level_order(levels: Iterable[str]) -> list[str]:
    """Distinct levels as a page lists them: score levels from low up, then targets by size, then words."""

    def place(level: str) -> tuple[int, float, str]:
        if level in LEVELS:
            return (0, LEVELS.index(level), "")
        target = _number(level)
        return (2, 0.0, level) if math.isnan(target) else (1, target, "")

    return sorted(set(levels), key=place)


def columns(frame: pd.DataFrame, kept: Sequence[int]) -> dict[str, Any]:
    """Samples in columns as JSON holds them: the numbers of all, the texts of those at the positions `kept`.

    `text` is the place of a sample's texts among the kept ones, -1 where they are left out. Repeated texts are named
    by number.
    """
    number = {position: place for place, position in enumerate(kept)}
    texts = frame.iloc[list(kept)]
    data: dict[str, Any] = {
        "epoch": frame["epoch"].tolist(),
        "score": frame["score"].round(2).tolist(),
        "miss": [None if math.isnan(points) else round(points, 2) for points in frame["miss"]],
        "words": frame["words"].tolist(),
        "text": [number.get(position, -1) for position in range(len(frame))],
        "response": texts["response"].tolist(),
        "criteria": [[[name, round(score, 2), reason] for name, score, reason in part] for part in texts["criteria"]],
        "holistic": texts["holistic"].tolist(),
    }
    coded = [frame[name] for name in CODED] + [texts["system_prompt"], texts["user_prompt"]]
    for column in coded:
        codes, names = pd.factorize(column)
        data |= {str(column.name): codes.tolist(), f"{column.name}_names": list(names)}
    return data


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _note(reason: str, stop_reason: str) -> str:
    if reason:
        return reason.replace("_", " ")
    return "cut at the token limit" if was_cut_off(stop_reason) else ""
