"""What a report says of `composition`."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.composition.statistics import BOUNDS, composition_statistics, joint_responses
from cpt_tasks.benchmarks.rubric_adherence.side_effects import INTRO as SIDE_EFFECTS_INTRO
from cpt_tasks.benchmarks.rubric_adherence.side_effects import side_effect_tables, with_side_effects
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import Charts, ModelSummaries, Section
from cpt_tasks.report.text import cells, json_of
from judges.interval import estimates

INTRO = (
    "Two rubrics in one system prompt; of more pairs than `max_pairs` a seeded draw. "
    "Accuracies are shares of scores in the band asked for, of each rubric alone "
    "and in company, on the same user prompts and wordings; `interference` is together minus alone. `both_right` has "
    "both scores in their bands; `both_right_alone` is what two separate requests get. `miscalibration` (over- or "
    "undershoot along what was asked) and `orthogonality` (share of what changed that was not asked for) are those of "
    "Chang et al., arXiv 2505.23816, measured from the response without a system prompt; 0 is best.\n\n"
    + SIDE_EFFECTS_INTRO
    + " Here of what each rubric does when it is asked for alone."
)
REQUESTS = {"all": "all requests", "same_levels": "same level of both", "different_levels": "different levels"}
BARS = {"accuracy_alone": "alone", "accuracy_together": "together", "both_right": "both right"}


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """`metrics` over all joint responses, `by_request` (levels equal or not), `by_pair`, and the side effects."""
    joints = joint_responses(run.frame)
    is_same = joints["request_0"] == joints["request_1"]
    requests = {"all": joints, "same_levels": joints[is_same], "different_levels": joints[~is_same]}
    by_request = {name: _statistics(part) for name, part in requests.items()}
    entry = {
        "n_joint": len(joints),
        "metrics": by_request["all"]["metrics"],
        "by_request": by_request,
        "by_pair": {str(pair): _statistics(part) for pair, part in joints.groupby("rubrics", sort=False)},
    }
    return with_side_effects(entry, run, seed)


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """Statistics by request, by pair, and the matrix of side effects."""
    rows: dict[str, list[dict[str, Any]]] = {"request": [], "pair": []}
    for model, part in models.items():
        for kind, shown in rows.items():
            for name, one in part[f"by_{kind}"].items():
                row = {"model": model, kind: REQUESTS.get(name, name), "n": one["n"]}
                shown.append(row | cells(one["metrics"]))
    return {f"By {kind}": pd.DataFrame(shown) for kind, shown in rows.items()} | side_effect_tables(models)


def charts(models: ModelSummaries, runs: Sequence[Run]) -> Charts:
    """Share of scores, 0-1, in the band asked for: each rubric alone, in company, and both at once."""
    import altair as alt

    from cpt_tasks.report import figures

    rows = [
        {"model": name, "request": REQUESTS[request], "share": share} | part["by_request"][request]["metrics"][metric]
        for name, part in models.items()
        for request in ("same_levels", "different_levels")
        for metric, share in BARS.items()
    ]
    columns = {name: name for name in ("model", "request", "share", "value")} | figures.INTERVAL
    x = alt.X("share:N", sort=list(BARS.values()), title=None, axis=figures.LINES)
    y = figures.at(alt.Y, "share in the band asked for", figures.SHARE_SCALE)
    base = alt.Chart().encode(x=x, xOffset=alt.XOffset("model:N", sort=None))
    chart = alt.layer(
        base.mark_bar().encode(y=y("value"), color=figures.model_colour(), tooltip=figures.tips(columns)),
        base.mark_rule(strokeWidth=1.5, color=figures.INK).encode(y=y("ci_low"), y2="ci_high:Q"),
        data=figures.chart_data(row for row in rows if row["value"] is not None),
    ).properties(width=max(240, 30 * len(models)), height=240)
    note = "Share of scores in the band asked for, with 95% intervals; both right: the two scores of one response."
    drawn = figures.panels(chart, "request", 2, list(REQUESTS.values())[1:])
    return {"composition": figures.titled(drawn, "Two rubrics: alone and together", note, columns)}


def _statistics(joints: pd.DataFrame) -> dict[str, Any]:
    return {"n": len(joints), "metrics": json_of(estimates(joints, composition_statistics, BOUNDS, stratum="rubrics"))}


SECTION = Section("Composition: two rubrics at once", INTRO, summarise, tables, charts)
