"""What inspect finds under the name `cpt_tasks`: the entry point of `pyproject.toml` points here."""

from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.scorer import configurability, rubric_judge

__all__ = ["configurability", "rubric_adherence", "rubric_judge"]
