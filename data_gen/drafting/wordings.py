"""Writes the system prompts of a rubric: several wordings per score level, in the splits train and heldout.

This is the summariser step of CPT: rubric and score level become two or three sentences (arXiv 2506.11702, section 3).
Here the linter of `rubrics` and the rules below read each answer, and what they find goes back to the model.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial

from pydantic import BaseModel, ConfigDict

from data_gen.drafting.calls import Author, DraftError, Rejected, gather
from data_gen.drafting.prompts import wording_messages
from rubrics import Paraphrases, Rubric, ScoreLevel
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
        tried: Level -> `revision_text` of wordings that failed; only these levels are written. None writes all, for
            the first time.

    Raises:
        DraftError: If the last attempt at a level still has problems, or two levels got the same wording.
    """
    levels = list(ScoreLevel) if tried is None else [level for level in ScoreLevel if level in tried]
    jobs = [
        partial(_write_level, author, rubric, level, train, heldout, (tried or {}).get(level, "")) for level in levels
    ]
    written = dict(zip(levels, await gather(jobs), strict=True))
    merged = {level: written.get(level) or rubric.system_prompts[level] for level in ScoreLevel}
    complete = rubric.model_copy(update={"system_prompts": merged})
    if problems := wording_problems(complete, list(ScoreLevel)):
        raise DraftError(f"system prompts: {'; '.join(problems)}; another --seed asks anew")
    return complete


async def _write_level(
    author: Author, rubric: Rubric, level: ScoreLevel, train: int, heldout: int, tried: str
) -> Paraphrases:
    def check(answer: DraftedWordings) -> Paraphrases:
        return checked_wordings(rubric, level, answer, train, heldout)

    question = wording_messages(rubric, level, train, heldout, tried)
    return await author.ask_until(f"system prompts, {level}", question, DraftedWordings, check)


def checked_wordings(
    rubric: Rubric, level: ScoreLevel, answer: DraftedWordings, train: int, heldout: int
) -> Paraphrases:
    """The wordings of an answer, cut to the numbers asked for.

    Raises:
        Rejected: With every problem of every wording.
    """
    wordings = DraftedWordings(train=_tidy(answer.train)[:train], heldout=_tidy(answer.heldout)[:heldout])
    short = [
        f"{split}: got {got} wordings, expected {expected}"
        for split, got, expected in (
            ("train", len(wordings.train), train),
            ("heldout", len(wordings.heldout), heldout),
        )
        if got < expected
    ]
    if short:
        raise Rejected(short)
    # not validated: the linter names a repeated wording as well, and with the others' problems
    paraphrases = Paraphrases.model_construct(train=tuple(wordings.train), heldout=tuple(wordings.heldout))
    if problems := wording_problems(rubric.model_copy(update={"system_prompts": {level: paraphrases}}), [level]):
        raise Rejected(problems)
    return Paraphrases(train=paraphrases.train, heldout=paraphrases.heldout)


def wording_problems(rubric: Rubric, levels: Sequence[ScoreLevel]) -> list[str]:
    """What is wrong with the system prompts of some levels, a sentence each; [] if nothing is.

    All that the linter finds in them counts, its warnings too. Beyond that a wording has two or three sentences, no
    title of the rubric or a criterion in it (titles of one word are everyday words and pass), and no word such as
    medium in place of a behaviour.
    """
    problems = [
        f"{finding.where}: {finding.message}"
        for finding in lint_rubric(rubric)
        if finding.where.startswith(tuple(f"system_prompts.{level}." for level in levels))
    ]
    titles = [title for title in (rubric.title, *(c.title for c in rubric.criteria)) if " " in title.strip()]
    for level in levels:
        for split in ("train", "heldout"):
            for position, wording in enumerate(getattr(rubric.system_prompts[level], split)):
                where = f"system_prompts.{level}.{split}.{position}"
                problems += [f"{where}: {problem}" for problem in _rule_problems(wording, titles)]
    return problems


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


def _tidy(wordings: Sequence[str]) -> list[str]:
    return [" ".join(wording.split()) for wording in wordings if wording.strip()]
