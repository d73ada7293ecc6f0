"""The figures of `cpt teachers`, as PNG and SVG: judged scores by level, and length and shared phrases by level."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_gen.responses import CONTROL
from data_gen.teachers.numbers import LEVELS, MACRO
from rubrics import LOW_MAX, MODERATE_MAX, ScoreLevel

# Okabe and Ito's palette: told apart with any colour vision and in grey
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LEVEL_LABELS = ("control", "low", "moderate", "extremely\nhigh")
MAX_POINTS = 400
SPREAD = 0.2  # of the points, in widths of a level
TITLES = {"words": "length, words", "shared_grams": "4-word runs of other topics, share 0-1"}


def draw_figures(rows: pd.DataFrame, numbers: pd.DataFrame, out: Path) -> None:
    """Writes scores.png, scores.svg, bias.png and bias.svg into a folder."""
    for name, figure in (("scores", _scores(rows, numbers)), ("bias", _biases(numbers))):
        figure.savefig(out / f"{name}.png", dpi=130)
        with mpl.rc_context({"svg.hashsalt": name}):  # or ids, and so the bytes, would change with every run
            figure.savefig(out / f"{name}.svg", dpi=130, metadata={"Date": None})


def _scores(rows: pd.DataFrame, numbers: pd.DataFrame) -> Figure:
    """A panel per writer: points (at most 400 per level), the mean over rubrics with its interval, the bands."""
    writers: list[Any] = list(rows.groupby(["kind", "writer"], sort=False))
    figure = Figure(figsize=(1.2 + 4.0 * len(writers), 4.4), layout="constrained")
    rng = np.random.default_rng(0)
    panels = figure.subplots(1, len(writers), sharey=True, squeeze=False)[0]
    for axis, ((kind, writer), mine) in zip(panels, writers, strict=True):
        for place, level in enumerate(LEVELS):
            scores = mine.loc[mine["level"] == level, "score"].to_numpy()
            shown = scores if len(scores) <= MAX_POINTS else rng.choice(scores, MAX_POINTS, replace=False)
            spread = rng.uniform(-SPREAD, SPREAD, len(shown))
            axis.scatter(place + spread, shown, s=9, alpha=0.4, color=COLOURS[0], linewidths=0, rasterized=True)
            if level != CONTROL:
                axis.fill_between(
                    [place - 0.5, place + 0.5], *ScoreLevel(level).band, color="0.9", linewidth=0, zorder=0
                )
        means = numbers[(numbers["writer"] == writer) & (numbers["kind"] == kind)]
        _line(axis, means[means["statistic"] == "score"], "black", SPREAD + 0.06)
        axis.set_title(writer if kind == "teacher" else f"{writer} ({kind})", fontsize=11)
        axis.set_yticks([0, 20, LOW_MAX, 60, 80, MODERATE_MAX])
        _finish(axis)
    panels[0].set_ylabel("judged score (0-100)", fontsize=10)
    figure.supxlabel("level asked for\ngrey: the band to hit; black: mean over rubrics, 95% interval", fontsize=9)
    return figure


def _biases(numbers: pd.DataFrame) -> Figure:
    """A panel per number: means over rubrics with their intervals, a line per writer."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axis, (statistic, title) in zip(figure.subplots(1, len(TITLES)), TITLES.items(), strict=True):
        writers: Any = numbers[numbers["statistic"] == statistic].groupby(["kind", "writer"], sort=False)
        for place, ((kind, writer), one) in enumerate(writers):
            name = writer if kind == "teacher" else f"{writer} ({kind})"
            _line(axis, one, COLOURS[place % len(COLOURS)], place * 0.06, name)
        axis.set_title(title, fontsize=11, loc="left")
        axis.set_ylim(bottom=0)
        _finish(axis)
    axis.legend(frameon=False, fontsize=9)
    figure.supxlabel("level asked for; bars: 95% intervals from user prompts", fontsize=9)
    return figure


def _line(axis: Axes, numbers: pd.DataFrame, colour: str, shift: float, label: str | None = None) -> None:
    numbers = numbers[numbers["rubric"] == MACRO]
    places, means = [LEVELS.index(level) + shift for level in numbers["level"]], list(numbers["estimate"])
    axis.vlines(places, [mean.ci_low for mean in means], [mean.ci_high for mean in means], color=colour, linewidth=1.6)
    axis.plot(places, [mean.value for mean in means], marker="o", markersize=4, color=colour, linestyle="", label=label)


def _finish(axis: Axes) -> None:
    axis.set_xticks(range(len(LEVELS)), LEVEL_LABELS)
    axis.set_xlim(-0.5, len(LEVELS) - 0.5)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9)
