"""The figure at the end of a run: loss of each stage, and how many twins are right, over optimiser steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Okabe and Ito's palette: told apart with any colour vision and in grey
COLOURS = ("#0072B2", "#D55E00")

# Title of a panel, stage, metric without its prefix, and its scale where it has one.
PANELS: tuple[tuple[str, str, str, tuple[float, float] | None], ...] = (
    ("SFT loss", "sft", "loss", None),
    ("DPO loss", "dpo", "loss", None),
    ("twins with both halves right", "dpo", "twins/both_correct", (-0.02, 1.02)),
)


def curve(history: list[dict[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """(steps, values) of the entries of a log that hold `name`."""
    entries = [entry for entry in history if name in entry]
    return [entry["step"] for entry in entries], [entry[name] for entry in entries]


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
    if not panels:
        return False
    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.4), squeeze=False, layout="constrained")
    for axis, (title, stage, name, limits) in zip(axes[0], panels, strict=True):
        for prefix, label, colour in zip(("", "eval_"), ("training", "evaluation"), COLOURS, strict=True):
            steps, values = curve(histories[stage], prefix + name)
            if steps:
                axis.plot(steps, values, marker="o", markersize=3, color=colour, label=label)
        axis.set(title=title, xlabel="step", ylim=limits)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return True
