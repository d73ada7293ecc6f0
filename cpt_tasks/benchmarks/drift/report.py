"""What a report says of `drift`: scores without a system prompt, and how far each adapter is from its base."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.drift.statistics import WORDS, by_prompt, column_means, moved, total_drift
from cpt_tasks.report.run import Run, with_bases
from cpt_tasks.report.section import Charts, ModelSummaries, Section
from cpt_tasks.report.text import cell, cells, counted, json_of
from judges.interval import NAN, Estimate

INTRO = (
    "No system prompt: mean score by each rubric, and length. Beside an adapter, its difference from the base on the "
    "same user prompts, in score points and words: what training moved although nothing asked for it. `total_drift` "
    "is the root mean square of the differences over rubrics; it has no interval: read it against `total_by_chance`, "
    "what noise alone would give if nothing had moved."
)
PANELS = ("mean score (0-100)", "difference from the base, points")


def intro(runs: Sequence[Run]) -> str:
    """What the numbers mean, and what stands in the place of the system prompt by the template of each model."""
    lines = [INTRO, ""]
    for run in runs:
        head = _template_head(run)
        lines.append(
            f"- What the template of {run.name} writes without a system prompt is not in its log; of a model behind an "
            "API or a server it cannot be seen."
            if head is None
            else f"- Without a system prompt the template of {run.name} writes, before the user prompt: "
            f"`{json.dumps(head, ensure_ascii=False)}`"
        )
    return "\n".join(lines)


def _template_head(run: Run) -> str | None:
    heads = [head for head in run.frame.get("template_head", ()) if isinstance(head, str)]
    return heads[0] if heads else None


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """`by_rubric` the mean score, `metrics` the mean length; what a comparison adds is in `compare`.

    `template_head` is what the chat template writes before the user prompt, None where it cannot be seen.
    """
    table = by_prompt(run.scored)
    means = column_means(table, dict.fromkeys(table.columns.drop(WORDS), (0, 100)))
    return {
        "template_head": _template_head(run),
        "metrics": {"mean_words": means.pop(WORDS).to_json()},
        "by_rubric": {rubric: {"score": estimate.to_json()} for rubric, estimate in means.items()},
        "further_failures": run.judging.further_failures,
    }


def compare(runs: Sequence[Run], seed: int) -> dict[str, dict[str, Any]]:
    """For each adapter with a base among the runs: `compared_with`, and the differences under `drift`."""
    compared = {}
    for run, base in with_bases(runs):
        differences = moved(by_prompt(base.scored), by_prompt(run.scored))
        shifts = column_means(differences)
        totals = {name: Estimate(value) for name, value in total_drift(differences, seed).items()}
        totals["words_change"] = shifts.pop(WORDS, Estimate(NAN))
        drift = {"n": len(differences), "metrics": json_of(totals), "by_rubric": json_of(shifts)}
        compared[run.name] = {"compared_with": base.name, "drift": drift}
    return compared


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """Length and total drift by model; scores and differences by rubric."""
    overview, by_rubric = [], []
    for name, part in models.items():
        drift = part.get("drift")
        row = {"model": name, "n": part["n"], "unscored": part["unscored"]}
        row |= {"mean_words": cell(part["metrics"]["mean_words"], 0), "compared with": part.get("compared_with", "")}
        row |= cells(drift["metrics"], drift["metrics"]) if drift else {}
        overview.append(row | {"failed judgments": counted(part["further_failures"])})
        for rubric, scores in part["by_rubric"].items():
            row = {"model": name, "rubric": rubric, "score": cell(scores["score"], 1)}
            if drift:
                row["difference from base"] = cell(drift["by_rubric"].get(rubric), 1)
            by_rubric.append(row)
    return {
        "Drift": pd.DataFrame(overview).fillna(""),
        "Scores without a system prompt": pd.DataFrame(by_rubric).fillna(""),
    }


def charts(models: ModelSummaries, runs: Sequence[Run]) -> Charts:
    """Mean scores without a system prompt, and where there is a base the differences from it, in score points."""
    import altair as alt

    from cpt_tasks.report import figures

    rows = []
    for name, part in models.items():
        scores = {rubric: entry["score"] for rubric, entry in part["by_rubric"].items()}
        for statistic, estimates in zip(PANELS, (scores, part.get("drift", {}).get("by_rubric", {})), strict=True):
            for rubric, estimate in estimates.items():
                names = {"model": name, "rubric": figures.shown_name(rubric), "statistic": statistic}
                rows.append(names | estimate)
    frame = figures.chart_data(rows)
    columns = {name: name for name in ("model", "rubric", "statistic", "value")} | figures.INTERVAL
    bars, points = figures.intervals(figures.row_layer("rubric"), figures.at(alt.X, "score points"))
    points = points.encode(shape=figures.model_shape(), tooltip=figures.tips(columns))
    chart = alt.layer(bars, points, data=frame).properties(width=330, height=figures.rows_height(frame, "rubric"))
    drawn = figures.panels(chart, "statistic", 2, PANELS).resolve_scale(x="independent")
    note = "Nothing is asked for: what a model writes by itself, and what training moved, with 95% intervals."
    return {"drift": figures.titled(drawn, "Scores without a system prompt", note, columns)}


SECTION = Section("Drift: no system prompt", intro, summarise, tables, charts, compare)
