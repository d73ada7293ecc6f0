"""What the pages of `cpt judge` share: the tables of an audit, and how numbers and files are written."""

import json
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cpt_tasks.runs import shown
from judges.agreement import Estimate
from judges.audit import Audit


def write_page(out: Path, name: str, parts: Sequence[str], numbers: dict[str, Any], figures: Sequence[str]) -> None:
    """Writes NAME.md, NAME.json (nan as null) and command.txt into a folder where the figures already are."""
    out.mkdir(parents=True, exist_ok=True)
    images = [f"![{Path(figure).stem.replace('_', ' ')}]({figure})" for figure in figures]
    (out / f"{name}.md").write_text("\n\n".join([*parts, *images]) + "\n", encoding="utf-8")
    (out / f"{name}.json").write_text(json.dumps(jsonable(numbers), indent=1) + "\n", encoding="utf-8")
    command = shlex.join(["cpt", *(shown(argument) for argument in sys.argv[1:])])
    (out / "command.txt").write_text(f"{command}\n", encoding="utf-8")


def jsonable(value: Any) -> Any:
    """The value with dataclasses as objects, floats rounded to six digits after the point, and nan as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    if isinstance(value, dict):
        return {str(key): jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(entry) for entry in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value


def number(value: float, digits: int = 3) -> str:
    """A number for a table, "undefined" for nan, never "-0.0"."""
    return "undefined" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def interval(estimate: Estimate, digits: int = 1) -> str:
    """`value [low, high]` for a table; the value alone where there is no interval."""
    if math.isnan(estimate.value) or math.isnan(estimate.ci_low):
        return number(estimate.value, digits)
    return f"{number(estimate.value, digits)} [{number(estimate.ci_low, digits)}, {number(estimate.ci_high, digits)}]"


def agreement_table(found: Audit, judge: str, reference: str) -> str:
    """Markdown table: agreement of judge and reference, and the use of the scale and order of levels by both."""
    agreement, ours, theirs = found.agreement, found.judged_saturation, found.measured_saturation
    rows = [
        ("Pearson correlation", number(agreement.pearson), "1"),
        ("Spearman correlation", number(agreement.spearman), "1"),
        ("Pearson correlation within levels", number(found.within_level_pearson), "1"),
        ("ICC(2,1), absolute agreement", number(agreement.icc), "1"),
        ("mean absolute error, points", number(agreement.mae, 1), "0"),
        ("level kappa, quadratic weights", number(agreement.level_kappa), "1"),
        ("same level, share", number(agreement.level_accuracy), "1"),
        ("tau-b of level asked for and score", number(found.judged_tau_b), number(found.measured_tau_b)),
        (
            "levels of a prompt in order, share",
            number(found.judged_order_accuracy),
            number(found.measured_order_accuracy),
        ),
        ("scores of exactly 0, share", number(ours.share_0), number(theirs.share_0)),
        ("scores of exactly 100, share", number(ours.share_100), number(theirs.share_100)),
        ("distinct scores", str(ours.distinct), str(theirs.distinct)),
    ]
    return markdown_table(rows, ("statistic", judge, reference))


def bias_table(found: Audit) -> str:
    """Markdown table: bias overall, per level and per rubric, and length bias, each with its 95% interval."""
    groups = [("all", found.bias), *found.bias_by_level.items(), *found.bias_by_rubric.items()]
    rows = [(str(group), interval(estimate)) for group, estimate in groups]
    rows.append(("per doubling of length", interval(found.length.slope)))
    return markdown_table(rows, ("texts", "bias, points"))


def unscored_line(found: Audit) -> str:
    """How many judgments failed, by failure mode."""
    total = sum(found.unscored.values())
    modes = ", ".join(f"{mode} {count}" for mode, count in sorted(found.unscored.items()))
    return f"{found.n_judgments} judgments of {found.n_texts} texts, {total} unscored" + (
        f" ({modes})" if modes else ""
    )


def markdown_table(rows: Sequence[tuple[str, ...]], columns: Sequence[str]) -> str:
    """Markdown table of text cells."""
    # numbers stay text, or tabulate would write 1.000 as 1
    return str(pd.DataFrame(rows, columns=list(columns)).to_markdown(index=False, disable_numparse=True))
