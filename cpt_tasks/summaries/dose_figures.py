"""The figures of `dose_response`."""

from typing import TYPE_CHECKING, Any

from cpt_tasks.sections import ModelSummaries

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4


def figures(found: ModelSummaries) -> "dict[str, Figure]":
    """By file stem: mean score on target over all rubrics, and the same rubric by rubric."""
    return {"dose_response": _mean_figure(found), "dose_response_by_rubric": _rubric_figure(found)}


def _mean_figure(found: ModelSummaries) -> "Figure":
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5.2, 4.8), layout="constrained")
    for number, summary in enumerate(found.values()):
        _curve(axis, summary["curve"], number)
    _frame(axis)
    axis.set_xlabel("target asked for (0-100)")
    axis.set_ylabel("mean judged score (0-100)")
    _legend(figure, found)
    return figure


def _rubric_figure(found: ModelSummaries) -> "Figure":
    import matplotlib.pyplot as plt

    rubrics = sorted({rubric for summary in found.values() for rubric in summary["by_rubric"]})
    columns = min(COLUMNS, len(rubrics))
    rows = -(-len(rubrics) // columns)
    size = (1 + 2.6 * columns, 1 + 2.6 * rows)
    figure, axes = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(rubrics) :]:
        axis.set_visible(False)
    for axis, rubric in zip(axes.flat, rubrics, strict=False):
        for number, summary in enumerate(found.values()):
            if rubric in summary["by_rubric"]:
                _curve(axis, summary["by_rubric"][rubric]["curve"], number)
        _frame(axis)
        axis.set_title(rubric.replace("_", " "), fontsize=10)
    figure.supxlabel("target asked for (0-100)", fontsize=10)
    figure.supylabel("mean judged score (0-100)", fontsize=10)
    _legend(figure, found)
    return figure


def _curve(axis: "Axes", curve: list[dict[str, Any]], number: int) -> None:
    from cpt_tasks.figures import COLOURS

    colour = COLOURS[number % len(COLOURS)]
    drawn = [point for point in curve if point["mean"] is not None]
    axis.plot([p["target"] for p in drawn], [p["mean"] for p in drawn], marker="o", markersize=4, color=colour)
    bounded = [point for point in drawn if point["ci_low"] is not None]
    targets = [point["target"] for point in bounded]
    lows, highs = [p["ci_low"] for p in bounded], [p["ci_high"] for p in bounded]
    axis.fill_between(targets, lows, highs, color=colour, alpha=0.15, linewidth=0)


def _frame(axis: "Axes") -> None:
    axis.plot([0, 100], [0, 100], color="0.5", linewidth=0.9, linestyle="--", zorder=0)
    axis.set_xlim(-3, 103)
    axis.set_ylim(-3, 103)


def _legend(figure: "Figure", found: ModelSummaries) -> None:
    from matplotlib.lines import Line2D

    from cpt_tasks.figures import COLOURS

    handles = [Line2D([], [], marker="o", color=COLOURS[number % len(COLOURS)]) for number in range(len(found))]
    handles.append(Line2D([], [], color="0.5", linewidth=0.9, linestyle="--"))
    names = [*found, "ideal"]
    figure.legend(handles, names, loc="outside upper center", ncols=min(3, len(names)), frameon=False)
