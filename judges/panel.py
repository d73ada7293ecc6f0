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
        seats: list[list[Judgment]] = [[] for _ in self._judges]
        for (seat, _), outcome in sorted(outcomes.items(), key=lambda entry: entry[0]):
            usage.update(outcome.usage)
            if isinstance(outcome, Judgment):
                paid.update(outcome.usage_paid)
                seats[seat].append(outcome)
        names = [judged[0].judge if judged else f"judge {seat}" for seat, judged in enumerate(seats)]
        spent: dict[str, Any] = {
            "attempts": sum(outcome.attempts for outcome in outcomes.values()),
            "usage": dict(usage),
            "cost_usd": total_usd(outcome.cost_usd for outcome in outcomes.values()),
            "ratings": tuple(_rating(*key, names[key[0]], outcomes[key]) for key in sorted(outcomes)),
        }
        for seat, judged in enumerate(seats):
            if not judged:
                failure = outcomes[seat, 0]
                assert isinstance(failure, JudgeFailure)  # no asking of this judge worked
                raise JudgeFailure(failure.mode, failure.detail, **spent)
        first, *others = (judged[0] for judged in seats)
        panel: dict[str, Any] = {"judge": first.judge, "judge_hash": first.judge_hash}
        if others:
            hashes = "".join(judged[0].judge_hash for judged in seats)
            panel = {
                "judge": f"{self._name}({', '.join(names)})",
                "judge_hash": hashlib.sha256(hashes.encode()).hexdigest()[:12],
            }
        if not first.reason:
            panel |= {kind: self._over_seats(seats, kind) for kind in ("score", "total", "holistic")} | spent
            panel["served_model"] = ", ".join(dict.fromkeys(judged[0].served_model for judged in seats))
            panel["usage_paid"] = dict(paid)
        return first.model_copy(update=panel)

    def _over_seats(self, seats: Sequence[Sequence[Judgment]], kind: str) -> float:
        return self._aggregate([statistics.fmean(getattr(judgment, kind) for judgment in judged) for judged in seats])


def _rating(seat: int, repeat: int, name: str, outcome: Judgment | JudgeFailure) -> Rating:
    if isinstance(outcome, JudgeFailure):
        return Rating(seat=seat, judge=name, repeat=repeat, failure_mode=outcome.mode)
    scores = {kind: getattr(outcome, kind) for kind in ("score", "total", "holistic")}
    return Rating(seat=seat, judge=name, repeat=repeat, **scores)
