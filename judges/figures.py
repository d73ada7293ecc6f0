"""Figures of how a judge scores: against a reference, its bias, and the distribution of its scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from judges.audit import Audit
from judges.calibration import LinearLink
from judges.interval import Estimate
from rubrics import LOW_MAX, MODERATE_MAX, ScoreLevel

mpl.use("Agg")
# of Okabe and Ito's palette: told apart with any colour vision and in grey
BLUE, RED, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
BIN_POINTS = 5


def save_figure(figure: Figure, out: Path, stem: str) -> str:
    """Writes a figure as PNG into `out`, closes it, and returns its file name."""
    figure.savefig(out / f"{stem}.png", dpi=130, bbox_inches="tight")
    plt.close(figure)
    return f"{stem}.png"


def judged_against_reference(rows: pd.DataFrame, judge: str, reference: str, link: LinearLink | None = None) -> Figure:
    """Every judgment against the reference score of its text, with the identity line and the cuts between levels.

    Args:
        rows: `level`, `measured` (the reference) and `judged`, 0-100.
        judge: Name of the judge.
        reference: Name of what it is compared with.
        link: A line to draw.
    """
    figure, axis = plt.subplots(figsize=(5.2, 5.2), layout="constrained")
    ends = np.array([0.0, 100.0])
    axis.plot(ends, ends, color="0.4", linewidth=1)
    for edge in (LOW_MAX, MODERATE_MAX):
        axis.axhline(edge, color="0.75", linewidth=0.8, linestyle="--", zorder=0)
        axis.axvline(edge, color="0.75", linewidth=0.8, linestyle="--", zorder=0)
    for colour, level in zip((BLUE, RED, GREEN), ScoreLevel, strict=True):
        of_level = rows[rows["level"] == level]
        axis.scatter(of_level["measured"], of_level["judged"], s=16, alpha=0.5, color=colour, label=_name(level))
    if link is not None:
        axis.plot(ends, link.intercept.value + link.slope.value * ends, color=PURPLE, linewidth=1.6, label="link")
    axis.set(xlim=(-2, 102), ylim=(-2, 102), aspect="equal")
    axis.set_xlabel(f"{reference} score (0-100)")
    axis.set_ylabel(f"score by {judge} (0-100)")
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def bias_by_group(audit: Audit, judge: str, reference: str) -> Figure:
    """Mean of judge - reference with its 95% interval: all texts, each level, each rubric."""
    figure = estimates(
        {_name(group): estimate for group, estimate in audit.bias.items()}, f"{judge} - {reference}, points"
    )
    [axis] = figure.axes
    axis.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, -2), max(high, 2))  # without bias a tiny range would look like a large one
    return figure


def estimates(rows: Mapping[str, Estimate], label: str) -> Figure:
    """Estimates by name, one below the other, each a dot on its 95% interval."""
    figure, axis = plt.subplots(figsize=(6, 0.8 + 0.36 * len(rows)), layout="constrained")
    for place, estimate in enumerate(rows.values()):
        axis.plot([estimate.ci_low, estimate.ci_high], [place, place], color=BLUE, linewidth=1.8)
        axis.plot(estimate.value, place, marker="o", color=BLUE)
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel(label)
    return figure


def distributions(rows: pd.DataFrame, judge: str, reference: str) -> Figure:
    """Distribution of the judge's and of the reference scores in bins of 5 points, per level the texts were for."""
    figure, axes = plt.subplots(len(ScoreLevel), 1, figsize=(6, 5.4), sharex=True, layout="constrained")
    for axis, level in zip(axes, ScoreLevel, strict=True):
        of_level = rows[rows["level"] == level].dropna(subset="judged")
        axis.axvspan(*level.band, color="0.92", linewidth=0)
        _histogram(axis, of_level.drop_duplicates("text")["measured"], label=reference, color="0.55", alpha=0.7)
        _histogram(axis, of_level["judged"], label=judge, color=RED, histtype="step", linewidth=1.8)
        axis.set_ylabel(f"{_name(level)}\nshare", fontsize=9)
        axis.set_ylim(0, 1.05)
    axes[-1].set_xlabel("score (0-100); grey: the band of the level")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


def ranks(models: Sequence[Mapping[str, Any]], first: str, second: str) -> Figure:
    """Macro accuracy of every model by two judges, joined by a line: crossing lines are changed ranks.

    Args:
        models: Of each `model`, and the estimates `by_a` of the first judge and `by_b` of the second.
        first: Name of the first judge.
        second: Name of the second.
    """
    figure, axis = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
    for row in models:
        axis.plot([0, 1], [row["by_a"].value, row["by_b"].value], marker="o", label=row["model"])
    axis.set_xticks([0, 1], [first, second])
    axis.set(xlim=(-0.3, 1.3), ylim=(0, 1.02), ylabel="macro accuracy")
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    return figure


def _histogram(axis: Axes, scores: "pd.Series[float]", **style: object) -> None:
    bins = np.arange(0, 100 + BIN_POINTS, BIN_POINTS)
    axis.hist(scores, bins=bins, weights=np.full(len(scores), 1 / max(1, len(scores))), **style)  # type: ignore[arg-type]


def _name(group: str) -> str:
    return group.replace("_", " ")
