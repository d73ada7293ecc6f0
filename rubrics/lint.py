"""Finds what is wrong with a rubric beyond its schema: what would make judges or students confuse things.

Errors make scores meaningless; warnings deserve a look. Two texts are compared by their words, lower case, as the ratio
of `difflib.SequenceMatcher`: twice the common words in order by the words of both. In the shipped library two
descriptors of a criterion reach at most 0.62, two wordings of a system prompt 0.47.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations
from typing import Literal

from rubrics.schema import Rubric

NEAR_DESCRIPTORS = 0.8
NEAR_WORDINGS = 0.75

# Good, fair, low, moderate and high are ordinary words: they name a level only where they stand alone at the start of a
# descriptor, or before a word for a score. "A high level of detail" and "a fair number of commas" are natural.
_ALONE = re.compile(
    r"^(?:excellent|good|fair|needs improvement|unsatisfactory|low|moderate|(?:extremely )?high)\s*(?:$|[:.;–—]|-\s)",
    re.IGNORECASE,
)
_LEVEL_OR_SCORE = re.compile(
    r"\b(?:needs[ _]improvement|unsatisfactory|extremely_high"
    r"|(?:excellent|good|fair|low|moderate|high|full|top)[ -](?:(?:score|grade|mark|rating|band)s?\b|levels?\b(?! of))"
    r"|(?:scores?|grades?|marks?|ratings?)\s*(?:of|above|below|over|under|at least|between|from|:|=)?\s*\d"
    r"|\d+(?:\.\d+)?\s*(?:/|out of)\s*100\b)",
    re.IGNORECASE,
)
_GRADING_WORDS = re.compile(r"\b(?:rubrics?|criteri(?:on|a)|descriptors?|grader|graded by|scored by)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """One thing to correct: `rule` names the check, `where` the field, `message` says got, expected and the remedy."""

    severity: Literal["error", "warning"]
    rule: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.message} [{self.rule}]"


def lint_rubric(rubric: Rubric) -> list[Finding]:
    """Findings about a valid rubric, errors first."""
    return sorted([*_criteria(rubric), *_wordings(rubric)], key=lambda finding: finding.severity)


def all_wordings(rubric: Rubric) -> list[tuple[str, str]]:
    """Field, such as `system_prompts.low.train.0`, and text of every wording of a rubric."""
    return [
        (f"system_prompts.{level.value}.{split}.{position}", wording)
        for level in rubric.system_prompts
        for split in ("train", "heldout")
        for position, wording in enumerate(getattr(rubric.system_prompts[level], split))
    ]


def _criteria(rubric: Rubric) -> Iterator[Finding]:
    for criterion in rubric.criteria:
        grades = criterion.descriptors.model_dump()
        texts = [(f"criteria.{criterion.id}.descriptors.{grade}", text) for grade, text in grades.items()]
        yield from _alike(texts, "descriptors", NEAR_DESCRIPTORS)
        for where, text in texts:
            if named := _ALONE.search(text) or _LEVEL_OR_SCORE.search(text):
                message = f"got {named.group()!r} in {text!r}, expected what the text looks like, not what it is worth"
                yield Finding("error", "names_level", where, message)
    titles = [(f"criteria.{criterion.id}.title", criterion.title) for criterion in rubric.criteria]
    measured = [(f"criteria.{c.id}.measure", c.measure.statistic) for c in rubric.criteria if c.measure]
    for what, texts in (("title", titles), ("measure", measured)):
        yield from _alike(texts, what)


def _wordings(rubric: Rubric) -> Iterator[Finding]:
    names = [criterion.id for criterion in rubric.criteria if "_" in criterion.id]
    names += [criterion.measure.statistic for criterion in rubric.criteria if criterion.measure]
    ids = re.compile("|".join(names) or "(?!)")
    is_measured = any(criterion.measure for criterion in rubric.criteria)
    for where, wording in all_wordings(rubric):
        if is_measured and not re.search("[A-Za-z]", wording):
            message = f"got {wording!r}, expected English, since the measures count English words; leave them out"
            yield Finding("error", "measures_english", where, message)
        if named := _LEVEL_OR_SCORE.search(wording) or ids.search(wording):
            message = (
                f"got {named.group()!r} in {wording!r}, expected the behaviour in plain words, not a name or a score"
            )
            yield Finding("error", "leaks_level", where, message)
        if word := _GRADING_WORDS.search(wording):
            message = f"got {word.group()!r} in {wording!r}, expected no word about grading; describe the text instead"
            yield Finding("warning", "leaks_grading", where, message)
    yield from _alike(all_wordings(rubric), "wording", NEAR_WORDINGS)


def _alike(texts: list[tuple[str, str]], what: str, limit: float = 1.0) -> Iterator[Finding]:
    """Pairs with the same words; near pairs of one group, which is the name up to its level or criterion."""
    words = {text: re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower()) for _, text in texts}
    for (where, text), (other_where, other) in combinations(texts, 2):
        is_one_group = where.split(".")[:2] == other_where.split(".")[:2]
        if words[text] == words[other]:
            message = f"got the words of {where}, {other!r}, expected every text once; write another one"
            yield Finding("error", f"same_{what}", other_where, message)
        elif is_one_group and (alike := SequenceMatcher(None, words[text], words[other], False).ratio()) >= limit:
            parts_splits = ".train." in where and ".heldout." in other_where
            message = f"got {other!r}, {alike:.2f} alike to {where} ({text!r}), expected less than {limit}; "
            message += "it would test memory, so write a new one" if parts_splits else "vary more than a word"
            yield Finding("error" if parts_splits else "warning", f"near_{what}", other_where, message)
