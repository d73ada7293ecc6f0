"""What a report says of `best_of_n`: curves over k, and what an adapter saves against its base."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from cpt_tasks.benchmarks.best_of_n import statistics
from cpt_tasks.report.run import Run, base_of
from cpt_tasks.report.section import ModelSummaries, Section
from cpt_tasks.report.text import cell, number
from judges import Judgment
from judges.interval import Estimate, Floats, estimates, jsonable

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
smaller k. Intervals are 95% and take the user prompts as drawn; what an adapter needs has none."""


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """What summary.json holds of a run; see `INTRO`. `metrics` are pooled over levels, `curves` are by level too."""
    n, rows, selector = samples_per_cell(run), run.scored, selector_name(run)
    cells = selected(run, n)
    names = list(statistics.VALUES)
    bounds = {f"{name}@{k}": statistics.BOUNDS[name] for name in statistics.VALUES for k in range(1, n + 1)}
    if selector is not None:
        oracle = statistics.best_of_k_cells(rows[rows["selection"].notna()], n)
        cells = cells.join(oracle.add_prefix("oracle_")).join((oracle - cells).add_prefix("optimism_"))
        names = [f"{kind}{name}" for kind in ("", "oracle_", "optimism_") for name in statistics.VALUES]
        bounds |= {f"oracle_{name}": ends for name, ends in bounds.items()}
    sizes = statistics.curve_sizes(n)
    by_point = _curve_estimates(cells[[f"{name}@{k}" for name in names for k in sizes]], bounds)
    unit, costs = cost_per_sample(run)
    distinct = rows["response"].str.strip().groupby([rows[name] for name in statistics.CELL]).nunique()
    return {
        "samples_per_cell": n,
        "selected_by": selector or "the judge of the report",
        "upper_bound": selector is None,
        "unselected": 0 if selector is None else int(rows["selection"].isna().sum()),
        "distinct_responses": jsonable(float(distinct.mean())),
        "cost_unit": unit,
        "metrics": {
            f"{name}@{k}": by_point[statistics.POOLED, f"{name}@{k}"].to_json()
            for name in names
            for k in sizes
            if not name.endswith("score")
        },
        "curves": [
            {"level": level, "k": k, "statistic": name}
            | by_point[level, f"{name}@{k}"].to_json()
            | {"mean_tokens": jsonable(k * costs[level])}
            for name in names
            for level in statistics.LEVEL_NAMES
            if (level, f"{name}@1") in by_point
            for k in sizes
        ],
        "cells": _cell_counts(run, cells, n),
    }


def compare(runs: Sequence[Run], seed: int) -> dict[str, dict[str, Any]]:
    """For each run with an adapter, `against`: what it saves against its base, by level and k of the base.

    The base is that of `base_of`, once for each way of prompting it. The curves are those of the judge that selects.

    Raises:
        ValueError: If the two were not selected by the same judge.
    """
    groups = [[run for run in runs if run.prompting == way] for way in dict.fromkeys(run.prompting for run in runs)]
    pairs = [(run, base) for run in runs for group in groups if (base := base_of(run, group)) is not None]
    compared: dict[str, dict[str, Any]] = {run.name: {"against": []} for run, _ in pairs}
    for run, base in pairs:
        compared[run.name]["against"] += _against(run, base)
    return compared


def samples_per_cell(run: Run) -> int:
    """Samples that were asked for per cell, whether or not they could be scored."""
    return int(run.frame["epoch"].max())


def selector_name(run: Run) -> str | None:
    """Id of the judge that selects, or None if that of the report does.

    Raises:
        ValueError: If the samples were selected by several.
    """
    records = [record for record in run.frame["selection_record"] if isinstance(record, Judgment)]
    judges = {(record.judge, record.judge_hash) for record in records}
    if len(judges) > 1:
        raise ValueError(f"{run.name}: selected by {sorted(judges)}, expected one judge")
    if not judges or judges == {(run.protocol["judge"], run.protocol["judge_hash"])}:
        return None
    return judges.pop()[0]


def selected(run: Run, n: int) -> pd.DataFrame:
    """What is picked out of k = 1 ... n of the scored samples, see `best_of_k_cells`.

    With a second judge that selects, of those that both judges scored.
    """
    by = "score" if selector_name(run) is None else "selection"
    return statistics.best_of_k_cells(run.scored[run.scored[by].notna()], n, by)


def cost_per_sample(run: Run) -> tuple[str, dict[str, float]]:
    """The unit, "tokens" or "words", and the mean length of a scored response by level that has one and over all.

    Tokens are those that the provider counts. A provider that does not say why it stopped (inspect's hf) counts the
    length of the padded batch, so its responses are measured in words.
    """
    rows = run.scored
    in_tokens = run.truncated is not None and rows["output_tokens"].notna().all()
    lengths = rows["output_tokens" if in_tokens else "words"]
    by_level = {str(level): float(mean) for level, mean in lengths.groupby(rows["level"]).mean().items()}
    return "tokens" if in_tokens else "words", by_level | {statistics.POOLED: float(lengths.mean())}


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """By caption: the curves, the samples behind them, and what adapters save."""
    shown = {
        "Band-hit of the best of k": _curve_table(models, "band_hit"),
        "Score of the best of k": _curve_table(models, "score"),
        "Samples": pd.DataFrame([_samples_row(name, part) for name, part in models.items()]).fillna(""),
    }
    saved = [_saved_row(name, row) for name, part in models.items() for row in part.get("against", [])]
    if saved:
        shown["Samples that an adapter needs for what its base reaches with n"] = pd.DataFrame(saved)
    return shown


def _curve_estimates(cells: pd.DataFrame, bounds: dict[str, tuple[float, float]]) -> dict[tuple[str, str], Estimate]:
    """Estimates of every column by level and pooled."""
    keys = {f"{level} {column}": (level, column) for level in statistics.LEVEL_NAMES for column in cells.columns}

    def curves(rows: pd.DataFrame) -> dict[str, float]:
        means = statistics.level_curves(rows.set_index(statistics.CELL))
        return {f"{level} {column}": float(means[column][level]) for level in means.index for column in means.columns}

    ranges = {key: bounds[column] for key, (_, column) in keys.items() if column in bounds}
    return {keys[key]: one for key, one in estimates(cells.reset_index(), curves, ranges).items()}


def _against(run: Run, base: Run) -> list[dict[str, Any]]:
    selectors = selector_name(run), selector_name(base)
    if selectors[0] != selectors[1]:
        raise ValueError(
            f"{run.name} and {base.name} differ in the judge that selects: {selectors[0]!r} and {selectors[1]!r}; "
            "report them apart"
        )
    n = samples_per_cell(base)
    base_curves, own_curves = _band_hits(base, n), _band_hits(run, n)
    (unit, base_costs), (own_unit, costs) = cost_per_sample(base), cost_per_sample(run)
    rows = []
    for level in [name for name in base_curves if name in own_curves]:
        for k in statistics.curve_sizes(n)[1:]:
            needed = samples_needed(base_curves[level], own_curves[level], k)
            known = unit == own_unit and needed["samples"] is not None
            rows.append(
                {"base": base.name, "level": level, "base_samples": k}
                | needed
                | {
                    "base_cost": jsonable(k * base_costs[level]),
                    "cost": jsonable(needed["samples"] * costs[level]) if known else None,
                    "cost_unit": unit,
                }
            )
    return rows


def _band_hits(run: Run, n: int) -> dict[str, Floats]:
    """Band-hit at k = 1 ... n by level and pooled."""
    curves = statistics.level_curves(selected(run, n)[[f"band_hit@{k}" for k in range(1, n + 1)]])
    return {str(level): curve.to_numpy(np.float64) for level, curve in curves.iterrows()}


def samples_needed(base: Floats, own: Floats, k: int) -> dict[str, Any]:
    """What a curve needs to reach what the base reaches with k: two equal curves have the ratio 1.

    The ratio divides by the samples of the base with which it first reaches its value at k: fewer than k only where
    its curve is flat. `bound` says that `samples` is "at_most" or "at_least" what is needed, None that it is that.
    """
    goal = float(base[k - 1])
    needed, n = statistics.samples_to_reach(own, goal), len(base)
    samples, base_samples = (float(np.clip(count, 1, n)) for count in (needed, statistics.samples_to_reach(base, goal)))
    return {
        "goal": jsonable(goal),
        "ceiling": goal > 1 - statistics.ROUNDING,
        "samples": jsonable(samples),
        "bound": {float("-inf"): "at_most", float("inf"): "at_least"}.get(needed),
        "ratio": jsonable(base_samples / samples),
    }


def _cell_counts(run: Run, cells: pd.DataFrame, n: int) -> list[dict[str, Any]]:
    """By level and k: cells with k scored samples, and those left out because fewer were scored."""
    asked = run.frame.drop_duplicates(statistics.CELL)["level"]
    entries = []
    for level in statistics.LEVEL_NAMES:
        total = int((asked == level).sum()) if level != statistics.POOLED else len(asked)
        scored = cells[cells.index.get_level_values("level") == level] if level != statistics.POOLED else cells
        for k in statistics.curve_sizes(n) if total else []:
            kept = int(scored[f"score@{k}"].notna().sum())
            entries.append({"level": level, "k": k, "cells": kept, "left_out": total - kept})
    return entries


def _curve_table(models: ModelSummaries, statistic: str) -> pd.DataFrame:
    digits = 2 if statistic == "band_hit" else 1
    points = pd.DataFrame(
        [
            {"model": model, "level": point["level"]}
            | {"selected by": _selection_label(point["statistic"].removesuffix(statistic), part)}
            | {"k": f"k={point['k']}", "cell": cell(point, digits)}
            for model, part in models.items()
            for point in part["curves"]
            # the levels want different scores, so their mean says nothing
            if point["statistic"].endswith(statistic) and (statistic, point["level"]) != ("score", statistics.POOLED)
        ]
    )
    row = ["model", "level", "selected by"]
    table = points.pivot_table(index=row, columns="k", values="cell", aggfunc="first", sort=False)
    return table.fillna("").rename_axis(columns=None).reset_index()


def _selection_label(prefix: str, part: dict[str, Any]) -> str:
    if prefix == "oracle_" or (not prefix and part["upper_bound"]):
        return "report's judge (upper bound)"
    return "optimism of that" if prefix == "optimism_" else str(part["selected_by"])


def _samples_row(model: str, part: dict[str, Any]) -> dict[str, Any]:
    wanted = (statistics.POOLED, 1, "band_hit")
    [cost] = [p["mean_tokens"] for p in part["curves"] if (p["level"], p["k"], p["statistic"]) == wanted]
    pooled = [entry for entry in part["cells"] if entry["level"] == statistics.POOLED and entry["left_out"]]
    left_out = [f"{entry['left_out']} at k={entry['k']}" for entry in pooled]
    return {
        "model": model,
        "scored": part["n"],
        "unscored": part["unscored"],
        "scored but not by the selecting judge": part["unselected"],
        "cells left out": ", ".join(left_out) or "none",
        "distinct responses per cell": f"{part['distinct_responses']:.1f} of {part['samples_per_cell']}",
        f"{part['cost_unit']} per response": f"{cost:.0f}",
    }


def _saved_row(model: str, row: dict[str, Any]) -> dict[str, Any]:
    sign, inverse, note = {
        "at_most": ("<=", ">=", " (fewer than 1 sample)"),
        "at_least": (">=", "<=", " (not reached)"),
        None: ("", "", ""),
    }[row["bound"]]
    reachable = row["samples"] is not None
    return {
        "adapter": model,
        "base": row["base"],
        "level": row["level"],
        "k of the base": row["base_samples"],
        "its band-hit": number(row["goal"], 2) + (" (ceiling)" if row["ceiling"] else ""),
        "samples of the adapter": f"{sign}{row['samples']:.2f}{note}" if reachable else "nothing to reach",
        "ratio": f"{inverse}{row['ratio']:.2f}" if reachable else "undefined",
        "cost of the base": f"{row['base_cost']:.0f} {row['cost_unit']}",
        "cost of the adapter": "undefined" if row["cost"] is None else f"{sign}{row['cost']:.0f} {row['cost_unit']}",
    }


SECTION = Section("Best of n", INTRO, summarise, tables, f"{__package__}.charts", compare)
