"""Pairs responses into twins and decides which file a twin goes to: joins and group-bys, no text is touched here.

A twin is (s1, x, y1 > y2) and (s2, x, y2 > y1): two responses of one user prompt and rubric at two levels, the roles
of chosen and rejected swapped with the system prompt. Source: arXiv 2506.11702, section 3. Here a twin is one row with
the columns `first, second` (rows of the responses, the lower level first), `rubric`, `prompt` (the key that is not
parted), `repeat` (which twin of these two responses), and for each response, with its suffix `_first` or `_second`,
`rank`, `score`, `teacher` and `wording` (of the system prompt that chooses it). A composition has `rubric`, `rank`,
`score` and `wording` of a second rubric too, with the prefix `with_`, and `swapped_first`, `swapped_second`: whether
the second rubric's wording stands first.
"""

from collections.abc import Collection, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_gen.twins.inputs import Responses
from data_gen.twins.options import LevelPair, SplitBy
from rubrics import Rubric, ScoreLevel

Numbers = NDArray[np.int64]

_TWINS_AT_A_TIME = 50_000


class Wordings:
    """The train wordings of all rubrics and levels, numbered through.

    Attributes:
        names: Rubric, level and number of each, as rows of preference files name it.
        texts: The system prompts.
    """

    def __init__(self, rubrics: Sequence[Rubric]) -> None:
        names: list[str] = []
        texts: list[str] = []
        self._starts = np.zeros((len(rubrics), len(ScoreLevel)), dtype=np.int64)
        self._counts = np.zeros_like(self._starts)
        for number, rubric in enumerate(rubrics):
            for level in ScoreLevel if rubric.system_prompts else ():
                wordings = rubric.wordings(level, "train")
                self._starts[number, level.rank], self._counts[number, level.rank] = len(texts), len(wordings)
                names += [f"{rubric.id}-{level}-train-{place}" for place in range(len(wordings))]
                texts += wordings
        self.names, self.texts = pl.Series(names, dtype=pl.String), pl.Series(texts, dtype=pl.String)

    def draw(self, rubrics: Numbers, ranks: Numbers, rng: np.random.Generator) -> Numbers:
        """For each rubric number and level rank (arrays of one shape) the number of a wording, drawn evenly."""
        return self._starts[rubrics, ranks] + rng.integers(0, self._counts[rubrics, ranks])


def pair_responses(
    responses: Responses,
    level_pairs: Sequence[LevelPair],
    rng: np.random.Generator,
    *,
    pairs_per_cell: int = 0,
    min_gap: float = 0.0,
    across_teachers: bool = False,
) -> pl.DataFrame:
    """Twins of one rubric each, without wordings, cell by cell, a cell's level pairs in the order given.

    A cell holds the responses to one user prompt for one rubric, by one teacher (unless `across_teachers`), judged by
    one judge: scores of two judges are not compared. Cells come in the order of their first responses.

    Args:
        responses: What may train.
        level_pairs: Levels to pair, the lower one first.
        rng: Draws the pairs, if there is anything to draw.
        pairs_per_cell: Distinct pairs of responses to draw for each cell and level pair, or all there are if there are
            fewer; 0 pairs the responses in order, first with first, second with second, as far as both levels go.
        min_gap: Least difference of the two scores, in score points.
        across_teachers: Whether the two responses may be of two teachers.
    """
    cell = _one_number("rubric", "prompt", "judge", *["teacher"] * (not across_teachers))
    frame = responses.frame.select("row", "rank", "score", cell=cell).with_columns(
        cell=pl.col("row").min().over("cell"),
        place=pl.int_range(pl.len(), dtype=pl.UInt32).over(pl.col("cell") * len(ScoreLevel) + pl.col("rank")),
    )
    parts = []
    for number, (lower, higher) in enumerate(level_pairs):
        lows, highs = (frame.filter(pl.col("rank") == level.rank).drop("rank") for level in (lower, higher))
        if pairs_per_cell:
            pairs = _draw_pairs(lows, highs, pairs_per_cell, min_gap, rng)
        else:
            pairs = lows.join(highs, on=["cell", "place"], suffix="_second")
            pairs = pairs.filter(pl.col("score_second") - pl.col("score") >= min_gap)
        parts.append(pairs.select("cell", number=pl.lit(number, pl.Int8), first="row", second="row_second"))
    pairs = pl.concat(parts).sort("cell", "number", "first", "second")
    return with_details(pairs.select("first", "second"), responses)


def _one_number(*names: str) -> pl.Expr:
    """Equal where all the columns, of numbers from 0, are equal: quicker to group by than the columns."""
    number = pl.lit(0, pl.Int64)
    for name in names:
        number = number * (pl.col(name).max().cast(pl.Int64) + 1) + pl.col(name)
    return number


def _draw_pairs(
    lows: pl.DataFrame, highs: pl.DataFrame, n_pairs: int, min_gap: float, rng: np.random.Generator
) -> pl.DataFrame:
    lows, highs = (rows.group_by("cell").agg("row", "score") for rows in (lows, highs))
    drawn: dict[str, list[int]] = {"cell": [], "row": [], "row_second": []}
    cells = lows.join(highs, on="cell", suffix="_second").sort("cell")
    for cell, low_rows, low_scores, high_rows, high_scores in cells.iter_rows():
        gaps = np.subtract.outer(np.array(high_scores), np.array(low_scores)).T
        picks = np.sort(rng.permutation(np.flatnonzero(gaps >= min_gap))[:n_pairs])
        drawn["cell"] += [cell] * len(picks)
        drawn["row"] += [low_rows[pick // len(high_rows)] for pick in picks]
        drawn["row_second"] += [high_rows[pick % len(high_rows)] for pick in picks]
    return pl.DataFrame(drawn, schema=dict.fromkeys(drawn, pl.UInt32))


def with_details(pairs: pl.DataFrame, responses: Responses) -> pl.DataFrame:
    """Pairs of rows, `first` and `second`, with the columns that the responses decide."""
    frame = responses.frame
    first, second = (frame[pairs[side]].select("rank", "score", "teacher") for side in ("first", "second"))
    keys = np.array(responses.prompt_keys, dtype=np.int32)
    return pairs.with_columns(
        frame["rubric"].gather(pairs["first"]),
        pl.Series("prompt", keys[frame["prompt"].gather(pairs["first"])]),
        *(column.alias(f"{column.name}_first") for column in first),
        *(column.alias(f"{column.name}_second") for column in second),
    )


def draw_wordings(twins: pl.DataFrame, n_wordings: int, wordings: Wordings, rng: np.random.Generator) -> pl.DataFrame:
    """Every twin `n_wordings` times, adjacent, each time with its own draw out of the train wordings of its levels.

    A student that sees a response under one wording only learns the wording, not what it asks for.
    """
    parts = []
    for part in [twins[:0], *twins.iter_slices(_TWINS_AT_A_TIME)]:
        repeated = part[np.repeat(np.arange(len(part)), n_wordings)]
        ranks = repeated.select("rank_first", "rank_second").to_numpy()
        rubrics = np.broadcast_to(repeated["rubric"].to_numpy()[:, None], ranks.shape)
        drawn = wordings.draw(rubrics, ranks, rng)
        columns = {"repeat": np.tile(np.arange(n_wordings), len(part))}
        columns |= {"wording_first": drawn[:, 0], "wording_second": drawn[:, 1]}
        parts.append(
            repeated.with_columns(**{name: pl.Series(column, dtype=pl.Int32) for name, column in columns.items()})
        )
    return pl.concat(parts)


def split_twins(
    twins: pl.DataFrame,
    by: SplitBy,
    prompts: Sequence[str],
    n_eval_prompts: int,
    eval_rubrics: Collection[int],
    rng: np.random.Generator,
) -> dict[str, pl.DataFrame]:
    """Twins by file, "train" and "eval", each in the order they came.

    Args:
        twins: All twins.
        by: "prompt": eval has all twins of some user prompts drawn at random. "rubric": eval has all twins that ask
            for an eval rubric. "both": train has the train rubrics under train prompts, eval the eval rubrics under
            eval prompts (drawn among those that eval rubrics have); twins of neither kind are in no file.
        prompts: Ids of the prompts that the column `prompt` numbers; they decide the draw.
        n_eval_prompts: How many user prompts to draw.
        eval_rubrics: Numbers of the eval rubrics; of two rubrics asked for together, one is enough.
        rng: Draws the prompts.

    Raises:
        ValueError: If no twin would be left for training, or eval rubrics have none.
    """
    asked = [pl.col(name) for name in ("rubric", "with_rubric") if name in twins.columns]
    of_eval_rubric = twins.select(pl.any_horizontal(c.is_in(list(eval_rubrics)).fill_null(False) for c in asked))
    is_eval_rubric = of_eval_rubric.to_series()
    if by != "prompt" and not is_eval_rubric.any():
        raise ValueError("eval rubrics: no twin asks for any, expected some; see --eval-rubrics")
    if by == "rubric":
        in_eval, in_train = is_eval_rubric, ~is_eval_rubric
    else:
        among = twins if by == "prompt" else twins.filter(is_eval_rubric)
        numbers = sorted(among["prompt"].unique().to_list(), key=lambda number: prompts[number])
        most = len(numbers) - (by == "prompt")
        if n_eval_prompts > most:
            raise ValueError(f"eval prompts: got {n_eval_prompts}, expected at most {most} of those in the data")
        drawn = rng.choice(len(numbers), size=n_eval_prompts, replace=False)
        in_eval = twins["prompt"].is_in([numbers[number] for number in drawn])
        in_train = ~in_eval
        if by == "both":
            in_eval, in_train = in_eval & is_eval_rubric, in_train & ~is_eval_rubric
    if not in_train.any():
        raise ValueError("split: no twin is left for training, expected some; leave out fewer rubrics or prompts")
    return {"train": twins.filter(in_train), "eval": twins.filter(in_eval)}


def first_twins(twins: pl.DataFrame, limit: int, rng: np.random.Generator) -> pl.DataFrame:
    """At most `limit` twins drawn at random, in the order they came; 0 means all."""
    return twins[np.sort(rng.permutation(len(twins))[:limit])] if limit else twins


def balance(
    twins: pl.DataFrame, limit: int, rng: np.random.Generator
) -> tuple[pl.DataFrame, dict[tuple[int, LevelPair], int]]:
    """As many twins of every (rubric, level pair) as the smallest has, and how many were cut of each.

    Twins that ask for two rubrics are left as they are. A (rubric, level pair) without twins does not count.

    Args:
        twins: Twins of one file.
        limit: At most this many in all, those that ask for two rubrics included; 0 means no limit.
        rng: Draws which stay.

    Raises:
        ValueError: If the limit leaves less than one twin for each.
    """
    numbered = twins.with_row_index("place")
    is_single = pl.col("with_rubric").is_null() if "with_rubric" in twins.columns else pl.lit(True)
    kinds = ["rubric", "rank_first", "rank_second"]
    groups = numbered.filter(is_single).group_by(kinds).agg("place").sort(kinds).rows()
    size = min((len(places) for *_, places in groups), default=len(twins))
    if limit and groups:
        size = min(size, limit // len(groups))
        if not size:
            raise ValueError(
                f"limit: got {limit}, expected at least {len(groups)}, one twin of each (rubric, level pair)"
            )
    kept = [rng.permutation(np.array(places))[:size] for *_, places in groups]
    others = numbered.filter(~is_single)["place"].to_numpy()
    if limit:
        others = rng.permutation(others)[: limit - size * len(groups)]
    levels = tuple(ScoreLevel)
    cut = {(rubric, (levels[low], levels[high])): len(places) - size for rubric, low, high, places in groups}
    return twins[np.sort(np.concatenate([*kept, others]))], cut
