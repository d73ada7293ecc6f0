"""The figures of `best_of_n`."""

from typing import TYPE_CHECKING, Any

from cpt_tasks.metrics.best_of_k import LEVELS, POOLED
from cpt_tasks.sections import ModelSummaries

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVEL_NAMES = [*(level.value for level in LEVELS), POOLED]


def figures(found: ModelSummaries) -> "dict[str, Figure]":
    """By file stem: the score of the best of k by level, and band-hit against k and against cost."""
    return {"best_of_k_score": _score_figure(found), "best_of_k_band_hit": _band_hit_figure(found)}


def _score_figure(found: ModelSummaries) -> "Figure":
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(LEVELS), figsize=(11, 3.8), sharey=True, layout="constrained")
    for axis, level in zip(axes, LEVELS, strict=True):
        axis.axhspan(*level.band, color="0.92", linewidth=0)
        for number, summary in enumerate(found.values()):
            _curve(axis, _points(summary, level.value, "score"), number, "k")
        _k_axis(axis, found)
        axis.set_title(level.value.replace("_", " "), fontsize=11)
    axes[0].set_ylim(-3, 103)
    axes[0].set_ylabel("score of the best of k (0-100)")
    figure.supxlabel("samples k; the grey band is the one to hit", fontsize=10)
    _legend(figure, found)
    return figure


def _band_hit_figure(found: ModelSummaries) -> "Figure":
    import matplotlib.pyplot as plt

    columns = len(LEVEL_NAMES)
    figure, axes = plt.subplots(2, columns, figsize=(3 * columns, 6), sharey=True, layout="constrained")
    units = " or ".join(sorted({summary["cost_unit"] for summary in found.values()}))
    for column, level in enumerate(LEVEL_NAMES):
        for axis, measure in zip(axes[:, column], ("k", "mean_tokens"), strict=True):
            for number, summary in enumerate(found.values()):
                _curve(axis, _points(summary, level, "band_hit"), number, measure)
        _k_axis(axes[0, column], found)
        axes[0, column].set_xlabel("samples k")
        _cost_axis(axes[1, column])
        axes[1, column].set_xlabel(f"{units} written for k samples")
        axes[0, column].set_title("all levels" if level == POOLED else level.replace("_", " "), fontsize=11)
    for axis in axes[:, 0]:
        axis.set_ylim(-0.03, 1.03)
        axis.set_ylabel("band-hit of the best of k (0-1)")
    _legend(figure, found)
    return figure


def _points(summary: dict[str, Any], level: str, statistic: str) -> list[dict[str, Any]]:
    return [p for p in summary["curves"] if (p["level"], p["statistic"]) == (level, statistic)]


def _curve(axis: "Axes", points: list[dict[str, Any]], number: int, measure: str) -> None:
    from cpt_tasks.figures import COLOURS

    colour = COLOURS[number % len(COLOURS)]
    drawn = [point for point in points if point["value"] is not None]
    axis.plot([p[measure] for p in drawn], [p["value"] for p in drawn], marker="o", markersize=4, color=colour)
    bounded = [point for point in drawn if point["ci_low"] is not None]
    places = [point[measure] for point in bounded]
    lows, highs = [p["ci_low"] for p in bounded], [p["ci_high"] for p in bounded]
    axis.fill_between(places, lows, highs, color=colour, alpha=0.15, linewidth=0)


def _k_axis(axis: "Axes", found: ModelSummaries) -> None:
    sizes = sorted({point["k"] for summary in found.values() for point in summary["curves"]})
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [str(k) for k in sizes])
    axis.minorticks_off()


def _cost_axis(axis: "Axes") -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_xscale("log")
    # 1, 2 and 5 of each decade: the scale's own labels run into each other on a narrow axis
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _legend(figure: "Figure", found: ModelSummaries) -> None:
    from matplotlib.lines import Line2D

    from cpt_tasks.figures import COLOURS

    handles = [Line2D([], [], marker="o", color=COLOURS[number % len(COLOURS)]) for number in range(len(found))]
    figure.legend(handles, list(found), loc="outside upper center", ncols=min(4, len(found)), frameon=False)
