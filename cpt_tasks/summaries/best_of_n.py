"""What a report says of `best_of_n`: curves over k, and what an adapter saves against its base."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cpt_tasks.metrics.best_of_k import (
    LEVELS,
    POOLED,
    Cells,
    Sampled,
    best_of_k_cells,
    curve_sizes,
    level_curves,
)
from cpt_tasks.metrics.bootstrap import bootstrap_estimate
from cpt_tasks.metrics.cells import seeded_weights
from cpt_tasks.metrics.rows import Floats
from cpt_tasks.metrics.samples_saved import TOLERANCE, samples_saved
from cpt_tasks.sections import Section, jsonable
from cpt_tasks.summaries.best_of_n_figures import figures
from cpt_tasks.summaries.best_of_n_tables import tables
from cpt_tasks.summaries.estimates import censored_json, json_estimate
from judges.measures import words
from rubrics import ScoreLevel

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample
    from inspect_ai.scorer import Score

    from cpt_tasks.runs import ModelRun

SELECTOR = "selection_judge"
LEVEL_NAMES = [*(level.value for level in LEVELS), POOLED]
INTRO = """\
Every cell (rubric, level, user prompt) was sampled n times; the expected best of k follows exactly from the scores of
the n. Best is the highest score at extremely_high and the closest to the band at the other levels. `band_hit` is the
probability, 0-1, that the response selected out of k is in the band; `band_error` its distance to the band and `score`
its score, in score points. `all` is the mean over all (rubric, level). Cost is k times the mean length of a response:
in output tokens where the provider counts them per response, else in words. Where one judge selects and reports, the
numbers are an upper bound (an oracle by that judge); with a second judge that selects, `oracle_` is that bound and
`optimism_` what it adds. What an adapter needs is the smallest k, interpolated in log k, at which its band-hit reaches
its base's at the base's k; the ratio is the base's k over that. <= 1 means that its first sample is better already, >=
n that n are not enough. Where the base hits always (a goal of 1, the ceiling) the rarest cell decides, so read the
smaller k. Intervals are 95%, from a bootstrap of the user prompts, paired between two models."""


def summarise(run: "ModelRun", n_resamples: int, seed: int) -> dict[str, Any]:
    """What summary.json holds of a run; see `INTRO`. `metrics` are pooled over levels, `curves` are by level too."""
    n, samples = samples_per_cell(run), sampled(run)
    selector = selector_name(run)
    prompts = sorted({sample.user_prompt for sample in samples})
    weights = seeded_weights(len(prompts), n_resamples, seed)
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
            f"{name}@{k}": json_estimate(bootstrap_estimate(curves[:, -1, k - 1], len(prompts)))
            for name, curves in found.items()
            for k in curve_sizes(n)
            if not name.endswith("score")
        },
        "curves": [
            {"level": level, "k": k, "statistic": name}
            | json_estimate(bootstrap_estimate(curves[:, position, k - 1], len(prompts)))
            | {"mean_tokens": jsonable(k * costs[level])}
            for name, curves in found.items()
            for position, level in enumerate(LEVEL_NAMES)
            for k in curve_sizes(n)
            if not np.isnan(curves[0, position, 0])
        ],
        "cells": _cell_counts(run, selected, n),
    }


def compare(runs: "Sequence[ModelRun]", n_resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """For each run with an adapter, `against`: what it saves against each run of its base without one, by level and k.

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
    weights = seeded_weights(len(prompts), n_resamples, seed)
    base_curves, own_curves = (_band_hits(samples, n, prompts, weights) for samples in both)
    (unit, base_costs), (own_unit, costs) = cost_per_sample(base), cost_per_sample(run)
    rows = []
    for position, level in enumerate(LEVEL_NAMES):
        if np.isnan([base_curves[0, position, 0], own_curves[0, position, 0]]).any():
            continue
        for k in curve_sizes(n)[1:]:
            saved = samples_saved(base_curves[:, position], own_curves[:, position], k, len(prompts))
            samples = censored_json(saved.samples)
            known = unit == own_unit and samples["value"] is not None
            rows.append(
                {
                    "base": base.name,
                    "level": level,
                    "base_samples": k,
                    "goal": jsonable(saved.goal),
                    "ceiling": bool(saved.goal > 1 - TOLERANCE),
                    "samples": samples,
                    "ratio": censored_json(saved.ratio),
                    "undefined_resamples": jsonable(saved.undefined),
                    "base_cost": jsonable(k * base_costs[level]),
                    "cost": jsonable(samples["value"] * costs[level] if known else math.nan),
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
    selections = [score.metadata or {} for sample, _ in run.samples if (score := _selection(sample)) is not None]
    # where it failed it has no name
    found = {(str(facts["judge"]), str(facts.get("judge_hash", ""))) for facts in selections if "judge" in facts}
    if len(found) > 1:
        raise ValueError(f"{run.name}: selected by {sorted(found)}, expected one judge")
    if not found or found == {(run.protocol["judge"], run.protocol["judge_hash"])}:
        return None
    return found.pop()[0]


def sampled(run: "ModelRun") -> list[Sampled]:
    """The scored samples; with a second judge that selects, those that both judges scored."""
    has_selector = selector_name(run) is not None
    found = []
    for row, (sample, score) in zip(run.rows, run.samples, strict=True):
        selection = _selection(sample) if has_selector else score
        if selection is not None and not math.isnan(selection.as_float()):
            found.append(Sampled(row.rubric, row.level, row.user_prompt, row.score, selection.as_float()))
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


def _selection(sample: "EvalSample") -> "Score | None":
    named = {name.split("/")[-1]: score for name, score in (sample.scores or {}).items()}
    return named.get(SELECTOR)


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


SECTION = Section(title="Best of n", intro=INTRO, summarise=summarise, tables=tables, figures=figures, compare=compare)
