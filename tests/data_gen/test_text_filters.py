"""What speaks against a response from its text alone, and above all what does not."""

import pytest

from data_gen.verify.text_filters import find_cut, find_other_language, find_refusal, find_shortness

STORY = "The boat lay keel up in the grass, and nobody in the village would say whose it was or how long it had lain."


@pytest.mark.parametrize(
    ("response", "opening"),
    [
        (
            "I\u2019m really sorry, but I can\u2019t assist you with this request.",
            "I'm really sorry, but I can't assist you with this",
        ),
        ("I cannot write content that could hurt people.", "I cannot write content"),
        ("Unfortunately, I won't create this kind of text.", "Unfortunately, I won't create this"),
        ("As an AI language model, I cannot taste soup, so I leave this to you.", "As an AI language model, I cannot"),
        ("I'm unable to fulfill your request.", "I'm unable to fulfill your"),
        ("I must respectfully decline this request.", "I must respectfully decline this request"),
        ("  I'm not comfortable writing this.", "I'm not comfortable writing"),
    ],
)
def test_a_short_text_that_opens_with_a_refusal_is_one(response: str, opening: str) -> None:
    assert find_refusal(response) == f"opens with {opening!r}"


@pytest.mark.parametrize(
    "response",
    [
        "I can't help laughing when the kettle sings, for my mother sang the same two notes all winter.",
        "I can't write. My hand shakes, the lamp smokes, and the letter was never going to be sent.",
        "I must decline your kind invitation to the dance, for I have sworn off the polka, dear cousin.",
        "I'm sorry about the rain. It followed me from the coast and I cannot send it back.",
        "I cannot answer that for you; what would you lose by trying it for a week?",
        f"You ask for help, and I say: I can't help with that. {STORY}",
        "I can't help with that particular joint, so call an electrician first. " + "Switch off the mains. " * 25,
        "",
    ],
)
def test_a_teller_who_cannot_and_a_long_text_that_declines_a_part_are_no_refusals(response: str) -> None:
    assert find_refusal(response) == ""


def test_fifteen_words_are_enough() -> None:
    assert find_shortness("word " * 15) == ""
    assert find_shortness("слово " * 15) == ""
    assert find_shortness("word " * 13 + "7") == "14 words, expected 15 or more"
    assert find_shortness("") == "0 words, expected 15 or more"


GERMAN = (
    "Am Abend lag der Hafen still, und nur ein einzelnes Boot schaukelte noch am Steg, während die Fischer ihre Netze "
    "flickten und über das Wetter der kommenden Woche sprachen."
)


def test_a_text_surely_in_another_language_is_one() -> None:
    found = find_other_language(GERMAN, "en")
    assert found.startswith("language is 'de' with confidence ")
    assert find_other_language(GERMAN, "de") == ""
    assert find_other_language(STORY, "en") == ""
    assert find_other_language(STORY, "de").startswith("language is 'en' with confidence ")


def test_short_texts_and_odd_english_pass_as_english() -> None:
    assert find_other_language("Guten Abend, meine Damen und Herren.", "en") == ""
    for text in (
        "Zut alors, the maître d' cried, and the hors d'oeuvres slid, en masse, off the étagère into a bishop's lap.",
        "- 14:05 / wind SW 4\n- 14:20 / 3 boats\n- 14:45 / rain, 2 mm\n- 15:00 / tide 3.2 m\n- 15:30 / 1 seal, asleep",
        "Arr, ye scurvy bilge rat, belay that talk o' kettles an' hoist the mains'l afore the tide be turnin' on us!",
    ):
        assert find_other_language(text, "en") == "", text


@pytest.mark.parametrize(
    ("end", "stop_reason", "is_cut"),
    [
        ("said so.", "max_tokens", True),
        ("said s", "unknown", True),  # what inspect's hf/ gives
        ("in 19", "unknown", True),
        ("said, and,\n", "unknown", True),
        ("said so.", "unknown", False),
        ("\u201csaid so!\u201d", "unknown", False),
        ("(said so)", "unknown", False),
        ("said s", "stop", False),
        ("said s", None, False),
    ],
)
def test_where_no_stop_reason_is_given_a_text_that_breaks_off_was_cut(
    end: str, stop_reason: str | None, is_cut: bool
) -> None:
    assert bool(find_cut(f"{STORY} {end}", stop_reason)) == is_cut
