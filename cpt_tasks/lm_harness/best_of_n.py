"""Values and aggregations of `cpt_best_of_n`: thin adapters to the statistics of the inspect task.

Metrics are `band_hit@k` and `band_error@k` over all levels, and `LEVEL_band_hit@k` and `LEVEL_score@k`, for k = 1, 2, 4
... N: of the response that is selected out of k, exactly, from the N of each document.
"""

import json
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from cpt_tasks.benchmarks.best_of_n.statistics import CELL, best_of_k_cells, curve_sizes
from cpt_tasks.lm_harness.documents import Document
from cpt_tasks.lm_harness.settings import CannotRunError, Settings
from cpt_tasks.statistics.ranks import ratio
from judges.interval import NAN, Floats, leave_one_out, standard_error
from rubrics import ScoreLevel

# rubric, level, user_prompt_id, value (nan if undefined)
Item = tuple[str, str, str, float]
HIGHER_IS_BETTER = {"band_hit": True, "band_error": False}
logger = logging.getLogger(__name__)


def values(document: Document, results: Sequence[Sequence[str]]) -> dict[str, float | Item]:
    """What each metric keeps of one document, as lm_eval's `process_results`; the keys are always the same.

    Args:
        document: The document.
        results: Its verdicts in a list of their own, JSON as in `judging`.
    """
    verdicts = [json.loads(verdict) for verdict in results[0]]
    n, level = len(verdicts), document["level"]
    cell = (document["rubric"], level, document["user_prompt_id"])
    scores = [verdict["score"] for verdict in verdicts if verdict["score"] is not None]
    rows = pd.DataFrame([(*cell, score) for score in scores], columns=[*CELL, "score"])
    best = best_of_k_cells(rows, n).iloc[0].to_dict() if scores else {}
    kept: dict[str, float | Item] = {
        "judge_failed": 1 - len(scores) / n,
        "n_distinct": float(len({verdict["response"] for verdict in verdicts})),
    }
    for name, column, of_level in _curve_names(n):
        value = best.get(column, NAN) if of_level in (None, level) else NAN
        kept |= {name: (*cell, value), f"{name}_stderr": (*cell, value)}
    return kept


def metric_list(settings: Settings) -> list[dict[str, Any]]:
    """The metrics of the task for lm_eval, each curve's point before its twin; see `adherence`.

    Raises:
        CannotRunError: If a cell has several wordings: its samples would not be samples of one prompt.
    """
    if settings.wordings != 1:
        raise CannotRunError(f"--metadata wordings: got {settings.wordings}, expected 1 for cpt_best_of_n")
    metrics = [
        {"metric": "judge_failed", "aggregation": "mean", "higher_is_better": False},
        {"metric": "n_distinct", "aggregation": "mean", "higher_is_better": True},
    ]
    for name, column, of_level in _curve_names(settings.n_samples):
        high = True if of_level == ScoreLevel.EXTREMELY_HIGH else None
        better = HIGHER_IS_BETTER.get(column.split("@")[0], high)
        metrics.append({"metric": name, "aggregation": mean, "higher_is_better": better})
        metrics.append({"metric": f"{name}_stderr", "aggregation": mean_stderr, "higher_is_better": False})
    return metrics


def mean(items: Sequence[Item]) -> float:
    """Mean over user prompts within (rubric, level), then over those, as in the report; nan if nothing was scored."""
    return float(_means(items)[0])


def mean_stderr(items: Sequence[Item]) -> float:
    """Standard error of that mean, see `judges.interval`; nan with fewer than two user prompts."""
    return standard_error(_means(items))


def _means(items: Sequence[Item]) -> Floats:
    """The mean on the rows of `leave_one_out`: of all user prompts, then without each."""
    frame = pd.DataFrame(items, columns=[*CELL, "value"]).dropna()
    if frame.empty:
        return np.array([NAN])
    cells = frame.pivot_table(index="user_prompt_id", columns=["rubric", "level"], values="value")
    weights = leave_one_out(len(cells))
    means = ratio(weights @ cells.fillna(0.0).to_numpy(), weights @ cells.notna().to_numpy(np.float64))
    known = ~np.isnan(means)
    return ratio(np.where(known, means, 0.0).sum(axis=1), known.sum(axis=1).astype(np.float64))


def warn_of_duplicates(samples: Sequence[Sequence[str]]) -> None:
    """Warns if texts of one document are equal: N samples must differ, or best-of-k means nothing.

    Args:
        samples: The texts of each document.
    """
    repeating = sum(len(set(texts)) < len(texts) for texts in samples)
    if repeating:
        logger.warning(
            "%d of %d documents have equal texts among their samples (n_distinct); does the model sample? A server "
            "that is sent the same seed with every request answers the same: --gen_kwargs seed=None",
            repeating,
            len(samples),
        )


def _curve_names(n: int) -> list[tuple[str, str, str | None]]:
    """Metric, column of `best_of_k_cells` and level (None for all) of every point that is reported."""
    sizes = curve_sizes(n)
    pooled = [(f"{name}@{k}", f"{name}@{k}", None) for name in HIGHER_IS_BETTER for k in sizes]
    of_level = [
        (f"{level.value}_{name}@{k}", f"{name}@{k}", level.value)
        for level in ScoreLevel
        for name in ("band_hit", "score")
        for k in sizes
    ]
    return [*pooled, *of_level]
