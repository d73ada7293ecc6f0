"""Compositions: twins whose system prompt asks for two rubrics at once, each at a level of its own.

The columns of such a twin are described in `pairing.py`.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_gen.twins.inputs import Responses
from data_gen.twins.pairing import Numbers, Wordings, with_details
from rubrics import LOW_MAX, MODERATE_MAX


def compose(
    responses: Responses,
    per_pool: int,
    wordings: Wordings,
    rng: np.random.Generator,
    *,
    min_gap: float = 0.0,
    across_teachers: bool = False,
) -> pl.DataFrame:
    """Compositions, wordings drawn: twins whose system prompt asks for two rubrics, each at a level of its own.

    Made of two responses of one user prompt and teacher that both rubrics judged (`TeacherResponse.also`): what is
    asked of a rubric is the level that its judge found, and the two responses differ in the level of at least one.

    Args:
        responses: What may train, with judgments by other rubrics.
        per_pool: At most this many distinct pairs of responses for each (user prompt, teacher, rubric pair), whatever
            rubrics the responses were written for.
        wordings: To draw from.
        rng: Draws the pairs, the wordings and which wording stands first.
        min_gap: Least difference of the two scores by a rubric whose level differs, in score points.
        across_teachers: Whether the two responses may be of two teachers.
    """
    judged = _judged_twice(responses.frame)
    pool = ["prompt", *["teacher"] * (not across_teachers), "rubric", "with_rubric", "judge", "with_judge"]
    judged = judged.sort(*pool, "row").with_columns(size=pl.len().over(pool))
    scores = judged.select("score", "with_score").to_numpy()
    ranks = np.searchsorted([LOW_MAX, MODERATE_MAX], scores, side="left")
    one, other = _draw_in_pools(judged["size"], scores, ranks, per_pool, min_gap, rng)
    code = ranks[:, 0] * 3 + ranks[:, 1]
    first, second = np.where(code[one] < code[other], one, other), np.where(code[one] < code[other], other, one)
    twins = with_details(pl.DataFrame({"first": judged["row"][first], "second": judged["row"][second]}), responses)
    rubrics = judged.select("rubric", "with_rubric").to_numpy()[first]
    levels = np.stack([ranks[first, 0], ranks[second, 0], ranks[first, 1], ranks[second, 1]], axis=1)
    asked = wordings.draw(np.repeat(rubrics, 2, axis=1), levels, rng)
    swapped = rng.integers(0, 2, size=(len(twins), 2)).astype(bool)
    columns = {"rubric": rubrics[:, 0], "with_rubric": rubrics[:, 1], "repeat": np.zeros(len(twins), dtype=np.int32)}
    for side, places in (("first", first), ("second", second)):
        number = int(side == "second")
        columns |= {f"score_{side}": scores[places, 0], f"with_score_{side}": scores[places, 1]}
        columns |= {f"rank_{side}": ranks[places, 0], f"with_rank_{side}": ranks[places, 1]}
        columns |= {f"wording_{side}": asked[:, number], f"with_wording_{side}": asked[:, 2 + number]}
        columns |= {f"swapped_{side}": swapped[:, number]}
    return twins.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def _draw_in_pools(
    sizes: pl.Series,
    scores: NDArray[np.float64],
    ranks: Numbers,
    per_pool: int,
    min_gap: float,
    rng: np.random.Generator,
) -> Numbers:
    """Places of the two responses of each drawn pair; pools are adjacent, and each place says the size of its own."""
    pairs = [np.zeros((2, 0), dtype=np.int64)]
    start = 0
    while start < len(sizes):
        size = sizes[start]
        one, other = (start + places for places in np.triu_indices(size, 1))
        differs = ranks[one] != ranks[other]
        apart = np.abs(scores[one] - scores[other]) >= min_gap
        allowed = np.flatnonzero(differs.any(axis=1) & (apart | ~differs).all(axis=1))
        drawn = np.sort(rng.permutation(allowed)[:per_pool])
        pairs.append(np.stack([one[drawn], other[drawn]]))
        start += size
    drawn_pairs: Numbers = np.concatenate(pairs, axis=1)
    return drawn_pairs


def _judged_twice(frame: pl.DataFrame) -> pl.DataFrame:
    """Responses judged by two rubrics, once for each two, with `rubric, judge, score` of either, one as `with_`."""
    also = frame.select("row", "also").explode("also").drop_nulls().unnest("also")
    own = frame.select("row", "rubric", "judge", "score")
    judgments = pl.concat([own, also], how="vertical_relaxed")
    both = judgments.join(judgments.select("row", pl.all().exclude("row").name.prefix("with_")), on="row")
    return both.filter(pl.col("rubric") < pl.col("with_rubric")).join(
        frame.select("row", "prompt", "teacher"), on="row", maintain_order="left"
    )
