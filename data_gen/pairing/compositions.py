"""Compositions: twins whose system prompt asks for two rubrics at once, each at a level of its own.

Made of two responses of one user prompt and teacher that both rubrics judged (`TeacherResponse.also`, filled by
`cpt verify --also-by`): what is asked of a rubric is the level it found, so the two responses must differ in the level
of at least one of the two rubrics.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from data_gen.pairing.response_index import Numbers, ResponseIndex
from data_gen.pairing.twins import TWIN, Twins, number_groups
from rubrics import LOW_MAX, MODERATE_MAX


def compose(
    index: ResponseIndex,
    per_pool: int,
    rng: np.random.Generator,
    *,
    min_gap: float = 0.0,
    across_teachers: bool = False,
) -> Twins:
    """Twins that ask for two rubrics, wordings drawn, by user prompt, teacher and rubric pair.

    Args:
        index: The responses, with their judgments by other rubrics.
        per_pool: At most this many distinct pairs of responses for each (user prompt, teacher, rubric pair), whatever
            rubrics the responses were written for.
        rng: Draws the pairs, the wordings and which wording stands first.
        min_gap: Least difference of the two scores by a rubric whose level differs, in score points.
        across_teachers: Whether the two responses may be of two teachers.
    """
    pool, response, rubrics, scores = _pools(index, across_teachers)
    ranks = np.searchsorted([LOW_MAX, MODERATE_MAX], scores, side="left")
    sizes = np.bincount(pool)
    pairs: list[Numbers] = [np.zeros((2, 0), dtype=np.int64)]
    for start, size in zip((np.cumsum(sizes) - sizes)[sizes > 1], sizes[sizes > 1], strict=True):
        one, other = (start + places for places in _all_pairs(int(size)))
        differs = ranks[one] != ranks[other]
        apart = np.abs(scores[one] - scores[other]) >= min_gap
        allowed = np.flatnonzero(differs.any(axis=1) & (apart | ~differs).all(axis=1))
        drawn = np.sort(rng.permutation(allowed)[:per_pool])
        pairs.append(np.stack([one[drawn], other[drawn]]))
    one, other = np.concatenate(pairs, axis=1)
    code = ranks[:, 0] * 3 + ranks[:, 1]
    first, second = np.where(code[one] < code[other], one, other), np.where(code[one] < code[other], other, one)
    twins = np.zeros(len(first), dtype=TWIN)
    twins["first"], twins["second"] = response[first], response[second]
    twins["rubric"], twins["with_rubric"] = rubrics[first].T
    twins["prompt"] = np.array(index.prompts.keys, dtype=np.int64)[index.column("prompt")[response[first]]]
    twins["levels"] = -1
    levels = np.stack([ranks[first, 0], ranks[second, 0], ranks[first, 1], ranks[second, 1]], axis=1)
    asked = np.repeat(rubrics[first], 2, axis=1)
    twins["wordings"] = rng.integers(0, index.wording_counts()[asked, levels])
    twins["swapped"] = rng.integers(0, 2, size=(len(twins), 2))
    return twins


def _pools(index: ResponseIndex, across_teachers: bool) -> tuple[Numbers, Numbers, Numbers, NDArray[np.float64]]:
    """Responses judged by two rubrics, once for each two: pool number, response, rubrics (n, 2), scores (n, 2).

    A pool is one user prompt, teacher, rubric pair and judge of either; pools are numbered and sorted from 0.
    """
    response, rubric, judge, score = index.judgments()
    most = int(np.bincount(response).max(initial=0))
    steps = [np.zeros((2, 0), dtype=np.int64)]
    for step in range(1, most):  # the judgments of one response are adjacent
        one = np.arange(len(response) - step)
        steps.append(np.stack([one, one + step])[:, response[:-step] == response[step:]])
    one, other = np.concatenate(steps, axis=1)
    prompt, teacher = (index.column(name)[response[one]] for name in ("prompt", "teacher"))
    teacher = teacher * (not across_teachers)
    pool = number_groups([prompt, teacher, rubric[one], rubric[other], judge[one], judge[other]])
    order = np.lexsort((response[one], pool))
    one, other = one[order], other[order]
    rubrics, scores = (np.stack([values[one], values[other]], axis=1) for values in (rubric, score))
    return pool[order], response[one], rubrics, scores


@cache
def _all_pairs(size: int) -> tuple[Numbers, Numbers]:
    one, other = np.triu_indices(size, 1)
    return one, other
