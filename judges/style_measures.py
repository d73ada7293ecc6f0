"""Text statistics of the rubrics of the family `measured_more`; how a text is counted: `judges/counting.py`.

All are pure functions of one normalised text. A text without words has 0 of each; none raises. Word lists and patterns
match in any case.
"""

import re
from collections.abc import Iterator
from itertools import groupby

from judges.counting import english_words, per_100_words, sentences

_ASKING_WORD = re.compile(r"\b(who|whom|whose|what|which|where|when|why|how)\b", re.IGNORECASE)
_DOUBLE = '"“”„‟«»'
# 'single quotes' are taken for speech where a mark stands before the closing one, else they are apostrophes
_QUOTATION = re.compile(
    rf"(?<!\d)[{_DOUBLE}][^{_DOUBLE}\n]*[A-Za-z][^{_DOUBLE}\n]*[{_DOUBLE}]"
    r"|(?<![A-Za-z0-9'])'(?=[A-Za-z])[^\n]*?[,.!?…—–-]'(?![A-Za-z])"
)
_PARENTHESIS = re.compile(r"\((?:[^()]|\([^()]*\))*\)")
_HEDGE = re.compile(
    r"\b(perhaps|maybe|possibly|probably|presumably|apparently|seemingly|supposedly|conceivably|arguably|might|may"
    r"|(?:could|must)(?: well)? (?:be|have)|seem(?:s|ed|ing)?|appear(?:s|ed)? to|as it were|or so|or something"
    r"|somehow|somewhat|likely|unlikely|(?:un|not |hardly )(?:sure|certain)|(?:sort|kind) of|suppose|guess|suspect"
    r"|imagine|i (?:think|believe|fancy|gather|wonder)|as far as|if i am not mistaken"
    r"|(?:can't|cannot|couldn't) (?:say|tell)|hard to (?:say|tell)|who knows|more or less|roughly|tend(?:s|ed)? to)\b",
    re.IGNORECASE,
)
_STEP_WORDS = (
    "first firstly second secondly third thirdly next then now after afterwards before once when while until meanwhile "
    "finally last lastly"
)
_STEP_OPENING = re.compile(
    rf"\W*(?:\d+[.)]\s*)?(?:{'|'.join(_STEP_WORDS.split())}"
    r"|step|as soon as|to begin|to start|to finish|at last|in the end)\b",
    re.IGNORECASE,
)
# what may stand before the verb of a command: one adverbial up to a comma, then small words and adverbs in -ly
_BEFORE_VERB = re.compile(
    r"\W*(?:\d+[.)]\s*)?(?:(?:when|once|after|before|if|while|as|until|by|at|in|on|with|for|from|to|step)\b[^,:]*[,:]\s*)?"
    r"(?:(?:and|but|so|first|firstly|second|secondly|third|thirdly|next|then|now|finally|last|lastly|always|never|just"
    r"|afterwards|meanwhile|please|only|also|do not|don't|do|\w+ly),?\s+)*",
    re.IGNORECASE,
)
_COMMANDS = frozenset(
    """
    accept add adjust admire admit aim allow apply approach arrange ask assume attach avoid bake balance be bear
    beat become begin bend bind blow boil bow breathe bring brush build button buy call carry catch check choose
    clean clear climb close collect come compare consider continue count cover cross cut dance dare decide dip drag
    draw dress drink drive drop dry dust eat empty enjoy enter expect feed feel fetch fill find finish fix fold
    follow forget forgive gather get give glance go grab greet grip hand hang have hear heat help hide hold hum
    hurry ignore imagine invite join jump keep kneel knock know lay lead lean learn leave lend let lie lift light
    listen load lock look loosen lower make mark measure melt mend mind mix move nod note notice nudge obey observe
    offer open pack pass pause pay pick pin place plan play point polish pour prepare press promise pull push put
    raise reach read remember remind remove repeat reply rest return ring rinse roll rub run save say scrape scrub
    search season see seek send serve set settle sew shake share shut sing sip sit skip slide slip smell smile sniff
    snap speak spin spread sprinkle squeeze stack stand start stay step stir stop stretch strike study sweep swing
    take talk tap taste tear tell test thank think throw tie tighten touch trace treat trim trust try tuck turn
    twist unfold unlock unpack untie unwrap use visit wait wake walk warm wash watch wear welcome whisper whistle
    wind wipe wish wonder work wrap write
    """.split()
)
_CONTRAST = re.compile(
    r"\b(but|yet|although|though|however|whereas|while|instead|rather than|despite|in spite of|unlike|nevertheless"
    r"|nonetheless|conversely|on the (?:one|other) hand|on the contrary|even so|all the same"
    r"|(?:by|in) contrast)\b",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"\b(not|no|never|nothing|nobody|none|neither|nor|nowhere|without|cannot)\b|n't\b", re.IGNORECASE
)
_NO_PARTICIPLE = (
    "thing nothing something anything everything plaything morning evening during spring string king ring wing sing "
    "bring swing sling cling fling sting ceiling building wedding clothing darling sterling herring pudding shilling "
    "lightning offspring duckling gosling sibling seedling dumpling inning awning being"
)
_PARTICIPLE_WORD = rf"\b(?!(?:{'|'.join(_NO_PARTICIPLE.split())})\b)[a-z]+ing\b"
_PARTICIPLE = re.compile(_PARTICIPLE_WORD, re.IGNORECASE)
_PARTICIPLE_PHRASE = re.compile(
    rf"(?:^[^A-Za-z\n]*|(?<=[.!?])\s+|[,;:—–(]\s*|--\s*|\band\s+)(?:\w+ly\s+)?{_PARTICIPLE_WORD}",
    re.IGNORECASE | re.MULTILINE,
)
# words that nobody hears an initial of
_UNSTRESSED = frozenset(
    """
    a an the and or but nor so yet of to in on at by for from with without into onto upon up down out off over under as
    than that this these those there here it its he him his she her hers they them their we us our you your i my me is
    was were are am be been being has have had do does did will would can could shall should may might must not no if
    then when while who whom whose which what where how why all each some any such one's it's
    """.split()
)
_RUN_WORDS = 3


def question_share(text: str) -> float:
    """Share of sentences that hold a question mark, 0-1."""
    return sum("?" in sentence for sentence in sentences(text)) / len(sentences(text))


def asking_words_per_100(text: str) -> float:
    """Who, whom, whose, what, which, where, when, why and how in sentences with a question mark, per 100 words."""
    asked = " ".join(sentence for sentence in sentences(text) if "?" in sentence)
    return per_100_words(len(_ASKING_WORD.findall(asked)), text)


def quoted_word_share(text: str) -> float:
    """Share of words inside quotations, 0-1.

    A quotation stands on one line between double quotes, straight, curly or «», of which the first follows no digit,
    and holds a letter; or between single ones of which the first begins a word and the last follows a comma, a dash or
    the mark of a sentence's end.
    """
    quoted = sum(len(english_words(part)) for part in _quotations(text))
    return quoted / max(1, quoted + len(english_words(_QUOTATION.sub(" ", text))))


def quotations_per_100(text: str) -> float:
    """Quotations, as in `quoted_word_share`, per 100 words."""
    return per_100_words(len(_quotations(text)), _QUOTATION.sub(lambda quotation: quotation[0][1:-1], text))


def parentheses_per_100(text: str) -> float:
    """Pairs of round brackets with a letter between them per 100 words; one inside another is not counted."""
    return per_100_words(len(_parentheses(text)), text)


def parenthesised_word_share(text: str) -> float:
    """Share of words inside round brackets, 0-1."""
    return sum(len(english_words(part)) for part in _parentheses(text)) / max(1, len(english_words(text)))


def hedges_per_100(text: str) -> float:
    """Hedges out of a fixed list (perhaps, might, seems, sort of, I suppose, hard to say, ...) per 100 words."""
    return per_100_words(len(_HEDGE.findall(text)), text)


def hedged_sentence_share(text: str) -> float:
    """Share of sentences with a hedge of the list of `hedges_per_100`, 0-1."""
    return sum(bool(_HEDGE.search(sentence)) for sentence in sentences(text)) / len(sentences(text))


def command_share(text: str) -> float:
    """Share of sentences that begin with a command, 0-1.

    That is one of a fixed list of 258 verbs in the plain form, after at most a list number, an adverbial that ends
    in a comma ("When it boils,"), and small words such as then, never, do not, gently.
    """
    return sum(_is_command(sentence) for sentence in sentences(text)) / len(sentences(text))


def step_opening_share(text: str) -> float:
    """Share of sentences that begin with a word of order (first, then, next, now, once, when, finally, ...), 0-1."""
    return sum(bool(_STEP_OPENING.match(sentence)) for sentence in sentences(text)) / len(sentences(text))


def alliterating_share(text: str) -> float:
    """Share of stressed words that begin with the letter of the stressed word before or after them, 0-1.

    Stressed is every word but those of a fixed list of small ones. Neighbours stand in one sentence.
    """
    runs = list(_letter_runs(text))
    return sum(run for run in runs if run > 1) / max(1, sum(runs))


def alliterating_run_share(text: str) -> float:
    """Share of stressed words, as in `alliterating_share`, in runs of three or more with one first letter, 0-1."""
    runs = list(_letter_runs(text))
    return sum(run for run in runs if run >= _RUN_WORDS) / max(1, sum(runs))


def contrasts_per_100(text: str) -> float:
    """Words of contrast (but, yet, although, while, instead, despite, on the other hand, ...) per 100 words."""
    return per_100_words(len(_CONTRAST.findall(text)), text)


def negations_per_100(text: str) -> float:
    """Not, n't, no, never, nothing, nobody, none, neither, nor, nowhere, without and cannot per 100 words."""
    return per_100_words(len(_NEGATION.findall(text)), text)


def participles_per_100(text: str) -> float:
    """Words in -ing per 100 words, without a fixed list of others such as thing, morning, during and ceiling."""
    return per_100_words(len(_PARTICIPLE.findall(text)), text)


def participle_phrases_per_100(text: str) -> float:
    """Words in -ing, as in `participles_per_100`, that begin a phrase, per 100 words.

    They begin a sentence or a line, or follow a comma, semicolon, colon, dash, opening bracket or "and", with at most
    an adverb in -ly between.
    """
    return per_100_words(len(_PARTICIPLE_PHRASE.findall(text)), text)


def _quotations(text: str) -> list[str]:
    return [quotation[1:-1] for quotation in _QUOTATION.findall(text)]


def _parentheses(text: str) -> list[str]:
    return [part for part in _PARENTHESIS.findall(text) if english_words(part)]


def _is_command(sentence: str) -> bool:
    for start in (_BEFORE_VERB.match(sentence), re.match(r"\W*", sentence)):
        following = english_words(sentence[start.end() :])[:1] if start else []
        if following and following[0].lower() in _COMMANDS:
            return True
    return False


def _letter_runs(text: str) -> Iterator[int]:
    """Lengths of the longest runs of stressed words of a sentence that begin with one letter, 1 and up."""
    for sentence in sentences(text):
        stressed = [word for word in (word.strip("'").lower() for word in english_words(sentence)) if word]
        initials = [word[0] for word in stressed if word not in _UNSTRESSED]
        yield from (len(list(run)) for _, run in groupby(initials))
