"""The statistics of the family `measured_more`: every one by hand, and what must not move them."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seed import SEED

from judges import measure
from judges.counting import normalised
from judges.measures import MEASURES
from rubrics import ScoreLevel, load_rubrics

RUBRICS = load_rubrics("measured_more")
STATISTICS = sorted({c.measure.statistic for rubric in RUBRICS for c in rubric.criteria if c.measure})

ASKED = "Who rang? The bell was what I heard. Was it late, and why? Yes."
# 4 sentences, 2 with a question mark; 14 words; asking words in those two: Who, why (the "what" is in no question)
TALK = '"Come in," she said. "It\'s cold."\nThe dog\'s bowl was empty, and the dogs\' "bed" too.'
# 16 words: Come in she said It's cold (6) The dog's bowl was empty and the dogs' bed too (10); quoted: Come in It's
# cold bed = 5 in 3 quotations
ASIDE = "The attic (a dark (very dark) place) was full. Nobody (1) came (alas)."
# words: The attic a dark very dark place was full (9) Nobody came alas (3) = 12; in brackets a dark very dark place (5)
# alas (1) = 6, in 2 pairs, since the inner one is not counted and (1) holds no letter
HEDGED = "Perhaps it was late. It seemed so, I think. The might of kings is gone. He came in May, I suppose."
# 4 sentences, 21 words: Perhaps it was late (4) It seemed so I think (5) The might of kings is gone (6) He came in May
# I suppose (6); hedges: Perhaps, seemed, I think, might, May, suppose = 6: to a list "might" and "May" are hedges too
STEPS = "First, knock twice. When it opens, do not speak. Then slowly walk in. The hall is dark. Lamps hang there."
# 5 sentences; commands: knock, speak, walk = 3; openings: First, When, Then = 3
LIKE = "The big brown bear bathes. A cold wind was at the window. Cats can climb."
# stressed: big brown bear bathes | cold wind window | Cats climb ("can" is none) = 9; runs: 4; 1, 2; 2
TURNS = "It was not day, yet it wasn't night, although nobody slept; on the other hand, no lamp burned. But why?"
# 20 words: It was not day yet it wasn't night (8) although nobody slept (3) on the other hand (4) no lamp burned (3)
# But why (2); contrasts: yet, although, on the other hand, But = 4; negations: not, n't, nobody, no = 4
MOVING = "Turning left, she saw nothing. The king was sitting there, slowly humming and rocking. Morning came, a thing."
# 18 words: 5 + 9 + 4; participles: Turning, sitting, humming, rocking = 4 (not nothing, king, Morning, thing); phrases:
# Turning (sentence), slowly humming (comma), rocking (and) = 3


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("question_share", ASKED, 2 / 4),
        ("question_share", '"Why?" he said. He left.', 1 / 2),
        ("asking_words_per_100", ASKED, 100 * 2 / 14),
        ("quoted_word_share", TALK, 5 / 16),
        ("quotations_per_100", TALK, 100 * 3 / 16),
        ("quoted_word_share", "'Come in,' she said. 'It's the dogs' bed!' He didn't.", 6 / 10),
        ("quotations_per_100", 'A rod of 5" and one of 6" lay there', 0),  # no letter is left between the two
        ("quotations_per_100", '"An open quotation', 0),
        ("parentheses_per_100", ASIDE, 100 * 2 / 12),
        ("parenthesised_word_share", ASIDE, 6 / 12),
        ("parentheses_per_100", "1) one 2) two (three", 0),
        ("hedges_per_100", HEDGED, 100 * 6 / 21),
        ("hedged_sentence_share", HEDGED, 4 / 4),
        ("hedges_per_100", "It is so. It would be so. Surely it must.", 0),
        ("command_share", STEPS, 3 / 5),
        ("command_share", "2. Please stir. At dusk, never go out: stay.\nOpening doors helps.", 2 / 3),
        ("step_opening_share", STEPS, 3 / 5),
        ("step_opening_share", "1) Next, sit. Nextdoor he sat. He sat then.", 1 / 3),
        ("alliterating_share", LIKE, 8 / 9),
        ("alliterating_run_share", LIKE, 4 / 9),
        ("alliterating_share", "Ships sail. Seas swell.", 1),
        ("alliterating_share", "Ships. Sail. Seas. Swell.", 0),  # no run goes on after a sentence
        ("contrasts_per_100", TURNS, 100 * 4 / 20),
        ("negations_per_100", TURNS, 100 * 4 / 20),
        ("negations_per_100", "He could n't, cannot, and knows nowhere", 100 * 3 / 7),
        ("participles_per_100", MOVING, 100 * 4 / 18),
        ("participle_phrases_per_100", MOVING, 100 * 3 / 18),
    ],
)
def test_statistic_known_values(name: str, text: str, value: float) -> None:
    assert MEASURES[name](text) == pytest.approx(value)


EXAMPLE = f"{ASKED} {TALK}\n{ASIDE} {HEDGED} {STEPS} {LIKE} {TURNS} {MOVING}"


def test_a_text_written_twice_measures_the_same() -> None:
    for name in STATISTICS:
        assert MEASURES[name](EXAMPLE) > 0
        assert MEASURES[name](f"{EXAMPLE}\n{EXAMPLE}") == pytest.approx(MEASURES[name](EXAMPLE))


def test_curly_quotes_and_characters_without_width_count_as_none() -> None:
    curly = EXAMPLE.replace("'", "’").replace(' "', " “").replace('\n"', "\n“").replace('"', "”")
    spread = "\u200b".join(EXAMPLE)
    for name, text in product(STATISTICS, (curly, spread)):
        assert MEASURES[name](normalised(text)) == pytest.approx(MEASURES[name](EXAMPLE))


def test_dialogue_in_single_curly_quotes_counts_as_in_straight_and_in_double_ones() -> None:
    straight = "'Are you the last?' he asked. 'Don't push!' 'I'm not pushing,' said the girl. The dog's tail wagged."
    curly = "‘Are you the last?’ he asked. ‘Don’t push!’ ‘I’m not pushing,’ said the girl. The dog’s tail wagged."
    double = '"Are you the last?" he asked. "Don\'t push!" "I\'m not pushing," said the girl. The dog\'s tail wagged.'
    for name in ("quoted_word_share", "quotations_per_100"):
        assert len({MEASURES[name](normalised(text)) for text in (straight, curly, double)}) == 1
    assert MEASURES["quotations_per_100"](double) == pytest.approx(100 * 3 / 18)


@given(st.text(alphabet="ab Wing(\")?.,'\n-but not1then ", max_size=200))
def test_shares_stay_in_0_1_and_counts_are_finite(text: str) -> None:
    for name in STATISTICS:
        value = MEASURES[name](normalised(text))
        assert 0 <= value <= (1 if name.endswith("_share") else 100 * len(text))


PLAIN = (
    "The attic was at the top of the house. It had one small window and a floor of grey boards. Three trunks stood "
    "along the wall, with a broken chair beside them. My grandmother kept her letters there. On Sundays she climbed up "
    "the ladder, sat down under the window and read for an hour. The house was quiet at that time of day."
)


def test_ordinary_prose_is_low_and_no_criterion_alone_reaches_the_top() -> None:
    for rubric in RUBRICS:
        assert ScoreLevel.of(measure(rubric, PLAIN).score) is ScoreLevel.LOW
        assert all(criterion.weight <= 65 for criterion in rubric.criteria)


def test_texts_written_for_other_rubrics_are_low_but_for_3_percent() -> None:
    for rubric in RUBRICS:
        scores = [measure(rubric, row.response).score for row in SEED]
        assert sum(score > 40 for score in scores) <= 0.03 * len(scores)
        assert max(scores) <= 92.5
