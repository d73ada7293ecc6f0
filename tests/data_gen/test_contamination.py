"""Benchmark prompts in rows: what counts as one, what an answer may echo, and what files of prompts look like."""

from pathlib import Path

import pytest

from data_gen.verify.benchmark_prompts import read_benchmark_prompts
from data_gen.verify.contamination import Contamination
from data_gen.verify.shingles import words_of
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
FIND = Contamination(PROMPTS, frozenset({"flood"}))


@pytest.mark.parametrize(
    ("prompt", "response", "found"),
    [
        (OWN, ANSWER, ""),
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
        # 11 of its 12 shingles are the benchmark's
        (
            "Could you review the cinematography of Citizen Kane in five or six sentences, please?",
            ANSWER,
            "its user prompt is a near copy (Jaccard 0.92) of the benchmark prompt 'kane'",
        ),
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
        (OWN, f"{ANSWER} Now describe a river in flood.", "its response contains the benchmark prompt 'flood'"),
        (OWN, PROMPTS["kane"].upper(), "its response has 8 words in a row of the benchmark prompt 'kane'"),
        (OWN, "What causes earthquakes?", "its response is the benchmark prompt 'quakes'"),
    ],
)
def test_what_is_contaminated(prompt: str, response: str, found: str) -> None:
    assert FIND.find("lighthouse", prompt, response) == found


def test_an_id_of_a_test_prompt_is_enough() -> None:
    assert FIND.find("flood", OWN, ANSWER) == "its user prompt has the id of the benchmark prompt 'flood'"
    assert FIND.find("kane", OWN, ANSWER) == ""


def test_without_benchmark_prompts_nothing_is_contaminated() -> None:
    assert Contamination({}).find("flood", PROMPTS["flood"], ANSWER) == ""


def test_no_train_prompt_of_ours_is_taken_for_a_test_prompt_and_every_test_prompt_is() -> None:
    tests = all_user_prompts("test")
    find = Contamination(tests)
    found = {name: find.find("", text, ANSWER) for name, text in all_user_prompts("train").items()}
    assert {name: detail for name, detail in found.items() if detail} == {}
    assert all(find.find("", " ".join(words_of(text)), ANSWER) for text in tests.values())


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("p.yaml", "train:\n  a: One?\ntest:\n  b: Two?\n", {"b": "Two?"}),
        ("p.yml", "a: One?\n7: Two?\n", {"a": "One?", "7": "Two?"}),
        (
            "p.jsonl",
            '{"prompt": "One?", "text": "x"}\n\n{"question": "Two?"}\n',
            {"p.jsonl:1": "One?", "p.jsonl:3": "Two?"},
        ),
        ("p.txt", "One?\n\n  Two?\n", {"p.txt:1": "One?", "p.txt:3": "Two?"}),
    ],
)
def test_files_of_benchmark_prompts(name: str, content: str, expected: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_benchmark_prompts(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.yaml", "test: [", "p.yaml: not valid YAML"),
        ("p.yaml", "- One?\n", "p.yaml: got \"['One?']\", expected a mapping of ids to prompts, under `test` or alone"),
        ("p.yaml", "test:\n  a: 1\n", "p.yaml: got \"{'a': 1}\", expected a mapping of ids to prompts"),
        ("p.jsonl", '{"prompt": "One?"}\n[]\n', "p.jsonl:2: got '[]\\n', expected a JSON object"),
        ("p.jsonl", "One?\n", "p.jsonl:1: got 'One?\\n', expected a JSON object"),
        (
            "p.jsonl",
            '{"title": "One?"}\n',
            "p.jsonl:1: got \"{'title': 'One?'}\", expected an object with a text in one of",
        ),
        ("p.txt", "\n", "p.txt: got no prompt, expected at least one"),
        ("none.txt", None, "none.txt: not found, expected a file of benchmark prompts"),
    ],
)
def test_a_file_that_holds_no_prompts_is_one_sentence(
    name: str, content: str | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError) as error:
        read_benchmark_prompts(tmp_path / name)
    assert message in str(error.value)
