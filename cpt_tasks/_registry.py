"""What inspect finds under the name `cpt_tasks`: the entry point of `pyproject.toml` points here."""

from cpt_tasks.benchmarks.best_of_n.task import band_hit, best_of_n, selection_judge
from cpt_tasks.benchmarks.dose_response.task import dose_response
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.scorer import configurability, rubric_judge

__all__ = [
    "band_hit",
    "best_of_n",
    "configurability",
    "dose_response",
    "rubric_adherence",
    "rubric_judge",
    "selection_judge",
]
