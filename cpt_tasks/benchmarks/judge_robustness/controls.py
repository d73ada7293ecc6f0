"""The controls of `judge_robustness`: changes that must move a judge, in a direction that the measured judge knows.

Rubric swap: the same text by another rubric (arXiv 2606.07874). Evidence removal: a text without the sentences that
earned it the points of a criterion. A judge that ignores its rubric or the text stands still in them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cpt_tasks.benchmarks.judge_robustness.attacks import BaseText
from judges import measure
from judges.counting import english_words
from rubrics import Rubric

RUBRIC_SWAP = "rubric_swap"
EVIDENCE_REMOVAL = "evidence_removal"
CONTROLS = (RUBRIC_SWAP, EVIDENCE_REMOVAL)
FALL = 25  # points of a criterion's measured score that its evidence is worth
MIN_WORDS_LEFT = 25
_SENTENCE = re.compile(r".+?(?:(?<=[.!?])\s+|\n+|$)", re.DOTALL)  # as `judges.counting` ends them


@dataclass(frozen=True)
class Control:
    """A text to be judged after a change: by which rubric, and which criterion's evidence is gone ("" in a swap)."""

    kind: Literal["rubric_swap", "evidence_removal"]
    base: BaseText
    rubric: Rubric
    text: str
    criterion: str = ""


def rubric_swaps(bases: Sequence[BaseText], rubrics: Sequence[Rubric]) -> list[Control]:
    """Each text by the one of the rubrics whose measured score of it is farthest from that of its own; none for one."""
    controls = []
    for base in bases:
        scores = {rubric.id: measure(rubric, base.text).score for rubric in rubrics}
        others = [rubric for rubric in rubrics if rubric.id != base.rubric]
        if others:
            other = max(others, key=lambda rubric: abs(scores[rubric.id] - scores[base.rubric]))
            controls.append(Control("rubric_swap", base, other, base.text))
    return controls


def evidence_removals(bases: Sequence[BaseText], rubrics: Sequence[Rubric]) -> list[Control]:
    """Each text without the evidence of each criterion of its own rubric, where it has sentences to take out."""
    by_id = {rubric.id: rubric for rubric in rubrics}
    controls = []
    for base in bases:
        rubric = by_id[base.rubric]
        for criterion in rubric.criteria:
            text = without_evidence(rubric, criterion.id, base.text)
            if text is not None:
                controls.append(Control("evidence_removal", base, rubric, text, criterion.id))
    return controls


def without_evidence(rubric: Rubric, criterion_id: str, text: str) -> str | None:
    """The text without the sentences that carry a criterion's measured score.

    The sentence whose removal lowers it most is taken out, the first of equals, until it has fallen by 25 points. None
    where no sentence lowers it that leaves 25 words.
    """
    whole = criterion_scores(rubric, text)[criterion_id]
    sentences, score = _SENTENCE.findall(text), whole
    while score > whole - FALL:
        rests = [sentences[:n] + sentences[n + 1 :] for n in range(len(sentences))]
        rests = [rest for rest in rests if len(english_words("".join(rest))) >= MIN_WORDS_LEFT]
        scores = [criterion_scores(rubric, "".join(rest).strip())[criterion_id] for rest in rests]
        if not scores or min(scores) >= score:
            return None
        score = min(scores)
        sentences = rests[scores.index(score)]
    return "".join(sentences).strip()


def criterion_scores(rubric: Rubric, text: str) -> dict[str, float]:
    """The measured score, 0-100, of each criterion by id; empty for a text too short to be judged."""
    return {criterion.id: criterion.score for criterion in measure(rubric, text).criteria}
