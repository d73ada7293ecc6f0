"""Frames of judged responses as `cpt_tasks.statistics.frame` gives them, from a few columns."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

DEFAULTS: dict[str, Any] = {
    "rubric": "r",
    "level": "none",
    "user_prompt_id": "a",
    "score": float("nan"),
    "reason": "",
    "words": 50.0,
    "wording": "",
    "position": "system",
    "style": "descriptive",
    "cell": "",
    "with_rubric": "",
    "with_level": "",
    "epoch": 1,
}


def frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows with defaults for the columns that they do not name; levels may be `ScoreLevel`s."""
    filled = [DEFAULTS | {"also": {}} | dict(row) for row in rows]
    return pd.DataFrame(
        [row | {"level": str(row["level"]), "with_level": str(row["with_level"])} for row in filled],
        columns=[*DEFAULTS, "also"],
    ).astype({"score": float, "words": float})
