"""Finds near copies among texts: MinHash proposes pairs, the exact Jaccard of their shingles decides.

A text is the set of its shingles, the runs of three words in lower case. Two texts whose sets have a Jaccard at the
threshold or above are near duplicates. MinHash with bands (rensa) names candidates; each is then compared exactly, so
that a pair below the threshold is never taken for one. A pair at the threshold is missed with the chance that
`lsh_recall` gives, under 1 in 200; the more alike two texts are, the smaller that chance.

Words are hashed to 32 bits and runs of them to 64, with fixed constants: the same texts give the same result anywhere.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Bands = npt.NDArray[np.uint32]

SHINGLE_WORDS = 3
PERMUTATIONS = 128
MIN_RECALL = 0.995
MAX_ROWS_PER_BAND = 16
SEED = 42

_WORD = re.compile(r"\w+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


def words_of(text: str) -> list[str]:
    """Runs of letters, digits and underscores of any script, in lower case."""
    return _WORD.findall(text.casefold())


def word_hashes(words: Sequence[str]) -> Hashes:
    """A 32-bit hash of each word, in order."""
    return np.fromiter(map(crc32, " ".join(words).encode().split(b" ")), np.uint64, len(words))


def runs(hashes: Hashes, length: int) -> Hashes:
    """A 64-bit hash of each run of `length` words, in order; of a text with fewer words, of all of it; none of none."""
    length = min(length, len(hashes))
    if not length:
        return hashes
    last = len(hashes) - length + 1
    mixed = hashes[:last].copy()
    for offset in range(1, length):
        mixed *= _MULTIPLIER
        mixed += hashes[offset : last + offset]
    mixed ^= mixed >> np.uint64(31)
    mixed *= _MIX
    mixed ^= mixed >> np.uint64(29)
    return mixed


def shingles(text: str) -> Hashes:
    """Hashes of the runs of three words of a text, each once, ascending; empty for a text without words."""
    return np.unique(runs(word_hashes(words_of(text)), SHINGLE_WORDS))


def jaccard(first: Hashes, second: Hashes) -> float:
    """Share of the shingles of either text that both have, 0-1; 1 for two texts without any.

    Args:
        first: As `shingles` gives them: ascending, each once.
        second: Likewise.
    """
    common = len(np.intersect1d(first, second, assume_unique=True))
    either = len(first) + len(second) - common
    return common / either if either else 1.0


def lsh_recall(similarity: float, rows_per_band: int) -> float:
    """Chance, 0-1, that two texts with this Jaccard agree in all rows of at least one band."""
    return 1 - (1 - similarity**rows_per_band) ** (PERMUTATIONS // rows_per_band)


def choose_rows_per_band(threshold: float) -> int:
    """The most rows per band, up to 16, with which a pair at the threshold is found with a chance of 0.995 or more.

    More rows mean fewer candidates that turn out to be none.

    Raises:
        ValueError: If the threshold is outside 0.2 to 1; below 0.2, 128 permutations do not suffice.
    """
    if not 0.2 <= threshold <= 1:
        raise ValueError(f"near-duplicate threshold: got {threshold:g}, expected a Jaccard from 0.2 to 1")
    return max(rows for rows in range(1, MAX_ROWS_PER_BAND + 1) if lsh_recall(threshold, rows) >= MIN_RECALL)


def band_hashes(texts: Sequence[Hashes], rows_per_band: int) -> Bands:
    """One 32-bit hash per band of each text's MinHash signature: shape (texts, 128 // rows_per_band)."""
    rensa = import_rensa()
    bands = PERMUTATIONS // rows_per_band
    if not texts:
        return np.zeros((0, bands), np.uint32)
    offsets = np.zeros(len(texts) + 1, np.uint64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    signatures = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
        np.concatenate(texts), offsets, num_perm=PERMUTATIONS, seed=SEED
    )
    rows = np.array(signatures.to_rows(), np.uint64)[:, : bands * rows_per_band]
    rows = rows.reshape(len(texts), bands, rows_per_band)
    mixed = rows[:, :, 0].copy()
    for row in range(1, rows_per_band):
        mixed *= _MULTIPLIER
        mixed += rows[:, :, row]
    return ((mixed * _MIX) >> np.uint64(32)).astype(np.uint32)


class NearDuplicates:
    """Which text is a near copy of one that was kept before it.

    Takes 12 bytes per text and band, whatever the texts' length: 250 MB for a million texts at threshold 0.8. Only
    texts that share a band with another are ever compared.

    Args:
        bands: `band_hashes` of all texts, shape (texts, bands).
        groups: A number from 0 for each text; only texts of one group are compared.
        shingles_of: Shingles of a text by its number.
        threshold: Jaccard from which two texts are near duplicates, 0-1, inclusive.
    """

    def __init__(
        self,
        bands: Bands,
        groups: npt.NDArray[np.uint32],
        shingles_of: Callable[[int], Hashes],
        threshold: float,
    ):
        self._shingles_of = shingles_of
        self._threshold = threshold
        # a bucket holds the texts of one group with one hash in one band; -1: alone in it
        self._buckets = np.full(bands.shape, -1, np.int32)
        keys = groups.astype(np.uint64) << np.uint64(32)
        found = 0
        for band in range(bands.shape[1]):
            _, bucket, counts = np.unique(keys | bands[:, band], return_inverse=True, return_counts=True)
            shared = counts > 1
            numbers = np.where(shared, np.cumsum(shared) - 1 + found, -1)
            self._buckets[:, band] = numbers[bucket]
            found += int(shared.sum())
        # the text kept last in each bucket, and for each text and band the one kept before it; -1: none
        self._last = np.full(found, -1, np.int32)
        self._before = np.full_like(self._buckets, -1)
        self._is_alone: npt.NDArray[np.bool_] = np.all(self._buckets < 0, axis=1)

    def find(self, text: int) -> tuple[int, float] | None:
        """The first of the kept texts that the text is a near copy of, by number, with their Jaccard; None if none."""
        if self._is_alone[text]:
            return None
        own = self._shingles_of(text)
        for other in self._candidates(text):
            similarity = jaccard(own, self._shingles_of(other))
            if similarity >= self._threshold:
                return other, similarity
        return None

    def keep(self, text: int) -> None:
        """Takes down that a text is kept."""
        if not self._is_alone[text]:
            bands = np.flatnonzero(self._buckets[text] >= 0)
            buckets = self._buckets[text, bands]
            self._before[text, bands] = self._last[buckets]
            self._last[buckets] = text

    def _candidates(self, text: int) -> list[int]:
        bands = np.flatnonzero(self._buckets[text] >= 0)
        kept = self._last[self._buckets[text, bands]]
        found: set[int] = set()
        while True:
            there = kept >= 0
            bands, kept = bands[there], kept[there]
            if not len(kept):
                return sorted(found)
            found.update(kept.tolist())
            kept = self._before[kept, bands]


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
