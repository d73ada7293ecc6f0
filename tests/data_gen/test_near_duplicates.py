"""Near duplicates: Jaccard by hand, candidates against brute force, and a pair below the threshold is never one."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.verify.near_duplicates import (
    KeptTexts,
    band_hashes,
    jaccard,
    may_have_copies,
    runs,
    shingles,
    words_of,
)

WORDS = "ash birch cedar elm fir gorse hazel ivy juniper larch maple oak pine rowan spruce thorn willow yew".split()
Copies = list[tuple[int, float] | None]


def copies(texts: list[str], threshold: float) -> Copies:
    """For each text, in order: None if it is kept, else the kept text it is a near copy of."""
    bands = np.stack([np.frombuffer(band_hashes(text), np.uint32) for text in texts])
    flagged = may_have_copies(bands, np.zeros(len(texts), np.int64))
    kept = KeptTexts(threshold, texts.__getitem__)
    return [kept.find_or_keep(number, bands[number]) if flagged[number] else None for number in range(len(texts))]


def brute_force(texts: list[str], threshold: float) -> Copies:
    sets = [shingles(text) for text in texts]
    result: Copies = []
    for number, own in enumerate(sets):
        before = [(other, jaccard(own, sets[other])) for other in range(number) if result[other] is None]
        result.append(next(((other, value) for other, value in before if value >= threshold), None))
    return result


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a b c d", "a b c d", 1.0),
        ("a b c d", "A, b! C... (d)", 1.0),
        ("a b c d", "a b c e", 1 / 3),  # abc bcd | abc bce
        ("a b c d e", "b c d e f", 2 / 4),  # abc bcd cde | bcd cde def
        ("a b c", "c b a", 0.0),
        ("a b a b a b", "b a b a", 1.0),  # both have aba and bab only, each counted once
        ("a b", "a b", 1.0),
        ("a b", "a c", 0.0),
        ("", "a b c", 0.0),
        ("東京は雨です", "東京は雨だ", 2 / 5),  # letters, where words are not set apart
        ("", "...", 1.0),
    ],
)
def test_jaccard_of_three_word_shingles_by_hand(first: str, second: str, expected: float) -> None:
    assert jaccard(shingles(first), shingles(second)) == pytest.approx(expected)
    assert jaccard(shingles(second), shingles(first)) == pytest.approx(expected)


def test_words_are_of_any_script_and_in_one_case_and_short_texts_are_one_run() -> None:
    assert words_of("Straße, Ölfleck_2 and  don't — 東京!") == ["strasse", "ölfleck_2", "and", "don", "t", "東京"]
    assert (runs(["a", "b"], 3), runs([], 3), len(runs(WORDS, 3))) == ({"a b"}, set(), len(WORDS) - 2)


def share_seen(similarity: float) -> float:
    """Of pairs with a Jaccard, the share that agrees in a band: 21 bands of 6 hashes."""
    return float(1 - (1 - similarity**6) ** 21)


def changed(text: list[str], changes: int, rng: random.Random) -> list[str]:
    copy = list(text)
    for place in rng.sample(range(len(copy)), changes):
        copy[place] = f"new{rng.randrange(10**6)}"
    return copy


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.7, 0.8, 1.0]))
def test_what_is_dropped_is_a_copy_of_a_kept_text_and_next_to_no_copy_is_missed(seed: int, threshold: float) -> None:
    rng = random.Random(seed)
    base = [[rng.choice(WORDS) for _ in range(rng.randint(2, 40))] for _ in range(6)]
    texts = [" ".join(changed(text, rng.randint(0, min(3, len(text))), rng)) for text in base for _ in range(4)]
    rng.shuffle(texts)
    result, expected = copies(texts, threshold), brute_force(texts, threshold)
    for number, one in enumerate(result):
        if one is not None:
            assert result[one[0]] is None and one[0] < number
            assert one[1] == jaccard(shingles(texts[number]), shingles(texts[one[0]])) >= threshold
    # after a pair that was missed the rest differs, too
    if result != expected:
        missed = next(one for one, wanted in zip(expected, result, strict=True) if one != wanted)
        assert missed is not None and 1 - share_seen(missed[1]) > 1e-6


@pytest.mark.parametrize(("words", "new"), [(32, 10), (29, 3)])
def test_the_share_of_pairs_that_is_seen_is_that_of_the_method(words: int, new: int) -> None:
    rng, pairs = random.Random(0), 1000
    seen = 0
    for _ in range(pairs):
        first = [f"w{rng.randrange(10**9)}" for _ in range(words)]
        second = [*first[:-new], *(f"w{rng.randrange(10**9)}" for _ in range(new))]
        hashes = [np.frombuffer(band_hashes(" ".join(text)), np.uint32) for text in (first, second)]
        seen += bool((hashes[0] == hashes[1]).any())
    share = share_seen((words - 2 - new) / (words - 2 + new))  # of Jaccard 20/40 and 24/30
    assert abs(seen / pairs - share) < 4 * (share * (1 - share) / pairs) ** 0.5
