"""Judged logs as `cpt judge agreement` compares them, and the human labels that belong to one."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cpt_tasks.report.logs import find_logs, read_run
from cpt_tasks.report.run import Run, check_comparable, tell_apart
from rubrics import MAX_SCORE, MIN_SCORE, ScoreLevel
from rubrics.files import read_text

SAMPLE = ["sample_id", "epoch"]


def read_judged_logs(path: str) -> list[Run]:
    """The run of a judged .eval log, or those of a folder of logs, whose samples all ask for a score level.

    Raises:
        ValueError: As `report.logs.read_run`, or if a sample asks for no level.
    """
    runs = tell_apart([read_run(file) for file in find_logs([path])])
    for run in runs:
        for row in run.frame[~run.frame["level"].isin(list(ScoreLevel))].itertuples():
            raise ValueError(
                f"{run.details['log']}: sample {row.sample_id!r} asks for level {row.level!r}, expected a log of a "
                f"benchmark that asks for {', '.join(ScoreLevel)}, such as rubric_adherence"
            )
    return runs


def judge_name(run: Run) -> str:
    """The judge, with its protocol in brackets where that is not the weighted total of the criteria."""
    return f"{run.protocol['judge']}{' (holistic)' * (run.protocol['judge_protocol'] == 'holistic')}"


def pair_runs(side_a: Sequence[Run], side_b: Sequence[Run]) -> list[tuple[Run, Run]]:
    """The two logs of each model, in the order of the first side.

    Raises:
        ValueError: Unless the logs of each side share the judge and hold one log per model, both sides hold the same
            models, and the two logs of a model the same responses to the same samples, judged by the same rubrics.
    """
    check_comparable(side_a)
    check_comparable(side_b)
    second = {run.name: run for run in side_b}
    if {run.name for run in side_a} != set(second):
        names = [run.name for run in side_a]
        raise ValueError(f"models: got {sorted(names)} and {sorted(second)}, expected the same models on both sides")
    for run in side_a:
        _check_same_responses(run, second[run.name])
    return [(run, second[run.name]) for run in side_a]


def read_labels(path: Path, run: Run) -> pd.DataFrame:
    """Human labels of the responses of a run: `sample_id`, `epoch`, `rater` ("" without a name) and `score`, 0-100.

    Those of invalidated samples are left out.

    The CSV file has the columns sample_id and score, and optionally epoch (default 1) and rater.

    Raises:
        ValueError: Naming file and line: if a column is missing or unknown, a score is not a number from 0 to 100, a
            response is not in the log, or one rater labels it twice.
    """
    try:
        raw = pd.read_csv(StringIO(read_text(path)), dtype=str, keep_default_na=False)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}, expected a CSV file with sample_id and score") from error
    if not {"sample_id", "score"} <= set(raw) <= {*SAMPLE, "rater", "score"}:
        raise ValueError(
            f"{path.name}:1: got columns {list(raw)}, expected sample_id and score, and optionally epoch and rater"
        )
    if raw.empty:
        raise ValueError(f"{path.name}: got no label, expected at least one line after the header")
    labels = pd.DataFrame({"epoch": "1", "rater": ""}, index=raw.index).assign(**raw)
    for column in ("epoch", "score"):
        labels[column] = pd.to_numeric(labels[column], errors="coerce")
    samples = pd.MultiIndex.from_frame(labels[SAMPLE])
    is_invalidated = _invalidated(samples, run.invalidated)
    is_known = samples.isin(pd.MultiIndex.from_frame(run.frame[SAMPLE])) | is_invalidated
    problems: dict[str, Any] = {
        "expected a score from 0 to 100": ~labels["score"].between(MIN_SCORE, MAX_SCORE),
        f"its sample and epoch are none of the {len(run.frame)} in {run.details['log']}": ~is_known,
        "a second label of the response, expected one by each rater": labels.duplicated([*SAMPLE, "rater"]),
    }
    for problem, is_so in problems.items():
        for number in np.flatnonzero(is_so):
            raise ValueError(f"{path.name}:{number + 2}: got {raw.iloc[number].to_dict()}, {problem}")
    return labels[~is_invalidated]


def _invalidated(samples: pd.Index, invalidated: Sequence[tuple[str, int]]) -> NDArray[np.bool_]:
    """Which of the samples, or the conversations that they are turns of, a person invalidated."""
    conversations = samples.get_level_values(0).str.replace(r"-turn-\d+$", "", regex=True)
    return pd.MultiIndex.from_arrays([conversations, samples.get_level_values(1)]).isin(list(invalidated))


def _check_same_responses(run_a: Run, run_b: Run) -> None:
    where = f"{run_a.details['log']} and {run_b.details['log']}"
    how = "two judges are compared on the same responses, so judge one log again with inspect score"
    invalidated = [*run_a.invalidated, *run_b.invalidated]  # in one of them or in both
    every = (run.frame.set_index(SAMPLE)["response"] for run in (run_a, run_b))
    a, b = (responses[~_invalidated(responses.index, invalidated)] for responses in every)
    for sample_id, epoch in sorted(a.index.symmetric_difference(b.index)):
        raise ValueError(f"{where}: sample {sample_id!r} epoch {epoch} is in one of them only; {how}")
    for sample_id, epoch in a.index[a != b.loc[a.index]]:
        raise ValueError(f"{where}: sample {sample_id!r} epoch {epoch} has two different responses; {how}")
    if run_a.protocol["rubrics"] != run_b.protocol["rubrics"]:
        raise ValueError(f"{where}: the rubrics have different hashes; {how}")
