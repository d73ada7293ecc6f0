"""What all figures share: colours, and how they are written."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from judges.interval import Estimate

mpl.use("Agg")
# Okabe and Ito's palette: told apart with any colour vision and in grey
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def save_figure(figure: Figure, out: Path, stem: str) -> str:
    """Writes a figure as PNG into `out`, closes it, and returns its file name."""
    figure.savefig(out / f"{stem}.png", dpi=130, bbox_inches="tight")
    plt.close(figure)
    return f"{stem}.png"


def draw_estimate(axis: Axes, estimate: Estimate, row: float, colour: str, label: str | None = None) -> None:
    """An estimate as a dot on its interval, horizontally at a row; nothing where it is undefined."""
    axis.hlines([row], [estimate.ci_low], [estimate.ci_high], color=colour, linewidth=2)
    axis.plot([estimate.value], [row], marker="o", linestyle="", color=colour, label=label)
