"""Twins as rows and as margins: their order and their metrics.

A twin is two role-swapped preference pairs with one `pair_id`:

    (s1, x): y1 > y2        m1 = beta * [log-ratio(y1 | s1, x) - log-ratio(y2 | s1, x)]
    (s2, x): y2 > y1        m2 = beta * [log-ratio(y2 | s2, x) - log-ratio(y1 | s2, x)]

with log-ratio(y | s, x) = log pi(y | s, x) - log pi_ref(y | s, x). DPO's loss is -logsigmoid(m1) - logsigmoid(m2), so a
change of log pi(y) that does not depend on the system prompt s leaves m1 + m2 as it was: only the sum says whether the
condition was learnt. In shuffled small batches the two halves fall into different steps and each step alone pushes a
style ("y1 up"), whatever s is. Departure from arXiv 2506.11702, which shuffles; `twin_batching: false` restores that.

A same-level pair is a row with a `pair_id` of its own: one response in the band that the system prompt asks for, one
out of it. It trains calibration, which twins cannot; such rows are batched in twos and counted apart.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Sequence

import torch
from datasets import Dataset
from torch.utils.data import Sampler

TWIN_METRICS = ("both_correct", "sum_margin", "style_bias")
KINDS = TWIN, SAME_LEVEL = "twin", "same_level"  # column `kind`; twins where it is not there


def twin_groups(pair_ids: Sequence[Hashable]) -> list[list[int]]:
    """Row numbers per pair id, in order of first appearance; of a whole twin there are two."""
    groups: dict[Hashable, list[int]] = {}
    for row, pair_id in enumerate(pair_ids):
        groups.setdefault(pair_id, []).append(row)
    return list(groups.values())


def twin_index_of(rows: Dataset) -> list[int]:
    """A number per row, the same in both rows of a twin, and below 0 in a same-level pair, of its own."""
    kinds = rows["kind"] if "kind" in rows.column_names else [TWIN] * len(rows)
    numbers = {pair_id: number for number, pair_id in enumerate(dict.fromkeys(rows["pair_id"]))}
    pairs = zip(rows["pair_id"], kinds, strict=True)
    return [-1 - numbers[pair_id] if kind == SAME_LEVEL else numbers[pair_id] for pair_id, kind in pairs]


class TwinSampler(Sampler[int]):
    """Rows in a seeded random order of twins, both members adjacent, and of same-level pairs, two at a time.

    Of an odd number of same-level pairs one comes last, so that it splits no twin. The order depends on seed and epoch
    only, so it is the same on every rank; accelerate deals out whole batches, which keeps twins together when the batch
    size is even.
    """

    def __init__(self, twin_index: Sequence[int], seed: int) -> None:
        """`twin_index` of the rows, as `twin_index_of` gives it."""
        numbers = list(twin_index)
        self.twins = [group for group in twin_groups(numbers) if numbers[group[0]] >= 0]
        self.alone = [row for row, number in enumerate(numbers) if number < 0]
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch; accelerate calls it, also when a run resumes."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of rows."""
        return sum(len(group) for group in self.twins) + len(self.alone)

    def __iter__(self) -> Iterator[int]:
        """Row numbers of one epoch."""
        draw, alone = random.Random(f"{self.seed}-{self.epoch}"), list(self.alone)
        draw.shuffle(alone)
        groups = [*self.twins, *([first, second] for first, second in zip(alone[::2], alone[1::2], strict=False))]
        draw.shuffle(groups)
        last = alone[len(alone) // 2 * 2 :]
        return (row for group in [*groups, last] for row in group)


def twin_sums(margins: torch.Tensor, twin_index: torch.Tensor) -> torch.Tensor:
    """Sums of `TWIN_METRICS` over the whole twins of a batch, then their number, shape (4,); all 0 without a twin.

    `margins` is m of each pair, shape (n_pairs,), in reward units (beta times log-ratio, nats); `twin_index`, of the
    same shape, has one value in the two rows of a twin and in no others.
    """
    first, second = torch.nonzero(torch.triu(twin_index[:, None] == twin_index[None, :], diagonal=1), as_tuple=True)
    m1, m2 = margins[first], margins[second]
    both_correct = ((m1 > 0) & (m2 > 0)).to(margins.dtype)
    per_twin = (both_correct, m1 + m2, (m1 - m2).abs() / 2, torch.ones_like(m1))
    return torch.stack([values.sum() for values in per_twin])


def same_level_sums(margins: torch.Tensor, twin_index: torch.Tensor) -> torch.Tensor:
    """Number of the same-level pairs of a batch with a margin above 0, then of all of them, shape (2,)."""
    alone = (twin_index < 0).to(margins.dtype)
    return torch.stack([((margins > 0) * alone).sum(), alone.sum()])
