"""Reads judged responses of teachers, and of students and base models in eval logs, into one frame.

A row is a response: the columns of `COLUMNS`. `where` is its place, `kind` teacher, student or base, `score` 0-100. The
judge of all of them is the same, and so is the version of each rubric.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from data_gen.responses import Problems, iter_responses
from judges import Judgment
from judges.judgment import read_judgment
from model_calls.visible import answer_of
from rubrics import Rubric
from rubrics.files import shown
from rubrics.texts import whole_characters

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample

SCORER, TASK = "rubric_judge", "rubric_adherence"
COLUMNS = ["where", "writer", "kind", "rubric", "rubric_hash", "level", "user_prompt_id", "score", "response", "judge"]
LeftOut = dict[str, Counter[str]]


def read_rows(
    paths: Iterable[Path], logs: Sequence[tuple[Path, str]], rubrics: Mapping[str, Rubric]
) -> tuple[pd.DataFrame, LeftOut]:
    """The judged responses of teachers, students and a base model, and what was left out, by where and why.

    Args:
        paths: Responses files. Rows that are bad or unjudged are said on stderr, counted and left out.
        logs: Logs of `rubric_adherence`, each "student" or "base". Samples without a score or a response, or of a
            rubric no teacher has, are left out.
        rubrics: Rubrics by id.

    Raises:
        ValueError: If a file is missing or of another kind, no row is judged, a model has two logs, or rows have
            different judges or versions of a rubric.
    """
    problems = Problems()
    teachers = pd.DataFrame(_teacher_rows(paths, rubrics, problems), columns=COLUMNS)
    if teachers.empty:
        raise ValueError(f"no judged response among {problems.counts.total()} rows; judge them: cpt verify --keep all")
    frames, left_out = [teachers.sort_values("writer", kind="stable")], {"responses files": problems.counts}
    for path, kind in logs:
        name = _model_of(path)
        where = f"{kind} {name}"
        if where in left_out:
            raise ValueError(f"{where} has 2 logs, expected one log per model")
        left_out[where] = Counter()
        rows = _log_rows(path, name, kind, set(teachers["rubric"]), left_out[where])
        frames.append(pd.DataFrame(rows, columns=COLUMNS))
        if frames[-1].empty:
            known = ", ".join(sorted(set(teachers["rubric"])))
            raise ValueError(f"{path.name}: no sample scored by {SCORER} for a rubric of {known}")
    every = pd.concat(frames, ignore_index=True)
    _check_same(every)
    return every, left_out


def _teacher_rows(
    paths: Iterable[Path], rubrics: Mapping[str, Rubric], problems: Problems
) -> Iterator[tuple[Any, ...]]:
    for where, row in iter_responses(paths, rubrics, problems):
        if row.judgment is None:
            problems.add("unjudged", f"{where}: no judgment, expected one; judge the rows with `cpt verify --keep all`")
            continue
        judge = f"{row.judgment.judge} (judge version {row.judgment.prompt_version})"
        about = (row.rubric, row.rubric_hash, str(row.level), row.user_prompt_id)
        yield where, row.teacher, "teacher", *about, row.judgment.score, row.response, judge


def _log_rows(path: Path, name: str, kind: str, wanted: set[str], left_out: Counter[str]) -> Iterator[tuple[Any, ...]]:
    from inspect_ai.log import read_eval_log_samples

    for sample in read_eval_log_samples(str(path)):
        if sample.invalidation is not None:
            left_out["invalidated by a person"] += 1
            continue
        about, where = sample.metadata, f"{path.name}: sample {sample.id!r}"
        judgment = _judgment(sample, where)
        # what was not read scores 0, unless a person scored it
        if judgment is None or (judgment.reason and not judgment.score):
            left_out["unscored" if judgment is None else "no response"] += 1
            continue
        if about["rubric"] not in wanted:
            left_out["rubric without teacher"] += 1
            continue
        user_prompt_id = about["user_prompt_id" if "user_prompt_id" in about else "prompt_id"]
        cell = (about["rubric"], about["rubric_hash"], str(about["level"]), user_prompt_id)
        judge = judgment.judge + " (holistic)" * (judgment.protocol == "holistic")
        judge += f" (judge version {judgment.prompt_version})"
        response = whole_characters(answer_of(sample.output, sample.metadata)[0])
        yield where, name, kind, *cell, judgment.score, response, judge


def _model_of(path: Path) -> str:
    """The model of a log of the task that is whole."""
    from inspect_ai.log import read_eval_log

    try:
        log = read_eval_log(str(path), header_only=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name}: not readable ({error}), expected an .eval log of {TASK}") from error
    if log.eval.task.split("/")[-1] != TASK:
        raise ValueError(f"{path.name}: log of the task {log.eval.task!r}, expected one of {TASK}")
    if log.status != "success":
        raise ValueError(f"{path.name}: status is {log.status!r}, expected success; finish it with inspect eval-retry")
    name = shown(log.eval.model.split("/", 1)[-1])
    prompting = log.eval.task_args.get("prompting", "system_prompt")
    return name if prompting == "system_prompt" else f"{name} [{prompting}]"


def _judgment(sample: "EvalSample", where: str) -> Judgment | None:
    scores = [score for name, score in (sample.scores or {}).items() if name.split("/")[-1].startswith(SCORER)]
    if len(scores) > 1:
        raise ValueError(f"{where}: judged more than once, expected one judgment per sample")
    # a person's edit sets the score, and may replace what the judge wrote beside it
    written = (scores[0].history or scores)[0].metadata if scores else None
    judgment = read_judgment(written) if isinstance(written, dict) else None
    if not isinstance(judgment, Judgment) or isnan(scores[0].as_float()):
        return None
    return judgment.model_copy(update={"score": scores[0].as_float()})


def _check_same(rows: pd.DataFrame) -> None:
    first_judge = pd.Series(rows["judge"].iloc[0], rows.index)
    first_hash: Any = rows.groupby("rubric")["rubric_hash"].transform("first")
    for column, expected in (("judge", first_judge), ("rubric_hash", first_hash)):
        odd = rows.index[rows[column] != expected]
        if len(odd):
            where, rubric, got = rows.loc[odd[0], ["where", "rubric", column]]
            raise ValueError(
                f"{where}: {column} of {rubric!r} is {got}, expected {expected[odd[0]]} as in the rows before; "
                "different judges or versions of a rubric cannot stand in one report"
            )
