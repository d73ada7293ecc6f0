"""Finds near copies: MinHash with bands (rensa) proposes pairs of texts, the exact Jaccard of their shingles decides.

So no pair below the threshold is taken for one. A pair at the threshold is missed with the chance 1 - `lsh_recall`,
under 1 in 200; the more alike two texts are, the smaller that chance.
"""

from collections.abc import Callable, Set
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from data_gen.verify.shingles import jaccard, shingles

PERMUTATIONS = 128
MIN_RECALL = 0.995
MAX_ROWS_PER_BAND = 16
SEED = 42
_MIX = np.uint64(0x9E3779B97F4A7C15)


def lsh_recall(similarity: float, rows_per_band: int) -> float:
    """Chance, 0-1, that two texts with this Jaccard agree in all rows of at least one band."""
    return 1 - (1 - similarity**rows_per_band) ** (PERMUTATIONS // rows_per_band)


@cache
def choose_rows_per_band(threshold: float) -> int:
    """The most rows per band, up to 16, with which a pair at the threshold is found with a chance of 0.995 or more.

    Raises:
        ValueError: If the threshold is outside 0.2 to 1; below 0.2, 128 permutations do not suffice.
    """
    if not 0.2 <= threshold <= 1:
        raise ValueError(f"near-duplicate threshold: got {threshold:g}, expected a Jaccard from 0.2 to 1")
    return max(rows for rows in range(1, MAX_ROWS_PER_BAND + 1) if lsh_recall(threshold, rows) >= MIN_RECALL)


def band_hashes(text: Set[str], threshold: float) -> bytes:
    """Hashes, of 32 bits, of the bands of a text's MinHash signature; the text is given by its shingles."""
    signature, rows = _signature(text, threshold), choose_rows_per_band(threshold)
    weights = _MIX ** np.arange(1, rows + 1, dtype=np.uint64)
    bands: npt.NDArray[np.uint64] = np.array(signature.digest(), np.uint64).reshape(-1, rows)
    return bytes(((bands * weights).sum(axis=1) >> np.uint64(32)).astype(np.uint32))


def may_have_copies(bands: npt.NDArray[np.uint32], groups: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which texts agree with another of their group in a band; the others need not be looked at again.

    Args:
        bands: `band_hashes`, shape (texts, bands).
        groups: A number from 0 for each text; only texts of one group are compared.
    """
    flags = np.zeros(len(bands), bool)
    for band in bands.T:
        _, place, counts = np.unique(groups << 32 | band, return_inverse=True, return_counts=True)
        flags |= counts[place] > 1
    return flags


class KeptTexts:
    """The texts of a group that are kept, to find the first that another text is a near copy of.

    Args:
        threshold: Jaccard from which two texts are near duplicates, 0.2-1, inclusive.
        text_of: A text by its number.
    """

    def __init__(self, threshold: float, text_of: Callable[[int], str]):
        bands = PERMUTATIONS // choose_rows_per_band(threshold)
        self._threshold, self._text_of = threshold, text_of
        self._index = import_rensa().RMinHashLSH(threshold, bands * choose_rows_per_band(threshold), bands)

    def find_or_keep(self, number: int) -> tuple[int, float] | None:
        """The first kept text that a text is a near copy of, with their Jaccard; None, and it is kept, if none is."""
        own = shingles(self._text_of(number))
        signature = _signature(own, self._threshold)
        for other in sorted(self._index.query(signature)):
            similarity = jaccard(own, shingles(self._text_of(other)))
            if similarity >= self._threshold:
                return other, similarity
        self._index.insert(number, signature)
        return None


def import_rensa() -> Any:
    """The package rensa.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        import rensa  # type: ignore[import-untyped]  # it has no types
    except ModuleNotFoundError as error:
        raise ValueError("near duplicates need the package rensa: pip install 'cpt-tasks[data]'") from error
    return rensa


def _signature(text: Set[str], threshold: float) -> Any:
    rows = choose_rows_per_band(threshold)
    signature = import_rensa().RMinHash(PERMUTATIONS // rows * rows, SEED)
    signature.update(list(text))
    return signature
