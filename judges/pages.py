"""What `cpt judge` writes into a folder: a page of Markdown, its numbers as JSON, figures, and the command."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic_core import to_json

from judges.audit import Audit
from judges.interval import Estimate
from rubrics.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = 1  # of the JSON files
# statistics of `reliability.agreement`, by their label
AGREEMENT = {
    "Pearson correlation": "pearson",
    "Spearman correlation": "spearman",
    "ICC(2,1), absolute agreement": "icc",
    "level kappa, quadratic weights": "level_kappa",
    "same level, share": "level_accuracy",
}
# statistics of the judge and of the reference, by their label
OF_BOTH = {
    "tau-b of level asked for and score": "tau_b",
    "levels of a prompt in order, share": "pair_order_accuracy",
    "scores of exactly 0, share": "share_0",
    "scores of exactly 100, share": "share_100",
}


def write_page(
    out: Path, name: str, parts: Sequence[str], numbers: Mapping[str, Any], figures: Mapping[str, "Figure"]
) -> None:
    """Writes NAME.md, NAME.json (nan as null), the figures as PNG and command.txt into a folder, made if need be."""
    from judges.figures import save_figure

    out.mkdir(parents=True, exist_ok=True)
    images = [f"![{stem.replace('_', ' ')}]({save_figure(figure, out, stem)})" for stem, figure in figures.items()]
    write_whole(out / f"{name}.md", "\n\n".join([*parts, *images]) + "\n")
    write_whole(out / f"{name}.json", to_json({"schema": SCHEMA, **numbers}, indent=1, inf_nan_mode="null") + b"\n")
    # of an absolute path only the last part
    shown = (Path(argument).name if Path(argument).is_absolute() else argument for argument in sys.argv[1:])
    write_whole(out / "command.txt", f"{shlex.join(['cpt', *shown])}\n")


def number(value: float, digits: int = 3) -> str:
    """A number for a table, "undefined" for nan."""
    return Estimate(value).text(digits)


def agreement_table(audit: Audit, judge: str, reference: str) -> str:
    """Markdown table: agreement of judge and reference, and the use of the scale and order of levels by both."""
    of = audit.statistics
    rows = [(label, number(of[name]), "1") for label, name in AGREEMENT.items()]
    rows += [
        ("Pearson correlation within levels", number(of["within_level_pearson"]), "1"),
        ("mean absolute error, points", number(of["mae"], 1), "0"),
    ]
    rows += [(label, number(of[f"judged_{name}"]), number(of[f"measured_{name}"])) for label, name in OF_BOTH.items()]
    rows.append(("distinct scores", f"{of['judged_distinct']:g}", f"{of['measured_distinct']:g}"))
    return markdown_table(rows, ("statistic", judge, reference))


def bias_table(audit: Audit) -> str:
    """Markdown table: bias overall, per level and per rubric, and length bias, each with its 95% interval."""
    rows = [(group, estimate.text(1)) for group, estimate in audit.bias.items()]
    rows.append(("per doubling of length", audit.length_slope.text(1)))
    return markdown_table(rows, ("texts", "bias, points"))


def unscored_line(audit: Audit) -> str:
    """How many judgments failed, by failure mode."""
    modes = ", ".join(f"{mode} {count}" for mode, count in sorted(audit.unscored.items()))
    line = f"{audit.n_judgments} judgments of {audit.n_texts} texts, {sum(audit.unscored.values())} unscored"
    return f"{line} ({modes})" if modes else line


def markdown_table(rows: Sequence[tuple[str, ...]], columns: Sequence[str]) -> str:
    """Markdown table of text cells."""
    # numbers stay text, or tabulate would write 1.000 as 1
    return str(pd.DataFrame(rows, columns=list(columns)).to_markdown(index=False, disable_numparse=True))
