"""The figures of `cpt judge`: judge against reference, bias per level, distributions, links, ranks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cpt_tasks.figures import COLOURS
from judges.agreement import Estimate
from judges.audit import Audit, AuditRow
from judges.calibration import Calibration, LinearLink
from rubrics import LOW_MAX, MODERATE_MAX, ScoreLevel

BIN_POINTS = 5


def save(figures: Mapping[str, Figure], out: Path) -> list[str]:
    """Writes the figures as PNG into `out`, which is made if there is none, and returns their file names."""
    out.mkdir(parents=True, exist_ok=True)
    mpl.use("Agg")
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png", dpi=130, bbox_inches="tight")
        plt.close(figure)
    return [f"{name}.png" for name in figures]


def judged_against_reference(
    rows: Sequence[AuditRow], judge: str, reference: str, link: LinearLink | None = None
) -> Figure:
    """Every judgment against the reference score of its text, with the identity line and the cuts between levels."""
    figure, axis = plt.subplots(figsize=(5.2, 5.2), layout="constrained")
    _scale(axis)
    for colour, level in zip(COLOURS, ScoreLevel, strict=False):
        points = [(row.measured, score) for row in rows if row.level is level for score in row.judged]
        if points:
            x, y = np.array(points).T
            axis.scatter(x, y, s=16, alpha=0.5, color=colour, linewidths=0, label=_name(level))
    if link is not None and not np.isnan(link.slope.value):
        _draw_link(axis, link)
    axis.set_xlabel(f"{reference} score (0-100)")
    axis.set_ylabel(f"score by {judge} (0-100)")
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def bias_by_group(found: Audit, judge: str, reference: str) -> Figure:
    """Mean of judge - reference with its 95% interval: all texts, each level, each rubric."""
    groups = [("all", found.bias, COLOURS[6])]
    groups += [(_name(level), estimate, COLOURS[0]) for level, estimate in found.bias_by_level.items()]
    groups += [(rubric.replace("_", " "), estimate, COLOURS[1]) for rubric, estimate in found.bias_by_rubric.items()]
    figure, axis = plt.subplots(figsize=(6, 0.8 + 0.36 * len(groups)), layout="constrained")
    axis.axvline(0, color="0.6", linewidth=0.8)
    for place, (_, estimate, colour) in enumerate(groups):
        _whisker(axis, place, estimate, colour)
    axis.set_yticks(range(len(groups)), [name for name, _, _ in groups])
    axis.invert_yaxis()
    axis.set_xlabel(f"{judge} - {reference}, points")
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, -2), max(high, 2))  # without bias a tiny range would look like a large one
    return figure


def distributions(rows: Sequence[AuditRow], judge: str, reference: str) -> Figure:
    """Distribution of the judge's and of the reference scores in bins of 5 points, per level the texts were for."""
    figure, axes = plt.subplots(len(ScoreLevel), 1, figsize=(6, 5.4), sharex=True, layout="constrained", squeeze=False)
    bins = np.arange(0, 100 + BIN_POINTS, BIN_POINTS)
    for axis, level in zip(axes[:, 0], ScoreLevel, strict=True):
        mine = [row for row in rows if row.level is level and row.judged]
        low, high = level.band
        axis.axvspan(low, high, color="0.92", linewidth=0)
        for label, scores, style in (
            (reference, [row.measured for row in mine], {"color": "0.55", "alpha": 0.7}),
            (judge, [score for row in mine for score in row.judged], {"color": COLOURS[1], "histtype": "step"}),
        ):
            if scores:
                weights = np.full(len(scores), 1 / len(scores))
                axis.hist(scores, bins=bins, weights=weights, label=label, linewidth=1.8, **style)
        axis.set_ylabel(f"{_name(level)}\nshare", fontsize=9)
        axis.set_ylim(0, 1.05)
    axes[-1, 0].set_xlabel("score (0-100); grey: the band of the level")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return figure


def means(found: Calibration) -> Figure:
    """The model's mean score by the judge alone, by the labels alone and corrected, with 95% intervals."""
    rows = (
        ("corrected", found.mean.corrected, COLOURS[2]),
        ("labels only", found.mean.labels_only, COLOURS[0]),
        ("judge only", Estimate(found.mean.judge_only, np.nan, np.nan), COLOURS[1]),
    )
    figure, axis = plt.subplots(figsize=(6, 1.9), layout="constrained")
    for place, (_, estimate, colour) in enumerate(rows):
        _whisker(axis, place, estimate, colour)
    axis.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel("mean score of the model (0-100)")
    return figure


def ranks(models: Sequence[tuple[str, Estimate, Estimate]], first: str, second: str) -> Figure:
    """Macro accuracy of every model by two judges, joined by a line: crossing lines are changed ranks."""
    figure, axis = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
    for place, (name, one, other) in enumerate(models):
        colour = COLOURS[place % len(COLOURS)]
        axis.plot([0, 1], [one.value, other.value], marker="o", color=colour, label=name)
    axis.set_xticks([0, 1], [first, second])
    axis.set_xlim(-0.3, 1.3)
    axis.set_ylim(0, 1.02)
    axis.set_ylabel("macro accuracy")
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    return figure


def _scale(axis: Axes) -> None:
    axis.plot([0, 100], [0, 100], color="0.4", linewidth=1)
    for edge in (LOW_MAX, MODERATE_MAX):
        axis.axhline(edge, color="0.75", linewidth=0.8, linestyle="--", zorder=0)
        axis.axvline(edge, color="0.75", linewidth=0.8, linestyle="--", zorder=0)
    axis.set_xlim(-2, 102)
    axis.set_ylim(-2, 102)
    axis.set_aspect("equal")


def _draw_link(axis: Axes, link: LinearLink) -> None:
    ends = np.array([0.0, 100.0])
    axis.plot(ends, link.intercept.value + link.slope.value * ends, color=COLOURS[3], linewidth=1.6, label="link")


def _whisker(axis: Axes, place: int, estimate: Estimate, colour: str) -> None:
    axis.plot([estimate.ci_low, estimate.ci_high], [place, place], color=colour, linewidth=1.8)
    axis.plot(estimate.value, place, marker="o", color=colour)


def _name(level: ScoreLevel) -> str:
    return level.value.replace("_", " ")
