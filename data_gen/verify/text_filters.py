"""What can be said against a response from its text alone, before a judge is paid for it.

Each filter gives "" for a text that passes, and otherwise what it found. All are made to let a good text pass rather
than to catch every bad one: what they miss is left to the judge.
"""

import re
from functools import cache
from typing import Any

from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]  # it ships no types

from judges.counting import words
from judges.judgment import MIN_RESPONSE_WORDS
from model_calls.errors import was_cut_off

MAX_REFUSAL_WORDS = 80
MIN_LANGUAGE_CHARACTERS = 100
MAX_LANGUAGE_CHARACTERS = 1000  # read of a text to tell its language; more makes it slower, not surer
MIN_LANGUAGE_CONFIDENCE = 0.9
PLAIN_ENGLISH_SHARE = 0.1

# no words of the languages written alike
_ENGLISH_WORDS = frozenset(
    "the and with that this from which were they their would you your his her where when".split()
)

_CANNOT = r"(?:can't|cannot|can not|won't|will not|am unable to|'m unable to|am not able to|'m not able to)"
_REQUEST = r"(?:that|this|these|such|the|your|any|a response|content)\b"
# narrow on purpose: a teller who cannot write a letter, or must decline an invitation, refuses nothing
_TASK = (
    rf"(?:(?:help|assist)(?: you)? with {_REQUEST}|"
    r"(?:help|assist)(?: you)? (?:with|in) (?:writ|creat|provid|generat)ing\b|"
    rf"(?:provide|fulfil?l|comply with|create|generate|produce|complete|engage in|engage with|support) {_REQUEST}|"
    r"write (?:that|such|a response|content|about (?:that|this))\b|(?:comply|assist)[.!,])"
)
_REFUSAL = re.compile(
    r"(?:(?:(?:i'm|i am)(?: really| very| truly)? sorry|sorry|i apologi[sz]e|my apologies|unfortunately)\b"
    r"[^.!?]{0,40}?)?"
    r"(?:as an ai(?: language)?(?: model| assistant)?,? )?"
    rf"(?:(?:i |i(?='m)){_CANNOT} {_TASK}|"
    r"i (?:must|have to|need to)(?: respectfully| politely)? decline "
    r"(?:to (?:help|assist|provide|write|create|respond)|(?:this|your|the) request)\b|"
    r"i(?:'m| am) not comfortable (?:writing|providing|creating|generating)\b)",
    re.IGNORECASE,
)
_AS_AN_AI = re.compile(rf"as an ai(?: language)?(?: model| assistant)?, i {_CANNOT}\b", re.IGNORECASE)


def find_refusal(response: str, stop_reason: str | None = None) -> str:
    """How a response refuses: by its stop reason, or by a text of at most 80 words that opens with a refusal.

    A longer text that declines a part of what was asked, and a story whose teller cannot do something, are none.
    """
    if stop_reason == "content_filter":
        return "stop reason content_filter"
    start = response.lstrip()[:200].replace("’", "'")
    refusal = _REFUSAL.match(start) or _AS_AN_AI.match(start)
    return f"opens with {refusal[0]!r}" if refusal and len(response.split()) <= MAX_REFUSAL_WORDS else ""


def find_cut(response: str, stop_reason: str | None = None, *, guess: bool = True) -> str:
    """How a response was cut at a token limit: by its stop reason, or (`guess`) by its end if the provider gives none.

    Of every reply inspect's hf/ says "unknown": a text that then ends in a letter, a digit or a comma was cut.
    """
    if was_cut_off(stop_reason):
        return f"stop reason {stop_reason}"
    end = response.rstrip()[-30:]
    if guess and stop_reason == "unknown" and (end[-1:].isalnum() or end.endswith(tuple(",;:(-–—"))):
        return f"no stop reason, and the text breaks off: {end!r}"
    return ""


def find_shortness(response: str) -> str:
    """The number of words of a response that has too few of them for a judge: under 15, counted as judges count."""
    count = len(words(response))
    return f"{count} words, expected {MIN_RESPONSE_WORDS} or more" if count < MIN_RESPONSE_WORDS else ""


def find_other_language(response: str, language: str) -> str:
    """The language of a response that is surely not in the one expected (ISO 639-1 code).

    Texts under 100 characters, and findings with a confidence under 0.9, pass. Read are the first 1000 characters. An
    English text is known without that by its commonest words, if one word in ten is among them.
    """
    if len(response) < MIN_LANGUAGE_CHARACTERS:
        return ""
    if language == "en" and _is_plainly_english(response):
        return ""
    likeliest, confidence = _identifier().classify(response[:MAX_LANGUAGE_CHARACTERS])
    if likeliest == language or confidence < MIN_LANGUAGE_CONFIDENCE:
        return ""
    return f"language is {likeliest!r} with confidence {confidence:.2f}, expected {language!r}"


def check_language(language: str) -> None:
    """Raises ValueError unless the language can be told apart."""
    if language not in (known := _identifier().labels):
        raise ValueError(f"language: got {language!r}, expected 'any' or one of {sorted(known)}")


def _is_plainly_english(text: str) -> bool:
    # telling 100 languages apart takes longer than all other checks together
    tokens = text.lower().split()
    return sum(token in _ENGLISH_WORDS for token in tokens) >= PLAIN_ENGLISH_SHARE * len(tokens)


@cache
def _identifier() -> Any:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
