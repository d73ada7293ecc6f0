"""What a report says of `multi_turn`: numbers by turn, how long a request holds, how a switch is followed."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.multi_turn.conversations import FRESH
from cpt_tasks.benchmarks.multi_turn.statistics import BY_TURN, IN_POINTS, arms_of, by_turn, measured
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import Charts, ModelSummaries, Section
from cpt_tasks.report.text import cell, cells, json_of

INTRO = (
    "Conversations of several user turns, every answer judged by what is asked for at its turn. `persistence` is the "
    "slope of the distance to the band, points per turn: above 0 fades, 0 holds or fails as much at every turn. "
    "`first_out_of_band`: first turn out of the band. After a switch, with the history kept: `switch_accuracy` of the "
    "first answer, `fresh_accuracy` of conversations that begin so, `history_cost` fresh minus switch, "
    "`turns_to_band` 1 at best, `back_` the switch back. `history seed`: earlier answers are in-band ones by others."
)


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """`arms`: of each its number of answers, `by_turn`, and `metrics` over all and by level and rubric asked for."""
    return {"arms": {arm: _entry(rows) for arm, rows in arms_of(run.frame).items()}}


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """A row per model and arm; then by turn, level and rubric."""
    overview, turns = [], []
    parts: dict[str, list[dict[str, Any]]] = {"level": [], "rubric": []}
    for name, summary in models.items():
        for arm, entry in summary["arms"].items():
            about, curve = {"model": name, "arm": arm}, entry["by_turn"]
            ends = {f"accuracy, turn {point['turn']}": cell(point["accuracy"]) for point in curve[:1] + curve[-1:]}
            counts = {"n": entry["n"], "unscored": entry["unscored"]}
            overview.append(about | counts | ends | cells(entry["metrics"], IN_POINTS))
            for point in curve:
                numbers = {statistic: point[statistic] for statistic in BY_TURN}
                turns.append(about | {"turn": point["turn"], "n": point["n"]} | cells(numbers, IN_POINTS))
            for kind, rows in parts.items():
                for one, numbers in entry[f"by_{kind}"].items():
                    rows.append(about | {kind: one} | cells(numbers, IN_POINTS))
    shown = {"Over the conversation": overview, "By turn": turns} | {f"By {kind}": rows for kind, rows in parts.items()}
    return {caption: pd.DataFrame(rows).fillna("") for caption, rows in shown.items()}


def charts(models: ModelSummaries, runs: Sequence[Run]) -> Charts:
    """Accuracy by turn, a panel per arm."""
    import altair as alt

    from cpt_tasks.report import figures

    rows = [
        {"model": name, "arm": arm, "turn": point["turn"], "n": point["n"]} | point["accuracy"]
        for name, summary in models.items()
        for arm, entry in summary["arms"].items()
        for point in entry["by_turn"]
    ]
    columns = {"model": "model", "arm": "arm", "turn": "turn", "value": "accuracy"} | figures.INTERVAL | {"n": "n"}
    x = alt.X("turn:Q", title="turn", axis=alt.Axis(tickMinStep=1, format="d"))
    layers = figures.curves(x, "value", "share in the band asked for", figures.SHARE_SCALE, figures.tips(columns))
    chart = alt.layer(*layers, data=figures.chart_data(rows)).properties(width=330, height=240)
    note = "Share of answers in the band of what is asked at the turn, with 95% intervals."
    drawn = figures.panels(chart, "arm", 2, list(dict.fromkeys(row["arm"] for row in rows)))
    return {"multi_turn": figures.titled(drawn, "Accuracy by turn", note, columns)}


def _entry(rows: pd.DataFrame) -> dict[str, Any]:
    own = rows[rows["stage"] != FRESH]
    counts, points = own.groupby("turn")["score"].count(), by_turn(rows)
    return {
        "n": int(counts.sum()),
        "unscored": len(own) - int(counts.sum()),
        "by_turn": [{"turn": turn, "n": int(counts[turn])} | json_of(numbers) for turn, numbers in points.items()],
        "metrics": json_of(measured(rows)),
    } | {
        f"by_{kind}": {str(one): json_of(measured(part)) for one, part in rows.groupby(kind, sort=False)}
        for kind in ("level", "rubric")
    }


SECTION = Section("Multi-turn: a conversation, and a switch in it", INTRO, summarise, tables, charts)
