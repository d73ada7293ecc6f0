"""The figure at the end of a run: losses, twins that are right, and judged scores by level, over optimiser steps."""

from __future__ import annotations

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

Curve = tuple[list[int], list[float]]
Panel = tuple[str, tuple[float, float] | None, dict[str, Curve]]


def curve(history: list[dict[str, Any]], name: str) -> Curve:
    """(steps, values) of the entries of a log that hold `name`."""
    entries = [entry for entry in history if name in entry]
    return [entry["step"] for entry in entries], [entry[name] for entry in entries]


def panels(histories: dict[str, list[dict[str, Any]]]) -> list[Panel]:
    """(title, limits, curves by label) of every panel with something to draw; levels by their last score, rising."""
    drawn = []
    for title, stage, name, limits in PANELS:
        labelled = {"training": name, "evaluation": f"eval_{name}"}
        drawn.append((title, limits, {k: curve(histories.get(stage, []), v) for k, v in labelled.items()}))
    for stage, history in histories.items():
        scores = {name for entry in history for name in entry if name.startswith(SCORES)}
        curves = sorted(((name, curve(history, name)) for name in scores), key=lambda item: item[1][1][-1])
        levels = {name.removeprefix(SCORES): points for name, points in curves}
        drawn.append((f"{stage.upper()}: judged score by level", (-2.0, 102.0), levels))
    shown = [(title, limits, {k: c for k, c in curves.items() if c[0]}) for title, limits, curves in drawn]
    return [panel for panel in shown if panel[2]]


def draw_training(histories: dict[str, list[dict[str, Any]]], path: Path) -> bool:
    """Write the figure as PNG and say whether there was anything to draw.

    Args:
        histories: log entries of each stage that ran, as in `log_history.json`.
        path: of the image. Curves are as logged: a training entry is the mean over `logging_steps` steps.
    """
    from matplotlib.figure import Figure

    drawn = panels(histories)
    if not drawn:
        return False
    figure = Figure(figsize=(4.2 * len(drawn), 3.4), layout="constrained")
    for number, (title, limits, curves) in enumerate(drawn):
        axis = figure.add_subplot(1, len(drawn), number + 1, title=title, xlabel="step")
        if limits:
            axis.set_ylim(*limits)
        for place, (label, (steps, values)) in enumerate(curves.items()):
            axis.plot(steps, values, marker="o", markersize=3, color=COLOURS[place % len(COLOURS)], label=label)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=130)
    return True
