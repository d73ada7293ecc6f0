"""Reads judged responses of teachers, and of students and base models in eval logs, into one frame.

A row is a response: `writer`, `kind` (teacher, student or base), `rubric`, `level`, `user_prompt_id`, `score` (0-100),
`response`. The judge of all of them is the same, and so is the version of each rubric.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from data_gen.responses import Problems, iter_responses
from judges import Judgment
from judges.judgment import read_judgment
from rubrics import Rubric

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

SCORER, TASK = "rubric_judge", "rubric_adherence"
COLUMNS = ["writer", "kind", "rubric", "level", "user_prompt_id", "score", "response"]


@dataclass
class Report:
    """What all numbers of a report rest on.

    Attributes:
        rows: The responses.
        judge: The judge of all of them and the version of its prompt.
        rubrics: Hash by rubric id.
        left_out: Responses that are not counted, by where they stand and why.
    """

    rows: pd.DataFrame
    judge: tuple[str, str]
    rubrics: dict[str, str]
    left_out: dict[str, Counter[str]] = field(default_factory=dict)


def read_teachers(
    paths: Iterable[Path], rubrics: Mapping[str, Rubric], problems: Problems, limit: int | None = None
) -> Report:
    """The judged responses of teachers. Rows that are bad or unjudged go to `problems`, and the others on.

    Args:
        paths: Responses files.
        rubrics: Rubrics by id.
        problems: Where bad rows are reported.
        limit: User prompts per teacher, the first ones in the files; None takes all.

    Raises:
        ValueError: If a file is missing, the rows have different judges or versions of a rubric, or none is judged.
    """
    judge: tuple[str, str] | None = None
    prompts: dict[str, set[str]] = {}
    rows, over_limit = [], Counter[str]()
    for where, row in iter_responses(paths, rubrics, problems):
        if row.judgment is None:
            problems.add("unjudged", f"{where}: no judgment, expected one; judge the rows with `cpt verify --keep all`")
            continue
        judge = judge or (row.judgment.judge, row.judgment.prompt_version)
        check_judge(where, (row.judgment.judge, row.judgment.prompt_version), judge)
        mine = prompts.setdefault(row.teacher, set())
        if limit and row.user_prompt_id not in mine and len(mine) >= limit:
            over_limit["limit"] += 1
            continue
        mine.add(row.user_prompt_id)
        cell = (row.teacher, "teacher", row.rubric, str(row.level), row.user_prompt_id)
        rows.append((*cell, row.judgment.score, row.response))
    if edited := problems.counts["edited_rubric"]:
        raise ValueError(
            f"{edited} rows were written for another version of their rubric, expected one rubric hash per rubric in a "
            "report; leave these rows out, or restore the rubric"
        )
    if judge is None:
        raise ValueError(f"no judged response among {problems.counts.total()} rows; judge them: cpt verify --keep all")
    frame = pd.DataFrame(rows, columns=COLUMNS).sort_values("writer", kind="stable")
    hashes = {name: rubrics[name].hash for name in sorted(frame["rubric"].unique())}
    return Report(frame, judge, hashes, {"responses files": problems.counts + over_limit})


def add_log(report: Report, path: Path, kind: str) -> None:
    """Adds the judged responses in an .eval log of `rubric_adherence`; unscored samples are counted and left out.

    Raises:
        ValueError: If the log is missing, is of another task, did not finish, holds no scored sample of a rubric the
            teachers wrote for, has another judge or version of a rubric than the teachers, or is a second of its model.
    """
    from inspect_ai.log import read_eval_log_samples

    name = _check_header(path)
    if ((report.rows["writer"] == name) & (report.rows["kind"] == kind)).any():
        raise ValueError(f"{kind} {name!r} has 2 logs, expected one log per model")
    left_out: Counter[str] = Counter()
    rows = []
    for sample in read_eval_log_samples(str(path)):
        about, where = sample.metadata, f"{path.name}: sample {sample.id!r}"
        judgment = _judgment(sample, where)
        if judgment is None:
            left_out["unscored"] += 1
            continue
        if about["rubric"] not in report.rubrics:
            left_out["rubric without teacher"] += 1
            continue
        judge = judgment.judge + " (holistic)" * (judgment.protocol == "holistic")
        check_judge(where, (judge, judgment.prompt_version), report.judge)
        if about["rubric_hash"] != (expected := report.rubrics[about["rubric"]]):
            raise ValueError(
                f"{where}: judged by rubric {about['rubric']!r} with hash {about['rubric_hash']}, expected {expected} "
                "as in the responses; run the task again with this version of the rubric"
            )
        user_prompt_id = about["user_prompt_id" if "user_prompt_id" in about else "prompt_id"]
        cell = (name, kind, about["rubric"], str(about["level"]), user_prompt_id)
        rows.append((*cell, judgment.score, sample.output.completion))
    if not rows:
        raise ValueError(f"{path.name}: no sample scored by {SCORER} for a rubric of {', '.join(report.rubrics)}")
    report.rows = pd.concat([report.rows, pd.DataFrame(rows, columns=COLUMNS)])
    report.left_out[name] = left_out


def check_judge(where: str, judge: tuple[str, str], expected: tuple[str, str]) -> None:
    """Raises ValueError, naming the place, unless both judges and versions of their prompts are the same."""
    if judge != expected:
        raise ValueError(
            f"{where}: judged by {judge[0]} (prompt version {judge[1]}), expected {expected[0]} (prompt version "
            f"{expected[1]}) as the rows before; scores of different judges cannot stand in one report"
        )


def _check_header(path: Path) -> str:
    """The model of a log."""
    from inspect_ai.log import read_eval_log

    if not path.is_file():
        raise ValueError(f"{path}: not found, expected an .eval log of {TASK}")
    try:
        log: EvalLog = read_eval_log(str(path), header_only=True)
    except ValueError as error:
        raise ValueError(f"{path.name}: not readable ({error}), expected an .eval log of {TASK}") from error
    if log.eval.task.split("/")[-1] != TASK:
        raise ValueError(f"{path.name}: log of the task {log.eval.task!r}, expected one of {TASK}")
    if log.status != "success":
        raise ValueError(f"{path.name}: status is {log.status!r}, expected success; finish it with inspect eval-retry")
    model = Path(log.eval.model.split("/", 1)[-1])
    name = model.name if model.is_absolute() else str(model)  # a folder says where things are on this machine
    prompting = log.eval.task_args.get("prompting", "system_prompt")
    return name if prompting == "system_prompt" else f"{name} [{prompting}]"


def _judgment(sample: "EvalSample", where: str) -> Judgment | None:
    scores = [score for name, score in (sample.scores or {}).items() if name.split("/")[-1].startswith(SCORER)]
    if len(scores) > 1:
        raise ValueError(f"{where}: judged more than once, expected one judgment per sample")
    judgment = read_judgment(scores[0].metadata or {}) if scores else None
    return judgment if isinstance(judgment, Judgment) else None
