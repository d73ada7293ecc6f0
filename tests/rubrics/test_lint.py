"""`cpt rubric lint`: each rule has an example that trips it, and the library trips none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_runs import ran, succeeds

from rubrics import Rubric, load_rubrics
from rubrics.commands import lint_command
from rubrics.lint import lint_rubric
from rubrics.load import LIBRARY

Content = dict[str, Any]
Change = Callable[[Content], Any]


def changed(change: Change = lambda content: None) -> Content:
    content: Content = yaml.safe_load((LIBRARY / "broadcast.yaml").read_text(encoding="utf-8"))
    change(content)
    return content


def write(tmp_path: Path, change: Change = lambda content: None) -> Path:
    path = tmp_path / "broadcast.yaml"
    path.write_text(yaml.safe_dump(changed(change), allow_unicode=True), encoding="utf-8")
    return path


def set_descriptor(grade: str, text: str) -> Change:
    return lambda content: content["criteria"][0]["descriptors"].update({grade: text})


def set_wording(text: str, level: str = "moderate", split: str = "train", position: int = 1) -> Change:
    def change(content: Content) -> None:
        content["system_prompts"][level][split][position] = text

    return change


def copy_title(content: Content) -> None:
    content["criteria"][1]["title"] = content["criteria"][0]["title"].upper()


FIRST = changed()["system_prompts"]["moderate"]["train"][0]
NEAR_FIRST = FIRST.replace("some liveliness", "a certain liveliness")
FREQUENT = "Exclamations are very frequent and carry the passage, with a calmer sentence between them."

RULES: list[tuple[Change, str, str]] = [
    (
        set_descriptor("fair", "one exclamation at most -- the tone is mild"),
        "error same_descriptors",
        "descriptors.needs_improvement: got the words of criteria.excitement.descriptors.fair",
    ),
    (
        set_descriptor("excellent", FREQUENT),
        "warning near_descriptors",
        "0.96 alike to criteria.excitement.descriptors.excellent",
    ),
    (set_descriptor("good", "Good: loud."), "error names_level", "got 'Good:' in 'Good: loud.'"),
    (set_descriptor("fair", "Loud, a score of 50."), "error names_level", "got 'score of 5'"),
    (
        lambda c: c["criteria"][1]["measure"].update(statistic="exclamations_per_sentence"),
        "error same_measure",
        "criteria.address.measure: got the words of criteria.excitement.measure, 'exclamations_per_sentence'",
    ),
    (copy_title, "error same_title", "got the words of criteria.excitement.title, 'AUDIBLE EXCITEMENT'"),
    (set_wording("Write for 70 out of 100. Be lively."), "error leaks_level", "got '70 out of 100'"),
    (set_wording("Be extremely_high today. Be loud."), "error leaks_level", "got 'extremely_high'"),
    (set_wording("Keep words_per_sentence low. Cheer."), "error leaks_level", "'words_per_sentence'"),
    (set_wording("Пиши живо и громко."), "error measures_english", "the measures count English words"),
    (set_wording("Follow the rubric. Be lively."), "warning leaks_grading", "got 'rubric'"),
    (
        set_wording(FIRST.upper()),
        "error same_wording",
        "system_prompts.moderate.train.1: got the words of system_prompts.moderate.train.0",
    ),
    (set_wording(FIRST, level="low"), "error same_wording", "words of system_prompts.low.train.1"),
    (set_wording(NEAR_FIRST), "warning near_wording", "vary more than a word"),
    (set_wording(NEAR_FIRST, split="heldout"), "error near_wording", "it would test memory, so write a new one"),
]


@pytest.mark.parametrize(("change", "rule", "message"), RULES, ids=[rule[1] for rule in RULES])
def test_each_rule_is_tripped_by_its_example_alone(change: Change, rule: str, message: str) -> None:
    findings = lint_rubric(Rubric.model_validate(changed(change)))
    assert {f"{finding.severity} {finding.rule}" for finding in findings} == {rule}, findings
    assert message in str(findings[0])


@pytest.mark.parametrize(
    "change",
    [
        set_descriptor("fair", "A high level of detail in a low voice, and a fair number of excellent exclamations."),
        set_descriptor("fair", "Good-natured shouts in 3 out of 10 sentences, 50% of lines; high notes are rare."),
        set_descriptor("fair", "Fair-haired heroes get three marks of honour. Music swells like the score of a film."),
        set_wording("Write with high energy, 20 words and moderate length. Keep 3 good jokes and marks of joy in it."),
    ],
)
def test_natural_words_raise_no_alarm(change: Change) -> None:
    assert lint_rubric(Rubric.model_validate(changed(change))) == []


def test_without_files_the_library_is_checked_and_it_is_clean() -> None:
    assert succeeds(lint_command) == f"{len(load_rubrics('all'))} rubrics: 0 errors, 0 warnings\n"


def test_exit_status_1_on_errors_which_come_first_and_with_strict_on_warnings(tmp_path: Path) -> None:
    succeeds(lint_command, write(tmp_path), "--strict")
    warned = set_wording("Follow the rubric. Be lively.")
    path = write(tmp_path, warned)
    succeeds(lint_command, path)
    ran(lint_command, path, "--strict", code=1)
    both = write(tmp_path, lambda content: (warned(content), copy_title(content)))
    first, second, total = ran(lint_command, both, code=1).output.splitlines()
    assert first.startswith(f"{path}: error: criteria.address.title: got")
    assert second.startswith(f"{path}: warning: ")
    assert total == "1 rubrics: 1 errors, 1 warnings"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [", "bad.yaml: not valid YAML"),
        (b"- a list", "bad.yaml: Input should be a valid dictionary or instance of Rubric, got ['a list']"),
        (b"\xff\xfe\xfa", "bad.yaml: in UTF-16, expected UTF-8; convert it with `iconv"),
        (b"id: bad\ntitle: '[INST]'", "bad.yaml: line 2: got the control token '[INST]', expected plain text"),
        (b"colour: red\ntitle: ''", "title: String should have at least 1 character, got ''; family: Field required"),
        (None, "bad.yaml' not found, expected one of ['antithesis'"),
    ],
)
def test_a_file_that_is_no_rubric_is_an_error_and_the_others_are_still_checked(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.yaml"
    if content is not None:
        bad.write_bytes(content)
    output = ran(lint_command, bad, write(tmp_path, copy_title), code=1).output
    assert f"{bad}: error: " in output
    assert message in output
    assert "criteria.address.title" in output
