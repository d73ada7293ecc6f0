"""How much was written, in any script, and named text statistics, the operational form of a criterion, in English.

The statistics are pure functions of one text as `normalised` gives it. To them a word is a maximal run of ASCII letters
and apostrophes. A sentence ends at . ! or ? followed by white space, or at a line break, and holds at least one letter.
A line is a line with something other than white space on it. Every statistic of a text without words is 0 or counts
what is there; none raises.

The counting rules are fixed: the published numbers of the measured rubrics depend on them, so a sentence splitter or
a readability package with rules of its own cannot stand in for them.
"""

import re
import unicodedata
from collections.abc import Callable

# each letter counts as a word: Thai, Lao, Myanmar, Khmer, Han, Hiragana and Katakana
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f"
    "\U00020000-\U0003ffff"
)
# vowel signs and accents, which \w leaves out; with those beyond the first plane a search would be slow
_MARKS = "".join(mark for mark in map(chr, range(0x300, 0x10000)) if unicodedata.category(mark)[0] == "M")
_RUN = rf"[^\W_{_UNSPACED}]+(?:[{_MARKS}]+[^\W_{_UNSPACED}]*)*"
_WORD = re.compile(rf"{_RUN}(?:'{_RUN})*|(?!\W)[{_UNSPACED}][{_MARKS}]*")
_ENGLISH_WORD = re.compile(r"[A-Za-z']+")
# one text has to measure the same whichever editor wrote it
_APOSTROPHE = re.compile("[‘’ʼ＇]")
_WITHOUT_WIDTH = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
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


def words(text: str) -> list[str]:
    """Words of the text in any script, in order: whether something was written, and how much.

    A word is a run of letters, marks and digits with apostrophes inside. Where a script has no spaces between words
    (Han, kana, Thai, Lao, Khmer, Myanmar) each letter is one.
    """
    return _WORD.findall(normalised(text))


def english_words(text: str) -> list[str]:
    """Words of a normalised text as the statistics count them: other scripts have none."""
    return _ENGLISH_WORD.findall(text)


def normalised(text: str) -> str:
    """The text with straight apostrophes and without characters that have no width, such as zero-width spaces."""
    return _WITHOUT_WIDTH.sub("", _APOSTROPHE.sub("'", text))


def words_per_sentence(text: str) -> float:
    """Mean number of words in a sentence."""
    return len(english_words(text)) / len(_sentences(text))


def pauses_per_sentence(text: str) -> float:
    """Commas, semicolons, colons, en and em dashes and double hyphens, per sentence."""
    return len(_PAUSE.findall(text)) / len(_sentences(text))


def long_word_share(text: str) -> float:
    """Share of words with eight or more characters, 0-1."""
    return sum(len(word) >= _LONG_WORD_LETTERS for word in english_words(text)) / max(1, len(english_words(text)))


def exclamations_per_sentence(text: str) -> float:
    """Exclamation marks per sentence; above 1 when marks are doubled."""
    return text.count("!") / len(_sentences(text))


def second_person_per_100(text: str) -> float:
    """Occurrences of you, your, yours, yourself, you're, you'll and you've per 100 words, in any case."""
    return _per_100_words(len(_SECOND_PERSON.findall(text)), text)


def list_line_share(text: str) -> float:
    """Share of lines that begin with a list marker (- * • or a number with . or ) and a space), 0-1."""
    return sum(bool(_LIST_MARKER.match(line)) for line in _lines(text)) / len(_lines(text))


def words_per_line(text: str) -> float:
    """Mean number of words on a line."""
    return len(english_words(text)) / len(_lines(text))


def numerals_per_100(text: str) -> float:
    """Numbers written in digits per 100 words; 10:45 and 3.5 count once, the number of a list item not at all."""
    return _per_100_words(len(_NUMERAL.findall(_ITEM_NUMBER.sub("", text))), text)


def similes_per_100(text: str) -> float:
    """Occurrences of "like a(n)", "like the", "as if", "as though" and "as ... as" per 100 words, in any case."""
    return _per_100_words(len(_SIMILE.findall(text)), text)


def sensory_per_100(text: str) -> float:
    """Words out of a fixed list of 76 words of light, colour, sound, smell, taste and touch, per 100 words."""
    return _per_100_words(sum(word.lower() in _SENSORY_WORDS for word in english_words(text)), text)


MEASURES: dict[str, Callable[[str], float]] = {
    measure.__name__: measure
    for measure in (
        words_per_sentence,
        pauses_per_sentence,
        long_word_share,
        exclamations_per_sentence,
        second_person_per_100,
        list_line_share,
        words_per_line,
        numerals_per_100,
        similes_per_100,
        sensory_per_100,
    )
}


def _sentences(text: str) -> list[str]:
    sentences = [part for part in _SENTENCE_END.split(text.strip()) if re.search(r"[A-Za-z]", part)]
    return sentences or [text]


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()] or [text]


def _per_100_words(count: int, text: str) -> float:
    return 100 * count / max(1, len(english_words(text)))
