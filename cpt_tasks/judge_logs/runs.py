"""Judged logs as the commands of `cpt judge` compare them, and the human labels that belong to one."""

import csv
from pathlib import Path
from typing import Any

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
    known, optional = {"sample_id", "score"}, {"epoch", "rater"}
    samples = set(zip(run.frame["sample_id"], run.frame["epoch"], strict=True))
    labels: dict[tuple[str, int, str], float] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restkey="more")
        columns = set(reader.fieldnames or ())
        if not known <= columns <= known | optional:
            raise ValueError(
                f"{path.name}:1: got columns {reader.fieldnames or []}, expected sample_id and score, and optionally "
                "epoch and rater"
            )
        for row in reader:
            where = f"{path.name}:{reader.line_num}"
            key, score = _label(row, where)
            if key[:2] not in samples:
                raise ValueError(
                    f"{where}: sample {key[0]!r} epoch {key[1]} is not in {log_name(run)}, expected one of its "
                    f"{len(samples)} responses, such as {run.frame['sample_id'].iloc[0]!r} epoch 1"
                )
            if key in labels:
                raise ValueError(
                    f"{where}: sample {key[0]!r} epoch {key[1]} has two labels by rater {key[2]!r}, expected one; name "
                    "the raters in a column rater"
                )
            labels[key] = score
    if not labels:
        raise ValueError(f"{path.name}: got no label, expected at least one line after the header")
    return pd.DataFrame([(*key, score) for key, score in labels.items()], columns=[*SAMPLE, "rater", "score"])


def _label(row: dict[str, Any], where: str) -> tuple[tuple[str, int, str], float]:
    if row.get("more") or None in row.values():
        raise ValueError(f"{where}: the line has more or fewer fields than the header, expected as many")
    score, epoch = _number(row["score"]), _number(row.get("epoch") or "1")
    if not MIN_SCORE <= score <= MAX_SCORE:
        raise ValueError(f"{where}: score is {row['score']!r}, expected a number from 0 to 100")
    if not epoch.is_integer():
        raise ValueError(f"{where}: epoch is {row['epoch']!r}, expected a whole number from 1")
    return (row["sample_id"], int(epoch), row.get("rater") or ""), score


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
