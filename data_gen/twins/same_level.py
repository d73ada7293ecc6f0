"""Pairs within a level, beside the twins: one system prompt, chosen in the band it asks for, rejected out of it.

Twins teach which way a system prompt points, these how far: (s, x, y1 > y2), with y1 and y2 both written for the level
that s asks for. So rejection sampling on a student's own responses becomes preference data; iterated, as in
Self-Rewarding Language Models (arXiv 2401.10020), here with the distance from a band in place of a judge's preference.
A pair is a row with the columns of a twin (`pairing.py`): first the chosen response, second the rejected one, both
levels the same, and `wording_first` the only system prompt.
"""

import numpy as np
import polars as pl

from data_gen.twins.pairing import draw_wordings

QUESTION = ("rubric", "level", "user_prompt_id", "judge")
CELL = (*QUESTION, "teacher")


def pair_within_levels(
    frame: pl.DataFrame, wordings: pl.DataFrame, most: int, min_gap: float, rng: np.random.Generator
) -> pl.DataFrame:
    """At most `most` pairs per cell, each response in at most one of them, drawn at random.

    A cell holds the responses to one user prompt for one rubric and level, by one teacher, judged by one judge.
    Responses written under the same system prompt are paired first; those left over go together whatever they were
    written under, since all wordings of a level ask for one band. What a teacher missed, with nothing of its own in
    band left to set against it, is rejected for a response in band by another teacher. The pair has the train wording
    that the chosen one was written under, else that of the rejected one, or one drawn if neither has any. Which of the
    responses out of band is rejected is drawn evenly: the moderate band is missed on both sides, and the nearest or the
    farthest would teach one of them only. `frame` has the responses out of band too; `min_gap` is the least difference
    of the two scores, in score points.
    """
    numbers = wordings.select("rubric", "level", "wording", "number")
    drawn = (
        frame.with_columns(
            draw=pl.Series(rng.permutation(len(frame))),
            cell=pl.col("row").min().over(CELL),
            question=pl.col("row").min().over(QUESTION),
        )
        .join(numbers, on=["rubric", "level", "wording"], how="left", maintain_order="left")
        .sort("draw")
    )
    pairs = _in_turn(drawn, ["cell", "wording"], min_gap)
    for keys in (["cell"], ["question"]):
        pairs = pairs.filter(pl.int_range(pl.len()).over("cell") < most)
        used = pl.concat([pairs["first"], pairs["second"]]).implode()
        full = pairs.filter(pl.len().over("cell") >= most)["cell"].implode()
        left = drawn.filter(~pl.col("row").is_in(used) & (pl.col("in_band") | ~pl.col("cell").is_in(full)))
        pairs = pl.concat([pairs, _in_turn(left, keys, min_gap)])
    pairs = pairs.filter(pl.int_range(pl.len()).over("cell") < most).sort("cell", "first").drop("cell")
    own = pairs["number"]
    pairs = draw_wordings(pairs.drop("number").with_columns(repeat=pl.lit(0, pl.Int64)), wordings, rng)
    return pairs.with_columns(wording_first=own.fill_null(pairs["wording_first"]))


def _in_turn(frame: pl.DataFrame, keys: list[str], min_gap: float) -> pl.DataFrame:
    """The first response in band goes with the first out of it, the second with the second, in cells of the keys."""
    placed = frame.with_columns(place=pl.int_range(pl.len()).over(*keys, "in_band"))
    chosen, rejected = placed.filter("in_band"), placed.filter(~pl.col("in_band")).with_columns(rejected_in="cell")
    pairs = chosen.join(rejected, on=[*keys, "place"], suffix="_second", maintain_order="left")
    return pairs.filter((pl.col("score") - pl.col("score_second")).abs() >= min_gap).select(
        *("rubric", "prompt", "teacher", "score_second"),
        cell="rejected_in",
        number=pl.coalesce("number", "number_second"),
        level_second="level",
        first="row",
        second="row_second",
        level_first="level",
        score_first="score",
    )
