"""Pairs responses into twins and decides which file a twin goes to: joins and group-bys, no text is touched here.

A twin is (s1, x, y1 > y2) and (s2, x, y2 > y1): two responses of one user prompt and rubric at two levels, the roles
of chosen and rejected swapped with the system prompt. Source: arXiv 2506.11702, section 3. Here a twin is one row with
the columns `first, second` (rows of the responses, the lower level first), `rubric`, `prompt` (what is not parted),
`teacher`, `repeat` (which twin of these two responses), and for each response, with its suffix `_first` or `_second`,
`level`, `score` and `wording` (number of the system prompt that chooses it).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl

from data_gen.twins.inputs import LEVELS
from rubrics import Rubric, ScoreLevel

SIDES = ("first", "second")
KINDS = TWIN, SAME_LEVEL = "twin", "same_level"  # in the column `kind`, which is there with pairs within a level only
_CELL = ("rubric", "user_prompt_id", "teacher", "judge")


def train_wordings(rubrics: Iterable[Rubric]) -> pl.DataFrame:
    """The train wordings: `rubric, level, number`, `wording` (these three as rows name it) and `system`, the text.

    Raises:
        ValueError: If a rubric asks for two levels with one text, so that its twins would contradict themselves.
    """
    rows = [
        (rubric.id, level.value, number, f"{rubric.id}-{level}-train-{number}", text)
        for rubric in rubrics
        for level in (ScoreLevel if rubric.system_prompts else ())
        for number, text in enumerate(rubric.wordings(level, "train"))
    ]
    first: dict[tuple[str, str], str] = {}
    for rubric_id, _, _, wording, text in rows:
        if (other := first.setdefault((rubric_id, text), wording)) != wording:
            raise ValueError(f"wording {wording} has the text of {other}, expected each text at one level")
    columns: dict[str, Any] = {"rubric": pl.String, "level": LEVELS, "number": pl.Int64}
    return pl.DataFrame(rows, schema=columns | {"wording": pl.String, "system": pl.String}, orient="row")


def pair_responses(
    frame: pl.DataFrame, level_pairs: Sequence[tuple[ScoreLevel, ScoreLevel]], min_gap: float = 0.0
) -> pl.DataFrame:
    """Twins without wordings, cell by cell, a cell's level pairs in the order given.

    A cell holds the responses to one user prompt for one rubric, by one teacher, judged by one judge: scores of two
    judges are not compared. Cells come in the order of their first responses; within one, the first response of a level
    goes with the first of the other, the second with the second, as far as both go.

    Args:
        frame: Of the responses that may train.
        level_pairs: Levels to pair, the lower one first.
        min_gap: Least difference of the two scores, in score points.
    """
    frame = frame.select(
        *("row", "rubric", "level", "score", "prompt", "teacher"),
        cell=pl.col("row").min().over(_CELL),
        place=pl.int_range(pl.len()).over(*_CELL, "level"),
    )
    parts = []
    for number, (lower, higher) in enumerate(level_pairs):
        lows = frame.filter(pl.col("level") == lower.value)
        highs = frame.filter(pl.col("level") == higher.value).select("cell", "place", "row", "level", "score")
        pairs = lows.join(highs, on=["cell", "place"], suffix="_second")
        if min_gap:
            pairs = pairs.filter(pl.col("score_second") - pl.col("score") >= min_gap)
        parts.append(pairs.with_columns(number=number))
    return (
        pl.concat(parts)
        .sort("cell", "number", "row")
        .select(
            *("rubric", "prompt", "teacher", "level_second", "score_second"),
            first="row",
            second="row_second",
            level_first="level",
            score_first="score",
        )
    )


def draw_wordings(twins: pl.DataFrame, wordings: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """The twins with a `wording` for each side, drawn evenly out of the train wordings of its rubric and level."""
    counts = wordings.group_by("rubric", "level").agg(pl.len().cast(pl.Int64).alias("count"))
    columns = []
    for side in SIDES:
        asked = twins.select("rubric", level=f"level_{side}")
        joined = asked.join(counts, on=["rubric", "level"], how="left", maintain_order="left")
        columns.append(joined["count"].to_numpy())
    drawn = rng.integers(0, np.stack(columns, axis=1))
    return twins.with_columns(pl.Series(f"wording_{side}", drawn[:, place]) for place, side in enumerate(SIDES))


def repeat_twins(twins: pl.DataFrame, n_wordings: int) -> pl.DataFrame:
    """Every twin `n_wordings` times, adjacent, for as many draws of wordings.

    A student that sees a response under one wording only learns the wording, not what it asks for.
    """
    repeats = pl.DataFrame({"repeat": range(n_wordings)}, schema={"repeat": pl.Int64})
    return twins.join(repeats, how="cross", maintain_order="left_right")


def split_twins(twins: pl.DataFrame, n_eval_prompts: int, rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    """Twins by file, "train" and "eval", each in the order they came; eval has all twins of user prompts drawn.

    Raises:
        ValueError: If no prompt would be left for training.
    """
    prompts = twins["prompt"].unique().sort()
    if n_eval_prompts >= len(prompts):
        most = len(prompts) - 1
        raise ValueError(f"eval prompts: got {n_eval_prompts}, expected at most {most} of those in the data")
    drawn = prompts[rng.choice(len(prompts), size=n_eval_prompts, replace=False)]
    in_eval = twins["prompt"].is_in(drawn.implode())
    return {"train": twins.filter(~in_eval), "eval": twins.filter(in_eval)}


def first_twins(twins: pl.DataFrame, limit: int, rng: np.random.Generator) -> pl.DataFrame:
    """At most `limit` twins drawn at random, in the order they came; 0 means all."""
    return twins[np.sort(rng.permutation(len(twins))[:limit])] if limit else twins


def only(kind: str, pairs: pl.DataFrame) -> pl.DataFrame:
    """Those of one kind; without the column `kind` all are twins."""
    if "kind" in pairs.columns:
        return pairs.filter(pl.col("kind") == kind)
    return pairs if kind == TWIN else pairs.clear()


def count_kinds(pairs: pl.DataFrame) -> dict[str, int]:
    """Number of twins and, if there may be some, of pairs within a level."""
    kinds = KINDS if "kind" in pairs.columns else [TWIN]
    return {"twins" if kind == TWIN else kind: len(only(kind, pairs)) for kind in kinds}
