"""The parts of a report: what each benchmark besides `rubric_adherence` adds to its summary, tables and figures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cpt_tasks.runs import ModelRun

# a model's part of summary.json, by the name of the model
ModelSummaries = Mapping[str, dict[str, Any]]


@dataclass(frozen=True)
class Section:
    """What a report says of one benchmark.

    Attributes:
        title: Heading.
        intro: What the numbers mean, as Markdown.
        summarise: From a run, the number of bootstrap resamples and a seed to what summary.json holds of it: JSON
            values only, None for what is undefined, estimates as `{value, ci_low, ci_high}`.
        tables: From the summaries to tables by caption.
        figures: From the summaries to figures by file stem.
        compare: From all runs of the benchmark, the number of resamples and a seed to what comparing them adds to the
            summaries, by the name of the model; None where runs are not compared.
    """

    title: str
    intro: str
    summarise: "Callable[[ModelRun, int, int], dict[str, Any]]"
    tables: Callable[[ModelSummaries], dict[str, pd.DataFrame]]
    figures: "Callable[[ModelSummaries], dict[str, Figure]]"
    compare: "Callable[[Sequence[ModelRun], int, int], dict[str, dict[str, Any]]] | None" = None


def sections() -> dict[str, Section]:
    """The sections by name of the benchmark, in the order of a report."""
    from cpt_tasks.summaries import best_of_n, composition, dose_response, drift, ifeval, paraphrase_robustness

    return {
        "best_of_n": best_of_n.SECTION,
        "dose_response": dose_response.SECTION,
        "composition": composition.SECTION,
        "paraphrase_robustness": paraphrase_robustness.SECTION,
        "drift": drift.SECTION,
        "ifeval": ifeval.SECTION,
    }


def jsonable(value: float, digits: int = 6) -> float | None:
    """A number as summary.json holds it: rounded, None for nan."""
    return None if value != value else round(value, digits)
