"""What is odd about texts besides their score: length, diversity, templates, openings, sentiment. Pure, English only.

Words are those of `judges/measures.py`. Every number says what it is of a text without enough words: nan, never 0.
`cpt teachers` averages these numbers per rubric and level.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import hypergeom

from data_gen.teacher_report.statistics import LEVELS, NAN, Floats, Ints, mean_known

MATTR_WINDOW_WORDS = 50
GRAM_WORDS = 4
OPENING_WORDS = 3
TOP_OPENINGS = 5
TOPICS = 10

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


@dataclass(frozen=True)
class Bias:
    """A number of a response, and how to read its mean.

    Attributes:
        key: Name in files.
        title: Name in tables and figures.
        scale: Scale or unit.
        higher: What a higher value means.
        least: Smallest difference of two writers that is worth explaining, in the same unit; a convention of ours.
        digits: Digits after the point in tables.
    """

    key: str
    title: str
    scale: str
    higher: str
    least: float
    digits: int


BIASES = (
    Bias("words", "length", "words", "longer responses", 1.0, 1),
    Bias("mattr", "lexical diversity", f"MATTR over {MATTR_WINDOW_WORDS} words, 0-1", "more varied words", 0.005, 3),
    Bias("shared_grams", "shared 4-grams", "share 0-1", "the same phrases whatever the topic: templates", 0.005, 3),
    Bias(
        "shared_grams_other_levels",
        "shared 4-grams, other levels",
        "share 0-1",
        "phrases that the rubric's other levels use as well",
        0.005,
        3,
    ),
    Bias("same_opening", "same opening", "share of pairs 0-1", "more formulaic openings", 0.01, 3),
    Bias("sentiment", "sentiment", "VADER compound, -1 to 1", "more positive wording", 0.02, 3),
)


def mattr(words: Sequence[str], window: int = MATTR_WINDOW_WORDS) -> float:
    """Moving-average type-token ratio, 0-1 (exclusive of 0): share of different words in a window, averaged.

    The window slides word by word, so that the length of the text does not matter, as it does for the plain ratio.
    Upper and lower case are the same word. nan for a text shorter than the window.

    Source: Covington and McFall 2010, Journal of Quantitative Linguistics 17(2), 94-100.
    """
    tokens = [word.lower() for word in words]
    if len(tokens) < window:
        return NAN
    inside = Counter(tokens[:window])
    types = total = len(inside)
    for leaving, entering in zip(tokens, tokens[window:], strict=False):
        inside[leaving] -= 1
        types -= inside[leaving] == 0
        types += inside[entering] == 0
        inside[entering] += 1
        total += types
    return total / (window * (len(tokens) - window + 1))


def opening(words: Sequence[str]) -> str:
    """The first three words in lower case, with a space between; "" for a text with fewer."""
    return " ".join(words[:OPENING_WORDS]).lower() if len(words) >= OPENING_WORDS else ""


def gram_hashes(words: Sequence[str]) -> Ints:
    """64-bit hashes of the different runs of four words, in lower case; empty for a text with fewer words.

    Hashes are only equal or not within one process: Python salts them anew in each.
    """
    tokens = [word.lower() for word in words]
    grams = {hash(gram) for gram in zip(*(tokens[start:] for start in range(GRAM_WORDS)), strict=False)}
    return np.fromiter(grams, dtype=np.int64, count=len(grams))


def sentiment(text: str, compound: Callable[[str], float]) -> float:
    """Mean sentiment of the sentences of a text, -1 (negative) to 1 (positive); nan for a text without letters.

    VADER is made for short texts: its compound score of a whole paragraph lies near -1 or 1, the more so the longer it
    is, so that it would measure length. Its authors advise to score sentences and average.

    Args:
        text: Any text.
        compound: Sentiment of one sentence, from `load_compound`.
    """
    sentences = [part for part in _SENTENCE_END.split(text) if any(letter.isalpha() for letter in part)]
    return sum(map(compound, sentences)) / len(sentences) if sentences else NAN


def load_compound() -> Callable[[str], float]:
    """VADER's compound score of a sentence, -1 to 1, 0 without a word of its lexicon (which is in the package).

    Source: Hutto and Gilbert 2014, ICWSM. Lexicon and rules are English.

    Raises:
        ValueError: If the package vaderSentiment is not installed.
    """
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # type: ignore[import-untyped]  # no stubs
    except ImportError as error:
        raise ValueError(
            "vaderSentiment is not installed, expected it for the sentiment of responses; pip install 'cpt-tasks[data]'"
        ) from error
    scores = SentimentIntensityAnalyzer().polarity_scores
    return lambda sentence: float(scores(sentence)["compound"])


def shared_grams(grams: Sequence[Ints], level: Ints, prompt: Ints, topics: int) -> tuple[Floats, Floats]:
    """How much of each response stands in responses to other prompts: at its own level, and at the other levels.

    The share, 0-1, of a response's different 4-grams that occur in at least one of `topics` responses to other user
    prompts, in the mean over all ways to draw those (exactly, by the hypergeometric distribution). Drawing a fixed
    number makes teachers and students with different numbers of prompts comparable: with all others, the share would
    grow with their number, and with `topics` of exactly so many others it is the plain share. The second share is the
    mean over the other levels of the same with their responses: what a writer says at any level is no template of one.

    Args:
        grams: Different hashes per response of one writer and rubric, at most one response per level and prompt.
        level: Level of each, index in `LEVELS`.
        prompt: User prompt of each.
        topics: Other prompts to look in, at least 1.

    Returns:
        Two arrays of shape (n_responses,); nan for a response under four words, or with too few others to draw from.
    """
    sizes = np.array([len(found) for found in grams], dtype=np.int64)
    owner = np.repeat(np.arange(len(grams)), sizes)
    different, gram = np.unique(np.concatenate([np.empty(0, np.int64), *grams]), return_inverse=True)
    in_prompt = prompt[owner] * max(1, len(different)) + gram
    shares = np.full((len(grams), len(LEVELS)), NAN)
    for searched in np.unique(level):
        inside = level == searched
        users = np.bincount(gram[inside[owner]], minlength=len(different))[gram]
        users = users - np.isin(in_prompt, in_prompt[inside[owner]])  # not the prompt's own response there
        others = inside.sum() - np.isin(prompt, prompt[inside])
        found = _chance_to_meet(users, others[owner], topics)
        with np.errstate(invalid="ignore"):
            shares[:, searched] = np.bincount(owner, found, minlength=len(grams)) / sizes
    own = np.take_along_axis(shares, level[:, None], axis=1)[:, 0]
    np.put_along_axis(shares, level[:, None], NAN, axis=1)
    return own, mean_known(shares, axis=1)


def same_opening(openings: Ints) -> Floats:
    """Share, 0-1, of the other responses of a cell that begin with the same three words; nan for a cell of one.

    The mean over a cell is the chance that two of its responses to different prompts open alike: unlike the share of
    the most common opening it does not depend on how many responses there are.

    Args:
        openings: Index of the opening of each response, one response per user prompt; -1 for none, which is like no
            other.
    """
    if len(openings) < 2:
        return np.full(len(openings), NAN)
    _, place, counts = np.unique(openings, return_inverse=True, return_counts=True)
    return np.where(openings < 0, 0, counts[place] - 1) / (len(openings) - 1)


@dataclass(frozen=True)
class Openings:
    """How formulaic the openings of a cell are. All depend on the number of responses: compare equal numbers only.

    Attributes:
        n: Responses with three words or more.
        top_1: Share, 0-1, that begins with the most common opening; at least 1 / n.
        top_5: Share, 0-1, that begins with one of the five most common.
        distinct: Different openings per response, 0-1; 1 if no two begin alike.
        most_common: The most common opening, by its index.
    """

    n: int
    top_1: float
    top_5: float
    distinct: float
    most_common: int


def count_openings(openings: Ints) -> Openings:
    """Counts the openings of a cell, given by index, -1 for none; all shares nan if there is none."""
    known = openings[openings >= 0]
    if not len(known):
        return Openings(0, NAN, NAN, NAN, -1)
    values, counts = np.unique(known, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return Openings(
        n=len(known),
        top_1=float(counts[order[0]] / len(known)),
        top_5=float(counts[order[:TOP_OPENINGS]].sum() / len(known)),
        distinct=len(values) / len(known),
        most_common=int(values[order[0]]),
    )


def _chance_to_meet(users: Ints, others: Ints, topics: int) -> Floats:
    chance = np.full(len(users), NAN)
    for number in np.unique(others):
        if number >= topics:
            by_users = np.asarray(hypergeom.sf(0, number, np.arange(number + 1), topics))
            here = others == number
            chance[here] = by_users[users[here]]
    return chance
