"""What inspect finds under the name `cpt_tasks`: the entry point of `pyproject.toml` points here."""

from cpt_tasks.best_of_n import band_hit, best_of_n, selection_judge
from cpt_tasks.composition import composition, composition_scores
from cpt_tasks.dose_response import dose_response
from cpt_tasks.drift import drift, unprompted_scores
from cpt_tasks.judge_robustness import attack_judge, judge_failure, judge_robustness
from cpt_tasks.paraphrase_robustness import paraphrase_robustness
from cpt_tasks.rubric_adherence import rubric_adherence
from cpt_tasks.scorers import configurability, rubric_judge

__all__ = [
    "attack_judge",
    "band_hit",
    "best_of_n",
    "configurability",
    "dose_response",
    "composition",
    "composition_scores",
    "configurability",
    "drift",
    "judge_failure",
    "judge_robustness",
    "paraphrase_robustness",
    "rubric_adherence",
    "rubric_judge",
    "selection_judge",
    "unprompted_scores",
]
