"""Values and aggregations of `cpt_best_of_n`: thin adapters to `metrics.best_of_k`.

Metrics are `band_hit@k` and `band_error@k` over all levels, and `LEVEL_band_hit@k` and `LEVEL_score@k`, for k = 1, 2, 4
... N: of the response that is selected out of k, exactly, from the N of each document.
"""

import json
import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cpt_tasks.lm_harness.adherence import N_RESAMPLES, spread
from cpt_tasks.lm_harness.documents import Document
from cpt_tasks.lm_harness.settings import CannotRunError, Settings
from cpt_tasks.metrics import resample_weights
from cpt_tasks.metrics.best_of_k import LEVELS, Sampled, best_of_k_cells, curve_sizes, level_curves
from cpt_tasks.metrics.rows import Floats
from cpt_tasks.scorers import BOOTSTRAP_SEED
from rubrics import ScoreLevel

# rubric, level, user prompt, number of samples with a score, value (nan if undefined)
Item = tuple[str, str, str, int, float]
HIGHER_IS_BETTER = {"band_hit": True, "band_error": False}
logger = logging.getLogger(__name__)


def values(document: Document, results: Sequence[Sequence[str]]) -> dict[str, float | Item]:
    """What each metric keeps of one document, as lm_eval's `process_results`; the keys are always the same.

    Args:
        document: The document.
        results: Its verdicts in a list of their own, JSON as in `judging`.
    """
    verdicts = [json.loads(verdict) for verdict in results[0]]
    n, level = len(verdicts), ScoreLevel(document["level"])
    scores = [float(verdict["score"]) for verdict in verdicts if verdict["score"] is not None]
    where = (document["rubric"], document["level"], document["prompt_id"])
    samples = [Sampled(where[0], level, where[2], score, score) for score in scores]
    cells = best_of_k_cells(samples, n, [where[2]], by_selection=False)
    found: dict[str, float | Item] = {
        "judge_failed": 1 - len(scores) / n,
        "n_distinct": float(len({verdict["response"] for verdict in verdicts})),
    }
    for name, statistic, of_level, k in _curve_names(n):
        counts = bool(scores) and of_level in (None, level)
        value = float(cells.values[statistic][0, level.rank, 0, k - 1]) if counts else math.nan
        found |= {name: (*where, len(scores), value), f"{name}_stderr": (*where, len(scores), value)}
    return found


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
    for name, statistic, of_level, _ in _curve_names(settings.n_samples):
        better = HIGHER_IS_BETTER.get(statistic, True if of_level is ScoreLevel.EXTREMELY_HIGH else None)
        metrics.append({"metric": name, "aggregation": mean, "higher_is_better": better})
        metrics.append({"metric": f"{name}_stderr", "aggregation": mean_stderr, "higher_is_better": False})
    return metrics


def mean(items: Sequence[Item]) -> float:
    """Mean over user prompts within (rubric, level), then over those, as in the report; nan if nothing was scored."""
    return float(_mean_and_draws(items)[0])


def mean_stderr(items: Sequence[Item]) -> float:
    """Standard deviation of that mean over resamples of the user prompts; nan with fewer than two of them."""
    return spread(_mean_and_draws(items)[1:])


def _mean_and_draws(items: Sequence[Item]) -> Floats:
    rubrics, prompts = (sorted({str(item[part]) for item in items if item[3]}) for part in (0, 2))
    cells = np.full((len(rubrics), len(LEVELS), len(prompts), 1), np.nan)
    for rubric, level, prompt, scored, value in items:
        if scored:
            cells[rubrics.index(rubric), ScoreLevel(level).rank, prompts.index(prompt), 0] = value
    resampled = resample_weights(len(prompts), N_RESAMPLES, np.random.default_rng(BOOTSTRAP_SEED))
    # the last curve is the mean over all (rubric, level)
    pooled: Floats = level_curves(cells, np.vstack([np.ones((1, len(prompts))), resampled]))[:, -1, 0]
    return pooled


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


def _curve_names(n: int) -> list[tuple[str, str, ScoreLevel | None, int]]:
    """Metric, statistic, level (None for all) and k of every point that is reported."""
    pooled = [(f"{statistic}@{k}", statistic, None, k) for statistic in HIGHER_IS_BETTER for k in curve_sizes(n)]
    of_level = [
        (f"{level}_{statistic}@{k}", statistic, level, k)
        for level in LEVELS
        for statistic in ("band_hit", "score")
        for k in curve_sizes(n)
    ]
    return [*pooled, *of_level]
