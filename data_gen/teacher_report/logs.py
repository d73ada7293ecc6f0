"""Reads eval logs of students and base models into the same numbers as teachers' responses: for `cpt teachers`."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data_gen.teacher_report.rows import Progress, Protocol, Teachers, Writer, check_same_judge

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

SCORER = "rubric_judge"
TASK = "rubric_adherence"


def read_log(
    path: Path,
    kind: Literal["student", "base"],
    rubrics: Sequence[str],
    teachers: Teachers,
    prompts: dict[str, int],
    compound: Callable[[str], float],
    progress: Progress = lambda rows, _: rows,
) -> Writer:
    """The judged responses in an .eval log of `rubric_adherence`, sample by sample.

    Unscored samples (the judge failed, or the sample ended in an error) are counted and left out.

    Args:
        path: The log.
        kind: What the model is in the report.
        rubrics: Ids of all rubrics of the report, sorted.
        teachers: What it must be comparable with.
        prompts: Index of each user prompt; new ones are added, so that logs that share it are paired by prompt.
        compound: Sentiment of a sentence, from `load_compound`.
        progress: Passes samples on.

    Raises:
        ValueError: If the log is missing, is of another task, did not finish, holds no scored sample of a rubric the
            teachers wrote for, or has another judge or version of a rubric than the teachers.
    """
    from inspect_ai.log import read_eval_log, read_eval_log_samples

    if not path.is_file():
        raise ValueError(f"{path}: not found, expected an .eval log of {TASK}")
    try:
        header = read_eval_log(str(path), header_only=True)
    except ValueError as error:
        raise ValueError(f"{path.name}: not readable ({error}), expected an .eval log of {TASK}") from error
    if header.eval.task.split("/")[-1] != TASK:
        raise ValueError(f"{path.name}: log of the task {header.eval.task!r}, expected one of {TASK}")
    if header.status != "success":
        raise ValueError(
            f"{path.name}: status is {header.status!r}, expected success; finish it with inspect eval-retry"
        )
    writer = Writer(_model_name(header), kind, rubrics, prompts)
    total = header.results.total_samples if header.results else None
    for sample in progress(read_eval_log_samples(str(path)), total):
        scored = _score(sample, path.name)
        if scored is None:
            writer.left_out["unscored"] += 1
            continue
        about = sample.metadata
        if about["rubric"] not in teachers.rubric_hashes:
            writer.left_out["rubric without teacher"] += 1
            continue
        value, judgment = scored
        where = f"{path.name}: sample {sample.id!r}"
        check_same_judge(where, _protocol(judgment), teachers.protocol)
        expected = teachers.rubric_hashes[about["rubric"]]
        if about["rubric_hash"] != expected:
            raise ValueError(
                f"{where}: judged by rubric {about['rubric']!r} with hash {about['rubric_hash']}, expected {expected} "
                "as in the responses; run the task again with this version of the rubric"
            )
        writer.add(about["rubric"], about["level"], about["prompt_id"], value, sample.output.completion, compound)
    if not len(writer):
        raise ValueError(
            f"{path.name}: no sample scored by {SCORER} for a rubric of the responses "
            f"({', '.join(teachers.rubric_hashes)}), expected a judged log"
        )
    return writer


def _model_name(header: "EvalLog") -> str:
    # a model in a folder is named by the folder, which says nothing of the machine
    name = Path(header.eval.model.split("/", 1)[-1])
    prompting = header.eval.task_args.get("prompting", "system_prompt")
    shown = name.name if name.is_absolute() else str(name)
    return shown if prompting == "system_prompt" else f"{shown} [{prompting}]"


def _score(sample: "EvalSample", where: str) -> tuple[float, dict[str, Any]] | None:
    scores = [score for name, score in (sample.scores or {}).items() if name.split("/")[-1].startswith(SCORER)]
    if len(scores) > 1:
        raise ValueError(f"{where}: judged more than once, expected one judgment per sample")
    if not scores or math.isnan(scores[0].as_float()):
        return None
    return scores[0].as_float(), scores[0].metadata or {}


def _protocol(judgment: Mapping[str, Any]) -> Protocol:
    holistic = " (holistic)" * (judgment.get("protocol") == "holistic")
    return Protocol(f"{judgment['judge']}{holistic}", judgment["prompt_version"])
