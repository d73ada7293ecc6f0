"""Reads the judged responses of an eval log one by one, and the human labels that belong to them."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalSample, read_eval_log

from cpt_tasks.runs import run_of, score_of
from judges.measures import words
from rubrics import MAX_SCORE, MIN_SCORE, ScoreLevel

NAN = float("nan")
SampleKey = tuple[str, int]


@dataclass(frozen=True)
class JudgedSample:
    """One response of a log; `score` is 0-100, or nan when the judge failed."""

    rubric: str
    level: ScoreLevel
    prompt_id: str
    response: str
    score: float

    @property
    def words(self) -> int:
        """Length of the response in words, at least 1."""
        return max(1, len(words(self.response)))


@dataclass(frozen=True)
class JudgedLog:
    """The responses of one model with the scores of one judge.

    Attributes:
        model: Name of the model that was judged, with its prompting.
        log: Name of the log file.
        judge: The judge, with its protocol in brackets where that is not the weighted total of the criteria.
        prompt_version: Version of its prompt.
        protocol: What `runs.check_comparable` compares.
        samples: By (sample id, epoch), in the order of the log.
    """

    model: str
    log: str
    judge: str
    prompt_version: str
    protocol: dict[str, Any]
    samples: dict[SampleKey, JudgedSample]


@dataclass(frozen=True)
class Label:
    """A human score, 0-100, of one response, by one rater ("" where the file names none)."""

    sample: SampleKey
    rater: str
    score: float


def read_judged_log(path: str) -> JudgedLog:
    """The responses and scores in one .eval log.

    Raises:
        ValueError: As `runs.read_run`: if the log did not finish, was judged twice, or holds no judged sample.
    """
    log = read_eval_log(path)
    run = run_of(log)
    holistic = run.protocol.get("judge_protocol") == "holistic"
    return JudgedLog(
        model=run.name,
        log=Path(path).name,
        judge=run.protocol["judge"] + " (holistic)" * holistic,
        prompt_version=run.protocol["prompt_version"],
        protocol=run.protocol,
        samples={(str(sample.id), sample.epoch): _judged(sample, Path(path).name) for sample in log.samples or []},
    )


def read_labels(path: Path, log: JudgedLog) -> list[Label]:
    """Labels of a CSV file with the columns sample_id and score, and optionally epoch (default 1) and rater.

    Raises:
        ValueError: Naming file and line: if a column is missing or unknown, a score is not a number from 0 to 100, an
            epoch is not a whole number, a sample is not in the log, or one rater labels a response twice.
    """
    known, optional = {"sample_id", "score"}, {"epoch", "rater"}
    labels: list[Label] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restkey="more")
        columns = set(reader.fieldnames or ())
        if not known <= columns <= known | optional:
            raise ValueError(
                f"{path.name}:1: got columns {reader.fieldnames or []}, expected sample_id and score, and optionally "
                "epoch and rater"
            )
        for row in reader:
            labels.append(_label(row, f"{path.name}:{reader.line_num}", log))
            if any((labels[-1].sample, labels[-1].rater) == (label.sample, label.rater) for label in labels[:-1]):
                raise ValueError(
                    f"{path.name}:{reader.line_num}: sample {labels[-1].sample[0]!r} epoch {labels[-1].sample[1]} has "
                    f"two labels by rater {labels[-1].rater!r}, expected one; name the raters in a column rater"
                )
    if not labels:
        raise ValueError(f"{path.name}: got no label, expected at least one line after the header")
    return labels


def _label(row: dict[str, Any], where: str, log: JudgedLog) -> Label:
    if row.get("more") or None in row.values():
        raise ValueError(f"{where}: the line has more or fewer fields than the header, expected as many")
    score = _number(row["score"])
    if not MIN_SCORE <= score <= MAX_SCORE:
        raise ValueError(f"{where}: score is {row['score']!r}, expected a number from 0 to 100")
    epoch = _number(row.get("epoch") or "1")
    if not epoch.is_integer():
        raise ValueError(f"{where}: epoch is {row['epoch']!r}, expected a whole number from 1")
    key = (row["sample_id"], int(epoch))
    if key not in log.samples:
        raise ValueError(
            f"{where}: sample {key[0]!r} epoch {key[1]} is not in {log.log}, expected one of its "
            f"{len(log.samples)} responses, such as {next(iter(log.samples))[0]!r} epoch 1"
        )
    return Label(key, row.get("rater") or "", score)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return NAN


def _judged(sample: EvalSample, where: str) -> JudgedSample:
    score = score_of(sample, where)
    level = sample.metadata["level"]
    if level not in [known.value for known in ScoreLevel]:
        raise ValueError(
            f"{where}: sample {sample.id!r} asks for level {str(level)!r}, expected a log of a benchmark that asks for "
            f"{', '.join(ScoreLevel)}, such as rubric_adherence"
        )
    return JudgedSample(
        rubric=sample.metadata["rubric"],
        level=ScoreLevel(level),
        prompt_id=sample.metadata["prompt_id"],
        response=sample.output.completion,
        score=score.as_float() if score else NAN,
    )
