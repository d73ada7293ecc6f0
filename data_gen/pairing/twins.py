"""Pairs responses into twins and decides which file a twin goes to; no text is touched here.

A twin is (s1, x, y1 > y2) and (s2, x, y2 > y1): two responses of one user prompt and rubric at two levels, the roles
of chosen and rejected swapped with the system prompt. Source: arXiv 2506.11702, section 3. Here a twin is one entry of
a numpy array of type `TWIN`, 45 bytes, so that millions can be drawn, split and balanced; `preference_files.py` turns
it into its two rows.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_gen.pairing.response_index import Numbers, ResponseIndex
from rubrics import ScoreLevel

LevelPair = tuple[ScoreLevel, ScoreLevel]
SplitBy = Literal["prompt", "rubric", "both"]
Twins = NDArray[np.void]

LEVEL_PAIRS: tuple[LevelPair, ...] = (
    (ScoreLevel.LOW, ScoreLevel.MODERATE),
    (ScoreLevel.MODERATE, ScoreLevel.EXTREMELY_HIGH),
    (ScoreLevel.LOW, ScoreLevel.EXTREMELY_HIGH),
)
N_EVAL_PROMPTS = 4

# first, second: numbers of the responses, the lower level first. rubric, with_rubric: places in the index's list of
# rubrics; with_rubric is -1 unless two rubrics are asked for. prompt: `Prompts.keys`. levels: rank of the lower level
# times 3 plus that of the higher. repeat: which twin of these two responses. wordings: of `rubric` in the row that
# chooses the first response and in the one that chooses the second, then of `with_rubric`. swapped: whether the
# wording of `with_rubric` stands first, in either row.
TWIN = np.dtype(
    [
        ("first", "i8"),
        ("second", "i8"),
        ("rubric", "i2"),
        ("with_rubric", "i2"),
        ("prompt", "i4"),
        ("levels", "i1"),
        ("repeat", "i4"),
        ("wordings", "i2", (4,)),
        ("swapped", "?", (2,)),
    ]
)


def parse_level_pairs(text: str) -> tuple[LevelPair, ...]:
    """Level pairs out of text such as "low:moderate,low:extremely_high", each with the lower level first.

    Raises:
        ValueError: If there is none, one repeats, or one is not two different levels joined by a colon.
    """
    pairs: list[LevelPair] = []
    for part in text.split(","):
        names = part.strip().split(":")
        if len(set(names)) != 2 or not set(names) <= set(ScoreLevel) or len(names) != 2:
            raise ValueError(
                f"level pairs: got {part.strip()!r}, expected two different levels out of "
                f"{[level.value for level in ScoreLevel]} joined by a colon"
            )
        lower, higher = sorted((ScoreLevel(name) for name in names), key=lambda level: level.rank)
        if (lower, higher) in pairs:
            raise ValueError(f"level pairs: got {part.strip()!r} twice, expected each pair once")
        pairs.append((lower, higher))
    return tuple(pairs)


def level_pair(levels: int) -> LevelPair:
    """The level pair of a twin, out of its field `levels`."""
    ranked = tuple(ScoreLevel)
    return ranked[levels // 3], ranked[levels % 3]


def number_cells(index: ResponseIndex, across_teachers: bool = False) -> Numbers:
    """The cell of each response, numbered from 0 in the order in which cells come up.

    A cell holds the responses to one user prompt for one rubric, by one teacher (unless `across_teachers`), judged by
    one judge: scores of two judges are not compared.
    """
    fields = ["rubric", "prompt", "judge"] + ["teacher"] * (not across_teachers)
    group = number_groups([index.column(name) for name in fields])
    _, first = np.unique(group, return_index=True)
    return np.argsort(np.argsort(first))[group]


def number_groups(columns: Sequence[Numbers]) -> Numbers:
    """One number for each entry, from 0: the same for entries equal in all columns, ascending with their values.

    Args:
        columns: Numbers from 0 up, all of one length.
    """
    group = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        group = np.unique(group * (column.max(initial=0) + 1) + column, return_inverse=True)[1]
    return group


def pair_responses(
    index: ResponseIndex,
    level_pairs: Sequence[LevelPair],
    rng: np.random.Generator,
    *,
    pairs_per_cell: int = 0,
    min_gap: float = 0.0,
    across_teachers: bool = False,
) -> Twins:
    """Twins out of the responses of each cell, cell by cell, a cell's level pairs in the order given.

    Args:
        index: The responses.
        level_pairs: Levels to pair, the lower one first.
        rng: Draws the pairs, if there is anything to draw.
        pairs_per_cell: Distinct pairs of responses to draw for each cell and level pair, or all there are if there are
            fewer; 0 pairs the responses in order, first with first, second with second, as far as both levels go.
        min_gap: Least difference of the two scores, in score points.
        across_teachers: Whether the two responses may be of two teachers.
    """
    cell, scores = number_cells(index, across_teachers), index.scores
    n_cells = int(cell.max(initial=-1)) + 1
    group = cell * 3 + index.column("rank")
    order = np.argsort(group, kind="stable")  # by cell and level, then in the order of the responses
    sizes = np.bincount(group, minlength=3 * n_cells)
    starts = np.cumsum(sizes) - sizes
    parts: list[tuple[Numbers, Numbers, Numbers]] = []  # cells, first, second
    for lower, higher in level_pairs:
        lows = _Groups(starts[lower.rank :: 3], sizes[lower.rank :: 3])
        highs = _Groups(starts[higher.rank :: 3], sizes[higher.rank :: 3])
        if pairs_per_cell:
            cells, low, high = _draw(lows, highs, scores[order], min_gap, pairs_per_cell, rng)
        else:
            cells, low = _positions(np.minimum(lows.sizes, highs.sizes))
            high = low
        first, second = order[lows.starts[cells] + low], order[highs.starts[cells] + high]
        apart = scores[second] - scores[first] >= min_gap
        parts.append((cells[apart], first[apart], second[apart]))
    cells, first, second = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    pair = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
    in_cells = np.lexsort((pair, cells))  # stable
    return _twins(index, first[in_cells], second[in_cells])


def draw_wordings(twins: Twins, n_wordings: int, counts: Numbers, rng: np.random.Generator) -> Twins:
    """Every twin `n_wordings` times, adjacent, each time with its own draw out of the train wordings of its levels.

    A student that sees a response under one wording only learns the wording, not what it asks for.

    Args:
        twins: Twins of one rubric each.
        n_wordings: How many of each.
        counts: `ResponseIndex.wording_counts`.
        rng: Draws evenly.
    """
    repeated = np.repeat(twins, n_wordings)
    repeated["repeat"] = np.tile(np.arange(n_wordings), len(twins))
    ranks = np.stack([repeated["levels"] // 3, repeated["levels"] % 3], axis=1)
    repeated["wordings"][:, :2] = rng.integers(0, counts[repeated["rubric"][:, None], ranks])
    return repeated


def split_twins(
    twins: Twins,
    by: SplitBy,
    prompt_names: Sequence[str],
    n_eval_prompts: int,
    eval_rubrics: Collection[int],
    rng: np.random.Generator,
) -> dict[str, Twins]:
    """Twins by file, "train" and "eval", each in the order they came.

    Args:
        twins: All twins.
        by: "prompt": eval has all twins of some user prompts drawn at random. "rubric": eval has all twins that ask
            for an eval rubric. "both": train has the train rubrics under train prompts, eval the eval rubrics under
            eval prompts (drawn among those that eval rubrics have); twins of neither kind are in no file.
        prompt_names: Ids of the prompts that the field `prompt` numbers; they decide the draw.
        n_eval_prompts: How many user prompts to draw.
        eval_rubrics: Numbers of the eval rubrics; of two rubrics asked for together, one is enough.
        rng: Draws the prompts.

    Raises:
        ValueError: If no twin would be left for training, or eval rubrics have none.
    """
    of_eval_rubric = np.isin(twins["rubric"], list(eval_rubrics)) | np.isin(twins["with_rubric"], list(eval_rubrics))
    if by != "prompt" and not of_eval_rubric.any():
        raise ValueError("eval rubrics: no twin asks for any, expected some; see --eval-rubrics")
    if by == "rubric":
        in_eval, in_train = of_eval_rubric, ~of_eval_rubric
    else:
        among = twins if by == "prompt" else twins[of_eval_rubric]
        numbers = sorted(np.unique(among["prompt"]).tolist(), key=lambda number: prompt_names[number])
        most = len(numbers) - (by == "prompt")
        if n_eval_prompts > most:
            raise ValueError(f"eval prompts: got {n_eval_prompts}, expected at most {most} of those in the data")
        drawn = rng.choice(len(numbers), size=n_eval_prompts, replace=False)
        of_eval_prompt = np.isin(twins["prompt"], [numbers[number] for number in drawn])
        in_eval, in_train = of_eval_prompt, ~of_eval_prompt
        if by == "both":
            in_eval, in_train = in_eval & of_eval_rubric, in_train & ~of_eval_rubric
    if not in_train.any():
        raise ValueError("split: no twin is left for training, expected some; leave out fewer rubrics or prompts")
    return {"train": twins[in_train], "eval": twins[in_eval]}


def first_twins(twins: Twins, limit: int, rng: np.random.Generator) -> Twins:
    """At most `limit` twins drawn at random, in the order they came; 0 means all."""
    return twins[np.sort(rng.permutation(len(twins))[:limit])] if limit else twins


def balance(twins: Twins, limit: int, rng: np.random.Generator) -> tuple[Twins, dict[tuple[int, int], int]]:
    """As many twins of every (rubric, level pair) as the smallest has, and how many were cut of each.

    Twins that ask for two rubrics are left as they are. A (rubric, level pair) without twins does not count.

    Args:
        twins: Twins of one file.
        limit: At most this many in all, those that ask for two rubrics included; 0 means no limit.
        rng: Draws which stay.

    Raises:
        ValueError: If the limit leaves less than one twin for each.
    """
    single = twins["with_rubric"] < 0
    group = twins["rubric"].astype(np.int64) * 9 + twins["levels"]
    groups, counts = np.unique(group[single], return_counts=True)
    size = int(counts.min(initial=len(twins)))
    if limit and len(groups):
        size = min(size, limit // len(groups))
        if not size:
            raise ValueError(
                f"limit: got {limit}, expected at least {len(groups)}, one twin of each (rubric, level pair)"
            )
    kept = [rng.permutation(np.flatnonzero(single & (group == number)))[:size] for number in groups]
    others = np.flatnonzero(~single)
    if limit:
        others = rng.permutation(others)[: limit - size * len(groups)]
    cut = {(int(number) // 9, int(number) % 9): int(count) - size for number, count in zip(groups, counts, strict=True)}
    return twins[np.sort(np.concatenate([*kept, others]))], cut


def _twins(index: ResponseIndex, first: Numbers, second: Numbers) -> Twins:
    twins = np.zeros(len(first), dtype=TWIN)
    rank = index.column("rank")
    twins["first"], twins["second"] = first, second
    twins["rubric"], twins["with_rubric"] = index.column("rubric")[first], -1
    twins["prompt"] = np.array(index.prompts.keys, dtype=np.int64)[index.column("prompt")[first]]
    twins["levels"] = rank[first] * 3 + rank[second]
    return twins


@dataclass(frozen=True)
class _Groups:
    """The responses of one level, by cell: where they start in the order of all, and how many they are."""

    starts: Numbers
    sizes: Numbers


def _positions(counts: Numbers) -> tuple[Numbers, Numbers]:
    """For counts 2, 0, 1 the cells 0, 0, 2 and, within each, the positions 0, 1, 0."""
    cells = np.repeat(np.arange(len(counts)), counts)
    return cells, np.arange(len(cells)) - np.repeat(np.cumsum(counts) - counts, counts)


def _draw(
    lows: _Groups, highs: _Groups, scores: NDArray[np.float64], min_gap: float, n_pairs: int, rng: np.random.Generator
) -> tuple[Numbers, Numbers, Numbers]:
    """Cells of the drawn pairs, and the positions of the two responses within their level of the cell."""
    drawn: list[Numbers] = [np.zeros((3, 0), dtype=np.int64)]
    for cell in np.flatnonzero((lows.sizes > 0) & (highs.sizes > 0)):
        n_low, n_high = int(lows.sizes[cell]), int(highs.sizes[cell])
        candidates = np.arange(n_low * n_high)
        if min_gap:
            low_scores = scores[lows.starts[cell] :][:n_low]
            high_scores = scores[highs.starts[cell] :][:n_high]
            candidates = np.flatnonzero(high_scores[None, :] - low_scores[:, None] >= min_gap)
        picks = np.sort(rng.permutation(candidates)[:n_pairs])
        drawn.append(np.stack([np.full(len(picks), cell), picks // n_high, picks % n_high]))
    cells, low, high = np.concatenate(drawn, axis=1)
    return cells, low, high
