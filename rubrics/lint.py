"""Finds what is wrong with a rubric file beyond its schema: what would make judges or students confuse things.

    cpt rubric lint my_rubric.yaml

Errors make scores meaningless; warnings deserve a look. Two texts are compared by their words, lower case, as the ratio
of `difflib.SequenceMatcher`: 1 for the same words in the same order, 0 for no word in common. In the shipped library
two descriptors of a criterion reach at most 0.62, two wordings of a system prompt 0.47.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from rubrics.levels import LOW_MAX, MODERATE_MAX
from rubrics.load import read_mapping
from rubrics.schema import Criterion, Rubric, schema_problems

NEAR_DESCRIPTORS = 0.8
NEAR_WORDINGS = 0.75
NEAR_CRITERIA = 0.6
MIN_WEIGHT_PERCENT = 5.0
MIN_GRADE_STEP = 0.05  # a quarter of a ramp, as a share of its larger end

# Good, fair, low, moderate and high are ordinary words: they name a level only where they stand alone at the start of a
# descriptor, or before a word for a score. "A high level of detail" and "a fair number of commas" are natural; a
# descriptor that opens with its own grade ("Good use of ..." under good) is a warning.
_ALONE = re.compile(
    r"^(?:excellent|good|fair|needs improvement|unsatisfactory|low|moderate|(?:extremely )?high)\s*(?:$|[:.;–—]|-\s)",
    re.IGNORECASE,
)
_GRADE_NAMES = re.compile(
    r"\b(?:needs[ _]improvement|unsatisfactory|extremely_high"
    r"|(?:excellent|good|fair|low|moderate|high|full|top)[ -]"
    r"(?:(?:score|grade|mark|rating|band)s?\b|levels?\b(?! of)))",
    re.IGNORECASE,
)
_SCORES = re.compile(
    r"\b(?:scores?|grades?|marks?|ratings?)\s*(?:of|above|below|over|under|at least|between|from|:|=)?\s*\d"
    r"|\b\d+(?:\.\d+)?\s*(?:/|out of)\s*100\b",
    re.IGNORECASE,
)
_GRADING_WORDS = re.compile(r"\b(?:rubrics?|criteri(?:on|a)|descriptors?|grader|graded by|scored by)\b", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?!\w|\.\d)")

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing to correct: `rule` names the check, `where` the field, `message` says got, expected and the remedy."""

    severity: Severity
    rule: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.message} [{self.rule}]"


def lint_file(path: Path) -> list[Finding]:
    """Findings about one rubric file, errors first. A file that breaks the schema is not looked at any further.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not a YAML mapping in UTF-8.
    """
    content = read_mapping(path)
    try:
        rubric = Rubric.model_validate(content)
    except ValidationError as error:
        return [Finding("error", "schema", where or "rubric", message) for where, message in schema_problems(error)]
    findings = lint_rubric(rubric)
    if rubric.id != path.stem:
        message = f"got {rubric.id!r}, expected the file's name {path.stem!r}; rename one of them"
        findings.insert(0, Finding("error", "schema", "id", message))
    return findings


def lint_rubric(rubric: Rubric) -> list[Finding]:
    """Findings about a valid rubric, errors first."""
    findings = [
        *(finding for criterion in rubric.criteria for finding in _criterion(criterion)),
        *(finding for criterion in rubric.criteria for finding in _descriptors(criterion)),
        *_overlap(rubric),
        *_leaks(rubric),
        *_wordings(rubric),
    ]
    return sorted(findings, key=lambda finding: finding.severity)


def likeness(one: str, other: str) -> float:
    """How alike two texts are, 0-1, by their words in order; case and punctuation do not count."""
    return SequenceMatcher(None, _words(one), _words(other), autojunk=False).ratio()


def _criterion(criterion: Criterion) -> Iterator[Finding]:
    where, weight, measure = f"criteria.{criterion.id}", criterion.weight, criterion.measure
    if weight < MIN_WEIGHT_PERCENT:
        message = f"got {weight:g}, expected {MIN_WEIGHT_PERCENT:g} or more; raise it, or drop the criterion"
        yield Finding("warning", "light_criterion", f"{where}.weight", message)
    if measure is None:
        return
    step = abs(measure.end - measure.start) / 4
    if step < MIN_GRADE_STEP * max(abs(measure.start), abs(measure.end)):
        message = (
            f"got from {measure.start:g} to {measure.end:g}, where a grade is {step:.3g} wide, expected "
            f"{MIN_GRADE_STEP:.0%} of the larger end or more; widen the ramp, or the descriptors cannot be told apart"
        )
        yield Finding("warning", "narrow_ramp", f"{where}.measure", message)


def _descriptors(criterion: Criterion) -> Iterator[Finding]:
    grades, start = criterion.descriptors.model_dump(), f"criteria.{criterion.id}.descriptors"
    for (one, text), (other, other_text) in combinations(grades.items(), 2):
        if _words(text) == _words(other_text):
            message = f"got the words of {one}, {other_text!r}, expected five different texts; rewrite one of them"
            yield Finding("error", "same_descriptors", f"{start}.{other}", message)
        elif (alike := likeness(text, other_text)) >= NEAR_DESCRIPTORS:
            message = (
                f"got {other_text!r}, {alike:.2f} alike to {one} ({text!r}), expected less than {NEAR_DESCRIPTORS}; "
                "say what one would see in the text at each of the two grades"
            )
            yield Finding("warning", "near_descriptors", f"{start}.{other}", message)
    for grade, text in grades.items():
        if named := _ALONE.search(text) or _GRADE_NAMES.search(text) or _SCORES.search(text):
            message = f"got {named.group()!r} in {text!r}, expected what the text looks like and not what it is worth"
            yield Finding("error", "names_level", f"{start}.{grade}", message)
        elif _words(text)[:1] == [grade]:
            message = f"got {text!r}, which opens with the name of its grade; say what the text looks like"
            yield Finding("warning", "opens_with_level", f"{start}.{grade}", message)


def _overlap(rubric: Rubric) -> Iterator[Finding]:
    for one, other in combinations(rubric.criteria, 2):
        where = f"criteria.{other.id}"
        if one.measure and other.measure and one.measure.statistic == other.measure.statistic:
            message = f"got {other.measure.statistic!r} as in {one.id}, expected each statistic once; merge the two"
            yield Finding("error", "same_measure", f"{where}.measure", message)
        if _words(one.title) == _words(other.title):
            message = f"got {other.title!r} as in {one.id}, expected a title of its own; rename or merge them"
            yield Finding("error", "same_title", f"{where}.title", message)
        grades, other_grades = one.descriptors.model_dump(), other.descriptors.model_dump()
        alike = sum(likeness(grades[grade], other_grades[grade]) for grade in grades) / len(grades)
        if alike >= NEAR_CRITERIA:
            message = (
                f"got descriptors {alike:.2f} alike to those of {one.id} in the mean of the five grades, expected less "
                f"than {NEAR_CRITERIA}; merge the two criteria, or they count one thing twice"
            )
            yield Finding("warning", "near_criteria", where, message)


def _leaks(rubric: Rubric) -> Iterator[Finding]:
    measures = [criterion.measure for criterion in rubric.criteria if criterion.measure]
    names = [c.id for c in rubric.criteria if "_" in c.id] + [measure.statistic for measure in measures]
    bounds = {LOW_MAX, MODERATE_MAX, *(m.start for m in measures), *(m.end for m in measures)}
    for where, wording in _all_wordings(rubric):
        named = _GRADE_NAMES.search(wording) or _SCORES.search(wording)
        if inner := named.group() if named else next((name for name in names if name in wording), None):
            message = f"got {inner!r} in {wording!r}, expected the behaviour in plain words, not a name or a score"
            yield Finding("error", "leaks_level", where, message)
        if word := _GRADING_WORDS.search(wording):
            message = f"got {word.group()!r} in {wording!r}, expected no word about grading; describe the text instead"
            yield Finding("warning", "leaks_grading", where, message)
        for number in _NUMBER.findall(wording):
            # one-digit whole numbers are everyday words: "two or 3 sentences"
            if float(number) in bounds and (float(number) >= 10 or "." in number):
                message = f"got {number} in {wording!r}, a cut of the levels or an end of a ramp; say it in words"
                yield Finding("warning", "leaks_number", where, message)


def _wordings(rubric: Rubric) -> Iterator[Finding]:
    for (where, wording), (other_where, other) in combinations(_all_wordings(rubric), 2):
        same_level = where.split(".")[1] == other_where.split(".")[1]
        parts_splits = same_level and "train" in where and "heldout" in other_where
        if _words(wording) == _words(other):
            message = f"got the words of {where}, {other!r}, expected every wording once; write another one"
            yield Finding("error", "same_wording", other_where, message)
        elif same_level and (alike := likeness(wording, other)) >= NEAR_WORDINGS:
            message = (
                f"got {other!r}, {alike:.2f} alike to {where} ({wording!r}), expected less than {NEAR_WORDINGS}; "
                + ("it would test memory, so write a new one" if parts_splits else "vary more than a word")
            )
            yield Finding("error" if parts_splits else "warning", "near_wording", other_where, message)


def _all_wordings(rubric: Rubric) -> list[tuple[str, str]]:
    return [
        (f"system_prompts.{level.value}.{split}.{position}", wording)
        for level in rubric.system_prompts
        for split in ("train", "heldout")
        for position, wording in enumerate(getattr(rubric.system_prompts[level], split))
    ]


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower())
