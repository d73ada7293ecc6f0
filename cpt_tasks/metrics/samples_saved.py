"""How many samples one model needs to reach what another reaches with some: a ratio that may be censored.

With n samples a model's curve is known from k = 1 to n. If the other model's value is reached before the first sample
or not within n, all that is known is a bound; it is kept as one and never taken for the number.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from cpt_tasks.metrics.bootstrap import TAIL, corrected_tails
from cpt_tasks.metrics.rows import NAN, Floats

Censoring = Literal["at_most", "at_least"]
TOLERANCE = 1e-9


@dataclass(frozen=True)
class CensoredEstimate:
    """A number and its 95% interval, any of which may be a bound only.

    Attributes:
        value: The number; nan if there is nothing to reach.
        ci_low: Lower end.
        ci_high: Upper end.
        censored: By the name of an attribute above, that the truth is "at_most" or "at_least" what stands there.
    """

    value: float
    ci_low: float
    ci_high: float
    censored: dict[str, Censoring] = field(default_factory=dict)


@dataclass(frozen=True)
class SamplesSaved:
    """What a model needs to reach another's value at some number of samples.

    Attributes:
        goal: The value to reach: what the other model reaches with that many.
        samples: Samples that the model needs for it.
        ratio: Samples that the other model needs for it, over those.
        undefined: Share of resamples, 0-1, in which the other model reaches nothing; left out of the intervals.
    """

    goal: float
    samples: CensoredEstimate
    ratio: CensoredEstimate
    undefined: float


def samples_to_reach(curve: Floats, goal: float) -> float:
    """Smallest k at which a curve reaches a goal, interpolated linearly in log k.

    Args:
        curve: Values at k = 1 ... n; need not rise throughout: the first crossing counts.
        goal: Value to reach.

    Returns:
        -inf if the curve is above the goal at k = 1 already, inf if it does not reach it by n, nan if the goal is nan
        or not above 0: there is nothing to reach. k without a value are passed over.
    """
    if not goal > 0:
        return NAN
    known = np.flatnonzero(~np.isnan(curve))
    reached = [position for position in known if curve[position] >= goal - TOLERANCE]
    if not reached:
        return float("inf")
    first = reached[0]
    if first == known[0]:
        return float(first + 1) if curve[first] <= goal + TOLERANCE else float("-inf")
    before = known[known < first][-1]
    share = min(1.0, (goal - curve[before]) / (curve[first] - curve[before]))
    return float(np.exp(np.log(before + 1) + share * (np.log(first + 1) - np.log(before + 1))))


def samples_saved(base: Floats, tuned: Floats, base_samples: int, n_prompts: int) -> SamplesSaved:
    """What the tuned model needs to reach the base's value at a number of samples.

    The ratio divides by the tuned model's samples those with which the base first reaches that value itself, fewer
    than asked for only where its curve is flat: two equal models have the ratio 1.

    Args:
        base: Curves on the rows of `bootstrap_weights`, shape (1 + n_prompts + n_resamples, n).
        tuned: The same of the other model, on the same rows.
        base_samples: Samples of the base, 1 to n.
        n_prompts: User prompts; 0 if the rows that leave one out are missing, for plain quantiles.
    """
    goals = base[:, base_samples - 1]
    own = np.array([samples_to_reach(curve, goal) for curve, goal in zip(base, goals, strict=True)])
    needed = np.array([samples_to_reach(curve, goal) for curve, goal in zip(tuned, goals, strict=True)])
    n = base.shape[1]
    own = np.where(np.isneginf(own), 1.0, own)  # a falling curve: the base itself needs no more than one
    clipped = np.clip(needed, 1, n)
    # -inf and inf keep their places at the ends when draws are sorted
    order_of_ratio = np.where(np.isinf(needed), -needed, own / clipped)
    drawn = needed[1 + n_prompts :]
    return SamplesSaved(
        goal=float(goals[0]),
        samples=_censored(clipped, needed, n_prompts),
        ratio=_censored(own / clipped, order_of_ratio, n_prompts),
        undefined=float(np.isnan(drawn).mean()) if len(drawn) else NAN,
    )


def _censored(shown: Floats, order: Floats, n_prompts: int) -> CensoredEstimate:
    """An estimate from numbers to show and their order, infinite where the number is a bound; row 0 is the value.

    The interval ends at the quantiles of `estimate`, computed on the numbers shown.
    """
    if np.isnan(order[0]):
        return CensoredEstimate(NAN, NAN, NAN)
    picked = {"value": 0}
    draws = 1 + n_prompts + np.flatnonzero(~np.isnan(order[1 + n_prompts :]))
    if len(draws):
        left_out = shown[1 : 1 + n_prompts]
        tails = corrected_tails(shown[draws], left_out) if n_prompts else (TAIL, 1 - TAIL)
        # whole draws, no interpolation: between a number and a bound there is nothing
        ranked = draws[np.lexsort((shown[draws], order[draws]))]
        for name, tail in zip(("ci_low", "ci_high"), tails, strict=True):
            picked[name] = int(ranked[max(0, int(np.ceil(tail * len(ranked))) - 1)])
    numbers = {name: float(shown[row]) for name, row in picked.items()}
    censored: dict[str, Censoring] = {
        name: "at_least" if order[row] > 0 else "at_most" for name, row in picked.items() if np.isinf(order[row])
    }
    return CensoredEstimate(numbers["value"], numbers.get("ci_low", NAN), numbers.get("ci_high", NAN), censored)
