"""What inspect finds under the name `cpt_tasks`: the entry point of `pyproject.toml` points here."""

import sys

from inspect_ai.model import ModelAPI, modelapi

from cpt_tasks.benchmarks.best_of_n.task import band_hit, best_of_n, selection_judge
from cpt_tasks.benchmarks.composition.task import composition, composition_scores
from cpt_tasks.benchmarks.dose_response.task import dose_response
from cpt_tasks.benchmarks.drift.task import drift, unprompted_scores
from cpt_tasks.benchmarks.judge_robustness.task import attack_judge, judge_failure, judge_robustness
from cpt_tasks.benchmarks.multi_turn.task import multi_turn, multi_turn_scores
from cpt_tasks.benchmarks.paraphrase_robustness.task import paraphrase_robustness
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.recorded import recorded
from cpt_tasks.scorer import configurability, rubric_judge
from model_calls.inspect_private import PrerequisiteError

__all__ = ["attack_judge", "band_hit", "best_of_n", "composition", "composition_scores", "configurability"]
__all__ += ["dose_response", "drift", "judge_failure", "judge_robustness", "multi_turn", "multi_turn_scores"]
__all__ += ["openvino", "paraphrase_robustness", "recorded", "rubric_adherence", "rubric_judge", "selection_judge"]
__all__ += ["unprompted_scores"]


@modelapi(name="openvino")
def openvino() -> type[ModelAPI]:
    """The provider of local models by OpenVINO GenAI, for inspect."""
    # what openvino imports, if it can, reports each use to its makers and asks nobody
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # how Python is told that there is none
    try:
        from model_calls.openvino import OpenVINO
    except ImportError as error:
        raise PrerequisiteError(f"openvino/ needs {error.name}: pip install 'cpt-tasks[openvino]'") from error
    return OpenVINO
