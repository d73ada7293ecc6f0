"""The three score levels of CPT and the cuts between them, stated once.

Source of levels and cuts: arXiv 2506.11702 (low <= 40 < moderate <= 92.5 < extremely high, on a 0-100 score).
"""

from enum import StrEnum

MIN_SCORE = 0.0
MAX_SCORE = 100.0
LOW_MAX = 40.0
MODERATE_MAX = 92.5


class ScoreLevel(StrEnum):
    """What a system prompt asks for: a band of the 0-100 rubric score. Members are in ascending order."""

    LOW = "low"
    MODERATE = "moderate"
    EXTREMELY_HIGH = "extremely_high"

    @classmethod
    def of(cls, score: float) -> "ScoreLevel":
        """Level whose band holds the score, 0-100 inclusive: 40 is still low and 92.5 still moderate.

        Raises:
            ValueError: If the score is outside 0-100 or not a number.
        """
        if not MIN_SCORE <= score <= MAX_SCORE:
            raise ValueError(f"score: got {score!r}, expected a number from 0 to 100")
        if score <= LOW_MAX:
            return cls.LOW
        return cls.MODERATE if score <= MODERATE_MAX else cls.EXTREMELY_HIGH

    @property
    def rank(self) -> int:
        """Position in ascending order: 0 low, 1 moderate, 2 extremely high."""
        return _RANKS[self]

    @property
    def band(self) -> tuple[float, float]:
        """Lower and upper edge of the band in score points; the upper edge belongs to it, the lower only for low."""
        edges = (MIN_SCORE, LOW_MAX, MODERATE_MAX, MAX_SCORE)
        return edges[self.rank], edges[self.rank + 1]

    @property
    def midpoint(self) -> float:
        """Middle of the band in score points (20, 66.25, 96.25): the target of the calibration slope."""
        low, high = self.band
        return (low + high) / 2

    def distance(self, score: float) -> float:
        """How far a score lies outside the band, in score points: negative below it, positive above it, 0 within.

        The lower edge of a band counts as within for moderate and extremely high, though `of` gives it to the level
        below: there is no least distance above an edge.
        """
        low, high = self.band
        return min(0.0, score - low) + max(0.0, score - high)


_RANKS = {level: rank for rank, level in enumerate(ScoreLevel)}
