"""Reads eval logs into runs."""

import hashlib
import json
import math
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log

from cpt_tasks.report.run import Judging, Run
from cpt_tasks.statistics.frame import SCORER, frame_of
from judges import ScoreRecord
from judges.cost import total_usd
from judges.interval import NAN
from judges.reliability import noise_lines, noise_values

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
    name, about = shown(log.eval.model.split("/", 1)[-1]), log.eval.metadata or {}
    prompting = str(log.eval.task_args.get("prompting", "system_prompt"))
    run = Run(
        task=task_name(log),
        name=name if prompting == "system_prompt" else f"{name} [{prompting}]",
        model=shown(log.eval.model),
        base=str(about.get("base", name)),
        adapter=about.get("adapter"),
        prompting=prompting,
        protocol={"task": task_name(log), "task_version": str(log.eval.task_version)},
        frame=pd.DataFrame(columns=["score", "level", "record", "stop_reason", "thought_words"]),
        details=_details(log),
    )
    if run.task == IFEVAL:
        return _with_ifeval(run, log)
    frame = frame_of(log)
    scored = frame[frame["score"].notna()] if len(frame) else frame
    if scored.empty:
        raise ValueError(f"{where}: no sample was scored by {SCORER}, expected a judged log of a cpt_tasks benchmark")
    further = [entry for record in scored["record"] for entry in record.also.items()]
    return replace(
        run,
        protocol=run.protocol | _protocol(log, frame, prompting),
        frame=frame,
        judging=_judging(frame),
        further_rubrics={rubric: entry.rubric_hash for rubric, entry in further},
    )


def task_name(log: EvalLog) -> str:
    """The name of a log's benchmark without its package."""
    return log.eval.task.split("/")[-1]


def shown(text: str) -> str:
    """An argument or name as a result may carry it: of an absolute path only the last part."""
    return Path(text).name if Path(text).is_absolute() else text


def _with_ifeval(run: Run, log: EvalLog) -> Run:
    """With the results of a log of `inspect_evals/ifeval`, under `details`; its samples are not read."""
    scores = log.results.scores if log.results else []
    values = {name: float(metric.value) for score in scores for name, metric in score.metrics.items()}
    results = {name: value for name, value in values.items() if not math.isnan(value)}
    if IFEVAL_HEADLINE not in results:
        raise ValueError(
            f"{Path(log.location).name}: no metric {IFEVAL_HEADLINE!r} in it, expected one of inspect_evals/ifeval"
        )
    n = log.results.completed_samples if log.results else 0
    return replace(run, protocol=run.protocol | {"n": n}, details=run.details | {"n": n, "results": results})


def _judging(frame: pd.DataFrame) -> Judging:
    judged = frame[frame["record"].notna()]
    records: list[ScoreRecord] = list(judged["record"])
    further = [(rubric, entry) for record in records for rubric, entry in record.also.items()]
    asked = [*(record.judgment for record in records), *(entry for _, entry in further)]
    usage: Counter[str] = Counter()
    for entry in asked:
        usage.update(entry.usage)
    failed = judged[judged["failure"] != ""]
    failures = Counter(failed["failure"] + " at " + failed["level"])
    further_failures = Counter(f"{entry.failure_mode} by {rubric}" for rubric, entry in further if entry.failure_mode)
    return Judging(
        failures=dict(sorted(failures.items())),
        further_failures=dict(sorted(further_failures.items())),
        attempts=sum(entry.attempts for entry in asked),
        usage=usage,
        cost_usd=total_usd([entry.cost_usd for entry in asked if entry.attempts]),
        noise=noise_lines(record.judgment for record in records),
        attainable_accuracy=noise_values(record.judgment for record in records).get("attainable_accuracy", NAN),
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


def _details(log: EvalLog) -> dict[str, Any]:
    """What a result may say of how a log was made."""
    own_config = log.eval.model_generate_config.model_dump(exclude_none=True)
    return {
        "log": Path(log.location).name,
        "command": _command(log),
        "created": log.eval.created,
        "commit": log.eval.revision.commit if log.eval.revision else "unknown",
        # an allow-list: other arguments of a model can be keys, addresses or folders of a machine
        "model_args": {key: log.eval.model_args[key] for key in SHOWN_MODEL_ARGS if key in log.eval.model_args},
        "generate_config": own_config | log.plan.config.model_dump(exclude_none=True),
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
