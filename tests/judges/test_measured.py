"""The measured judge: every statistic by hand, and the whole judgment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges import measure
from judges.counting import english_words, normalised, words
from judges.measures import MEASURES
from rubrics import load_rubric, load_rubrics

RUBRICS = load_rubrics("measured,measured_more")

PROSE = "The old harbour slept. Gulls, loud and hungry, circled above it; nobody looked up! Why?"
# words: 4 + 9 + ... counted by hand below: The old harbour slept (4) Gulls loud and hungry circled above it nobody
# looked up (10) Why (1) = 15 words in 3 sentences
NOTES = "- 10:45. Gulls, 37.\n2) Wind 3.5 knots\nA plain line here.\n"
# lines: 3, two of them list entries; words: Gulls Wind knots A plain line here = 7
# numerals: 10:45, 37, 3.5 = 3 (the item number 2 does not count)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("words_per_sentence", PROSE, 15 / 3),
        ("words_per_sentence", "one two three", 3),
        ("words_per_sentence", "First line\nsecond line here", 5 / 2),
        ("pauses_per_sentence", PROSE, 3 / 3),
        ("pauses_per_sentence", "A—b – c -- d: e, f; g.", 6),
        ("long_word_share", "eightltr sevenlt a b", 1 / 4),
        ("exclamations_per_sentence", PROSE, 1 / 3),
        ("exclamations_per_sentence", "Go! Go!! Now.", 3 / 3),
        ("second_person_per_100", "You and your dog, yourself! Youth is not it.", 100 * 3 / 9),
        ("second_person_per_100", "You're late and you'll see.", 100 * 2 / 5),
        ("list_line_share", NOTES, 2 / 3),
        ("list_line_share", "* a\n• b\n1. c\n-d", 3 / 4),
        ("words_per_line", NOTES, 7 / 3),
        ("numerals_per_100", NOTES, 100 * 3 / 7),
        ("numerals_per_100", "room B12 has 12 chairs", 100 * 1 / 4),  # room B has chairs
        ("similes_per_100", "It hummed like a bee, as if awake, as though told, as soft as silk.", 100 * 4 / 15),
        ("similes_per_100", "I like apples as much.", 0),
        ("sensory_per_100", "Cold rain fell on the Stone bridge", 100 * 3 / 7),
    ],
)
def test_statistic_known_values(name: str, text: str, value: float) -> None:
    assert MEASURES[name](text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "   \n", "!!!", "123", "…"])
def test_statistics_of_a_text_without_words_are_finite(text: str) -> None:
    assert all(statistic(text) >= 0 for statistic in MEASURES.values())


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Don’t stop l'été, it's ’twas dogs'.", 6),
        ("10:45, room B12", 4),
        ("a_b -- !!! …", 2),
        ("Привет, мир", 2),
        ("می\u200cخواهم برم", 2),
        ("हिन्दी भाषा", 2),
        ("cafe\u0301 Ｆｕｌｌ ｗｉｄｔｈ", 3),
        ("one\u200btwo thr\u00adee", 2),
        ("你好，世界。", 4),
        ("カタカナ・ひらがな", 8),
        ("ที่นี่", 2),
        ("ភាសា", 2),
        ("မြန်မာ", 3),
    ],
)
def test_words_of_any_script(text: str, count: int) -> None:
    assert len(words(text)) == count


@given(st.text(), st.text())
def test_words_of_two_texts_are_those_of_both(first: str, second: str) -> None:
    assert words(f"{first}\n{second}") == words(first) + words(second)


def test_curly_apostrophes_and_characters_without_width_change_no_score() -> None:
    straight = "You don't stop. It's a dog's life, isn't it?\n- You're 'here' at 10:45! " * 4
    curly = straight.replace("'", "’")
    spread = "\ufeff" + "\u200b".join(straight)
    for rubric in RUBRICS:
        assert len({measure(rubric, text).score for text in (straight, curly, spread)}) == 1, rubric.id


def test_a_response_in_another_script_holds_no_words_for_the_measured_judge() -> None:
    for text in ("река 37 течёт " * 40, "河流37。" * 40):
        assert len(words(text)) > 100
        judgments = [measure(rubric, text) for rubric in RUBRICS]
        assert {(judgment.score, judgment.reason) for judgment in judgments} == {(0, "no_response")}


@given(st.text(max_size=400))
def test_a_measured_score_stays_in_0_100(text: str) -> None:
    for rubric in RUBRICS:
        judgment = measure(rubric, text)
        assert 0 <= judgment.score <= 100
        assert (judgment.reason == "no_response") == (len(english_words(normalised(text))) < 15)


def test_total_is_the_weighted_mean_of_the_criteria() -> None:
    # 20 words in 1 sentence, 0 pauses, 5 long words of 20:
    # (20-8)/27 = .4444 -> 44.44 at 40 %; 0 at 30 %; (.25-.10)/.16 = .9375 -> 93.75 at 30 %: 17.778 + 28.125 = 45.903
    text = " ".join(["mountainous"] * 5 + ["sun"] * 15) + "."
    judgment = measure(load_rubric("labyrinth"), text)
    assert [round(criterion.score, 2) for criterion in judgment.criteria] == [44.44, 0.0, 93.75]
    assert judgment.score == pytest.approx(45.9028, abs=1e-3)
    assert judgment.judge == "measured"
    assert judgment.holistic is None


def test_fourteen_words_are_no_response_and_fifteen_are_one() -> None:
    rubric = load_rubric("broadcast")
    assert measure(rubric, "you! " * 14).reason == "no_response"
    assert measure(rubric, "you! " * 14).score == 0
    assert measure(rubric, "you! " * 15).score == 100


def test_a_rubric_without_measures_is_refused_with_the_way_out() -> None:
    rubric = load_rubric("reverie")
    bare = rubric.model_copy(
        update={"criteria": tuple(c.model_copy(update={"measure": None}) for c in rubric.criteria)}
    )
    with pytest.raises(ValueError, match="'comparison' has no measure, .* use judge=model"):
        measure(bare, "word " * 20)
