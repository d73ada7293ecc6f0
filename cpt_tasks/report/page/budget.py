"""Which responses are on the page in full, where all of them would make it too large."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import pandas as pd

Chosen = list[list[int]]


def choose_texts(frames: Sequence[pd.DataFrame], budget: int) -> Chosen:
    """For each frame of `samples.samples_of` the positions, ascending, of the rows whose texts are kept.

    Rows of one (rubric, level) form a cell, ordered by how far the score lies from what was asked for (from 100 where
    nothing was). Every cell keeps the same number of texts, as many as the budget allows: the worst, then the best,
    then the median, with more of them evenly from the worst to the best. The same rows give the same choice.

    Args:
        frames: Samples of each model and benchmark.
        budget: Bytes that the texts may take, in UTF-8 before compression.
    """
    sizes = [text_bytes(frame) for frame in frames]
    cells = [(number, cell) for number, frame in enumerate(frames) for cell in _cells(frame)]

    def chosen(n_texts: int) -> Chosen:
        kept: Chosen = [[] for _ in frames]
        for number, cell in cells:
            ranks = np.linspace(0, len(cell) - 1, min(n_texts, len(cell))).round().astype(int)
            kept[number] += [cell[rank] for rank in ranks]
        return [sorted(positions) for positions in kept]

    def total(n_texts: int) -> int:
        return sum(int(size[kept].sum()) for size, kept in zip(sizes, chosen(n_texts), strict=True))

    longest = max((len(cell) for _, cell in cells), default=0)
    return chosen(bisect_right(range(1, longest + 1), budget, key=total))


def text_bytes(frame: pd.DataFrame) -> np.ndarray:
    """UTF-8 bytes of the texts that belong to each response alone, shape (rows,)."""
    reasons = frame["criteria"].map(lambda criteria: "".join(reason for _, _, reason in criteria))
    return (frame["response"] + reasons).map(lambda text: len(text.encode("utf-8", "replace"))).to_numpy(dtype=int)


def _cells(frame: pd.DataFrame) -> list[list[int]]:
    """Positions of each cell, the worst first; the order of the log settles ties."""
    distance = frame["miss"].abs().fillna(100 - frame["score"]).to_numpy()
    cells = frame.groupby(["rubric", "level"], sort=False).ngroup()
    worst_first = cells.iloc[np.argsort(-distance, kind="stable")]
    return [worst_first.index[worst_first == cell].tolist() for cell in range(cells.max() + 1)]
