"""Notices a judge that grades on another scale than 0-100: its 8.5 of 10 would be believed as 8.5 of 100."""

import logging
from collections.abc import Hashable, Sequence

FIRST_VERDICTS = 20
MIN_VALUES = 3
_MARKS_ABOVE = {1: 0, 10: 5}  # top of a scale -> what the marks of a decent text exceed on it
logger = logging.getLogger(__name__)


class ScaleWatch:
    """Looks at the verdicts of one judge in one run.

    That none of its first twenty exceeds 10 is no proof: a run may begin with texts that were asked for at level low,
    and on weak texts a judge of 0-100 gives 0, 2, 5 and 10. It hardly gives what lies between 5 and 10, and whoever
    gives that often exceeds 10 at times. So a scale of 0-10 is taken for proven when, with none above 10, either every
    score lies strictly between 5 and 10, or twenty do, of three different values; likewise one of 0-1 between 0 and 1.
    Until then there is a warning; once a score exceeds 10, the scale is known to be wider. A text counts once: the
    same text over and over, or the same judgment repeated, is no further evidence.
    """

    def __init__(self, judge: str):
        self._judge = judge
        self._texts: set[Hashable] = set()
        self._scores: list[float] = []
        self._tenfold = 0
        self._problem = ""
        self._is_known = False

    def look(self, text: Hashable, criteria: Sequence[float], total: float, holistic: float) -> None:
        """Takes a verdict in: scores of the criteria, their weighted total and the holistic score, 0-100.

        Logs a warning where total and holistic score differ tenfold or a hundredfold.

        Raises:
            PrerequisiteError: In one sentence, if the judge does not grade from 0 to 100, and at every verdict after.
        """
        is_tenfold = _is_tenfold(total, holistic)
        if is_tenfold:
            logger.warning(
                "%s: the criteria come to %.3g and the holistic score is %.3g, as if on two scales",
                self._judge,
                total,
                holistic,
            )
        if not self._problem and not self._is_known and text not in self._texts:
            self._texts.add(text)
            self._tenfold += is_tenfold
            self._scores += [*criteria, holistic]
            if len(self._texts) >= FIRST_VERDICTS:
                self._decide()
        if self._problem:
            from model_calls.inspect_private import PrerequisiteError

            raise PrerequisiteError(self._problem)

    def _decide(self) -> None:
        first = f"{self._judge}: in its first {len(self._texts)} verdicts"
        highest = max(self._scores)
        top = next((top for top in _MARKS_ABOVE if highest <= top), None)
        fix = "take another judge; what was answered is kept"
        if 2 * self._tenfold >= len(self._texts):
            self._problem = f"{first} criteria and holistic score differ tenfold, expected both from 0 to 100; {fix}"
        elif top is None:
            self._is_known = True
        elif self._is_proven(top):
            self._problem = f"{first} no score exceeds {top}, as on a scale of 0 to {top}, expected 0 to 100; {fix}"
        elif len(self._texts) == FIRST_VERDICTS:
            logger.warning(
                "%s no score exceeds %d of 100: look into the log whether the texts are as weak as that, or the judge "
                "grades from 0 to %d, and its scores are wrong",
                first,
                top,
                top,
            )

    def _is_proven(self, top: int) -> bool:
        marks = [score for score in self._scores if _MARKS_ABOVE[top] < score < top]
        is_often = len(marks) >= FIRST_VERDICTS and len(set(marks)) >= MIN_VALUES
        return is_often or len(marks) == len(self._scores)


def _is_tenfold(total: float, holistic: float) -> bool:
    """Whether one is about ten or a hundred times the other, as of 10 or of 1 and of 100."""
    low, high = sorted((total, holistic))
    return 0 < low <= 10 and any(0.8 <= high / low / factor <= 1.25 for factor in (10, 100))
