"""Whether system prompts do what they are for: texts written from them alone must score in the order of the levels.

Pure: from scores to figures, a verdict and a table. The texts are written and judged in `trial.py`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np

from judges.interval import NAN, Estimate, jackknife, leave_one_out
from rubrics import ScoreLevel

MIN_PAIRED_PROMPTS = 2
_TOLERANCE = 1e-9  # a gap of exactly the margin passes, whatever its last bit


@dataclass(frozen=True)
class Scored:
    """A text that was written from a system prompt, and its score.

    Attributes:
        level: Level of the system prompt.
        wording: Which wording it was, e.g. "train-0".
        user_prompt_id: Id of the user prompt.
        score: 0-100, or None if the text is not scored.
        failure: Why it is not: "writer_refusal", "writer_empty", or the judge's `FailureMode`; "" if it is.
        short: Whether it has under 15 words, which judges score 0 unread.
        cut: Whether it ended at the token limit; it is judged as it is.
    """

    level: ScoreLevel
    wording: str
    user_prompt_id: str
    score: float | None
    failure: str = ""
    short: bool = False
    cut: bool = False


@dataclass(frozen=True)
class Figures:
    """Scores of the texts of a wording, or of all of a level (`wording` is "").

    Attributes:
        wording: E.g. "train-0".
        texts: Texts written.
        scored: Texts with a score.
        unscored: Texts without one, by `Scored.failure`.
        short: Texts under 15 words; their score is 0.
        cut: Texts that ended at the token limit.
        mean: Mean score, 0-100; None, like the next two, without scores.
        share_in_band: Share, 0-1, of scores in the band of the level.
        off_band: Mean distance from that band, score points, 0 if all lie within.
    """

    wording: str
    texts: int
    scored: int
    unscored: Mapping[str, int]
    short: int
    cut: int
    mean: float | None
    share_in_band: float | None
    off_band: float | None


@dataclass(frozen=True)
class LevelFigures:
    """Figures of all texts of a level, and of each of its wordings in the order they were first used."""

    level: ScoreLevel
    total: Figures
    wordings: tuple[Figures, ...]

    @property
    def worst(self) -> Figures | None:
        """The wording farthest from the band, of several the one least often in it; None without scores."""
        scored = [wording for wording in self.wordings if wording.scored]
        return max(scored, key=lambda wording: (wording.off_band or 0, -(wording.share_in_band or 0)), default=None)

    @property
    def is_off(self) -> bool:
        """Whether the mean lies in another band, or there is none."""
        return self.total.mean is None or ScoreLevel.of(self.total.mean) is not self.level


@dataclass(frozen=True)
class Gap:
    """How far two adjacent levels are apart, in score points, on the `prompts` user prompts with a score at both."""

    lower: ScoreLevel
    upper: ScoreLevel
    prompts: int
    mean: Estimate
    passed: bool

    def text(self, margin: float) -> str:
        """One sentence."""
        return (
            f"{self.lower} to {self.upper}: {self.mean.text(1)} points apart (paired 95% CI, {self.prompts} user "
            f"prompts), expected {margin:g} or more: {'passed' if self.passed else 'failed'}"
        )


@dataclass(frozen=True)
class Fidelity:
    """Figures of the levels and of the gaps between them, both ascending; `margin` is what a gap must reach."""

    margin: float
    levels: tuple[LevelFigures, ...]
    gaps: tuple[Gap, ...]

    @property
    def passed(self) -> bool:
        """Whether all gaps passed."""
        return all(gap.passed for gap in self.gaps)

    @property
    def failed_levels(self) -> list[ScoreLevel]:
        """Levels to revise, in ascending order: of each gap that is too small, those whose mean is off its band.

        If both are off it, or neither is, both are to be revised.
        """
        off = {figures.level for figures in self.levels if figures.is_off}
        pairs = [{gap.lower, gap.upper} for gap in self.gaps if not gap.passed]
        return sorted(set().union(*(pair & off or pair for pair in pairs)), key=lambda level: level.rank)

    def to_json(self) -> dict[str, Any]:
        """JSON types only."""
        levels = [
            {"level": row.level, **asdict(row.total), "worst": row.worst and row.worst.wording}
            | {"wordings": [asdict(wording) for wording in row.wordings]}
            for row in self.levels
        ]
        gaps = [asdict(gap) | {"mean": gap.mean.to_json()} for gap in self.gaps]
        return {"passed": self.passed, "levels": levels, "gaps": gaps}

    def text(self) -> str:
        """A table of the levels and a line per gap, for a terminal."""
        lines = [f"{'level':<15}{'texts':>6}{'scored':>8}{'mean':>7}{'in band':>9}  worst wording"]
        for row in self.levels:
            total, worst = row.total, row.worst
            mean = "-" if total.mean is None else f"{total.mean:.1f}"
            share = "-" if total.share_in_band is None else f"{total.share_in_band:.0%}"
            where = f"{worst.off_band:.1f} off the band" if worst and worst.off_band else "in the band"
            shown = f"{worst.wording}: mean {worst.mean:.1f}, {where} ({worst.scored} scored)" if worst else "-"
            lines.append(f"{row.level:<15}{total.texts:>6}{total.scored:>8}{mean:>7}{share:>9}  {shown}")
            counts = {**total.unscored, "under 15 words, scored 0": total.short, "cut at the token limit": total.cut}
            notes = [f"{count} {what}" for what, count in counts.items() if count]
            lines += [f"{'':<15}{'; '.join(notes)}"] if notes else []
        return "\n".join([*lines, *(gap.text(self.margin) for gap in self.gaps)])


def fidelity(scored: Sequence[Scored], margin: float) -> Fidelity:
    """Figures of texts, and whether adjacent levels are `margin` score points apart or more."""
    levels = []
    for level in ScoreLevel:
        texts = [text for text in scored if text.level is level]
        groups = {text.wording: [other for other in texts if other.wording == text.wording] for text in texts}
        wordings = tuple(_figures(level, wording, group) for wording, group in groups.items())
        levels.append(LevelFigures(level, _figures(level, "", texts), wordings))
    gaps = tuple(level_gap(scored, lower, upper, margin) for lower, upper in pairwise(ScoreLevel))
    return Fidelity(margin, tuple(levels), gaps)


def level_gap(scored: Sequence[Scored], lower: ScoreLevel, upper: ScoreLevel, margin: float) -> Gap:
    """The gap between two levels over the user prompts with a score at both, each by its mean score.

    It passes if the mean is the margin or more, from at least two user prompts.
    """
    scores: dict[ScoreLevel, dict[str, list[float]]] = {lower: {}, upper: {}}
    for text in scored:
        if text.level in scores and text.score is not None:
            scores[text.level].setdefault(text.user_prompt_id, []).append(text.score)
    both = [prompt for prompt in scores[lower] if prompt in scores[upper]]
    pairs = np.array([fmean(scores[upper][prompt]) - fmean(scores[lower][prompt]) for prompt in both])
    if len(pairs) < MIN_PAIRED_PROMPTS:
        return Gap(lower, upper, len(pairs), Estimate(float(pairs[0]) if len(pairs) else NAN), False)
    weights = leave_one_out(len(pairs))
    mean = jackknife(weights @ pairs / weights.sum(axis=1))
    return Gap(lower, upper, len(pairs), mean, mean.value >= margin - _TOLERANCE)


def _figures(level: ScoreLevel, wording: str, texts: Sequence[Scored]) -> Figures:
    scores = [text.score for text in texts if text.score is not None]
    return Figures(
        wording=wording,
        texts=len(texts),
        scored=len(scores),
        unscored=dict(sorted(Counter(text.failure for text in texts if text.score is None).items())),
        short=sum(text.short for text in texts),
        cut=sum(text.cut for text in texts),
        mean=fmean(scores) if scores else None,
        share_in_band=fmean(ScoreLevel.of(score) is level for score in scores) if scores else None,
        off_band=fmean(abs(level.distance(score)) for score in scores) if scores else None,
    )
