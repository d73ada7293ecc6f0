"""Whether system prompts do what they are for: texts written from them alone must score in the order of the levels.

Pure: from scores to figures, a verdict and a table. The texts are written and judged in `fidelity_samples.py`.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rubrics import ScoreLevel

MIN_PAIRED_PROMPTS = 2
CONFIDENCE = 0.95
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
class WordingFigures:
    """Scores of one wording.

    Attributes:
        id: E.g. "train-0".
        texts: Texts written.
        scored: Texts with a score.
        mean: Mean score, 0-100; None without scores.
        share_in_band: Share, 0-1, of scores in the band of its level; None without scores.
        off_band: Mean distance from that band, score points, 0 if all lie within; None without scores.
    """

    id: str
    texts: int
    scored: int
    mean: float | None
    share_in_band: float | None
    off_band: float | None


@dataclass(frozen=True)
class LevelFigures:
    """Scores of one level.

    Attributes:
        level: Which.
        texts: Texts written.
        scored: Texts with a score.
        unscored: Texts without one, by `Scored.failure`.
        short: Texts under 15 words; their score is 0.
        cut: Texts that ended at the token limit.
        mean: Mean score, 0-100; None without scores.
        share_in_band: Share, 0-1, of scores in the band; None without scores.
        worst: Id of the wording farthest from the band by `off_band`, of several the one least often in it; None
            without scores.
        wordings: In the order they were first used.
    """

    level: ScoreLevel
    texts: int
    scored: int
    unscored: Mapping[str, int]
    short: int
    cut: int
    mean: float | None
    share_in_band: float | None
    worst: str | None
    wordings: tuple[WordingFigures, ...]


@dataclass(frozen=True)
class Gap:
    """How far two adjacent levels are apart on the same user prompts.

    Attributes:
        lower: The lower level.
        upper: The upper one.
        prompts: User prompts with a score at both: the pairs.
        mean: Mean over them of upper minus lower, score points; None without pairs.
        ci_low: Lower bound of its paired 95% interval (Student's t over user prompts); None below two pairs.
        ci_high: Upper bound.
        passed: Whether the mean is the margin or more, from at least two pairs.
    """

    lower: ScoreLevel
    upper: ScoreLevel
    prompts: int
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    passed: bool


@dataclass(frozen=True)
class Fidelity:
    """Figures of a check.

    Attributes:
        margin: Score points that adjacent levels must be apart.
        passed: Whether all gaps passed.
        levels: Low to extremely high.
        gaps: Low to moderate, moderate to extremely high.
    """

    margin: float
    passed: bool
    levels: tuple[LevelFigures, ...]
    gaps: tuple[Gap, ...]

    @property
    def failed_levels(self) -> list[ScoreLevel]:
        """Levels to revise, in ascending order: of each gap that is too small, those whose mean is off its band.

        If both are off it, or neither is, both are to be revised.
        """
        by_level = {figures.level: figures for figures in self.levels}
        failed: set[ScoreLevel] = set()
        for gap in self.gaps:
            if not gap.passed:
                off = {level for level in (gap.lower, gap.upper) if _is_off(by_level[level])}
                failed |= off or {gap.lower, gap.upper}
        return [level for level in ScoreLevel if level in failed]


def fidelity(scored: Sequence[Scored], margin: float) -> Fidelity:
    """Figures of texts, and whether adjacent levels are `margin` score points apart or more."""
    levels = tuple(_level_figures(level, [text for text in scored if text.level is level]) for level in ScoreLevel)
    gaps = tuple(
        level_gap(lower, upper, prompt_means(scored, lower), prompt_means(scored, upper), margin)
        for lower, upper in pairwise(ScoreLevel)
    )
    return Fidelity(margin, all(gap.passed for gap in gaps), levels, gaps)


def prompt_means(scored: Iterable[Scored], level: ScoreLevel) -> dict[str, float]:
    """Mean score, 0-100, of a level by user prompt; user prompts without a score are left out."""
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for text in scored:
        if text.level is level and text.score is not None:
            by_prompt[text.user_prompt_id].append(text.score)
    return {user_prompt_id: math.fsum(scores) / len(scores) for user_prompt_id, scores in by_prompt.items()}


def level_gap(
    lower: ScoreLevel,
    upper: ScoreLevel,
    lower_means: Mapping[str, float],
    upper_means: Mapping[str, float],
    margin: float,
) -> Gap:
    """The gap between two levels from their mean scores by user prompt; prompts that one of them lacks do not count."""
    differences = [upper_means[prompt] - mean for prompt, mean in lower_means.items() if prompt in upper_means]
    count = len(differences)
    mean = _mean(differences)
    if mean is None or count < MIN_PAIRED_PROMPTS:
        return Gap(lower, upper, count, mean, None, None, False)
    from scipy import stats  # takes a second to import

    variance = math.fsum((difference - mean) ** 2 for difference in differences) / (count - 1)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * math.sqrt(variance / count)
    return Gap(lower, upper, count, mean, mean - half, mean + half, mean >= margin - _TOLERANCE)


def fidelity_text(figures: Fidelity) -> str:
    """A table of the levels and a line per gap, for a terminal."""
    lines = [f"{'level':<15}{'texts':>6}{'scored':>8}{'mean':>7}{'in band':>9}  worst wording"]
    for level in figures.levels:
        share = "-" if level.share_in_band is None else f"{level.share_in_band:.0%}"
        lines.append(
            f"{level.level:<15}{level.texts:>6}{level.scored:>8}{_points(level.mean):>7}{share:>9}  {_worst(level)}"
        )
        counts = {**level.unscored, "under 15 words, scored 0": level.short, "cut at the token limit": level.cut}
        told = [f"{count} {what}" for what, count in counts.items() if count]
        lines += [f"{'':<15}{'; '.join(told)}"] if told else []
    return "\n".join([*lines, *(gap_text(gap, figures.margin) for gap in figures.gaps)])


def gap_text(gap: Gap, margin: float) -> str:
    """One sentence on a gap."""
    interval = "" if gap.ci_low is None else f" [{_points(gap.ci_low)}, {_points(gap.ci_high)}]"
    return (
        f"{gap.lower} to {gap.upper}: {_points(gap.mean)} points apart{interval} (paired 95% CI, {gap.prompts} user "
        f"prompts), expected {margin:g} or more: {'passed' if gap.passed else 'failed'}"
    )


def _level_figures(level: ScoreLevel, texts: Sequence[Scored]) -> LevelFigures:
    by_wording: dict[str, list[Scored]] = defaultdict(list)
    for text in texts:
        by_wording[text.wording].append(text)
    wordings = tuple(_wording_figures(level, wording, group) for wording, group in by_wording.items())
    whole = _wording_figures(level, "", texts)
    rated = [wording for wording in wordings if wording.off_band is not None]
    worst = max(rated, key=lambda wording: (wording.off_band or 0, -(wording.share_in_band or 0)), default=None)
    return LevelFigures(
        level=level,
        texts=len(texts),
        scored=whole.scored,
        unscored=dict(sorted(Counter(text.failure for text in texts if text.score is None).items())),
        short=sum(text.short for text in texts),
        cut=sum(text.cut for text in texts),
        mean=whole.mean,
        share_in_band=whole.share_in_band,
        worst=worst.id if worst else None,
        wordings=wordings,
    )


def _wording_figures(level: ScoreLevel, wording: str, texts: Sequence[Scored]) -> WordingFigures:
    scores = [text.score for text in texts if text.score is not None]
    return WordingFigures(
        id=wording,
        texts=len(texts),
        scored=len(scores),
        mean=_mean(scores),
        share_in_band=_mean([float(ScoreLevel.of(score) is level) for score in scores]),
        off_band=_mean([abs(level.distance(score)) for score in scores]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _is_off(figures: LevelFigures) -> bool:
    return figures.mean is None or ScoreLevel.of(figures.mean) is not figures.level


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _worst(level: LevelFigures) -> str:
    found = next((wording for wording in level.wordings if wording.id == level.worst), None)
    if found is None or not found.scored:
        return "-"
    where = "in the band" if not found.off_band else f"{_points(found.off_band)} off the band"
    return f"{found.id}: mean {_points(found.mean)}, {where} ({found.scored} scored)"
