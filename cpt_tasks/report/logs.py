"""Reads eval logs into runs."""

import hashlib
import json
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log

from cpt_tasks.report.run import Judging, Run
from cpt_tasks.statistics.frame import SCORER, frame_of
from judges import ScoreRecord
from judges.cost import total_usd
from judges.reliability import noise_lines

SHOWN_MODEL_ARGS = ("dtype", "do_sample", "enable_thinking", "device", "batch_size")
IFEVAL = "ifeval"
IFEVAL_HEADLINE = "final_acc"


def find_logs(paths: Iterable[str]) -> list[str]:
    """Log files in the order given; a folder stands for its finished logs, oldest first.

    Raises:
        ValueError: If a path does not exist, or a folder holds no finished log.
    """
    files: list[str] = []
    for path in paths:
        if not Path(path).exists():
            raise ValueError(f"{path}: not found, expected an .eval log or a folder of logs")
        if Path(path).is_file():
            files.append(path)
            continue
        finished = list_eval_logs(path, filter=lambda log: log.status == "success", descending=False)
        if not finished:
            raise ValueError(f"{path}: no finished log found, expected at least one")
        files += [info.name for info in finished]
    return files


def read_run(path: str) -> Run:
    """The run in one .eval log.

    Raises:
        ValueError: If the log did not finish, holds no sample that was judged by a rubric, or mixes judges.
    """
    log = read_eval_log(path)
    where = Path(log.location).name
    if log.status != "success":
        raise ValueError(f"{where}: status is {log.status!r}, expected success; finish it with inspect eval-retry")
    name = shown(log.eval.model.split("/", 1)[-1])
    about = log.eval.metadata or {}
    common: dict[str, Any] = {
        "task": task_name(log),
        "model": shown(log.eval.model),
        "base": str(about.get("base", name)),
        "adapter": about.get("adapter"),
    }
    if task_name(log) == IFEVAL:
        return _ifeval_run(log, name, common)
    frame = frame_of(log)
    scored = frame[frame["score"].notna()] if len(frame) else frame
    if scored.empty:
        raise ValueError(f"{where}: no sample was scored by {SCORER}, expected a judged log of a cpt_tasks benchmark")
    prompting = str(log.eval.task_args.get("prompting", "system_prompt"))
    return Run(
        **common,
        name=name if prompting == "system_prompt" else f"{name} [{prompting}]",
        prompting=prompting,
        protocol=_protocol(log, frame, prompting),
        frame=frame,
        judging=_judging(frame),
        details=details_of(log),
        further_rubrics={
            rubric: entry.rubric_hash for record in scored["record"] for rubric, entry in record.also.items()
        },
    )


def task_name(log: EvalLog) -> str:
    """The name of a log's benchmark without its package."""
    return log.eval.task.split("/")[-1]


def shown(text: str) -> str:
    """An argument or name as a result may carry it: of an absolute path only the last part."""
    return Path(text).name if Path(text).is_absolute() else text


def _ifeval_run(log: EvalLog, name: str, common: Mapping[str, Any]) -> Run:
    """The run in a log of `inspect_evals/ifeval`: only the results in it are read, they stand under `details`."""
    scores = log.results.scores if log.results else []
    values = {name: float(metric.value) for score in scores for name, metric in score.metrics.items()}
    results = {name: value for name, value in values.items() if not math.isnan(value)}
    if IFEVAL_HEADLINE not in results:
        raise ValueError(
            f"{Path(log.location).name}: no metric {IFEVAL_HEADLINE!r} in it, expected one of inspect_evals/ifeval"
        )
    n = log.results.completed_samples if log.results else 0
    return Run(
        **common,
        name=name,
        prompting="system_prompt",
        protocol={"task": task_name(log), "task_version": str(log.eval.task_version), "n": n},
        frame=pd.DataFrame(columns=["score", "level", "record", "stop_reason"]),
        details=details_of(log) | {"n": n, "results": results},
    )


def _judging(frame: pd.DataFrame) -> Judging:
    judged = frame[frame["record"].notna()]
    records: list[ScoreRecord] = list(judged["record"])
    further = [(rubric, entry) for record in records for rubric, entry in record.also.items()]
    asked = [*(record.judgment for record in records), *(entry for _, entry in further)]
    usage: Counter[str] = Counter()
    for entry in asked:
        usage.update(entry.usage)
    failed = judged[judged["failure"] != ""]
    return Judging(
        failures=Counter(zip(failed["failure"], failed["level"], strict=True)),
        attempts=sum(entry.attempts for entry in asked),
        usage=usage,
        cost_usd=total_usd([entry.cost_usd for entry in asked if entry.attempts]),
        noise=noise_lines(record.judgment for record in records),
        further_failures=Counter((entry.failure_mode, rubric) for rubric, entry in further if entry.failure_mode),
    )


def _protocol(log: EvalLog, frame: pd.DataFrame, prompting: str) -> dict[str, Any]:
    judgments = [record.judgment for record in frame[frame["score"].notna()]["record"]]

    def only(key: str) -> str:
        values = {str(getattr(judgment, key)) for judgment in judgments}
        if len(values) > 1:
            raise ValueError(f"{log.eval.task}: samples of one log differ in {key}: {sorted(values)}, expected one")
        return values.pop()

    arguments = log.eval.task_args
    cell = ["rubric", "level", "user_prompt_id", "epoch", "cell", "target", "style"]
    wordings = int(frame.groupby(cell, dropna=False).size().max())
    grid = sorted(json.dumps(row, default=str) for row in frame[cell].drop_duplicates().to_numpy().tolist())
    return {
        "task": task_name(log),
        "task_version": str(log.eval.task_version),
        "judge": only("judge"),
        "prompt_version": only("prompt_version"),
        "judge_protocol": only("protocol"),
        "judge_hash": only("judge_hash"),
        "judge_prompt_hash": only("prompt_hash"),
        "judge_repeats": ",".join(sorted({str(record.judge_repeats) for record in frame["record"].dropna()})),
        "rubrics": dict(sorted(zip(frame["rubric"], frame["rubric_hash"], strict=True))),
        "split": str(arguments.get("user_prompts", "test")),
        "wording_split": str(arguments.get("wording_split", arguments.get("paraphrases", "heldout"))),
        "user_prompts": int(frame["user_prompt_id"].nunique()),
        # the full rubric has one wording, whatever the system prompts beside it have
        "wordings_per_cell": wordings if prompting == "system_prompt" else None,
        "grid": hashlib.sha256(json.dumps(grid).encode()).hexdigest()[:12],
    }


def details_of(log: EvalLog) -> dict[str, Any]:
    """What a result may say of how a log was made."""
    # an allow-list: other arguments of a model can be keys, addresses or folders of a machine
    arguments = {key: log.eval.model_args[key] for key in SHOWN_MODEL_ARGS if key in log.eval.model_args}
    config = log.eval.model_generate_config.model_dump(exclude_none=True) | log.plan.config.model_dump(
        exclude_none=True
    )
    return {
        "log": Path(log.location).name,
        "command": _command(log),
        "created": log.eval.created,
        "commit": log.eval.revision.commit if log.eval.revision else "unknown",
        "model_args": arguments,
        "generate_config": config,
        "packages": log.eval.packages,
        "seconds": (pd.Timestamp(log.stats.completed_at) - pd.Timestamp(log.stats.started_at)).total_seconds(),
    }


def _command(log: EvalLog) -> str:
    """The `inspect eval` that the log says was run; folders and arguments that may be secret stand as `...`."""
    words = ["inspect", "eval", f"cpt_tasks/{task_name(log)}", "--model", shown(log.eval.model)]
    for name, value in log.eval.model_args.items():
        words += ["-M", f"{name}={value if name in SHOWN_MODEL_ARGS else '...'}"]
    for name, value in log.eval.task_args_passed.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        words += ["-T", f"{name}={','.join(shown(part) for part in text.split(','))}"]
    for name, value in log.eval.model_generate_config.model_dump(exclude_none=True).items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)
