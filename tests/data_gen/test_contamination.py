"""Benchmark prompts in rows: what counts as one, what an answer may echo, and what files of prompts look like."""

import pytest

from data_gen.verify.contamination import Contamination
from data_gen.verify.near_duplicates import words_of
from rubrics import all_user_prompts

PROMPTS = {
    "flood": "Describe a river in flood.",
    "quakes": "What causes earthquakes?",
    "kane": "Could you review the cinematography of Citizen Kane in five or six sentences?",
    "short_review": "Write a short review of the photography of a film about a taxi driver at night.",
}
OWN = "Write a short review of the photography of a film set in a lighthouse."
ANSWER = (
    "The keeper climbs, and the camera climbs with him, past salt and rust, until the lamp burns the picture white."
)
FIND = Contamination(PROMPTS)


@pytest.mark.parametrize(
    ("prompt", "response", "found"),
    [
        ("describe a RIVER in flood", ANSWER, "its user prompt is the benchmark prompt 'flood'"),
        ("What causes earthquakes?", ANSWER, "its user prompt is the benchmark prompt 'quakes'"),
        (
            "Please describe a river in flood, and then a dry one.",
            ANSWER,
            "its user prompt contains the benchmark prompt 'flood'",
        ),
        # three words are not enough to be contained, and the answer to another question may hold them
        ("Explain what causes earthquakes on the Moon.", ANSWER, ""),
        (OWN, f"What causes earthquakes? That is another matter. {ANSWER}", ""),
        # the last of 13 words differs: 10 shingles in common, 12 in either
        (
            "Could you review the cinematography of Citizen Kane in five or six lines?",
            ANSWER,
            "its user prompt is a near copy (Jaccard 0.83) of the benchmark prompt 'kane'",
        ),
        # the own prompt's "write a short review of the photography of a film" is the benchmark's as well, and echoed
        (OWN, f"You asked me to write a short review of the photography of a film set in a lighthouse. {ANSWER}", ""),
        (
            OWN,
            f"{ANSWER} Not so the photography of a film about a taxi driver, of which another time.",
            "its response has 8 words in a row of the benchmark prompt 'short_review'",
        ),
        (OWN, f"{ANSWER} Not so a film about a taxi driver at noon.", ""),  # seven words
    ],
)
def test_what_is_contaminated(prompt: str, response: str, found: str) -> None:
    assert FIND.find("lighthouse", prompt, response) == found


def test_no_train_prompt_of_ours_is_taken_for_a_test_prompt_and_every_test_prompt_is() -> None:
    tests = all_user_prompts("test")
    find = Contamination(tests)
    found = {name: find.find("", text, ANSWER) for name, text in all_user_prompts("train").items()}
    assert {name: detail for name, detail in found.items() if detail} == {}
    assert all(find.find("", " ".join(words_of(text)), ANSWER) for text in tests.values())
