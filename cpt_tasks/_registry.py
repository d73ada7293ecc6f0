"""What inspect finds under the name `cpt_tasks`: the entry point of `pyproject.toml` points here."""

from cpt_tasks.benchmarks.composition.task import composition, composition_scores
from cpt_tasks.benchmarks.drift.task import drift, unprompted_scores
from cpt_tasks.benchmarks.judge_robustness.task import attack_judge, judge_failure, judge_robustness
from cpt_tasks.benchmarks.paraphrase_robustness.task import paraphrase_robustness
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.scorer import configurability, rubric_judge

__all__ = [
    "attack_judge",
    "composition",
    "composition_scores",
    "configurability",
    "drift",
    "judge_failure",
    "judge_robustness",
    "paraphrase_robustness",
    "rubric_adherence",
    "rubric_judge",
    "unprompted_scores",
]
