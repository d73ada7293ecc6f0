"""The figures of `cpt teachers`: judged scores by level and biases by level, as PNG and SVG."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_gen.teacher_report.bias import BIASES, Bias
from data_gen.teacher_report.numbers import Summary
from data_gen.teacher_report.statistics import LEVELS, LOW, CellMeans, Floats
from data_gen.teacher_report.tables import label
from judges.agreement import Estimate
from rubrics import LOW_MAX, MODERATE_MAX, ScoreLevel

# Okabe and Ito's palette: told apart with any colour vision and in grey
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LEVEL_LABELS = ("control", "low", "moderate", "extremely\nhigh")
MAX_POINTS = 400
SPREAD_SEED = 0
SPREAD = 0.2  # of the points, in widths of a level
PANELS_PER_ROW = 3
SHOWN_DIFFERENCES = 20


def draw_figures(summaries: Sequence[Summary], out: Path) -> list[str]:
    """Writes the figures as PNG and SVG into `out` and returns the names of the PNG files."""
    names = []
    for name, figure in (("scores", scores_by_level(summaries)), ("bias", bias_by_level(summaries))):
        figure.savefig(out / f"{name}.png", dpi=130)
        with mpl.rc_context({"svg.hashsalt": name}):  # or ids, and so the bytes, would change with every run
            figure.savefig(out / f"{name}.svg", dpi=130, metadata={"Date": None})
        names.append(f"{name}.png")
    return names


def scores_by_level(summaries: Sequence[Summary]) -> Figure:
    """Judged scores, 0-100, a panel per writer: points (at most 400 per level), the mean over rubrics, the bands."""
    columns = min(PANELS_PER_ROW, len(summaries))
    rows = -(-len(summaries) // columns)
    figure = Figure(figsize=(1.2 + 4.0 * columns, 0.7 + 3.7 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    levels = _levels(summaries)
    rng = np.random.default_rng(SPREAD_SEED)
    for axis, summary in zip(axes, summaries, strict=False):
        _shade_bands(axis, levels)
        for place, level in enumerate(levels):
            scores = summary.numbers["score"][summary.writer.cells.level == level]
            if len(scores):
                _points(axis, place, scores, rng)
                _mean(axis, place, summary.means["score"].macro(level))
        axis.set_title(label(summary.writer.name, summary.writer.kind), fontsize=11)
        axis.set_xticks(range(len(levels)), [LEVEL_LABELS[level] for level in levels])
        axis.set_xlim(-0.5, len(levels) - 0.5)
        axis.set_ylim(-4, 104)
        axis.set_yticks(
            [0, 20, LOW_MAX, 60, 80, MODERATE_MAX], ["0", "20", f"{LOW_MAX:g}", "60", "80", f"{MODERATE_MAX:g}"]
        )
        _bare(axis)
    for axis in axes[len(summaries) :]:
        axis.set_visible(False)
    figure.supylabel("judged score (0-100)", fontsize=10)
    figure.supxlabel("level asked for\ngrey: the band to hit; black: mean over rubrics, 95% interval", fontsize=9)
    return figure


def bias_by_level(summaries: Sequence[Summary]) -> Figure:
    """Each bias by level, a panel each: mean over rubrics with 95% interval, a line per writer, named at its end."""
    levels = _levels(summaries)
    rows = -(-len(BIASES) // PANELS_PER_ROW)
    figure = Figure(figsize=(3.9 * PANELS_PER_ROW, 3.0 * rows), layout="constrained")
    axes = figure.subplots(rows, PANELS_PER_ROW, sharex=True, squeeze=False).ravel()
    for axis, bias in zip(axes, BIASES, strict=True):
        for number, summary in enumerate(summaries):
            _line(axis, summary.means[bias.key], levels, number, summary.writer.kind != "teacher", len(summaries))
        axis.set_title(bias.title, fontsize=11, loc="left")
        axis.set_ylabel(bias.scale, fontsize=9)
        axis.set_xticks(range(len(levels)), [LEVEL_LABELS[level] for level in levels])
        axis.set_xlim(-0.3, len(levels) - 0.7)
        _widen(axis, bias)
        _bare(axis)
    if len(summaries) > 1:
        _name_lines(axes[PANELS_PER_ROW - 1], summaries, levels)
    figure.supxlabel("level asked for; bars: 95% intervals from user prompts", fontsize=9)
    return figure


def _line(axis: Axes, means: CellMeans, levels: Sequence[int], number: int, dashed: bool, total: int) -> None:
    found = [means.macro(level) for level in levels]
    values = np.array([estimate.value for estimate in found])
    places = np.arange(len(levels)) + (number - (total - 1) / 2) * 0.06
    colour = COLOURS[number % len(COLOURS)]
    axis.plot(places, values, marker="o", markersize=5, color=colour, linestyle="")
    asked = np.array(levels) >= LOW  # a control is no level: no line leads to it
    axis.plot(places[asked], values[asked], color=colour, linewidth=1.6, linestyle="--" if dashed else "-")
    axis.vlines(places, [e.ci_low for e in found], [e.ci_high for e in found], color=colour, linewidth=1.2)


def _widen(axis: Axes, bias: Bias) -> None:
    # a range of a few of the smallest differences that count would make nothing look like much
    low, high = axis.get_ylim()
    middle, half = (low + high) / 2, max(1.1 * (high - low), SHOWN_DIFFERENCES * bias.least) / 2
    low, high = middle - half, middle + half
    if bias.scale.startswith("share"):
        low, high = max(low, 0.0), min(max(high, 2 * half), 1.0)
    margin = 0.04 * (high - low)
    axis.set_ylim(low - margin, high + margin)


def _name_lines(axis: Axes, summaries: Sequence[Summary], levels: Sequence[int]) -> None:
    # one panel carries the names: in all of them they would crowd out the lines
    last = np.array([summary.means[BIASES[PANELS_PER_ROW - 1].key].macro(levels[-1]).value for summary in summaries])
    low, high = axis.get_ylim()
    places = _apart(np.where(np.isnan(last), low, last), least=(high - low) * 0.07)
    for number, (summary, place) in enumerate(zip(summaries, places, strict=True)):
        axis.annotate(
            label(summary.writer.name, summary.writer.kind),
            (len(levels) - 0.7, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=COLOURS[number % len(COLOURS)],
            annotation_clip=False,
        )


def _apart(places: Floats, least: float) -> Floats:
    order = np.argsort(places, kind="stable")
    moved = places.copy()
    for below, above in zip(order, order[1:], strict=False):
        moved[above] = max(moved[above], moved[below] + least)
    centred: Floats = moved - (moved - places).mean()
    return centred


def _points(axis: Axes, place: int, scores: Floats, rng: np.random.Generator) -> None:
    shown = scores if len(scores) <= MAX_POINTS else rng.choice(scores, MAX_POINTS, replace=False)
    spread = rng.uniform(-SPREAD, SPREAD, len(shown))
    axis.scatter(place + spread, shown, s=9, alpha=0.4, color=COLOURS[0], linewidths=0, rasterized=True)


def _mean(axis: Axes, place: int, estimate: Estimate) -> None:
    # beside the points, so that neither hides the other
    right = place + SPREAD + 0.06
    axis.vlines(right, estimate.ci_low, estimate.ci_high, color="black", linewidth=2)
    axis.plot(right, estimate.value, marker="o", markersize=4, color="black")
    axis.annotate(
        f"{estimate.value:.1f}",
        (right, estimate.value),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
    )


def _shade_bands(axis: Axes, levels: Sequence[int]) -> None:
    for place, level in enumerate(levels):
        if level >= LOW:
            low, high = ScoreLevel(LEVELS[level]).band
            axis.fill_between([place - 0.5, place + 0.5], low, high, color="0.9", linewidth=0, zorder=0)


def _levels(summaries: Sequence[Summary]) -> list[int]:
    return [
        level for level in range(len(LEVELS)) if any(summary.means["score"].n[:, level].any() for summary in summaries)
    ]


def _bare(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9)
