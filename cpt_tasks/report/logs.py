"""Reads eval logs into runs."""

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log

from cpt_tasks.options import decoding_of
from cpt_tasks.report.run import Judging, Run
from cpt_tasks.samples import content_hash
from cpt_tasks.statistics.frame import SCORER, frame_of
from judges import Judgment, ScoreRecord
from judges.cost import total_usd
from judges.interval import NAN
from judges.reliability import noise_lines, noise_values
from rubrics.files import shown

SHOWN_MODEL_ARGS = ("dtype", "do_sample", "enable_thinking", "device", "batch_size", "precision")
CELL = ["rubric", "level", "user_prompt_id", "epoch", "cell", "target", "style"]


def find_logs(paths: Iterable[str]) -> list[str]:
    """Log files in the order given; a folder stands for its finished logs, oldest first.

    Paths may be addresses of any file system that inspect can read (`s3://`, `gs://`, `memory://`, ...).

    Raises:
        ValueError: If a path cannot be read or does not exist, or a folder holds no finished log.
    """
    files: list[str] = []
    for path in paths:
        is_file = path.endswith((".eval", ".json"))
        with _one_sentence(path):
            infos = list_eval_logs(path, descending=False)
        logs = [info.name.removeprefix("file://") for info in infos]
        if not is_file:  # by the files' times as inspect gives them, which in a clone are those of the checkout
            headers = {log: read_log_file(log, header_only=True) for log in logs}
            finished = [log for log in logs if headers[log].status == "success"]
            logs = sorted(finished, key=lambda log: headers[log].eval.created)
        if not logs:
            problem = f"{len(infos)} logs in it, none of them finished" if infos else "not found, or no log in it"
            problem = "not found" if is_file else problem
            raise ValueError(f"{path}: {problem}, expected an .eval log or a folder with finished ones")
        files += logs
    return files


def read_log_file(path: str, header_only: bool = False) -> EvalLog:
    """A log, or only what stands before its samples; ValueError if it cannot be read."""
    with _one_sentence(path):
        return read_eval_log(path, header_only=header_only)


def read_run(path: str) -> Run:
    """The run in one .eval log.

    Raises:
        ValueError: If the log cannot be read or did not finish, holds no sample that was judged by a rubric, or mixes
            judges.
    """
    log = read_log_file(path)
    where = Path(log.location).name
    if log.status != "success":
        raise ValueError(f"{where}: status is {log.status!r}, expected success; finish it with inspect eval-retry")
    name, about = shown(log.eval.model.split("/", 1)[-1]), log.eval.metadata or {}
    prompting, details = str(log.eval.task_args.get("prompting", "system_prompt")), _details(log)
    shows = f"picture={log.eval.task_args.get('picture', 'own')}"
    unusual = [one for one in (prompting, shows) if one not in ("system_prompt", "picture=own")]
    every = frame_of(log, invalidated=True)
    frame = every[~every["invalidated"]] if len(every) else every
    if frame.empty or frame["score"].isna().all():
        raise ValueError(f"{where}: no sample was scored by {SCORER}, expected a judged log of a cpt_tasks benchmark")
    further = [entry for record in frame["record"].dropna() for entry in record.also.items()]
    about_task = {"task": task_name(log), "task_version": str(log.eval.task_version)}
    return Run(
        task=task_name(log),
        name=f"{name} [{', '.join(unusual)}]" if unusual else name,
        model=_model_shown(log.eval.model),
        base=str(about.get("base", name)),
        adapter=about.get("adapter"),
        prompting=prompting,
        protocol=about_task | _protocol(log, every, prompting),
        frame=frame,
        judging=_judging(frame),
        details=details,
        decoding="recorded replies, settings not known"
        if log.eval.model.startswith("recorded/")
        else decoding_of(details["model_args"] | details["generate_config"], log.eval.model),
        invalidated=[(str(one.id), one.epoch) for one in log.samples or [] if one.invalidation is not None],
        further_rubrics={rubric: entry.rubric_hash for rubric, entry in further},
    )


def on_shared(runs: Sequence[Run]) -> list[Run]:
    """The runs with only the samples that all of the same benchmark and judge have; `left_out` counts the others.

    A sample is the same if its system prompt, user prompt and rubric are; beside the full rubric the wording of the
    system prompt does not matter.

    Raises:
        ValueError: If runs share no sample.
    """
    return [_on_shared(run, [one for one in runs if one.task == run.task]) for run in runs]


def _on_shared(run: Run, runs: Sequence[Run]) -> Run:
    kept = run.frame
    for other in [one for one in runs if one.judged_by == run.judged_by]:
        keys = ["sample_id", "epoch"] if other.prompting == run.prompting else [*CELL, "rubric_hash"]
        kept = kept[pd.MultiIndex.from_frame(kept[keys]).isin(pd.MultiIndex.from_frame(other.frame[keys]))]
    if kept.empty:
        raise ValueError(f"{run.name}: no sample of {run.task} is in all logs judged by {run.judged_by}, expected some")
    protocol = run.protocol | _asked(kept, run.prompting)
    left_out = len(run.frame) - len(kept)
    return replace(run, frame=kept, protocol=protocol, judging=_judging(kept), left_out=left_out)


def task_name(log: EvalLog) -> str:
    """The name of a log's benchmark without its package."""
    return log.eval.task.split("/")[-1]


@contextmanager
def _one_sentence(path: str) -> Iterator[None]:
    """Turns what a file system's client raises, from a missing package to a missing key, into a ValueError."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path}: not readable ({type(error).__name__}: {error}), expected an .eval log") from error


def _judging(frame: pd.DataFrame) -> Judging:
    judged = frame[frame["record"].notna()]
    records: list[ScoreRecord] = list(judged["record"])
    further = [(rubric, entry) for record in records for rubric, entry in record.also.items()]
    asked = [*(record.judgment for record in records), *(entry for _, entry in further)]
    asked += list(frame["selection_record"].dropna())
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
    judgments = [record.judgment for record in frame["record"].dropna() if isinstance(record.judgment, Judgment)]

    def only(key: str) -> str:
        values = {str(getattr(judgment, key)) for judgment in judgments} or {"people"}
        if len(values) > 1:
            raise ValueError(f"{log.eval.task}: samples of one log differ in {key}: {sorted(values)}, expected one")
        return values.pop()

    arguments = log.eval.task_args
    return {
        "judge": only("judge"),
        "prompt_version": only("prompt_version"),
        "judge_protocol": only("protocol"),
        "judge_hash": only("judge_hash"),
        # a question with a picture has a hash of its own
        "judge_prompt_hash": ",".join(sorted({judgment.prompt_hash for judgment in judgments} or {"people"})),
        "judge_repeats": ",".join(sorted({str(record.judge_repeats) for record in frame["record"].dropna()})),
        "split": str(arguments.get("user_prompts", "test")),
        "wording_split": str(arguments.get("paraphrases") or arguments.get("wording_split", "heldout")),
        **_asked(frame, prompting),
    }


def _asked(frame: pd.DataFrame, prompting: str) -> dict[str, Any]:
    """What of the protocol the samples say."""
    wordings = int(frame.groupby(CELL, dropna=False).size().max())
    later = frame[frame["rubric_version"] > 1]
    versions = dict(sorted(zip(later["rubric"], later["rubric_version"], strict=True)))
    grid = sorted(json.dumps(row, default=str) for row in frame[CELL].drop_duplicates().to_numpy().tolist())
    # their ids hold a hash of all turns, also of those by others (`history`)
    conversations = sorted(frame.loc[frame["script"] != "", "conversation"].unique())
    return {
        "rubrics": dict(sorted(zip(frame["rubric"], frame["rubric_hash"], strict=True))),
        # of the system prompts, which the full rubric does without; logs before version 2 of any rubric have none
        "rubric_versions": None if prompting != "system_prompt" else versions,
        "user_prompts": int(frame["user_prompt_id"].nunique()),
        # the full rubric has one wording, whatever the system prompts beside it have
        "wordings_per_cell": wordings if prompting == "system_prompt" else None,
        "grid": hashlib.sha256(json.dumps(grid).encode()).hexdigest()[:12],
    } | ({"conversations": content_hash(conversations)} if conversations else {})


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
        "provenance": str((log.eval.metadata or {}).get("provenance", "")),
        "seconds": (pd.Timestamp(log.stats.completed_at) - pd.Timestamp(log.stats.started_at)).total_seconds(),
    }


def _model_shown(model: str) -> str:
    provider, slash, name = model.partition("/")
    return f"{provider}{slash}{shown(name)}"


def _command(log: EvalLog) -> str:
    """The `inspect eval` that the log says was run; folders and arguments that may be secret stand as `...`."""
    words = ["inspect", "eval", f"cpt_tasks/{task_name(log)}", "--model", _model_shown(log.eval.model)]
    for name, value in log.eval.model_args.items():
        words += ["-M", f"{name}={value if name in SHOWN_MODEL_ARGS else '...'}"]
    for name, value in log.eval.task_args_passed.items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        words += ["-T", f"{name}={','.join(shown(part) for part in text.split(','))}"]
    for name, value in log.eval.model_generate_config.model_dump(exclude_none=True).items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    for role, given in (log.eval.model_roles or {}).items():
        names = [_model_shown(one.model) for one in (given if isinstance(given, list) else [given])]
        words += ["--model-role", f"{role}={','.join(names)}"]
    if limit := log.eval.config.limit:
        words += ["--limit", f"{limit[0] + 1}-{limit[1]}" if isinstance(limit, tuple) else str(limit)]
    if (epochs := log.eval.config.epochs or 1) > 1 and task_name(log) != "best_of_n":  # its n are epochs
        words += ["--epochs", str(epochs)]
    return shlex.join(words)
