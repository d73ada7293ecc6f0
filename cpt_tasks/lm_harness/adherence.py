"""Values and aggregations of `cpt_rubric_adherence`: thin adapters to the statistics of the inspect task.

lm_eval knows no interval, and a standard error only of its own aggregations. So each statistic S has a twin `S_stderr`
over the same items, which lm_eval's table prints behind the plus-minus sign: the standard deviation of the statistic
over the resamples of the clustered bootstrap that its interval comes from.
"""

import json
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from inspect_ai.scorer import Score

from cpt_tasks.lm_harness.documents import Document
from cpt_tasks.lm_harness.settings import Settings
from cpt_tasks.metrics import STATISTICS, Judged, clustered_bootstrap, resample_weights
from cpt_tasks.metrics.rows import Floats, table_of
from cpt_tasks.scorers import BOOTSTRAP_SEED, HEADLINE, judged_row
from judges import NO_RESPONSE
from judges.interval import Estimate

# position, rubric, level, user prompt, paraphrase, score (None if the judge failed), words
Item = tuple[int, str, str, str, str, float | None, int]
Aggregation = Callable[[Sequence[Any]], float]

HIGHER_IS_BETTER = {
    "macro_accuracy": True,
    "weighted_kappa": True,
    "kendall_tau_b": True,
    "spearman_rho": True,
    "order_accuracy": True,
    "strict_monotone_rate": True,
    "dynamic_range": True,
    "band_error": False,
    "overshoot": False,
    "undershoot": False,
    "kendall_tau_b_given_length": True,
    "worst_wording_accuracy": True,
}
N_RESAMPLES = 1000


def values(document: Document, results: Sequence[str]) -> dict[str, float | Item]:
    """What each metric keeps of one document, as lm_eval's `process_results`; the keys are always the same.

    Args:
        document: The document.
        results: Its verdict, JSON as in `judging`.
    """
    verdict = json.loads(results[0])
    failed = verdict["score"] is None
    item: Item = (
        document["position"],
        document["rubric"],
        document["level"],
        document["prompt_id"],
        document["paraphrase"],
        verdict["score"],
        verdict["words"],
    )
    plain = {
        "judge_failed": float(failed),
        "no_response": float(verdict.get("reason") == NO_RESPONSE),
    }
    return plain | {name: item for name in _AGGREGATIONS}


def metric_list(settings: Settings) -> list[dict[str, Any]]:
    """The metrics of the task for lm_eval, a statistic before its twin, or lm_eval overwrites the twin with N/A."""
    shares = [{"metric": name, "aggregation": "mean", "higher_is_better": False} for name in _SHARES]
    statistics = [
        {"metric": name, "aggregation": aggregation, "higher_is_better": HIGHER_IS_BETTER.get(name)}
        for name, aggregation in _AGGREGATIONS.items()
    ]
    return shares + statistics


def n_scored(items: Sequence[Item]) -> float:
    """Number of responses with a score."""
    return float(len(_rows(tuple(items))))


def estimate_of(name: str, items: Sequence[Item]) -> Estimate:
    """A statistic with its 95% interval: the same resamples, hence the same numbers, as the metric of inspect."""
    return _estimates(tuple(items))[name]


def standard_error(name: str, items: Sequence[Item]) -> float:
    """Standard deviation of a statistic over those resamples; nan with fewer than two user prompts."""
    table = table_of(_rows(tuple(items)))
    weights = resample_weights(table.n_clusters, N_RESAMPLES, np.random.default_rng(BOOTSTRAP_SEED))
    return spread(STATISTICS[name].resampled(table, weights.astype(np.float64))) if len(weights) else math.nan


def spread(draws: Floats) -> float:
    """Standard deviation of the draws that are defined; nan if fewer than two are."""
    defined = draws[~np.isnan(draws)]
    return float(defined.std(ddof=1)) if len(defined) > 1 else math.nan


def _rows(items: tuple[Item, ...]) -> list[Judged]:
    # in the order of inspect: the resamples are drawn by position
    rows = []
    for _, rubric, level, prompt_id, paraphrase, score, words in sorted(items):
        if score is not None:
            metadata = {"rubric": rubric, "level": level, "prompt_id": prompt_id, "paraphrase": paraphrase}
            rows.append(judged_row(metadata, Score(value=score, metadata={"words": words})))
    return rows


@lru_cache(maxsize=1)  # every metric of a run asks for the same items
def _estimates(items: tuple[Item, ...]) -> dict[str, Estimate]:
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    found = clustered_bootstrap(_rows(items), STATISTICS.values(), rng, N_RESAMPLES)
    return dict(zip(STATISTICS, found, strict=True))


def _value(name: str) -> Aggregation:
    return lambda items: estimate_of(name, items).value


def _stderr(name: str) -> Aggregation:
    return lambda items: standard_error(name, items)


def _bound(name: str, bound: str) -> Aggregation:
    return lambda items: float(getattr(estimate_of(name, items), bound))


_SHARES = ("judge_failed", "no_response")
_AGGREGATIONS: dict[str, Aggregation] = {"n_scored": n_scored}
for _name in STATISTICS:
    _AGGREGATIONS |= {_name: _value(_name), f"{_name}_stderr": _stderr(_name)}
    if _name in HEADLINE:
        _AGGREGATIONS |= {f"{_name}_{bound}": _bound(_name, bound) for bound in ("ci_low", "ci_high")}
