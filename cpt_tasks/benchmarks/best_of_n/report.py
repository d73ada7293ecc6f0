"""What a report says of `best_of_n`: curves over k, and what an adapter saves against its base."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.best_of_n import statistics
from cpt_tasks.benchmarks.best_of_n.statistics import BOUNDS, CELL, LEVEL_NAMES, POOLED
from cpt_tasks.report.run import Run, with_bases
from cpt_tasks.report.section import Charts, ModelSummaries, Section
from cpt_tasks.report.text import cell, number
from judges import Judgment
from judges.interval import Estimate, Floats, estimates, jsonable

INTRO = """\
Every cell (rubric, level, user prompt) was sampled n times; the expected best of k follows exactly from the scores of
the n. Best is the highest score at extremely_high and the closest to the band at the other levels. `band_hit` is the
probability, 0-1, that the response selected out of k is in the band; `band_error` its distance to the band and `score`
its score, in score points. A sample without a response is the worst and no hit. `all` is the mean over all (rubric,
level). Where one judge selects and reports, the numbers are an upper bound (an oracle by that judge); with a second
judge that selects, `oracle_` is that bound and `optimism_` what it adds. What an adapter needs is the smallest k,
interpolated in log k, at which its band-hit reaches its base's at the base's k; the ratio is the base's k over that.
"At most" means that its first sample is better already, "at least" that n are not enough. Where the base hits always
the rarest cell decides, so read the smaller k. Intervals are 95% and take the user prompts as drawn; what an adapter
needs has none."""
PREFIXES = ("", "oracle_", "optimism_")


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """What summary.json holds of a run; see `INTRO`. `metrics` are pooled over levels, `curves` are by level too."""
    n, rows, selector = int(run.frame["epoch"].max()), run.scored, selector_name(run)
    cells, sizes = selected(run, n), statistics.curve_sizes(n)
    names = list(statistics.VALUES)
    if selector is not None:
        oracle = statistics.best_of_k_cells(rows[rows["selection"].notna()], n)
        cells = cells.join(oracle.add_prefix("oracle_")).join((oracle - cells).add_prefix("optimism_"))
        names = [prefix + name for prefix in PREFIXES for name in statistics.VALUES]
    points = _points(cells[[f"{name}@{k}" for name in names for k in sizes]])
    unit, costs = cost_per_sample(run)
    distinct = rows["response"].str.strip().groupby([rows[name] for name in CELL]).nunique()
    return {
        "samples_per_cell": n,
        "selected_by": selector or "the judge of the report",
        "upper_bound": selector is None,
        "unselected": 0 if selector is None else int(rows["selection"].isna().sum()),
        "distinct_responses": jsonable(float(distinct.mean())),
        "cost_unit": unit,
        "metrics": {
            f"{name}@{k}": points[POOLED, f"{name}@{k}"].to_json()
            for name in names
            for k in sizes
            if not name.endswith("score")
        },
        "curves": [
            {"level": level, "k": k, "statistic": name}
            | points[level, f"{name}@{k}"].to_json()
            | {"mean_tokens": jsonable(k * costs[level])}
            for name in names
            for level in LEVEL_NAMES
            if (level, f"{name}@1") in points
            for k in sizes
        ],
        "cells": _cell_counts(run, cells[[f"band_hit@{k}" for k in sizes]]),
    }


def compare(runs: Sequence[Run], seed: int) -> dict[str, dict[str, Any]]:
    """For each run with an adapter, `against`: what it saves against its base, by level and k of the base.

    The base is that of `base_of`, once for each way of prompting it. The curves are those of the judge that selects.

    Raises:
        ValueError: If the two were not selected by the same judge.
    """
    ways = dict.fromkeys(run.prompting for run in runs)
    groups = [[run for run in runs if run.adapter is not None or run.prompting == way] for way in ways]
    compared: dict[str, dict[str, Any]] = {}
    for run, base in [pair for group in groups for pair in with_bases(group)]:
        compared.setdefault(run.name, {"against": []})["against"] += _against(run, base)
    return compared


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
    """What is picked out of k = 1 ... n of the samples that were scored, and scored by the judge that selects."""
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
    return "tokens" if in_tokens else "words", by_level | {POOLED: float(lengths.mean())}


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """By caption: the curves, the samples behind them, and what adapters save."""
    shown = {
        "Band-hit of the best of k": _curve_table(models, "band_hit", 2),
        "Score of the best of k": _curve_table(models, "score", 1),
        "Samples": pd.DataFrame([_samples_row(name, part) for name, part in models.items()]).fillna(""),
    }
    saved = [_saved_row(name, row) for name, part in models.items() for row in part.get("against", [])]
    if saved:
        shown["Samples that an adapter needs for what its base reaches with k"] = pd.DataFrame(saved)
    return shown


def charts(models: ModelSummaries, runs: Sequence[Run]) -> Charts:
    """Chance, 0-1, that the best of k lies in the band, by level."""
    import altair as alt

    from cpt_tasks.report import figures

    points = pd.DataFrame([{"model": name} | point for name, part in models.items() for point in part["curves"]])
    rows = points[points["statistic"] == "band_hit"].dropna(subset="value")
    rows["level"] = rows["level"].map(figures.shown_name)
    columns = {"model": "model", "level": "asked for", "k": "k", "value": "value"} | figures.INTERVAL
    columns |= {"mean_tokens": "tokens or words written"}
    axis = alt.Axis(grid=False, tickCount=5, format="~s", labelOverlap=True)
    x = alt.X("k:Q", title="samples k", axis=axis, scale=alt.Scale(type="log", base=2, nice=False))
    layers = figures.curves(x, "value", "band-hit (0-1)", figures.SHARE_SCALE, figures.tips(columns))
    chart = alt.layer(*layers, data=figures.chart_data(rows)).properties(width=190, height=180)
    drawn = figures.panels(chart, "level", 4, [*figures.LEVELS, POOLED])
    note = "Chance that the best of k samples is in the band asked for, exact from all samples, with 95% intervals."
    return {"best_of_k_band_hit": figures.titled(drawn, "Best of k samples: in the band", note, columns)}


def _points(cells: pd.DataFrame) -> dict[tuple[str, str], Estimate]:
    """Estimates of every column by (level or `POOLED`, column)."""

    def curves(rows: pd.DataFrame) -> dict[str, float]:
        means = statistics.level_curves(rows.set_index(CELL))
        return {f"{level} {column}": float(means[column][level]) for level in means.index for column in means.columns}

    keys = {f"{level} {column}": (level, str(column)) for level in LEVEL_NAMES for column in cells.columns}
    values = {key: column.split("@")[0].removeprefix("oracle_") for key, (_, column) in keys.items()}
    bounds = {key: BOUNDS[value] for key, value in values.items() if value in BOUNDS}
    found = estimates(cells.reset_index(), curves, bounds, stratum="rubric")
    return {keys[key]: one for key, one in found.items()}


def _against(run: Run, base: Run) -> list[dict[str, Any]]:
    selectors = selector_name(run), selector_name(base)
    if selectors[0] != selectors[1]:
        raise ValueError(
            f"{run.name} and {base.name} differ in the judge that selects: {selectors[0]!r} and {selectors[1]!r}; "
            "report them apart"
        )
    n = int(base.frame["epoch"].max())
    base_curves, own_curves = (
        statistics.level_curves(selected(one, n)[[f"band_hit@{k}" for k in range(1, n + 1)]]) for one in (base, run)
    )
    return [
        {"base": base.name, "level": level} | needed
        for level in base_curves.index.intersection(own_curves.index, sort=False)
        for needed in samples_needed(base_curves.loc[level].to_numpy(), own_curves.loc[level].to_numpy())
    ]


def samples_needed(base: Floats, own: Floats) -> Iterator[dict[str, Any]]:
    """What a curve needs to reach what the base reaches with each k above 1: two equal curves have the ratio 1.

    The ratio divides by the samples of the base with which it first reaches its value at k: fewer than k only where
    its curve is flat. `bound` as `samples_to_reach`.
    """
    for k in statistics.curve_sizes(len(base))[1:]:
        goal = float(base[k - 1])
        samples, bound = statistics.samples_to_reach(own, goal)
        ratio = statistics.samples_to_reach(base, goal)[0] / samples
        needed = {"goal": jsonable(goal), "samples": jsonable(samples), "ratio": jsonable(ratio)}
        yield {"base_samples": k, "bound": bound} | needed


def _cell_counts(run: Run, cells: pd.DataFrame) -> list[dict[str, Any]]:
    """By level and k: cells with k scored samples, and those left out because fewer were scored."""
    asked = pd.MultiIndex.from_frame(run.frame[CELL].drop_duplicates())
    known = cells.reindex(asked).notna().droplevel(["rubric", "user_prompt_id"])
    by_level = {level: known if level == POOLED else known[known.index == level] for level in LEVEL_NAMES}
    return [
        {"level": level, "k": int(str(column).split("@")[1]), "cells": int(part.sum()), "left_out": int((~part).sum())}
        for level, columns in by_level.items()
        if len(columns)
        for column, part in columns.items()
    ]


def _curve_table(models: ModelSummaries, statistic: str, digits: int) -> pd.DataFrame:
    points = pd.DataFrame(
        [
            {"model": model, "level": point["level"], "statistic": point["statistic"]}
            | {"k": f"k={point['k']}", "cell": cell(point, digits)}
            for model, part in models.items()
            for point in part["curves"]
            # the levels want different scores, so their mean says nothing
            if point["statistic"].endswith(statistic) and (statistic, point["level"]) != ("score", POOLED)
        ]
    )
    row = ["model", "level", "statistic"]
    table = points.pivot_table(index=row, columns="k", values="cell", aggfunc="first", sort=False)
    return table.fillna("").rename_axis(columns=None).reset_index()


def _samples_row(model: str, part: dict[str, Any]) -> dict[str, Any]:
    wanted = (POOLED, 1, "band_hit")
    [cost] = [p["mean_tokens"] for p in part["curves"] if (p["level"], p["k"], p["statistic"]) == wanted]
    left_out = [
        f"{entry['left_out']} at k={entry['k']}"
        for entry in part["cells"]
        if entry["level"] == POOLED and entry["left_out"]
    ]
    return {
        "model": model,
        "scored": part["n"],
        "unscored": part["unscored"],
        "selected by": part["selected_by"] + (" (upper bound)" if part["upper_bound"] else ""),
        "scored but not by the selecting judge": part["unselected"],
        "cells left out": ", ".join(left_out) or "none",
        "distinct responses per cell": f"{part['distinct_responses']:.1f} of {part['samples_per_cell']}",
        f"{part['cost_unit']} per response": f"{cost:.0f}",
    }


def _saved_row(model: str, row: dict[str, Any]) -> dict[str, Any]:
    words = {"at_most": ("at most ", "at least "), "at_least": ("at least ", "at most "), None: ("", "")}
    samples, ratio = words[row["bound"]]
    return {
        "adapter": model,
        "base": row["base"],
        "level": row["level"],
        "k of the base": row["base_samples"],
        "its band-hit": number(row["goal"], 2),
        "samples of the adapter": samples + number(row["samples"], 2),
        "ratio": ratio + number(row["ratio"], 2),
    }


SECTION = Section("Best of n", INTRO, summarise, tables, charts, compare)
