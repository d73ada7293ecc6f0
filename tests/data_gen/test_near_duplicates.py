"""Near duplicates: Jaccard by hand, candidates against brute force, and a pair below the threshold is never one."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.verification.near_duplicates import (
    PERMUTATIONS,
    NearDuplicates,
    band_hashes,
    choose_rows_per_band,
    jaccard,
    lsh_recall,
    runs,
    shingles,
    word_hashes,
    words_of,
)

WORDS = "ash birch cedar elm fir gorse hazel ivy juniper larch maple oak pine rowan spruce thorn willow yew".split()


def kept(texts: list[str], threshold: float, groups: list[int] | None = None) -> list[tuple[int, float] | None]:
    """For each text, in order: None if it is kept, else the kept text it is a near copy of."""
    sets = [shingles(text) for text in texts]
    bands = band_hashes(sets, choose_rows_per_band(threshold))
    near = NearDuplicates(bands, np.array(groups or [0] * len(texts), np.uint32), sets.__getitem__, threshold)
    found = []
    for number in range(len(texts)):
        found.append(near.find(number))
        if found[-1] is None:
            near.keep(number)
    return found


def brute_force(texts: list[str], threshold: float) -> list[tuple[int, float] | None]:
    sets = [shingles(text) for text in texts]
    found: list[tuple[int, float] | None] = []
    for number, own in enumerate(sets):
        before = [(other, jaccard(own, sets[other])) for other in range(number) if found[other] is None]
        found.append(next(((other, value) for other, value in before if value >= threshold), None))
    return found


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
        ("", "...", 1.0),
    ],
)
def test_jaccard_of_three_word_shingles_by_hand(first: str, second: str, expected: float) -> None:
    assert jaccard(shingles(first), shingles(second)) == pytest.approx(expected)
    assert jaccard(shingles(second), shingles(first)) == pytest.approx(expected)


def test_words_are_of_any_script_and_in_one_case() -> None:
    assert words_of("Straße, Ölfleck_2 and  don't — 東京!") == ["strasse", "ölfleck_2", "and", "don", "t", "東京"]


def test_hashes_are_the_same_in_every_process() -> None:
    assert word_hashes(["123456789"]).tolist() == [0xCBF43926]  # the check value of CRC-32
    assert runs(word_hashes(["a", "b"]), 3).tolist() == runs(word_hashes(["a", "b"]), 2).tolist()
    assert len(runs(word_hashes([]), 3)) == 0
    assert len(runs(word_hashes(WORDS), 3)) == len(WORDS) - 2


@pytest.mark.parametrize(
    ("threshold", "rows", "recall"),
    [
        (0.8, 6, 0.9983),  # 1 - (1 - 0.8^6)^21
        (0.5, 3, 0.9963),  # 1 - (1 - 0.5^3)^42
        (0.9, 9, 0.99895),  # 1 - (1 - 0.9^9)^14; ten rows: 12 bands, 0.9942
        (1.0, 16, 1.0),
    ],
)
def test_rows_per_band_are_the_most_that_find_a_pair_at_the_threshold(
    threshold: float, rows: int, recall: float
) -> None:
    assert choose_rows_per_band(threshold) == rows
    assert lsh_recall(threshold, rows) == pytest.approx(recall, abs=5e-5)


@pytest.mark.parametrize("threshold", [0.19, 0.0, 1.01])
def test_a_threshold_that_cannot_be_met_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=f"got {threshold:g}, expected a Jaccard from 0.2 to 1"):
        choose_rows_per_band(threshold)


def changed(text: list[str], changes: int, rng: random.Random) -> list[str]:
    copy = list(text)
    for place in rng.sample(range(len(copy)), changes):
        copy[place] = f"new{rng.randrange(10**6)}"
    return copy


def test_pairs_around_the_threshold_are_found_as_often_as_the_bands_promise() -> None:
    rng = random.Random(5)
    pairs = []
    while len(pairs) < 600:
        text = [f"w{rng.randrange(10**6)}" for _ in range(rng.randint(60, 120))]
        first, second = shingles(" ".join(text)), shingles(" ".join(changed(text, rng.randint(1, 4), rng)))
        if 0.8 <= jaccard(first, second) < 0.83:
            pairs.append((first, second))
    rows = choose_rows_per_band(0.8)
    bands = band_hashes([one for pair in pairs for one in pair], rows)
    found = (bands[0::2] == bands[1::2]).any(axis=1)
    assert bands.shape == (1200, PERMUTATIONS // rows)
    assert found.mean() > 0.99


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.8, 1.0]))
def test_no_kept_pair_is_at_the_threshold_or_above(seed: int, threshold: float) -> None:
    rng = random.Random(seed)
    base = [[rng.choice(WORDS) for _ in range(rng.randint(2, 40))] for _ in range(6)]
    texts = [" ".join(changed(text, rng.randint(0, min(3, len(text))), rng)) for text in base for _ in range(4)]
    rng.shuffle(texts)
    found, expected = kept(texts, threshold), brute_force(texts, threshold)
    sets = [shingles(text) for text in texts]
    for number, one in enumerate(found):
        if one is not None:  # what is dropped is dropped for a reason that can be checked
            assert found[one[0]] is None and one[0] < number
            assert one[1] == jaccard(sets[number], sets[one[0]]) >= threshold
    # a pair just at the threshold may be missed once in some hundred times; then the rest of the text differs, too
    if found != expected:
        first = next(number for number in range(len(texts)) if found[number] != expected[number])
        assert expected[first] is not None and expected[first][1] < threshold + 0.1  # type: ignore[index]  # not None


def test_near_copies_fall_and_texts_that_only_share_a_half_stay() -> None:
    rng = random.Random(1)
    text = [f"w{number}" for number in range(100)]
    near, half, other = changed(text, 3, rng), text[:50] + changed(text[50:], 50, rng), changed(text, 100, rng)
    found = kept([" ".join(words) for words in (text, other, near, half, text)], 0.8)
    assert [one if one is None else one[0] for one in found] == [None, None, 0, None, 0]
    assert found[4] == (0, 1.0)


def test_texts_of_different_groups_are_never_compared() -> None:
    assert kept(["a b c d e"] * 4, 0.8, [0, 1, 0, 1]) == [None, None, (0, 1.0), (1, 1.0)]


def test_a_text_that_was_not_kept_is_no_reason_to_drop_another() -> None:
    texts = [" ".join(f"w{number}" for number in range(start, start + 40)) for start in (0, 3, 6)]
    # neighbours share 35 of 41 shingles, the first and the last 32 of 44
    assert kept(texts, 0.8) == [None, (0, pytest.approx(35 / 41)), None]


def test_signatures_do_not_depend_on_what_else_is_in_the_batch() -> None:
    rng = random.Random(3)
    sets = [shingles(" ".join(rng.choices(WORDS, k=rng.randint(0, 80)))) for _ in range(200)]
    together = band_hashes(sets, 6)
    assert np.array_equal(together, np.concatenate([band_hashes([one], 6) for one in sets]))
    assert band_hashes([], 6).shape == (0, 21)
