"""Values and metrics of both tasks: thin adapters to the statistics of the inspect tasks.

`cpt_rubric_adherence` has the statistics of the report. `cpt_best_of_n` has `band_hit@k` and `band_error@k` over all
levels, and `LEVEL_band_hit@k` and `LEVEL_score@k`, for k = 1, 2, 4 ... N: of the response that is selected out of k,
exactly, from the N of each document.

lm_eval knows no interval, and a standard error only of its own aggregations. So each statistic S has a twin `S_stderr`
over the same items, which lm_eval's table prints behind the plus-minus sign: the standard error of the jackknife that
its interval comes from. A statistic stands before its twin, or lm_eval overwrites the twin with N/A.
"""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from cpt_tasks.benchmarks.best_of_n.statistics import CELL, best_of_k_cells, curve_sizes
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS, worst_wording_accuracy
from cpt_tasks.lm_harness.documents import CannotRunError, Document, Settings
from cpt_tasks.scorer import HEADLINE
from cpt_tasks.statistics.ranks import ratio
from cpt_tasks.statistics.table import table_of
from judges import NO_RESPONSE
from judges.interval import NAN, Floats, leave_one_out, standard_error
from rubrics import ScoreLevel

ADHERENCE_COLUMNS = ["position", "rubric", "level", "user_prompt_id", "wording", "score", "words"]
# what is kept of a document: `ADHERENCE_COLUMNS`, the score None if the judge failed
AdherenceItem = tuple[int, str, str, str, str, float | None, int]
# rubric, level, user_prompt_id, value (nan if undefined)
BestItem = tuple[str, str, str, float]
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
BEST_IS_HIGHER = {"band_hit": True, "band_error": False}
_ADHERENCE_NAMES = ["n_scored"]
for _name in STATISTICS:
    _ADHERENCE_NAMES += [_name, f"{_name}_stderr"]
    _ADHERENCE_NAMES += [f"{_name}_ci_low", f"{_name}_ci_high"] if _name in HEADLINE else []
_ADHERENCE_NAMES.append("worst_wording_accuracy")  # a minimum has no standard error


def adherence_values(document: Document, results: Sequence[str]) -> dict[str, float | AdherenceItem]:
    """What each metric keeps of one document, as lm_eval's `process_results`; `results` is its verdict as JSON."""
    verdict = json.loads(results[0])
    item = tuple((document | verdict)[name] for name in ADHERENCE_COLUMNS)
    shares = {
        "judge_failed": float(verdict["score"] is None),
        "no_response": float(verdict.get("reason") == NO_RESPONSE),
    }
    return shares | dict.fromkeys(_ADHERENCE_NAMES, item)


def adherence_metrics(settings: Settings) -> list[dict[str, Any]]:
    """The metrics of `cpt_rubric_adherence` for lm_eval."""
    shares = [_metric(name, "mean", False) for name in ("judge_failed", "no_response")]
    return shares + [_metric(name, _number_of(name), HIGHER_IS_BETTER.get(name)) for name in _ADHERENCE_NAMES]


# every metric of a run asks for the same items
@lru_cache(maxsize=1)
def adherence_numbers(items: tuple[AdherenceItem, ...]) -> dict[str, float]:
    """Every metric of the scored items by name: the same numbers as those of inspect.

    `n_scored` is the number of responses with a score; a standard error is nan with fewer than two user prompts.
    """
    frame = pd.DataFrame(sorted(items), columns=ADHERENCE_COLUMNS).astype({"score": float}).dropna(subset="score")
    table = table_of(frame)
    numbers = {"n_scored": float(len(frame)), "worst_wording_accuracy": worst_wording_accuracy(frame)}
    for name, statistic in STATISTICS.items():
        estimate = statistic.estimate(table)
        error = standard_error(statistic.weighted(table, leave_one_out(table.n_clusters)))
        numbers |= {name: estimate.value, f"{name}_stderr": error}
        numbers |= {f"{name}_ci_low": estimate.ci_low, f"{name}_ci_high": estimate.ci_high}
    return numbers


def best_of_n_values(document: Document, results: Sequence[Sequence[str]]) -> dict[str, float | BestItem]:
    """What each metric keeps of one document; `results` holds its verdicts, as JSON, in a list of their own."""
    verdicts = [json.loads(verdict) for verdict in results[0]]
    n, level = len(verdicts), document["level"]
    cell = (document["rubric"], level, document["user_prompt_id"])
    scores = [verdict["score"] for verdict in verdicts if verdict["score"] is not None]
    rows = pd.DataFrame([(*cell, score) for score in scores], columns=[*CELL, "score"])
    best = best_of_k_cells(rows, n).iloc[0].to_dict() if scores else {}
    kept: dict[str, float | BestItem] = {
        "judge_failed": 1 - len(scores) / n,
        "n_distinct": float(len({verdict["response"] for verdict in verdicts})),
    }
    for name, column, of_level in _curve_names(n):
        value = best.get(column, NAN) if of_level in (None, level) else NAN
        kept |= {name: (*cell, value), f"{name}_stderr": (*cell, value)}
    return kept


def best_of_n_metrics(settings: Settings) -> list[dict[str, Any]]:
    """The metrics of `cpt_best_of_n` for lm_eval.

    Raises:
        CannotRunError: If a cell has several wordings: its samples would not be samples of one prompt.
    """
    if settings.wordings != 1:
        raise CannotRunError(f"--metadata wordings: got {settings.wordings}, expected 1 for cpt_best_of_n")
    metrics = [_metric("judge_failed", "mean", False), _metric("n_distinct", "mean", True)]
    for name, column, of_level in _curve_names(settings.n_samples):
        high = True if of_level == ScoreLevel.EXTREMELY_HIGH else None
        metrics.append(_metric(name, mean, BEST_IS_HIGHER.get(column.split("@")[0], high)))
        metrics.append(_metric(f"{name}_stderr", mean_stderr, False))
    return metrics


def mean(items: Sequence[BestItem]) -> float:
    """Mean over user prompts within (rubric, level), then over those, as in the report; nan if nothing was scored."""
    return float(_means(items)[0])


def mean_stderr(items: Sequence[BestItem]) -> float:
    """Standard error of that mean, see `judges.interval`; nan with fewer than two user prompts."""
    return standard_error(_means(items))


def _metric(name: str, aggregation: str | Callable[[Any], float], higher_is_better: bool | None) -> dict[str, Any]:
    return {"metric": name, "aggregation": aggregation, "higher_is_better": higher_is_better}


def _number_of(name: str) -> Callable[[Sequence[AdherenceItem]], float]:
    return lambda items: adherence_numbers(tuple(items))[name]


def _means(items: Sequence[BestItem]) -> Floats:
    """The mean on the rows of `leave_one_out`: of all user prompts, then without each."""
    frame = pd.DataFrame(items, columns=[*CELL, "value"]).dropna()
    if frame.empty:
        return np.array([NAN])
    cells = frame.pivot_table(index="user_prompt_id", columns=["rubric", "level"], values="value")
    weights = leave_one_out(len(cells))
    means = ratio(weights @ cells.fillna(0.0).to_numpy(), weights @ cells.notna().to_numpy(np.float64))
    known = ~np.isnan(means)
    return ratio(np.where(known, means, 0.0).sum(axis=1), known.sum(axis=1).astype(np.float64))


def _curve_names(n: int) -> list[tuple[str, str, str | None]]:
    """Metric, column of `best_of_k_cells` and level (None for all) of every point that is reported."""
    sizes = curve_sizes(n)
    pooled = [(f"{name}@{k}", f"{name}@{k}", None) for name in BEST_IS_HIGHER for k in sizes]
    of_level = [
        (f"{level.value}_{name}@{k}", f"{name}@{k}", level.value)
        for level in ScoreLevel
        for name in ("band_hit", "score")
        for k in sizes
    ]
    return [*pooled, *of_level]
