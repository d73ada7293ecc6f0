"""The figure at the end of a run: losses, twins that are right, and judged scores by level, over optimiser steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure


def draw_training(histories: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Write the figure as PNG: a panel for each metric that a stage logged.

    Args:
        histories: log entries of each stage that ran, as in `log_history.json`.
        path: of the image. Curves are as logged: a training entry is the mean over `logging_steps` steps.
    """
    panels = {}
    for stage, history in histories.items():
        logged = pd.DataFrame(history).set_index("step")
        for metric in ("loss", "twins/both_correct", "score/"):
            panels[f"{stage} {metric}"] = logged.filter(regex=f"^(eval_)?{metric}($|(?<=/).)").dropna(axis=1, how="all")
    panels = {title: curves for title, curves in panels.items() if len(curves.columns)}
    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, curves) in zip(axes, panels.items(), strict=True):
        for name in curves:
            axis.plot(curves[name].dropna(), marker="o", markersize=3, label=name)
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=130)
