"""Writes the system prompts of a rubric: several wordings per score level, in the splits train and heldout.

This is the summariser step of CPT: rubric and score level become two or three sentences (arXiv 2506.11702, section 3).
Here the linter of `rubrics` and the rules below read each answer, and what they find goes back to the model.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from data_gen.draft.author import Author, DraftError, Rejected, gather
from data_gen.draft.prompts import PROMPTS, TARGETS
from rubrics import Rubric, ScoreLevel, Wordings
from rubrics.lint import lint_rubric

MIN_SENTENCES, MAX_SENTENCES = 2, 3
_SENTENCE_END = re.compile(r"[.!?…][\"')\]”’]*(?:\s+|$)")
_LEVEL_WORDS = re.compile(r"\b(?:medium|moderate(?:ly)?|mid-level|middling|intermediate)\b", re.IGNORECASE)


class DraftedWordings(BaseModel):
    """The wordings of one level, as the model is asked to write them."""

    model_config = ConfigDict(extra="forbid")
    train: list[str]
    heldout: list[str]


async def write_wordings(
    author: Author, rubric: Rubric, train: int, heldout: int, tried: Mapping[ScoreLevel, str] | None = None
) -> Rubric:
    """The rubric with system prompts written anew.

    Args:
        author: Who writes.
        rubric: Its own system prompts are kept for the levels that are not asked for.
        train: Wordings per level in the split train.
        heldout: The same in heldout.
        tried: Level -> what was measured of wordings that failed, for the author; only these levels are written. None
            writes all, for the first time.

    Raises:
        DraftError: If the last attempt at a level still has problems, or two levels got the same wording.
    """

    async def write(level: ScoreLevel) -> Wordings:
        question = PROMPTS["wordings"].substitute(
            rubric=rubric.render(), target=TARGETS[level], train=train, heldout=heldout
        )
        question = "\n".join(filter(None, [question, (tried or {}).get(level)]))

        def check(answer: DraftedWordings) -> Wordings:
            return checked_wordings(rubric, level, answer, {"train": train, "heldout": heldout})

        return await author.ask_until(f"system prompts, {level}", question, DraftedWordings, check)

    levels = [level for level in ScoreLevel if tried is None or level in tried]
    written = dict(zip(levels, await gather(write(level) for level in levels), strict=True))
    prompts = {level: written.get(level) or rubric.system_prompts[level] for level in ScoreLevel}
    complete = rubric.model_copy(update={"system_prompts": prompts})
    if problems := wording_problems(complete, list(ScoreLevel)):
        raise DraftError(f"system prompts: {'; '.join(problems)}; another --seed asks anew")
    return complete


def checked_wordings(rubric: Rubric, level: ScoreLevel, answer: DraftedWordings, counts: Mapping[str, int]) -> Wordings:
    """The wordings of an answer, cut to the numbers asked for by split.

    Raises:
        Rejected: With every problem of every wording.
    """
    tidy = {
        split: tuple(" ".join(wording.split()) for wording in getattr(answer, split) if wording.strip())[:count]
        for split, count in counts.items()
    }
    short = [split for split, count in counts.items() if len(tidy[split]) < count]
    if short:
        raise Rejected(*(f"{split}: got {len(tidy[split])} wordings, expected {counts[split]}" for split in short))
    # not validated: the linter names a repeated wording as well, and with the others' problems
    wordings = Wordings.model_construct(train=tidy["train"], heldout=tidy["heldout"])
    if problems := wording_problems(rubric.model_copy(update={"system_prompts": {level: wordings}}), [level]):
        raise Rejected(*problems)
    return wordings


def wording_problems(rubric: Rubric, levels: Sequence[ScoreLevel]) -> list[str]:
    """What is wrong with the system prompts of some levels, a sentence each; [] if nothing is.

    All that the linter finds in them counts, its warnings too. Beyond that a wording has two or three sentences, no
    title of the rubric or a criterion in it (titles of one word are everyday words and pass), and no word such as
    medium in place of a behaviour.
    """
    starts = tuple(f"system_prompts.{level}." for level in levels)
    problems = [f"{row.where}: {row.message}" for row in lint_rubric(rubric) if row.where.startswith(starts)]
    titles = [title for title in (rubric.title, *(c.title for c in rubric.criteria)) if " " in title.strip()]
    for level in levels:
        for wording_id, wording in wordings_by_id(rubric, level).items():
            where = f"system_prompts.{level}.{wording_id.replace('-', '.')}"
            problems += [f"{where}: {problem}" for problem in _rule_problems(wording, titles)]
    return problems


def wordings_by_id(rubric: Rubric, level: ScoreLevel) -> dict[str, str]:
    """Wordings of a level: "train-0", "train-1", ..., "heldout-0", ... -> text."""
    prompts = rubric.system_prompts[level]
    splits = {"train": prompts.train, "heldout": prompts.heldout}
    return {f"{split}-{number}": text for split, texts in splits.items() for number, text in enumerate(texts)}


def wordings_hash(rubric: Rubric) -> str:
    """First 12 hex digits of the SHA-256 of the system prompts, which `Rubric.hash` leaves out."""
    prompts = {level.value: rubric.system_prompts[level].model_dump() for level in ScoreLevel}
    return hashlib.sha256(json.dumps(prompts, sort_keys=True).encode()).hexdigest()[:12]


def _rule_problems(wording: str, titles: Sequence[str]) -> list[str]:
    problems = []
    sentences = len([part for part in _SENTENCE_END.split(wording) if part.strip()])
    if not MIN_SENTENCES <= sentences <= MAX_SENTENCES:
        problems.append(f"got {sentences} sentences in {wording!r}, expected {MIN_SENTENCES} or {MAX_SENTENCES}")
    for title in titles:
        if re.search(rf"\b{re.escape(title.strip())}\b", wording, re.IGNORECASE):
            problems.append(f"got the title {title!r} in {wording!r}, expected the behaviour in other words")
    if word := _LEVEL_WORDS.search(wording):
        problems.append(
            f"got {word.group()!r} in {wording!r}, expected what the text does, how much of it and where it stops"
        )
    return problems
