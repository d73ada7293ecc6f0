"""Values and aggregations of `cpt_rubric_adherence`: thin adapters to the statistics of the inspect task.

lm_eval knows no interval, and a standard error only of its own aggregations. So each statistic S has a twin `S_stderr`
over the same items, which lm_eval's table prints behind the plus-minus sign: the standard error of the jackknife that
its interval comes from.
"""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS, worst_wording_accuracy
from cpt_tasks.lm_harness.documents import Document
from cpt_tasks.lm_harness.settings import Settings
from cpt_tasks.scorer import HEADLINE
from cpt_tasks.statistics.table import Table, estimates_of, table_of
from judges import NO_RESPONSE
from judges.interval import Estimate, leave_one_out, standard_error

# what is kept of a document: position, rubric, level, user_prompt_id, wording, score (None if the judge failed), words
Item = tuple[int, str, str, str, str, float | None, int]
Aggregation = Callable[[Sequence[Any]], float]

COLUMNS = ["position", "rubric", "level", "user_prompt_id", "wording", "score", "words"]
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


def values(document: Document, results: Sequence[str]) -> dict[str, float | Item]:
    """What each metric keeps of one document, as lm_eval's `process_results`; the keys are always the same.

    Args:
        document: The document.
        results: Its verdict, JSON as in `judging`.
    """
    verdict = json.loads(results[0])
    item: Item = (
        document["position"],
        document["rubric"],
        document["level"],
        document["user_prompt_id"],
        document["wording"],
        verdict["score"],
        verdict["words"],
    )
    shares = {
        "judge_failed": float(verdict["score"] is None),
        "no_response": float(verdict.get("reason") == NO_RESPONSE),
    }
    return shares | {name: item for name in _AGGREGATIONS}


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
    return float(len(_frame(tuple(items))))


def estimate_of(name: str, items: Sequence[Item]) -> Estimate:
    """A statistic with its 95% interval: the same numbers as the metric of inspect."""
    return _estimates(tuple(items))[name]


def standard_error_of(name: str, items: Sequence[Item]) -> float:
    """Standard error of a statistic, see `judges.interval`; nan with fewer than two user prompts."""
    table = _table(tuple(items))
    return standard_error(STATISTICS[name].weighted(table, leave_one_out(table.n_clusters)))


# every metric of a run asks for the same items
@lru_cache(maxsize=1)
def _frame(items: tuple[Item, ...]) -> pd.DataFrame:
    return pd.DataFrame(sorted(items), columns=COLUMNS).astype({"score": float}).dropna(subset="score")


@lru_cache(maxsize=1)
def _table(items: tuple[Item, ...]) -> Table:
    return table_of(_frame(items))


@lru_cache(maxsize=1)
def _estimates(items: tuple[Item, ...]) -> dict[str, Estimate]:
    return estimates_of(_frame(items), STATISTICS)


def _worst_wording(items: Sequence[Item]) -> float:
    return worst_wording_accuracy(_frame(tuple(items)))


def _value(name: str) -> Aggregation:
    return lambda items: estimate_of(name, items).value


def _stderr(name: str) -> Aggregation:
    return lambda items: standard_error_of(name, items)


def _bound(name: str, bound: str) -> Aggregation:
    return lambda items: float(getattr(estimate_of(name, items), bound))


_SHARES = ("judge_failed", "no_response")
_AGGREGATIONS: dict[str, Aggregation] = {"n_scored": n_scored}
for _name in STATISTICS:
    _AGGREGATIONS |= {_name: _value(_name), f"{_name}_stderr": _stderr(_name)}
    if _name in HEADLINE:
        _AGGREGATIONS |= {f"{_name}_{bound}": _bound(_name, bound) for bound in ("ci_low", "ci_high")}
_AGGREGATIONS["worst_wording_accuracy"] = _worst_wording  # a minimum has no standard error
