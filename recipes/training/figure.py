"""The figure at the end of a run: losses, twins that are right, and judged scores by level, over optimiser steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SCORES = "eval_score/"  # then a level: mean score of judged samples, 0-100


def panels(histories: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    """Names of the log by title of a panel; a title begins with its stage."""
    scores = {name for history in histories.values() for entry in history for name in entry if name.startswith(SCORES)}
    both = "twins/both_correct"
    losses = {f"{stage} loss": ["loss", "eval_loss"] for stage in histories}
    levels = {f"{stage} judged score by level": sorted(scores) for stage in histories}
    return losses | {"dpo twins with both halves right": [both, f"eval_{both}"]} | levels


def draw_training(histories: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Write the figure as PNG; panels without a value are left out.

    Args:
        histories: log entries of each stage that ran, as in `log_history.json`.
        path: of the image. Curves are as logged: a training entry is the mean over `logging_steps` steps.
    """
    import pandas as pd
    from matplotlib.figure import Figure

    drawn = {}
    for title, names in panels(histories).items():
        logged = pd.DataFrame(histories.get(title.split()[0], []))
        curves = {name: logged.set_index("step")[name].dropna() for name in names if name in logged}
        if curves:
            drawn[title] = curves
    figure = Figure(figsize=(4.2 * max(len(drawn), 1), 3.4), layout="constrained")
    for number, (title, curves) in enumerate(drawn.items()):
        axis = figure.add_subplot(1, len(drawn), number + 1, title=title, xlabel="step")
        for name, values in curves.items():
            axis.plot(values.index, values, marker="o", markersize=3, label=name)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=130)
