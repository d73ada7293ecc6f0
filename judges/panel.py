"""Several judges, or several askings of one, as a single judge."""

import hashlib
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

import anyio

from judges.cost import total_usd
from judges.judgment import Judge, JudgeFailure, Judgment, Rating, outcome_of
from rubrics import Rubric

Aggregate = Literal["mean", "median"]


class Panel:
    """Asks every judge of a panel, each as often as it is listed, and returns one judgment.

    A judge's score is the mean of its askings that worked; the panel's is the mean or median of its judges. A response
    that one of the judges never scored is unscored: leaving that judge out would compare responses on different
    scales.

    Args:
        judges: For each judge of the panel, its askings; at least one of each.
        aggregate: "mean" or "median" over judges.
    """

    def __init__(self, judges: Sequence[Sequence[Judge]], aggregate: Aggregate = "mean"):
        if not judges or not all(judges):
            raise ValueError("panel: got no judge, expected at least one, asked at least once")
        self._judges = judges
        self._aggregate: Callable[[Sequence[float]], float] = (
            statistics.median if aggregate == "median" else statistics.fmean
        )
        self._name = aggregate

    async def judge(self, rubric: Rubric, user_prompt: str, response: str) -> Judgment:
        """Judgment with aggregated scores, the criteria of the first asking that worked, and every asking in `ratings`.

        Raises:
            JudgeFailure: With the mode of the first failure, if one of the judges never scored the response.
        """
        outcomes: dict[tuple[int, int], Judgment | JudgeFailure] = {}

        async def ask(seat: int, repeat: int, judge: Judge) -> None:
            outcomes[seat, repeat] = await outcome_of(judge, rubric, user_prompt, response)

        async with anyio.create_task_group() as group:
            for seat, askings in enumerate(self._judges):
                for repeat, judge in enumerate(askings):
                    group.start_soon(ask, seat, repeat, judge)
        return self._combine(outcomes)

    def _combine(self, outcomes: dict[tuple[int, int], Judgment | JudgeFailure]) -> Judgment:
        usage: Counter[str] = Counter()
        paid: Counter[str] = Counter()
        for outcome in outcomes.values():
            usage.update(outcome.usage)
            paid.update(outcome.usage_paid if isinstance(outcome, Judgment) else {})
        seats = [
            [outcomes[seat, repeat] for repeat in range(len(self._judges[seat]))] for seat in range(len(self._judges))
        ]
        worked = [[outcome for outcome in seat if isinstance(outcome, Judgment)] for seat in seats]
        attempts = sum(outcome.attempts for outcome in outcomes.values())
        cost = total_usd(outcome.cost_usd for outcome in outcomes.values())
        names = [judged[0].judge if judged else f"judge {seat}" for seat, judged in enumerate(worked)]
        ratings = tuple(
            _rating(seat, repeat, names[seat], outcome) for (seat, repeat), outcome in sorted(outcomes.items())
        )
        for seat, judged in zip(seats, worked, strict=True):
            if not judged:
                first_failure = next(outcome for outcome in seat if isinstance(outcome, JudgeFailure))
                raise JudgeFailure(first_failure.mode, first_failure.detail, attempts, usage, cost, ratings)
        first = worked[0][0]
        hashes = [judged[0].judge_hash for judged in worked]
        one = len(worked) == 1
        panel: dict[str, Any] = {
            "judge": names[0] if one else f"{self._name}({', '.join(names)})",
            "judge_hash": hashes[0] if one else hashlib.sha256("".join(hashes).encode()).hexdigest()[:12],
        }
        if not first.reason:
            panel |= {kind: self._over_seats(worked, kind) for kind in ("score", "total", "holistic")}
            panel |= {
                "served_model": ", ".join(dict.fromkeys(judged[0].served_model for judged in worked)),
                "attempts": attempts,
                "usage": dict(usage),
                "usage_paid": dict(paid),
                "cost_usd": cost,
                "ratings": ratings,
            }
        return first.model_copy(update=panel)

    def _over_seats(self, worked: Sequence[Sequence[Judgment]], kind: str) -> float:
        return self._aggregate([statistics.fmean(getattr(judgment, kind) for judgment in judged) for judged in worked])


def _rating(seat: int, repeat: int, name: str, outcome: Judgment | JudgeFailure) -> Rating:
    if isinstance(outcome, JudgeFailure):
        return Rating(seat=seat, judge=name, repeat=repeat, failure_mode=outcome.mode)
    return Rating(
        seat=seat,
        judge=name,
        repeat=repeat,
        score=outcome.score,
        total=outcome.total,
        holistic=outcome.holistic,
    )
