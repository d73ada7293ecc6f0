"""Named text statistics, the operational form of a criterion, in English, and all of them by name.

The statistics are pure functions of one text as `normalised` gives it, that of `PICTURE_MEASURES` of the objects in a
picture too; `judges/counting.py` says what a word, a sentence and a line is to them. Every statistic of a text without
words is 0 or counts what is there; none raises.
"""

import re
import sys
from collections.abc import Callable, Sequence
from inspect import isfunction

import judges.style_measures as style
from judges.counting import english_words, lines, per_100_words, sentences

_PAUSE = re.compile(r"[,;:—–]|--")
_SECOND_PERSON = re.compile(r"\b(you|your|yours|you're|you'll|you've|yourself)\b", re.IGNORECASE)
_LIST_MARKER = re.compile(r"\s*([-*•]|\d+[.)])\s+")
_ITEM_NUMBER = re.compile(r"^\s*\d+[.)]\s", re.MULTILINE)
_NUMERAL = re.compile(r"(?<![\w])\d+(?:[.,:]\d+)*")
_SIMILE = re.compile(r"\b(like an?|like the|as if|as though|as \w+ as)\b", re.IGNORECASE)
_LONG_WORD_LETTERS = 8
_SENSORY_WORDS = frozenset(
    """
    light dark shadow glow gleam shimmer glitter bright pale silver golden amber crimson violet blue green red black
    white grey scent smell smoke perfume stench sweet bitter salt salty sour taste honey sharp warm cold cool hot icy
    damp wet dry soft rough smooth velvet silk sticky whisper murmur hum hush silence roar rustle crackle echo ring
    song thunder drip hiss dust fog mist rain ash flame fire ember glass stone iron rust moss skin breath
    """.split()
)


def words_per_sentence(text: str) -> float:
    """Mean number of words in a sentence."""
    return len(english_words(text)) / len(sentences(text))


def pauses_per_sentence(text: str) -> float:
    """Commas, semicolons, colons, en and em dashes and double hyphens, per sentence."""
    return len(_PAUSE.findall(text)) / len(sentences(text))


def long_word_share(text: str) -> float:
    """Share of words with eight or more characters, 0-1."""
    return sum(len(word) >= _LONG_WORD_LETTERS for word in english_words(text)) / max(1, len(english_words(text)))


def exclamations_per_sentence(text: str) -> float:
    """Exclamation marks per sentence; above 1 when marks are doubled."""
    return text.count("!") / len(sentences(text))


def second_person_per_100(text: str) -> float:
    """Occurrences of you, your, yours, yourself, you're, you'll and you've per 100 words, in any case."""
    return per_100_words(len(_SECOND_PERSON.findall(text)), text)


def list_line_share(text: str) -> float:
    """Share of lines that begin with a list marker (- * • or a number with . or ) and a space), 0-1."""
    return sum(bool(_LIST_MARKER.match(line)) for line in lines(text)) / len(lines(text))


def words_per_line(text: str) -> float:
    """Mean number of words on a line."""
    return len(english_words(text)) / len(lines(text))


def numerals_per_100(text: str) -> float:
    """Numbers written in digits per 100 words; 10:45 and 3.5 count once, the number of a list item not at all."""
    return per_100_words(len(_NUMERAL.findall(_ITEM_NUMBER.sub("", text))), text)


def similes_per_100(text: str) -> float:
    """Occurrences of "like a(n)", "like the", "as if", "as though" and "as ... as" per 100 words, in any case."""
    return per_100_words(len(_SIMILE.findall(text)), text)


def sensory_per_100(text: str) -> float:
    """Words out of a fixed list of 76 words of light, colour, sound, smell, taste and touch, per 100 words."""
    return per_100_words(sum(word.lower() in _SENSORY_WORDS for word in english_words(text)), text)


def named_object_share(text: str, objects: Sequence[Sequence[str]]) -> float:
    """Share of the objects in a picture that the text names, 0-1; each has several names, of which one is enough.

    A name counts as a whole word or words, in any case, also with -s or -es; "there is no boat" names one too.
    """
    named = [names for names in objects if re.search(rf"\b({'|'.join(map(re.escape, names))})(e?s)?\b", text, re.I)]
    return len(named) / len(objects)


PICTURE_MEASURES: dict[str, Callable[[str, Sequence[Sequence[str]]], float]] = {
    "named_object_share": named_object_share
}
# every other public function that the two modules define
MEASURES: dict[str, Callable[[str], float]] = {
    name: measure
    for module in (sys.modules[__name__], style)
    for name, measure in vars(module).items()
    if isfunction(measure) and measure.__module__ == module.__name__ and name[0] != "_" and name not in PICTURE_MEASURES
}
