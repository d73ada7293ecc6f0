"""The figure at the end of a run: losses, twins that are right, and judged scores by level, over optimiser steps."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

# Okabe and Ito's palette: told apart with any colour vision and in grey
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

# Title of a panel, stage, metric without its prefix, and its scale where it has one.
PANELS: tuple[tuple[str, str, str, tuple[float, float] | None], ...] = (
    ("SFT loss", "sft", "loss", None),
    ("DPO loss", "dpo", "loss", None),
    ("twins with both halves right", "dpo", "twins/both_correct", (-0.02, 1.02)),
)
SCORES = "eval_score/"  # then a level: mean score of judged samples, 0-100


def curve(history: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """(steps, values) of the entries of a log that hold `name`."""
    entries = [entry for entry in history if name in entry]
    return [entry["step"] for entry in entries], [entry[name] for entry in entries]


def score_names(history: list[dict[str, Any]]) -> list[str]:
    """Entries of a log that are scores of a level, the level with the lowest last score first."""
    names = {name for entry in history for name in entry if name.startswith(SCORES)}
    return sorted(names, key=lambda name: curve(history, name)[1][-1])


def draw_training(histories: dict[str, list[dict[str, Any]]], path: Path) -> bool:
    """Write the figure as PNG and say whether there was anything to draw.

    Args:
        histories: log entries of each stage that ran, as in `log_history.json`.
        path: of the image. Curves are as logged: a training entry is the mean over `logging_steps` steps.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    panels = [panel for panel in PANELS if curve(histories.get(panel[1], []), panel[2])[0]]
    scored = [stage for stage, history in histories.items() if score_names(history)]
    count = len(panels) + len(scored)
    if not count:
        return False
    figure, axes = plt.subplots(1, count, figsize=(4.2 * count, 3.4), squeeze=False, layout="constrained")
    for axis, (title, stage, name, limits) in zip(axes[0], panels, strict=False):
        for prefix, label, colour in zip(("", "eval_"), ("training", "evaluation"), COLOURS, strict=False):
            steps, values = curve(histories[stage], prefix + name)
            if steps:
                axis.plot(steps, values, marker="o", markersize=3, color=colour, label=label)
        axis.set(title=title, ylim=limits)
    for axis, stage in zip(axes[0][len(panels) :], scored, strict=True):
        for name, colour in zip(score_names(histories[stage]), itertools.cycle(COLOURS), strict=False):
            steps, values = curve(histories[stage], name)
            axis.plot(steps, values, marker="o", markersize=3, color=colour, label=name.removeprefix(SCORES))
        axis.set(title=f"{stage.upper()}: judged score by level", ylim=(-2, 102))
    for axis in axes[0]:
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return True
