"""Judged logs as the commands of `cpt judge` compare them, and the human labels that belong to one."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from cpt_tasks.report.logs import read_run
from cpt_tasks.report.run import Run
from rubrics import MAX_SCORE, MIN_SCORE, ScoreLevel

SAMPLE = ["sample_id", "epoch"]


def read_judged_log(path: str) -> Run:
    """The run in a judged .eval log whose samples all ask for a score level.

    Raises:
        ValueError: As `report.logs.run_of`, or if a sample asks for no level.
    """
    run = read_run(path)
    for row in run.frame[~run.frame["level"].isin(list(ScoreLevel))].itertuples():
        raise ValueError(
            f"{log_name(run)}: sample {row.sample_id!r} asks for level {row.level!r}, expected a log of a benchmark "
            f"that asks for {', '.join(ScoreLevel)}, such as rubric_adherence"
        )
    return run


def judge_name(run: Run) -> str:
    """The judge, with its protocol in brackets where that is not the weighted total of the criteria."""
    return f"{run.protocol['judge']}{' (holistic)' * (run.protocol['judge_protocol'] == 'holistic')}"


def log_name(run: Run) -> str:
    """Name of the log file."""
    return str(run.details["log"])


def read_labels(path: Path, run: Run) -> pd.DataFrame:
    """Human labels of a CSV file: `sample_id`, `epoch`, `rater` ("" where the file names none) and `score`, 0-100.

    The file has the columns sample_id and score, and optionally epoch (default 1) and rater.

    Raises:
        ValueError: Naming file and line: if a column is missing or unknown, a score is not a number from 0 to 100, an
            epoch is not a whole number, a sample is not in the log, or one rater labels a response twice.
    """
    # pandas' own reader takes a decimal comma, a field too many, for an index
    with path.open(encoding="utf-8-sig", newline="") as file:
        columns, *rows = [row for row in csv.reader(file) if row] or [[]]
    if not {"sample_id", "score"} <= set(columns) <= {"sample_id", "score", "epoch", "rater"}:
        raise ValueError(
            f"{path.name}:1: got columns {columns}, expected sample_id and score, and optionally epoch and rater"
        )
    for line, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise ValueError(f"{path.name}:{line}: got {len(row)} fields, expected {len(columns)} as in the header")
    if not rows:
        raise ValueError(f"{path.name}: got no label, expected at least one line after the header")
    labels = pd.DataFrame(rows, columns=columns).reindex(columns=[*SAMPLE, "rater", "score"]).fillna({"rater": ""})
    labels["epoch"] = labels["epoch"].replace("", "1").fillna("1")
    numbers = labels.assign(
        score=pd.to_numeric(labels["score"], errors="coerce"), epoch=pd.to_numeric(labels["epoch"], errors="coerce")
    )
    samples = pd.MultiIndex.from_frame(run.frame[SAMPLE])
    response = "sample {sample_id!r} epoch {epoch}"
    checks = {
        "score is {score!r}, expected a number from 0 to 100": ~numbers["score"].between(MIN_SCORE, MAX_SCORE),
        "epoch is {epoch!r}, expected a whole number from 1": numbers["epoch"] % 1 != 0,
        f"{response} is not in {log_name(run)}, expected one of its {len(samples)} responses, such as "
        f"{samples[0][0]!r} epoch 1": ~pd.MultiIndex.from_frame(numbers[SAMPLE]).isin(samples),
        f"{response} has two labels by rater {{rater!r}}, expected one; name the raters in a column rater": (
            numbers.duplicated([*SAMPLE, "rater"])
        ),
    }
    for problem, is_bad in checks.items():
        bad = labels[np.asarray(is_bad, dtype=bool)]
        if len(bad):
            raise ValueError(f"{path.name}:{int(bad.index[0]) + 2}: {problem.format(**bad.iloc[0].to_dict())}")
    return numbers.astype({"epoch": int})
