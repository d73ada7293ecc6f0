"""Texts as sets of runs of three words: what near copies and benchmark prompts are recognised by."""

import re
from collections.abc import Sequence, Set

SHINGLE_WORDS = 3
_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """Runs of letters, digits and underscores of any script, in lower case."""
    return _WORD.findall(text.casefold())


def runs(words: Sequence[str], length: int) -> set[str]:
    """The runs of `length` words; of a text with fewer words, all of it; none of none."""
    if len(words) <= length:
        return {" ".join(words)} if words else set()
    return set(map(" ".join, zip(*(words[start:] for start in range(length)), strict=False)))


def shingles(text: str) -> set[str]:
    """The runs of three words of a text; empty for a text without words."""
    return runs(words_of(text), SHINGLE_WORDS)


def jaccard(first: Set[str], second: Set[str]) -> float:
    """Share of the members of either set that both have, 0-1; 1 for two empty sets."""
    common = len(first & second)
    either = len(first) + len(second) - common
    return common / either if either else 1.0
