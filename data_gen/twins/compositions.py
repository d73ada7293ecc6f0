"""Compositions: twins whose system prompt asks for two rubrics at once, each at a level of its own.

The columns of such a twin are described in `pairing.py`.
"""

import numpy as np
import polars as pl

from data_gen.twins.inputs import LEVELS, Responses
from rubrics import LOW_MAX, MODERATE_MAX

_POOL = ("user_prompt_id", "teacher", "rubric", "with_rubric", "judge", "with_judge")


def compose(responses: Responses, per_pool: int, rng: np.random.Generator, min_gap: float = 0.0) -> pl.DataFrame:
    """Compositions without wordings, pool by pool.

    Made of two responses of one user prompt and teacher that two rubrics judged (`TeacherResponse.also`), whatever
    rubrics they were written for: what is asked of a rubric is the level that its judge saw, and the two responses
    differ in the level of at least one.

    Args:
        responses: What may train.
        per_pool: At most this many distinct pairs of responses for each (user prompt, teacher, rubric pair).
        rng: Draws the pairs and which wording stands first.
        min_gap: Least difference of the two scores by a rubric whose level differs, in score points.
    """
    judged = _judged_twice(responses)
    pairs = judged.join(judged.drop("prompt"), on=_POOL, suffix="_second")
    is_lower = [pl.col(f"{prefix}level") < pl.col(f"{prefix}level_second") for prefix in ("", "with_")]
    is_equal = [pl.col(f"{prefix}level") == pl.col(f"{prefix}level_second") for prefix in ("", "with_")]
    gaps = [(pl.col(f"{prefix}score") - pl.col(f"{prefix}score_second")).abs() for prefix in ("", "with_")]
    is_apart = [equal | (gap >= min_gap) for equal, gap in zip(is_equal, gaps, strict=True)]
    pairs = pairs.filter(is_lower[0] | (is_equal[0] & is_lower[1]), *is_apart).sort(*_POOL, "row", "row_second")
    pairs = pairs.with_columns(draw=pl.Series(rng.random(len(pairs))))
    pairs = pairs.filter(pl.col("draw").rank("ordinal").over(_POOL) <= per_pool)
    swapped = rng.integers(0, 2, size=(len(pairs), 2)).astype(bool)
    sides = {f"{name}_first": name for name in ("level", "score", "with_level", "with_score")}
    return pairs.select(
        *("rubric", "with_rubric", "prompt", "teacher"),
        *(name.replace("_first", "_second") for name in sides),
        **sides,
        first="row",
        second="row_second",
        repeat=pl.lit(0, pl.Int64),
        swapped_first=pl.Series(swapped[:, 0]),
        swapped_second=pl.Series(swapped[:, 1]),
    )


def _judged_twice(responses: Responses) -> pl.DataFrame:
    """Responses judged by two rubrics, once for each two, with `rubric, judge, score, level` of either."""
    also = responses.scan.select("row", "also").explode("also").drop_nulls().unnest("also").collect()
    own = responses.frame.select("row", "rubric", "judge", "score")
    level = pl.col("score").cut([LOW_MAX, MODERATE_MAX], labels=LEVELS.categories.to_list())
    judgments = pl.concat([own, also]).with_columns(level=level.cast(pl.String).cast(LEVELS))
    both = judgments.join(judgments.select("row", pl.all().exclude("row").name.prefix("with_")), on="row")
    prompts = responses.frame.select("row", "user_prompt_id", "prompt", "teacher")
    return both.filter(pl.col("rubric") < pl.col("with_rubric")).join(prompts, on="row")
