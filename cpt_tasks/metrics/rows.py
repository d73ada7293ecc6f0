"""What statistics of configurability are computed on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rubrics import ScoreLevel

NAN = float("nan")


@dataclass(frozen=True)
class Judged:
    """One judged response.

    Attributes:
        rubric: Rubric id.
        level: Level that the system prompt asked for.
        user_prompt: Id of the user prompt: the cluster of the bootstrap and the unit of within-prompt statistics.
        score: Judgment, 0-100.
        words: Length of the response in words.
    """

    rubric: str
    level: ScoreLevel
    user_prompt: str
    score: float
    words: int


Rows = Sequence[Judged]
Statistic = Callable[[Rows], float]
