"""Reads eval logs into the rows that statistics are computed on, and says which logs may share a table."""

import hashlib
import json
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from inspect_ai.log import EvalLog, EvalSample, list_eval_logs, read_eval_log
from inspect_ai.scorer import Score

from cpt_tasks.metrics import Judged
from cpt_tasks.ratings import noise_lines
from cpt_tasks.scorers import judged_rows
from judges import NO_RESPONSE
from judges.cost import total_usd

SCORER = "rubric_judge"
CUT_REASONS = ("max_tokens", "model_length")
SHOWN_MODEL_ARGS = ("dtype", "do_sample", "enable_thinking", "device", "batch_size")


@dataclass(frozen=True)
class ModelRun:
    """The judged samples of one log, and what was run.

    Attributes:
        task: Name of the benchmark, e.g. "rubric_adherence".
        name: Row name: the model's name, with the prompting in brackets where it is not the system prompt.
        base: The base model, from `--metadata base=`; without it the model's name.
        adapter: The adapter, from `--metadata adapter=`, or None.
        prompting: "system_prompt" or "full_rubric".
        protocol: What must be equal between logs that share a table.
        samples: Scored samples with their scores, in the order of the log.
        rows: The same as rows of statistics, but for samples that ask for no level.
        unscored: Samples without a score, by level: the judge failed, or the sample ended in an error.
        no_response: Responses that were empty or under 15 words (they score 0), by level.
        truncated: Responses cut at the token limit, by level; None if the provider does not say why it stopped.
        judging: What the judge did for it.
        details: Command, seed and versions.
        further_rubrics: Hashes of the rubrics that judged responses of other rubrics (`also`), by id.
    """

    task: str
    name: str
    base: str
    adapter: str | None
    prompting: str
    protocol: dict[str, Any]
    samples: list[tuple[EvalSample, Score]]
    rows: list[Judged]
    unscored: Counter[str]
    no_response: Counter[str]
    truncated: Counter[str] | None
    judging: "Judging"
    details: dict[str, Any] = field(default_factory=dict)
    further_rubrics: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Judging:
    """How the judge fared on one log.

    Attributes:
        failures: Unscored samples by (failure mode, level); samples that ended in an error are not among them.
        attempts: Replies of the judge that were read; 0 for the measured judge.
        usage: Tokens by kind over all replies.
        cost_usd: Cost of all replies in US dollars, from the call store or not; None where a price is not known.
        noise: What repeats and panels say about the judges, a statement per line; [] where each was asked once.
        further_failures: Judgments by further rubrics (`also`) that failed, by (failure mode, rubric).
    """

    failures: Counter[tuple[str, str]]
    attempts: int
    usage: Counter[str]
    cost_usd: float | None
    noise: list[str]
    further_failures: Counter[tuple[str, str]] = field(default_factory=Counter)


def find_logs(paths: Iterable[str]) -> list[str]:
    """Log files in the order given; a folder stands for its finished logs, oldest first.

    Raises:
        ValueError: If a path does not exist, or a folder holds no finished log.
    """
    found: list[str] = []
    for path in paths:
        if not Path(path).exists():
            raise ValueError(f"{path}: not found, expected an .eval log or a folder of logs")
        if Path(path).is_file():
            found.append(path)
            continue
        finished = list_eval_logs(path, filter=lambda log: log.status == "success", descending=False)
        if not finished:
            raise ValueError(f"{path}: no finished log found, expected at least one")
        found += [info.name for info in finished]
    return found


def read_run(path: str) -> ModelRun:
    """The run in one .eval log; raises as `run_of`."""
    return run_of(read_eval_log(path))


def run_of(log: EvalLog) -> ModelRun:
    """The run in a log.

    Raises:
        ValueError: If the log did not finish or holds no sample that was judged by a rubric.
    """
    from cpt_tasks.outside_runs import IFEVAL, ifeval_run

    where = Path(log.location).name
    if log.status != "success":
        raise ValueError(f"{where}: status is {log.status!r}, expected success; finish it with inspect eval-retry")
    if task_name(log) == IFEVAL:
        return ifeval_run(log)
    samples = log.samples or []
    judged = [(sample, score) for sample in samples if (score := score_of(sample, where)) is not None]
    scored = [(sample, score) for sample, score in judged if not math.isnan(score.as_float())]
    if not scored:
        raise ValueError(f"{where}: no sample was scored by {SCORER}, expected a judged log of a cpt_tasks benchmark")
    scored_ids = {(sample.id, sample.epoch) for sample, _ in scored}
    stops = {sample.output.stop_reason for sample in samples}
    name = shown(log.eval.model.split("/", 1)[-1])
    about = log.eval.metadata or {}
    prompting = str(log.eval.task_args.get("prompting", "system_prompt"))
    return ModelRun(
        task=task_name(log),
        name=name if prompting == "system_prompt" else f"{name} [{prompting}]",
        base=str(about.get("base", name)),
        adapter=about.get("adapter"),
        prompting=prompting,
        protocol=_protocol(log, scored),
        samples=scored,
        rows=judged_rows((sample.metadata, score) for sample, score in scored),
        unscored=_count_levels(sample for sample in samples if (sample.id, sample.epoch) not in scored_ids),
        no_response=_count_levels(s for s, score in scored if (score.metadata or {}).get("reason") == NO_RESPONSE),
        truncated=None
        if stops == {"unknown"}
        else _count_levels(sample for sample in samples if sample.output.stop_reason in CUT_REASONS),
        judging=_judging(judged),
        details=details_of(log),
        further_rubrics={rubric: entry["rubric_hash"] for _, score in scored for rubric, entry in further_of(score)},
    )


def check_comparable(runs: Sequence[ModelRun]) -> None:
    """Raises ValueError as `check_protocol`, or if a model has more than one run."""
    check_protocol(runs)
    names = [run.name for run in runs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"model {repeated[0]!r} has more than one log, expected one log per model and prompting")


def check_protocol(runs: Sequence[ModelRun]) -> None:
    """Raises ValueError, naming the difference, unless all runs share judge, prompt, rubrics, splits and grid.

    Further rubrics need not be the same ones, but those of one id must be.
    """
    first = runs[0]
    for run in runs[1:]:
        changed = [each for each in run.further_rubrics.items() if first.further_rubrics.get(*each) != each[1]]
        if changed:
            raise ValueError(
                f"{run.name} and {first.name} differ in the rubric {changed[0][0]!r} that judged responses of others: "
                f"got hash {changed[0][1]} and {first.further_rubrics[changed[0][0]]}, expected one; report them apart"
            )
        for key, value in run.protocol.items():
            if value != first.protocol[key]:
                raise ValueError(
                    f"{run.name} and {first.name} differ in {key}: {value!r} and {first.protocol[key]!r}; "
                    "scores are only comparable when it is the same, so report them apart"
                )


def task_name(log: EvalLog) -> str:
    """The name of a log's benchmark without its package."""
    return log.eval.task.split("/")[-1]


def shown(text: str) -> str:
    """An argument or name as a result may carry it: of an absolute path only the last part."""
    return Path(text).name if Path(text).is_absolute() else text


def score_of(sample: EvalSample, where: str) -> Score | None:
    """The judge's score of a sample, nan if the judge failed; None if it was not judged.

    Raises:
        ValueError: If it was judged more than once; `where` names its log.
    """
    scores = {name: score for name, score in (sample.scores or {}).items() if name.split("/")[-1].startswith(SCORER)}
    if len(scores) > 1:
        raise ValueError(
            f"{where}: judged more than once ({sorted(scores)}), expected one judgment per sample; score the log again "
            "with inspect score --action overwrite --output-file FILE"
        )
    return next(iter(scores.values()), None)


def further_of(score: Score) -> list[tuple[str, dict[str, Any]]]:
    """The judgments of a response by further rubrics: rubric id and entry, see `scorers.judge_further`."""
    return list(((score.metadata or {}).get("also") or {}).items())


def _judging(judged: Sequence[tuple[EvalSample, Score]]) -> Judging:
    facts = [score.metadata or {} for _, score in judged]
    failed = [(sample, score.metadata or {}) for sample, score in judged if "failure_mode" in (score.metadata or {})]
    further = [entry for _, score in judged for entry in further_of(score)]
    asked = [*facts, *(entry for _, entry in further)]
    usage: Counter[str] = Counter()
    for fact in asked:
        usage.update(fact.get("usage") or {})
    costs = [fact.get("cost_usd") for fact in asked if fact.get("attempts")]
    return Judging(
        failures=Counter((fact["failure_mode"], str(sample.metadata["level"])) for sample, fact in failed),
        attempts=sum(fact.get("attempts", 0) for fact in asked),
        usage=usage,
        cost_usd=total_usd(costs),
        noise=noise_lines(facts),
        further_failures=Counter((entry["failure_mode"], rubric) for rubric, entry in further if entry["failure_mode"]),
    )


def _protocol(log: EvalLog, scored: list[tuple[EvalSample, Score]]) -> dict[str, Any]:
    def only(key: str, default: str = "None") -> Any:
        values = {str((score.metadata or {}).get(key, default)) for _, score in scored}
        if len(values) > 1:
            raise ValueError(f"{log.eval.task}: samples of one log differ in {key}: {sorted(values)}, expected one")
        return values.pop() if values else None

    rubrics = {sample.metadata["rubric"]: sample.metadata["rubric_hash"] for sample in log.samples or []}
    return {
        "task": task_name(log),
        "task_version": str(log.eval.task_version),
        "judge": only("judge"),
        "prompt_version": only("prompt_version"),
        # logs written before these were recorded knew no other
        "judge_protocol": only("protocol", default="criteria"),
        "judge_hash": only("judge_hash", default=""),
        "judge_repeats": only("judge_repeats", default="1"),
        "rubrics": dict(sorted(rubrics.items())),
        "split": str(log.eval.task_args.get("user_prompts", "test")),
        "paraphrases": str(log.eval.task_args.get("paraphrases", "heldout")),
        "user_prompts": len({sample.metadata["prompt_id"] for sample in log.samples or []}),
        "grid": _grid_hash(log.samples or []),
    }


def _grid_hash(samples: Sequence[EvalSample]) -> str:
    # a benchmark may tell more cells apart than by level; one that does not keeps the hash it had
    more = ("cell", "target", "style")
    cells = sorted(
        (s.metadata["rubric"], s.metadata["level"], s.metadata["prompt_id"], s.epoch)
        + tuple(s.metadata[key] for key in more if key in s.metadata)
        for s in samples
    )
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:12]


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
        "seconds": _seconds(log),
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


def _seconds(log: EvalLog) -> float:
    started, completed = (pd.Timestamp(time) for time in (log.stats.started_at, log.stats.completed_at))
    return float((completed - started).total_seconds())


def _count_levels(samples: Iterable[EvalSample]) -> Counter[str]:
    return Counter(str(sample.metadata["level"]) for sample in samples)
