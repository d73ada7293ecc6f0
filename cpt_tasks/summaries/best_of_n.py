"""What a report says of `best_of_n`: curves over k, and what an adapter saves against its base."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cpt_tasks.metrics.best_of_k import (
    LEVELS,
    POOLED,
    Cells,
    Sampled,
    best_of_k_cells,
    curve_sizes,
    level_curves,
)
from cpt_tasks.metrics.cells import Floats, all_and_resampled, first_and_rest
from cpt_tasks.metrics.samples_saved import samples_saved
from cpt_tasks.sections import ModelSummaries, Section, jsonable
from cpt_tasks.summaries.best_of_n_figures import figures
from cpt_tasks.summaries.estimates import cell, censored_json, json_estimate
from judges.measures import words
from rubrics import ScoreLevel

if TYPE_CHECKING:
    from cpt_tasks.runs import ModelRun

SELECTOR = "selection_judge"
LEVEL_NAMES = [*(level.value for level in LEVELS), POOLED]
INTRO = """\
Every cell (rubric, level, user prompt) was sampled n times; the expected best of k follows exactly from the scores of
the n. Best is the highest score at extremely_high and the closest to the band at the other levels. `band_hit` is the
probability, 0-1, that the response selected out of k is in the band; `band_error` its distance to the band and `score`
its score, in score points. At `all`, the mean over all (rubric, level), only the first two mean something: the levels
want different scores. Cost is k times the mean length of a response: in output tokens where the provider counts them
per response, else in words. Where one judge selects and reports, the numbers are an upper bound (an oracle by that
judge); with a second judge that selects, `oracle_` is that bound and `optimism_` what it adds. Intervals are 95%, from
a bootstrap of the user prompts."""


def summarise(run: "ModelRun", n_resamples: int, seed: int) -> dict[str, Any]:
    """What summary.json holds of a run; see `INTRO`. `metrics` are pooled over levels, `curves` are by level too."""
    n, samples = samples_per_cell(run), sampled(run)
    selector = selector_name(run)
    prompts = sorted({sample.user_prompt for sample in samples})
    weights = all_and_resampled(len(prompts), n_resamples, seed)
    selected = best_of_k_cells(samples, n, prompts, by_selection=True)
    found = {name: level_curves(cells, weights) for name, cells in selected.values.items()}
    if selector is not None:
        oracle = best_of_k_cells(samples, n, prompts, by_selection=False)
        for name, cells in oracle.values.items():
            found[f"oracle_{name}"] = level_curves(cells, weights)
            found[f"optimism_{name}"] = found[f"oracle_{name}"] - found[name]
    unit, costs = cost_per_sample(run)
    return {
        "samples_per_cell": n,
        "selected_by": selector or "the judge of the report",
        "upper_bound": selector is None,
        "unselected": len(run.rows) - len(samples),
        "distinct_responses": jsonable(distinct_responses(run)),
        "cost_unit": unit,
        "metrics": {
            f"{name}@{k}": json_estimate(first_and_rest(curves[:, -1, k - 1]))
            for name, curves in found.items()
            for k in curve_sizes(n)
            if not name.endswith("score")
        },
        "curves": [
            {"level": level, "k": k, "statistic": name}
            | json_estimate(first_and_rest(curves[:, position, k - 1]))
            | {"mean_tokens": jsonable(k * costs[level])}
            for name, curves in found.items()
            for position, level in enumerate(LEVEL_NAMES)
            for k in curve_sizes(n)
            if not np.isnan(curves[0, position, 0])
        ],
        "cells": _cell_counts(run, selected, n),
    }


def compare(runs: "Sequence[ModelRun]", n_resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """For each run with an adapter, `against`: what it saves against each run of its base without one, by level.

    Resamples of the user prompts are paired. The curves are those of the judge that selects.

    Raises:
        ValueError: If the two were not selected by the same judge.
    """
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        bases = [other for other in runs if other.adapter is None and other.base == run.base]
        if run.adapter is not None and bases:
            found[run.name] = {"against": [row for base in bases for row in _against(run, base, n_resamples, seed)]}
    return found


def _against(run: "ModelRun", base: "ModelRun", n_resamples: int, seed: int) -> list[dict[str, Any]]:
    selectors = selector_name(run), selector_name(base)
    if selectors[0] != selectors[1]:
        raise ValueError(
            f"{run.name} and {base.name} differ in the judge that selects: {selectors[0]!r} and {selectors[1]!r}; "
            "report them apart"
        )
    both = [sampled(base), sampled(run)]
    n = samples_per_cell(base)
    prompts = sorted({sample.user_prompt for samples in both for sample in samples})
    weights = all_and_resampled(len(prompts), n_resamples, seed)
    base_curves, own_curves = (_band_hits(samples, n, prompts, weights) for samples in both)
    (unit, base_costs), (own_unit, costs) = cost_per_sample(base), cost_per_sample(run)
    rows = []
    for position, level in enumerate(LEVEL_NAMES):
        if np.isnan([base_curves[0, position, 0], own_curves[0, position, 0]]).any():
            continue
        saved = samples_saved(base_curves[:, position], own_curves[:, position])
        samples = censored_json(saved.samples)
        comparable = unit == own_unit and samples["value"] is not None
        cost = samples["value"] * costs[level] if comparable else math.nan
        rows.append(
            {
                "base": base.name,
                "level": level,
                "base_samples": n,
                "goal": jsonable(saved.goal),
                "samples": samples,
                "ratio": censored_json(saved.ratio),
                "undefined_resamples": jsonable(saved.undefined),
                "base_cost": jsonable(n * base_costs[level]),
                "cost": jsonable(cost),
                "cost_unit": unit,
            }
        )
    return rows


def _band_hits(samples: Sequence[Sampled], n: int, prompts: Sequence[str], weights: Floats) -> Floats:
    return level_curves(best_of_k_cells(samples, n, prompts, by_selection=True).values["band_hit"], weights)


def samples_per_cell(run: "ModelRun") -> int:
    """Epochs of a run."""
    return max(sample.epoch for sample, _ in run.samples)


def selector_name(run: "ModelRun") -> str | None:
    """Id of the judge that selects, or None if that of the report does.

    Raises:
        ValueError: If the samples were selected by several.
    """
    found = {str(metadata.get("judge")) for sample, _ in run.samples if (metadata := _selection(sample)) is not None}
    found.discard("None")  # where it failed it has no name
    if len(found) > 1:
        raise ValueError(f"{run.name}: selected by {sorted(found)}, expected one judge")
    return found.pop() if found else None


def sampled(run: "ModelRun") -> list[Sampled]:
    """The scored samples; with a second judge that selects, those that both judges scored."""
    has_selector = selector_name(run) is not None
    found = []
    for row, (sample, score) in zip(run.rows, run.samples, strict=True):
        selection = _selection_score(sample) if has_selector else score.as_float()
        if not math.isnan(selection):
            found.append(Sampled(row.rubric, row.level, row.user_prompt, row.score, selection))
    return found


def distinct_responses(run: "ModelRun") -> float:
    """Mean number of different texts among the scored samples of a cell, 1 to n."""
    texts: dict[tuple[str, ScoreLevel, str], set[str]] = defaultdict(set)
    for row, (sample, _) in zip(run.rows, run.samples, strict=True):
        texts[row.rubric, row.level, row.user_prompt].add(sample.output.completion.strip())
    return float(np.mean([len(found) for found in texts.values()]))


def cost_per_sample(run: "ModelRun") -> tuple[str, dict[str, float]]:
    """The unit, "tokens" or "words", and the mean length of a response by level and over all; nan without any.

    Tokens are those that the provider counts. A provider that does not say why it stopped (inspect's hf) counts the
    length of the padded batch, so its responses are measured in words.
    """
    usages = [sample.output.usage for sample, _ in run.samples]
    counted = [usage.output_tokens for usage in usages if usage is not None]
    if run.truncated is not None and len(counted) == len(usages):
        unit, lengths = "tokens", counted
    else:
        unit, lengths = "words", [len(words(sample.output.completion)) for sample, _ in run.samples]
    by_level: dict[str, list[int]] = {level: [] for level in LEVEL_NAMES}
    for row, length in zip(run.rows, lengths, strict=True):
        by_level[row.level.value].append(length)
        by_level[POOLED].append(length)
    return unit, {level: float(np.mean(found)) if found else math.nan for level, found in by_level.items()}


def _selection(sample: Any) -> dict[str, Any] | None:
    for name, score in (sample.scores or {}).items():
        if name.split("/")[-1].startswith(SELECTOR):
            return dict(score.metadata or {})
    return None


def _selection_score(sample: Any) -> float:
    for name, score in (sample.scores or {}).items():
        if name.split("/")[-1].startswith(SELECTOR):
            return float(score.as_float())
    return math.nan


def _cell_counts(run: "ModelRun", cells: Cells, n: int) -> list[dict[str, Any]]:
    """By level and k: cells with k scored samples, and those left out because fewer were scored."""
    totals = {
        level.value: round((sum(row.level is level for row in run.rows) + run.unscored[level.value]) / n)
        for level in LEVELS
    }
    totals[POOLED] = sum(totals.values())
    return [
        {"level": level, "k": k, "cells": counts[k - 1], "left_out": totals[level] - counts[k - 1]}
        for level, counts in cells.counts().items()
        for k in curve_sizes(n)
        if totals[level]
    ]


def tables(found: ModelSummaries) -> dict[str, pd.DataFrame]:
    """By caption: the curves, the samples behind them, and what adapters save."""
    result = {
        "Band-hit of the best of k": _curve_table(found, "band_hit"),
        "Score of the best of k": _curve_table(found, "score"),
        "Samples": _samples_table(found),
    }
    saved = _saved_table(found)
    if not saved.empty:
        result["Samples that an adapter needs for what its base reaches with n"] = saved
    return result


def _curve_table(found: ModelSummaries, statistic: str) -> pd.DataFrame:
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for model, summary in found.items():
        for point in summary["curves"]:
            if not point["statistic"].endswith(statistic):
                continue
            selected_by = _selection_label(point["statistic"].removesuffix(statistic), summary)
            key = (model, point["level"], selected_by)
            row = rows.setdefault(key, dict(zip(("model", "level", "selected by"), key, strict=True)))
            row[f"k={point['k']}"] = cell(point, digits=2 if statistic == "band_hit" else 1)
    return pd.DataFrame(list(rows.values())).fillna("")


def _selection_label(prefix: str, summary: dict[str, Any]) -> str:
    if prefix == "oracle_" or (not prefix and summary["upper_bound"]):
        return "the judge of the report (upper bound)"
    return "optimism of that" if prefix == "optimism_" else str(summary["selected_by"])


def _samples_table(found: ModelSummaries) -> pd.DataFrame:
    rows = []
    for model, summary in found.items():
        n, unit = summary["samples_per_cell"], summary["cost_unit"]
        [cost] = [
            point["mean_tokens"]
            for point in summary["curves"]
            if (point["level"], point["k"], point["statistic"]) == (POOLED, 1, "band_hit")
        ]
        left_out = [
            f"{cells['left_out']} at k={cells['k']}"
            for cells in summary["cells"]
            if cells["level"] == POOLED and cells["left_out"]
        ]
        rows.append(
            {
                "model": model,
                "scored": summary["n"],
                "unscored": summary["unscored"],
                "scored but not by the selecting judge": summary["unselected"],
                "cells left out": ", ".join(left_out) or "none",
                "distinct responses per cell": f"{summary['distinct_responses']:.1f} of {n}",
                f"{unit} per response": f"{cost:.0f}",
            }
        )
    return pd.DataFrame(rows).fillna("")


def _saved_table(found: ModelSummaries) -> pd.DataFrame:
    rows = []
    for model, summary in found.items():
        for row in summary.get("against", []):
            needed = "nothing to reach: the base never hits"
            if row["samples"]["value"] is not None:
                needed = cell(row["samples"])
                needed += {"at_most": " (fewer than 1 sample)", "at_least": " (not reached)"}.get(
                    row["samples"]["censored"].get("value", ""), ""
                )
            cost = "undefined" if row["cost"] is None else f"{row['cost']:.0f} {row['cost_unit']}"
            rows.append(
                {
                    "adapter": model,
                    "base": row["base"],
                    "level": row["level"],
                    "band-hit of the base": f"{row['goal']:.2f}",
                    "samples of the base": row["base_samples"],
                    "samples of the adapter": needed,
                    "ratio": cell(row["ratio"]),
                    "cost of the base": f"{row['base_cost']:.0f} {row['cost_unit']}",
                    "cost of the adapter": cost,
                }
            )
    return pd.DataFrame(rows)


SECTION = Section(title="Best of n", intro=INTRO, summarise=summarise, tables=tables, figures=figures, compare=compare)
