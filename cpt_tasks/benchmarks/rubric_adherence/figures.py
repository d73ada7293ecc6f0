"""The figures of `rubric_adherence`, drawn with matplotlib from the same rows as its tables."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cpt_tasks.report.figures import COLOURS
from cpt_tasks.report.run import Run
from rubrics import LOW_MAX, MODERATE_MAX, ScoreLevel

LEVEL_LABELS = {ScoreLevel.LOW: "low", ScoreLevel.MODERATE: "moderate", ScoreLevel.EXTREMELY_HIGH: "extremely\nhigh"}
JITTER_SEED = 0


def score_by_level(runs: Sequence[Run]) -> Figure:
    """Scores, 0-100, per rubric, level asked for and model: every response as a point, with box and median."""
    rubrics = sorted({rubric for run in runs for rubric in run.asked["rubric"]})
    figure, axes = plt.subplots(
        1, len(rubrics), figsize=(1.2 + 3.1 * len(rubrics), 4.2), sharey=True, squeeze=False, layout="constrained"
    )
    width = 0.8 / len(runs)
    rng = np.random.default_rng(JITTER_SEED)
    for axis, rubric in zip(axes[0], rubrics, strict=True):
        _shade_bands(axis)
        for number, run in enumerate(runs):
            for level in ScoreLevel:
                scores = _scores(run, level, rubric)
                if scores:
                    position = level.rank + (number - (len(runs) - 1) / 2) * width
                    _distribution(axis, scores, position, width, COLOURS[number % len(COLOURS)], rng)
        axis.set_title(rubric.replace("_", " "), fontsize=11)
        axis.set_xticks(range(len(ScoreLevel)), list(LEVEL_LABELS.values()))
        axis.set_xlim(-0.5, len(ScoreLevel) - 0.5)
    axes[0][0].set_ylabel("judged score (0-100)")
    axes[0][0].set_ylim(-3, 103)
    figure.supxlabel("level asked for by the system prompt; the grey step is the band to hit", fontsize=10)
    _legend(figure, [run.name for run in runs])
    return figure


def confusion(runs: Sequence[Run]) -> Figure:
    """Share of responses in each judged level, per level asked for; one matrix per model, rows sum to 1."""
    figure, axes = plt.subplots(1, len(runs), figsize=(1.0 + 3.2 * len(runs), 3.6), squeeze=False, layout="constrained")
    labels = list(LEVEL_LABELS.values())
    for axis, run in zip(axes[0], runs, strict=True):
        counts = np.zeros((len(ScoreLevel), len(ScoreLevel)))
        for level in ScoreLevel:
            for score in _scores(run, level):
                counts[level.rank, ScoreLevel.of(score).rank] += 1
        shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for asked, judged in np.ndindex(shares.shape):
            share = shares[asked, judged]
            axis.text(
                judged, asked, f"{share:.2f}", ha="center", va="center", color="white" if share > 0.6 else "black"
            )
        axis.set_title(run.name, fontsize=10)
        axis.set_xticks(range(len(labels)), labels)
        axis.set_yticks(range(len(labels)), labels)
        axis.set_xlabel("judged level")
    axes[0][0].set_ylabel("level asked for")
    return figure


def levels_by_model(runs: Sequence[Run]) -> Figure:
    """Mean score, 0-100, at each level asked for, model by model in the order given.

    With the checkpoints of one training run as models it is the curve of score by level over training.
    """
    figure, axis = plt.subplots(figsize=(2.0 + 1.3 * len(runs), 3.8), layout="constrained")
    for edge in (LOW_MAX, MODERATE_MAX):
        axis.axhline(edge, color="0.6", linewidth=0.8, linestyle="--")
    for colour, level in zip(COLOURS, ScoreLevel, strict=False):
        scores = [_scores(run, level) for run in runs]
        means = [float(np.mean(values)) if values else np.nan for values in scores]
        axis.plot(range(len(runs)), means, marker="o", color=colour, label=level.value.replace("_", " "))
    axis.set_xticks(range(len(runs)), [run.name for run in runs], rotation=20, ha="right")
    axis.set_ylim(0, 100)
    axis.set_ylabel("mean judged score (0-100)")
    axis.legend(title="level asked for", frameon=False, fontsize=9)
    return figure


def _scores(run: Run, level: ScoreLevel, rubric: str | None = None) -> list[float]:
    rows = run.asked
    kept = rows["level"] == level.value
    return [float(score) for score in rows[kept if rubric is None else kept & (rows["rubric"] == rubric)]["score"]]


def _shade_bands(axis: Axes) -> None:
    for level in ScoreLevel:
        low, high = level.band
        axis.fill_between([level.rank - 0.5, level.rank + 0.5], low, high, color="0.92", linewidth=0)


def _distribution(
    axis: Axes, scores: list[float], position: float, width: float, colour: str, rng: np.random.Generator
) -> None:
    jitter = rng.uniform(-0.3, 0.3, len(scores)) * width
    axis.scatter(position + jitter, scores, s=7, alpha=0.45, color=colour, linewidths=0)
    axis.boxplot(
        [scores],
        positions=[position],
        widths=width * 0.7,
        manage_ticks=False,
        showfliers=False,
        boxprops={"color": colour},
        whiskerprops={"color": colour},
        capprops={"color": colour},
        medianprops={"color": colour, "linewidth": 2.5},
    )


def _legend(figure: Figure, names: list[str]) -> None:
    handles = [
        Line2D([], [], marker="o", linestyle="", color=COLOURS[number % len(COLOURS)]) for number in range(len(names))
    ]
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
