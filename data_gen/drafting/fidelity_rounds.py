"""Writes system prompts, measures them, and has those of failed levels revised; keeps every round for the report."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_gen.drafting.calls import Author, DraftError
from data_gen.drafting.fidelity import Fidelity, LevelFigures, gap_text
from data_gen.drafting.fidelity_samples import Check, measure_wordings
from data_gen.drafting.prompts import revision_text
from data_gen.drafting.wordings import wordings_hash, write_wordings
from rubrics import Rubric, ScoreLevel


@dataclass(frozen=True)
class Round:
    """System prompts and what was measured of them.

    Attributes:
        rubric: The rubric with these system prompts.
        figures: What was measured.
        revised: Levels whose system prompts are new in this round.
    """

    rubric: Rubric
    figures: Fidelity
    revised: tuple[ScoreLevel, ...]


async def write_until_faithful(
    author: Author,
    check: Check,
    rubric: Rubric,
    train: int,
    heldout: int,
    revisions: int,
    told: Callable[[Round], None],
) -> list[Round]:
    """The rounds, the last of them accepted or the last that was to be had.

    Args:
        author: Who writes the system prompts.
        check: Who tries them.
        rubric: System prompts of its own are not looked at.
        train: Wordings per level in the split train.
        heldout: The same in heldout.
        revisions: Most rounds after the first.
        told: Is called with each round as it ends.

    Raises:
        DraftError: If the first wordings could not be written. A revision that cannot be written ends the rounds.
    """
    current = await write_wordings(author, rubric, train, heldout)
    rounds: list[Round] = []
    revised: tuple[ScoreLevel, ...] = tuple(ScoreLevel)
    while True:
        rounds.append(Round(current, await measure_wordings(check, current), revised))
        told(rounds[-1])
        if rounds[-1].figures.passed or len(rounds) > revisions:
            return rounds
        tried = {level: revision_of(rounds[-1], level, train, heldout) for level in rounds[-1].figures.failed_levels}
        try:
            current = await write_wordings(author, current, train, heldout, tried)
        except DraftError as error:
            author.say(str(error))
            return rounds
        revised = tuple(tried)


def revision_of(tried: Round, level: ScoreLevel, train: int, heldout: int) -> str:
    """The numbers of a round and the wordings of a level with theirs, as the author is told them."""
    figures = tried.figures
    lines = [
        f"- {found.level} ({found.level.band[0]:g} to {found.level.band[1]:g}): {_scores(found)}"
        for found in figures.levels
    ]
    lines += [f"- {gap_text(gap, figures.margin)}" for gap in figures.gaps]
    own = next(found for found in figures.levels if found.level is level)
    texts = _texts(tried.rubric, level)
    wordings = [
        f"- {found.id} ({'no score' if found.mean is None else f'mean score {found.mean:.1f}'}): {texts[found.id]}"
        for found in own.wordings
    ]
    return revision_text("\n".join(lines), wordings, train, heldout)


def fidelity_report(rounds: Sequence[Round], facts: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into ID.fidelity.json; JSON types only.

    Args:
        rounds: At least one, in order; the last one decides.
        facts: Models, versions and settings, by name.
    """
    last = rounds[-1]
    return {
        "rubric": last.rubric.id,
        "accepted": last.figures.passed,
        "rubric_hash": last.rubric.hash,
        "wordings_hash": wordings_hash(last.rubric),
        "margin": last.figures.margin,
        **facts,
        "rounds": [
            {
                "wordings_hash": wordings_hash(tried.rubric),
                "written": list(tried.revised),
                **asdict(tried.figures),
                "system_prompts": {level.value: _texts(tried.rubric, level) for level in ScoreLevel},
            }
            for tried in rounds
        ],
    }


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Writes a report as JSON, without NaN; makes the folder if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _texts(rubric: Rubric, level: ScoreLevel) -> dict[str, str]:
    return {
        f"{split}-{number}": wording
        for split in ("train", "heldout")
        for number, wording in enumerate(getattr(rubric.system_prompts[level], split))
    }


def _scores(figures: LevelFigures) -> str:
    if figures.mean is None or figures.share_in_band is None:
        return f"none of {figures.texts} texts could be scored"
    return f"mean score {figures.mean:.1f} of {figures.scored} texts, {figures.share_in_band:.0%} of them in the band"
