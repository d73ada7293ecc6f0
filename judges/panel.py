"""Several judges, or several askings of one, as a single judge."""

import hashlib
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from judges.cost import total_usd
from judges.judgment import Judge, JudgeFailure, Judgment, Rating, outcome_of
from model_calls.side_by_side import side_by_side
from rubrics import Rubric
from rubrics.pictures import Picture

Aggregate = Literal["mean", "median"]


@dataclass(frozen=True)
class Panel:
    """Asks every judge of a panel, each as often as it is listed, and returns one judgment.

    A judge's score is the mean of its askings that worked; the panel's is the mean or median of its judges. A response
    that one of the judges never scored is unscored: without that judge it would be compared on another scale.

    Attributes:
        judges: For each judge of the panel, its askings; at least one of each.
    """

    judges: Sequence[Sequence[Judge]]
    aggregate: Aggregate = "mean"

    async def judge(self, rubric: Rubric, user_prompt: str, response: str, picture: Picture | None = None) -> Judgment:
        """Judgment with aggregated scores, the criteria of the first asking that worked, and every asking in `ratings`.

        Raises:
            JudgeFailure: With the mode of the first failure, if one of the judges never scored the response.
        """
        every = [asked for askings in self.judges for asked in askings]
        jobs = [partial(outcome_of, asked, rubric, user_prompt, response, picture) for asked in every]
        try:
            outcomes = await side_by_side(jobs, len(jobs))
        except ExceptionGroup as group:  # as of one judge
            raise group.exceptions[0] from group
        in_order = iter(outcomes)
        seats = [[next(in_order) for _ in askings] for askings in self.judges]
        worked = [[one for one in askings if isinstance(one, Judgment)] for askings in seats]
        names = [judged[0].judge if judged else f"judge {seat}" for seat, judged in enumerate(worked)]
        spent: dict[str, Any] = {
            "attempts": sum(outcome.attempts for outcome in outcomes),
            "usage": _sum(outcome.usage for outcome in outcomes),
            "cost_usd": total_usd(outcome.cost_usd for outcome in outcomes),
            "ratings": tuple(
                _rating(seat, names[seat], repeat, outcome)
                for seat, askings in enumerate(seats)
                for repeat, outcome in enumerate(askings)
            ),
        }
        for askings, judged in zip(seats, worked, strict=True):
            if not judged and isinstance(failure := askings[0], JudgeFailure):
                raise JudgeFailure(failure.mode, failure.detail, **spent)
        firsts = [judged[0] for judged in worked]
        panel: dict[str, Any] = {}
        if len(firsts) > 1:
            hashes = "".join(first.judge_hash for first in firsts)
            panel["judge"] = f"{self.aggregate}({', '.join(names)})"
            panel["judge_hash"] = hashlib.sha256(hashes.encode()).hexdigest()[:12]
        if not firsts[0].reason:
            over_judges = statistics.median if self.aggregate == "median" else statistics.fmean
            for kind in ("score", "total", "holistic"):
                panel[kind] = over_judges([statistics.fmean(getattr(one, kind) for one in judged) for judged in worked])
            panel["served_model"] = ", ".join(dict.fromkeys(first.served_model for first in firsts))
            panel |= spent
        return firsts[0].model_copy(update=panel)


def _sum(usages: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for usage in usages:
        total.update(usage)
    return dict(total)


def _rating(seat: int, name: str, repeat: int, outcome: Judgment | JudgeFailure) -> Rating:
    if isinstance(outcome, JudgeFailure):
        return Rating(seat=seat, judge=name, repeat=repeat, failure_mode=outcome.mode)
    scores = {kind: getattr(outcome, kind) for kind in ("score", "total", "holistic")}
    return Rating(seat=seat, judge=name, repeat=repeat, **scores)
