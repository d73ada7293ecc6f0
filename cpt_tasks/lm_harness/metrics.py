"""Values and metrics of both tasks: thin adapters to the statistics of the inspect tasks.

`cpt_rubric_adherence` has the statistics of the report. `cpt_best_of_n` has `band_hit@k` and `band_error@k` over all
levels, and `LEVEL_band_hit@k` and `LEVEL_score@k`, for k = 1, 2, 4 ... N: of the response that is selected out of k,
exactly, from the N of each document.

lm_eval knows no interval, and a standard error only of its own aggregations. So each statistic S has a twin `S_stderr`
over the same items, which lm_eval's table prints behind the plus-minus sign: the standard error of the jackknife that
its interval comes from, nan for chance and ceilings, which have none. A statistic stands before its twin, or lm_eval
overwrites the twin with N/A.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from statistics import fmean
from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.best_of_n.statistics import (
    CELL,
    POOLED,
    best_of_k_cells,
    curve_sizes,
    level_curves,
)
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS, worst_wording_accuracy
from cpt_tasks.lm_harness.documents import CannotRunError, Document, Settings
from cpt_tasks.scorer import HEADLINE
from cpt_tasks.statistics.table import table_of
from judges import NO_RESPONSE
from judges.interval import NAN, can_leave_out, standard_error
from rubrics import ScoreLevel

# what is kept of a document, the score None if the judge failed: these columns; `CELL` and its (score, reason)
Item = tuple[Any, ...]
ADHERENCE_COLUMNS = ["position", "rubric", "level", "user_prompt_id", "wording", "score", "words", "reason"]
MEANS = ("judge_failed", "no_response", "thought_words")
LEVELS = [level.value for level in ScoreLevel]
HIGHER = """
    macro_accuracy weighted_kappa kendall_tau_b kendall_tau_b_given_length spearman_rho somers_d dynamic_range
    strict_monotone_rate worst_wording_accuracy band_hit n_distinct
"""
LOWER = "band_error overshoot undershoot judge_failed no_response"
HIGHER_IS_BETTER = dict.fromkeys(HIGHER.split(), True) | dict.fromkeys(LOWER.split(), False)


def adherence_values(document: Document, results: Sequence[str]) -> dict[str, float | Item]:
    """What each metric keeps of one document, as lm_eval's `process_results`; `results` is its verdict as JSON."""
    verdict = json.loads(results[0])
    item = tuple((document | verdict)[name] for name in ADHERENCE_COLUMNS)
    return _means([verdict]) | dict.fromkeys(adherence_numbers(()), item)


def adherence_metrics(settings: Settings) -> list[dict[str, Any]]:
    """The metrics of `cpt_rubric_adherence` for lm_eval."""
    return _metrics(MEANS, adherence_numbers(()), adherence_numbers)


# every metric of a run asks for the same items
@lru_cache(maxsize=2)
def adherence_numbers(items: tuple[Item, ...]) -> dict[str, float]:
    """Every metric of the scored items by name: the same numbers as those of inspect.

    `n_scored` is the number of responses with a score; a standard error is nan where a rubric has one user prompt.
    """
    frame = pd.DataFrame(sorted(items), columns=ADHERENCE_COLUMNS).astype({"score": float}).dropna(subset="score")
    table = table_of(frame)
    numbers = {"n_scored": float(len(frame))}
    for name, statistic in STATISTICS.items():
        estimate = statistic.estimate(table)
        numbers |= {name: estimate.value, f"{name}_stderr": standard_error(statistic.left_out(table))}
        if name in HEADLINE and statistic.has_interval:
            numbers |= {f"{name}_ci_low": estimate.ci_low, f"{name}_ci_high": estimate.ci_high}
    # a minimum has no standard error
    return numbers | {"worst_wording_accuracy": worst_wording_accuracy(frame)}


def best_of_n_values(document: Document, results: Sequence[Sequence[str]]) -> dict[str, float | Item]:
    """What each metric keeps of one document; `results` holds its verdicts, as JSON, in a list of their own."""
    verdicts = [json.loads(verdict) for verdict in results[0]]
    item = (*(document[name] for name in CELL), tuple((one["score"], one["reason"]) for one in verdicts))
    n_distinct = float(len({one["response"].strip() for one in verdicts if one["score"] is not None}))
    return _means(verdicts) | {"n_distinct": n_distinct} | dict.fromkeys(best_of_n_numbers((), len(verdicts)), item)


def best_of_n_metrics(settings: Settings) -> list[dict[str, Any]]:
    """The metrics of `cpt_best_of_n` for lm_eval; CannotRunError if a cell has several wordings."""
    if settings.wordings != 1:  # its samples would not be samples of one prompt
        raise CannotRunError(f"--metadata wordings: got {settings.wordings}, expected 1 for cpt_best_of_n")
    n = settings.n_samples
    return _metrics([*MEANS, "n_distinct"], best_of_n_numbers((), n), lambda items: best_of_n_numbers(items, n))


@lru_cache(maxsize=2)
def best_of_n_numbers(items: tuple[Item, ...], n: int) -> dict[str, float]:
    """Every metric by name: means over user prompts within (rubric, level), then over those, as in the report.

    nan where nothing was scored; a standard error is nan where a rubric has one user prompt.
    """
    points = {f"{name}@{k}": (POOLED, f"{name}@{k}") for name in ("band_hit", "band_error") for k in curve_sizes(n)}
    for level in LEVELS:
        names = [f"{name}@{k}" for name in ("band_hit", "score") for k in curve_sizes(n)]
        points |= {f"{level}_{name}": (level, name) for name in names}
    rows = [(*cell, *judged) for *cell, verdicts in items for judged in verdicts if judged[0] is not None]
    curves = []
    if rows:
        cells = best_of_k_cells(pd.DataFrame(rows, columns=[*CELL, "score", "reason"]), n)
        keys = cells.index.to_frame()
        rubrics, prompts = keys["rubric"], keys["user_prompt_id"]
        left_out = [cells[prompts != one] for one in prompts.unique()] if can_leave_out(rubrics, prompts) else []
        curves = [level_curves(part).reindex([*LEVELS, POOLED]).to_dict("index") for part in [cells, *left_out]]
    numbers: dict[str, float] = {}
    for name, (level, column) in points.items():
        values = [curve[level][column] for curve in curves] or [NAN]
        numbers |= {name: values[0], f"{name}_stderr": standard_error(values)}
    return numbers


def _means(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    failed, empty = [one["score"] is None for one in verdicts], [one["reason"] == NO_RESPONSE for one in verdicts]
    numbers = (failed, empty, [one["thought_words"] for one in verdicts])
    return dict(zip(MEANS, map(fmean, numbers), strict=True))


def _metrics(
    means: Iterable[str], names: Iterable[str], numbers: Callable[[tuple[Item, ...]], dict[str, float]]
) -> list[dict[str, Any]]:
    def number_of(name: str) -> Callable[[Sequence[Item]], float]:
        return lambda items: numbers(tuple(items))[name]

    aggregations = dict.fromkeys(means, "mean") | {name: number_of(name) for name in names}
    return [
        {"metric": name, "aggregation": how, "higher_is_better": HIGHER_IS_BETTER.get(name.split("@")[0])}
        for name, how in aggregations.items()
    ]
