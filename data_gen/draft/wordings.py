"""Writes the system prompts of a rubric: several wordings per score level, in the splits train and heldout.

This is the summariser step of CPT: rubric and score level become two or three sentences (arXiv 2506.11702, section 3).
The linter of `rubrics` and the rules below read each answer, and what they find goes back to the model.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from pydantic import BaseModel, ConfigDict

from data_gen.draft.author import PROMPTS, TARGETS, Author, DraftError, Rejected, gather
from rubrics import Rubric, ScoreLevel, Wordings
from rubrics.lint import all_wordings, lint_rubric

MIN_SENTENCES, MAX_SENTENCES = 2, 3
_SENTENCE_END = re.compile(r"[.!?…][\"')\]”’]*(?:\s+|$)")
_LEVEL_WORDS = re.compile(r"\b(?:medium|moderate(?:ly)?|mid-level|middling|intermediate)\b", re.IGNORECASE)


class DraftedWordings(BaseModel):
    """The wordings of one level, as the model is asked to write them."""

    model_config = ConfigDict(extra="forbid")
    train: list[str]
    heldout: list[str]


async def write_wordings(author: Author, rubric: Rubric, counts: Mapping[str, int]) -> Rubric:
    """The rubric with new system prompts: `counts` wordings per level, by split; any others that come are cut off.

    Raises:
        DraftError: If the last attempt at a level still has problems, or two levels got the same wording.
    """

    async def write(level: ScoreLevel) -> Wordings:
        def check(answer: DraftedWordings) -> Wordings:
            return _checked(rubric, level, answer, counts)

        question = PROMPTS["wordings"].substitute(rubric=rubric.render(), target=TARGETS[level], **counts)
        return await author.ask_until(f"system prompts, {level}", question, DraftedWordings, check)

    written = await gather(write(level) for level in ScoreLevel)
    complete = rubric.model_copy(update={"system_prompts": dict(zip(ScoreLevel, written, strict=True))})
    if problems := wording_problems(complete):
        raise DraftError(f"system prompts: {'; '.join(problems)}; another --seed asks anew")
    return complete


def wording_problems(rubric: Rubric) -> list[str]:
    """What is wrong with a rubric's system prompts, a sentence each; [] if nothing is.

    All that the linter finds in them counts, its warnings too. Beyond that a wording has two or three sentences, no
    title of the rubric or a criterion in it (titles of one word are everyday words and pass), and no word such as
    medium in place of a behaviour.
    """
    problems = [f"{row.where}: {row.message}" for row in lint_rubric(rubric) if row.where.startswith("system_prompts")]
    titles = [title.strip() for title in (rubric.title, *(c.title for c in rubric.criteria)) if " " in title.strip()]
    for where, wording in all_wordings(rubric):
        problems += [f"{where}: {problem}" for problem in _rule_problems(wording, titles)]
    return problems


def _checked(rubric: Rubric, level: ScoreLevel, answer: DraftedWordings, counts: Mapping[str, int]) -> Wordings:
    tidy = {
        split: tuple(" ".join(wording.split()) for wording in getattr(answer, split) if wording.strip())[:count]
        for split, count in counts.items()
    }
    if short := [split for split, count in counts.items() if len(tidy[split]) < count]:
        raise Rejected(*(f"{split}: got {len(tidy[split])} wordings, expected {counts[split]}" for split in short))
    # not validated: the linter names a repeated wording as well, and with the others' problems
    wordings = Wordings.model_construct(train=tidy["train"], heldout=tidy["heldout"])
    if problems := wording_problems(rubric.model_copy(update={"system_prompts": {level: wordings}})):
        raise Rejected(*problems)
    return wordings


def _rule_problems(wording: str, titles: Iterable[str]) -> Iterator[str]:
    count = len([part for part in _SENTENCE_END.split(wording) if part.strip()])
    if not MIN_SENTENCES <= count <= MAX_SENTENCES:
        yield f"got {count} sentences in {wording!r}, expected {MIN_SENTENCES} or {MAX_SENTENCES}"
    for title in titles:
        if re.search(rf"\b{re.escape(title)}\b", wording, re.IGNORECASE):
            yield f"got the title {title!r} in {wording!r}, expected the behaviour in other words"
    if word := _LEVEL_WORDS.search(wording):
        yield f"got {word.group()!r} in {wording!r}, expected what the text does, how much of it and where it stops"
