"""What to make of the responses: the options of `cpt twins` as the stages get them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rubrics import ScoreLevel

LevelPair = tuple[ScoreLevel, ScoreLevel]
SplitBy = Literal["prompt", "rubric", "both"]

LEVEL_PAIRS: tuple[LevelPair, ...] = (
    (ScoreLevel.LOW, ScoreLevel.MODERATE),
    (ScoreLevel.MODERATE, ScoreLevel.EXTREMELY_HIGH),
    (ScoreLevel.LOW, ScoreLevel.EXTREMELY_HIGH),
)
N_EVAL_PROMPTS = 4
FORMATS = {"jsonl": ("jsonl",), "parquet": ("parquet",), "both": ("jsonl", "parquet")}


@dataclass(frozen=True)
class Options:
    """The help of `cpt twins` says more on each."""

    responses: tuple[Path, ...]
    from_ratings: tuple[Path, ...]
    attributes: Mapping[str, str] | None
    max_rating: float
    out: Path
    rubrics: tuple[str, ...]
    level_pairs: tuple[LevelPair, ...]
    pairs_per_cell: int
    across_teachers: bool
    min_gap: float
    wordings: int
    compositions: int
    balance: bool
    split_by: SplitBy
    eval_prompts: int
    eval_rubrics: str | None
    chat_template_kwargs: dict[str, Any] | None
    format: str
    licence: str | None
    strict: bool
    limit: int
    seed: int
    command: str


def parse_level_pairs(text: str) -> tuple[LevelPair, ...]:
    """Level pairs out of text such as "low:moderate,low:extremely_high", each with the lower level first.

    Raises:
        ValueError: If there is none, one repeats, or one is not two different levels joined by a colon.
    """
    pairs: list[LevelPair] = []
    for part in text.split(","):
        names = part.strip().split(":")
        if len(names) != 2 or len(set(names)) != 2 or not set(names) <= set(ScoreLevel):
            raise ValueError(
                f"level pairs: got {part.strip()!r}, expected two different levels out of "
                f"{[level.value for level in ScoreLevel]} joined by a colon"
            )
        lower, higher = sorted((ScoreLevel(name) for name in names), key=lambda level: level.rank)
        if (lower, higher) in pairs:
            raise ValueError(f"level pairs: got {part.strip()!r} twice, expected each pair once")
        pairs.append((lower, higher))
    return tuple(pairs)
