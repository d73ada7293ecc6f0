"""The judged responses of a run as the page holds them: all scores in columns, and texts for reading."""

import base64
import gzip
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cpt_tasks.report.run import Run
from cpt_tasks.statistics.frame import answered
from model_calls.errors import was_cut_off
from rubrics import ScoreLevel

LEVELS = tuple(level.value for level in ScoreLevel)
EDGE = 0.1
EDITED = "scored by a person"
KEPT = ["rubric", "user_prompt_id", "wording", "epoch", "score", "system_prompt", "user_prompt", "response"]
CODED = ("rubric", "level", "user_prompt_id", "wording", "note")
# ends of elements and comments, and the line ends that JSON allows and older scripts do not
_UNSAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def samples_of(run: Run) -> pd.DataFrame:
    """The scored samples of a run, in the order of its log.

    `level` is the one asked for, a numeric target as text, or another word where none was asked for; `wording` names
    the turn of a conversation too; `miss` see `miss`; `note` is "no response", "cut at the token limit", "scored by a
    person" or ""; `criteria` are the judge's (id, score, reason), and `holistic` its overall score, 0-100, or None.
    """
    rows = run.scored.reset_index(drop=True)
    judgments = [getattr(record, "judgment", None) for record in rows["record"]]
    targets = rows["target"].map(lambda target: "" if math.isnan(target) else f"{target:g}")
    # a benchmark of numeric targets names the target beside the band that holds it
    levels = targets.where(targets != "", rows["level"])
    misses = pd.Series([miss(level, score) for level, score in zip(levels, rows["score"], strict=True)], dtype=float)
    cut = rows["stop_reason"].map(lambda stop: "cut at the token limit" if was_cut_off(stop) else "")
    return rows[KEPT].assign(
        level=levels,
        wording=rows["wording"].mask(rows["turn"] != "", rows["wording"] + ", turn " + rows["turn"].astype(str)),
        # what is no response is in no band, and on no target
        miss=misses.mask(~answered(rows) & (levels.isin(LEVELS) | (misses == 0)), -EDGE),
        words=rows["words"].astype(int),
        note=rows["reason"].str.replace("_", " ").where(rows["reason"] != "", cut).mask(rows["edited"], EDITED),
        criteria=pd.Series(
            [[(one.id, one.score, one.reason) for one in getattr(given, "criteria", ())] for given in judgments]
        ),
        holistic=pd.Series([getattr(given, "holistic", None) for given in judgments], dtype=object),
    )


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


def kept_texts(samples: pd.DataFrame, most: int) -> list[int]:
    """Positions, ascending, of at most so many samples whose texts are kept: as many of every (rubric, level).

    Those of a cell lie evenly between the farthest from what was asked for (from 100 where nothing was) and the
    nearest; the order of the log settles ties.
    """
    distance = samples["miss"].abs().fillna(100 - samples["score"]).sort_values(ascending=False, kind="stable")
    cells = [cell.index for _, cell in distance.groupby([samples["rubric"], samples["level"]])]
    per_cell = most // max(1, len(cells))
    ranks = [np.linspace(0, len(cell) - 1, min(per_cell, len(cell))).round().astype(int) for cell in cells]
    return sorted(position for cell, chosen in zip(cells, ranks, strict=True) for position in cell[chosen].tolist())


def columns(samples: pd.DataFrame, kept: Sequence[int]) -> dict[str, Any]:
    """Samples in columns as JSON holds them: the numbers of all, the texts of those at the positions `kept`.

    `text` is the place of a sample's texts among the kept ones, -1 where they are left out. Repeated texts are named
    by number.
    """
    number = {position: place for place, position in enumerate(kept)}
    texts = samples.iloc[list(kept)]
    data: dict[str, Any] = {
        "epoch": samples["epoch"].tolist(),
        "score": samples["score"].round(2).tolist(),
        # 0 is in the band, and what rounds to it is not
        "miss": [
            None if math.isnan(points) else round(points, 2) or math.copysign(0.01, points) * (points != 0)
            for points in samples["miss"]
        ],
        "words": samples["words"].tolist(),
        "text": [number.get(position, -1) for position in range(len(samples))],
        "response": texts["response"].tolist(),
        "criteria": [[[name, round(score, 2), reason] for name, score, reason in part] for part in texts["criteria"]],
        "holistic": texts["holistic"].tolist(),
    }
    for column in [samples[name] for name in CODED] + [texts["system_prompt"], texts["user_prompt"]]:
        codes, names = pd.factorize(column)
        data |= {str(column.name): codes.tolist(), f"{column.name}_names": list(names)}
    return data


def safe_json(value: Any) -> str:
    """JSON for a data block of a page, that no text in it can end; raises ValueError on nan, which is not JSON."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # a lone surrogate, which a model's text can hold, has no UTF-8
    return text.translate(_UNSAFE).encode("utf-8", "backslashreplace").decode()


def blob(value: Any) -> str:
    """Gzipped JSON in base64: the same bytes for the same value and zlib."""
    return base64.b64encode(gzip.compress(safe_json(value).encode(), 9, mtime=0)).decode()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
