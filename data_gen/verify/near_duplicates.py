"""Finds near copies: bands of MinHash signatures (rensa) propose pairs of texts, the exact Jaccard of shingles decides.

So no pair below the threshold is taken for one. A pair is seen with the chance 1 - (1 - J^6)^21: 93% at a
Jaccard of 0.7, 99.8% at 0.8, and next to always from 0.9.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence, Set

import numpy as np
import numpy.typing as npt
from rensa import RMinHash  # type: ignore[import-untyped]  # it ships no types

from judges.counting import UNSPACED

SHINGLE_WORDS = 3
BANDS, ROWS_PER_BAND = 21, 6  # fewer rows would take many unlike texts for candidates
SEED = 42
MIN_NEAR = 0.7  # below, too many pairs would go unseen
_MIX = np.uint64(0x9E3779B97F4A7C15)
_WORD = re.compile(r"\w+")
_WORD_OR_LETTER = re.compile(rf"(?!\W)[{UNSPACED}]|[^\W{UNSPACED}]+")


def words_of(text: str) -> list[str]:
    """Runs of letters, digits and underscores of any script, case folded."""
    return _WORD.findall(text.casefold())


def runs(words: Sequence[str], length: int) -> set[str]:
    """The runs of `length` words; of a text with fewer words, all of it; none of none."""
    if len(words) <= length:
        return {" ".join(words)} if words else set()
    return set(map(" ".join, zip(*(words[start:] for start in range(length)), strict=False)))


def shingles(text: str) -> set[str]:
    """The runs of three words of a text, letters where a script has no spaces; empty for a text without words."""
    return runs(_WORD_OR_LETTER.findall(text.casefold()), SHINGLE_WORDS)


def jaccard(first: Set[str], second: Set[str]) -> float:
    """Share of the members of either set that both have, 0-1; 1 for two empty sets."""
    common = len(first & second)
    either = len(first) + len(second) - common
    return common / either if either else 1.0


def band_hashes(text: str) -> bytes:
    """Hashes, of 32 bits, of the bands of a text's MinHash signature."""
    signature = RMinHash(BANDS * ROWS_PER_BAND, SEED)
    signature.update(list(shingles(text)))
    weights = _MIX ** np.arange(1, ROWS_PER_BAND + 1, dtype=np.uint64)
    bands: npt.NDArray[np.uint64] = np.array(signature.digest(), np.uint64).reshape(BANDS, ROWS_PER_BAND)
    return bytes(((bands * weights).sum(axis=1) >> np.uint64(32)).astype(np.uint32))


def may_have_copies(bands: npt.NDArray[np.uint32], groups: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which texts agree with another of their group in a band: the others have no copy.

    `bands` are `band_hashes`, shape (texts, bands); `groups` has a number from 0 for each text.
    """
    flags = np.zeros(len(bands), bool)
    for band in bands.T:
        _, place, counts = np.unique(groups << 32 | band, return_inverse=True, return_counts=True)
        flags |= counts[place] > 1
    return flags


class KeptTexts:
    """The texts of a group that are kept, by number, to know the first that another text is a near copy of.

    Near copies have a Jaccard of the threshold or more.
    """

    def __init__(self, threshold: float, text_of: Callable[[int], str]):
        self._threshold, self._text_of = threshold, text_of
        self._by_band: dict[tuple[int, int], list[int]] = defaultdict(list)

    def find_or_keep(self, number: int, bands: npt.NDArray[np.uint32]) -> tuple[int, float] | None:
        """The first kept text that a text is a near copy of, with their Jaccard; None, and it is kept, if none is."""
        own = shingles(self._text_of(number))
        buckets = [self._by_band[place] for place in enumerate(bands.tolist())]
        for other in sorted({other for bucket in buckets for other in bucket}):
            similarity = jaccard(own, shingles(self._text_of(other)))
            if similarity >= self._threshold:
                return other, similarity
        for bucket in buckets:
            bucket.append(number)
        return None
