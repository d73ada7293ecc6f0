"""Several judges, or several askings of one, as a single judge."""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import anyio

from judges.judgment import Judge, JudgeFailure, Judgment, Rating
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
        """Judgment with the aggregated score, the first judge's criteria and reasons, and every asking in `ratings`.

        Raises:
            JudgeFailure: With the mode of the first failure, if one of the judges never scored the response.
        """
        outcomes: dict[tuple[int, int], Judgment | JudgeFailure] = {}

        async def ask(seat: int, repeat: int, judge: Judge) -> None:
            try:
                outcomes[seat, repeat] = await judge.judge(rubric, user_prompt, response)
            except JudgeFailure as failure:
                outcomes[seat, repeat] = failure

        async with anyio.create_task_group() as group:
            for seat, askings in enumerate(self._judges):
                for repeat, judge in enumerate(askings):
                    group.start_soon(ask, seat, repeat, judge)
        return self._combine(outcomes)

    def _combine(self, outcomes: dict[tuple[int, int], Judgment | JudgeFailure]) -> Judgment:
        usage: Counter[str] = Counter()
        for outcome in outcomes.values():
            usage.update(outcome.usage)
        scores: list[float] = []
        firsts: list[Judgment] = []
        for seat in range(len(self._judges)):
            mine = [outcomes[seat, repeat] for repeat in range(len(self._judges[seat]))]
            judged = [outcome for outcome in mine if isinstance(outcome, Judgment)]
            if not judged:
                failure = next(outcome for outcome in mine if isinstance(outcome, JudgeFailure))
                raise JudgeFailure(failure.mode, failure.detail, len(outcomes), usage)
            firsts.append(judged[0])
            scores.append(statistics.fmean(judgment.score for judgment in judged))
        names = [judgment.judge for judgment in firsts]
        first = firsts[0]
        if first.reason:
            return replace(first, judge=self._label(names))
        judged = [outcome for outcome in outcomes.values() if isinstance(outcome, Judgment)]
        costs = [judgment.cost_usd for judgment in judged]
        paid: Counter[str] = Counter()
        for judgment in judged:
            paid.update(judgment.usage_paid)
        return replace(
            first,
            score=self._aggregate(scores),
            judge=self._label(names),
            served_model=", ".join(dict.fromkeys(judgment.served_model for judgment in firsts)),
            attempts=sum(outcome.attempts for outcome in outcomes.values()),
            usage=dict(usage),
            usage_paid=dict(paid),
            cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
            ratings=tuple(
                Rating(names[seat], repeat, outcome.score)
                if isinstance(outcome, Judgment)
                else Rating(names[seat], repeat, None, outcome.mode)
                for (seat, repeat), outcome in sorted(outcomes.items())
            ),
        )

    def _label(self, names: Sequence[str]) -> str:
        return names[0] if len(names) == 1 else f"{self._name}({', '.join(names)})"
