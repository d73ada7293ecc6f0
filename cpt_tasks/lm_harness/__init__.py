"""The benchmarks in lm-evaluation-harness: `cpt_rubric_adherence` and `cpt_best_of_n`; see README.md.

The same documents, judges and statistics as the tasks of inspect. Only `task` and `command` import lm_eval.
"""

from pathlib import Path


def include_path() -> str:
    """The folder for `lm_eval run --include_path` or `TaskManager(include_path=...)`."""
    return str(Path(__file__).parent / "tasks")
