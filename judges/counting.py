"""What the text statistics count in: words in any script, English words, sentences, lines.

A statistic reads a text as `normalised` gives it. To it a word is a maximal run of ASCII letters and apostrophes. A
sentence ends at . ! or ? followed by white space, or at a line break, and holds at least one letter. A line is a line
with something other than white space on it.

The rules are fixed: the published numbers of the measured rubrics depend on them, so a sentence splitter or a
readability package with rules of its own cannot stand in for them.
"""

import re
import unicodedata

# each letter counts as a word: Thai, Lao, Myanmar, Khmer, Han, Hiragana and Katakana
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f"
    "\U00020000-\U0003ffff"
)
# vowel signs and accents, which \w leaves out; with those beyond the first plane a search would be slow
_MARKS = "".join(mark for mark in map(chr, range(0x300, 0x10000)) if unicodedata.category(mark)[0] == "M")
_RUN = rf"[^\W_{UNSPACED}]+(?:[{_MARKS}]+[^\W_{UNSPACED}]*)*"
_WORD = re.compile(rf"{_RUN}(?:'{_RUN})*|(?!\W)[{UNSPACED}][{_MARKS}]*")
_ENGLISH_WORD = re.compile(r"[A-Za-z']+")
# one text has to measure the same whichever editor wrote it
_APOSTROPHE = re.compile("[‘’ʼ＇]")
_WITHOUT_WIDTH = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


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


def sentences(text: str) -> list[str]:
    """Sentences of a text, in order; the text itself if it has none."""
    parts = [part for part in _SENTENCE_END.split(text.strip()) if re.search(r"[A-Za-z]", part)]
    return parts or [text]


def lines(text: str) -> list[str]:
    """Lines of a text that hold something, in order; the text itself if none does."""
    return [line for line in text.splitlines() if line.strip()] or [text]


def per_100_words(count: int, text: str) -> float:
    """So many per 100 English words of the text; of a text without words, 100 times the count."""
    return 100 * count / max(1, len(english_words(text)))
