"""What judging will cost, and judging through provider batches: the work of `cpt judge forecast` and `batch`."""

import asyncio
import inspect
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from os.path import splitext
from typing import Any

import click
import yaml
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalSample

from cpt_tasks.benchmarks.rubric_adherence.task import PRESETS
from cpt_tasks.judge_logs.texts import Text, model_judges
from cpt_tasks.options import rubrics_of
from cpt_tasks.report.logs import find_logs, read_log_file
from cpt_tasks.report.text import table
from cpt_tasks.turns import output_of, turns_of
from judges import PROMPT_VERSION, JudgeSettings, is_no_response, judge_messages
from judges.cost import CHARACTERS_PER_TOKEN, Forecast, Prices, cost_usd, forecast, verdict_tokens
from model_calls import open_store
from model_calls.batch import BatchOutcome, ask_in_batches
from model_calls.visible import answer_of
from rubrics import Rubric, load_rubrics

RESPONSE_TOKENS = 300  # of a response that is still to come
POLL_SECONDS = 30.0  # between two looks at the batches


def planned_texts(parameters: Sequence[str], task: str = "rubric_adherence") -> list[Text]:
    """The responses that a benchmark will judge, with parameters NAME=VALUE as for `inspect eval -T`.

    Raises:
        ValueError: If the task, a parameter or its value is unknown.
    """
    from cpt_tasks import _registry

    make = getattr(_registry, task, None)
    if make is None or "judge" not in inspect.signature(make).parameters:
        raise ValueError(f"--task {task}: expected a benchmark that judges what a model writes")
    try:
        given = {name: yaml.safe_load(value) for name, _, value in (one.partition("=") for one in parameters)}
        if "judge_repeats" in given:
            raise TypeError("judge_repeats is --repeats here")
        made = make(**given, judge="none")
    except (TypeError, yaml.YAMLError) as error:
        raise ValueError(f"-T {' -T '.join(parameters)}: {' '.join(str(error).split())}") from error
    rubrics = _rubrics(given)
    response = "word " * (RESPONSE_TOKENS * CHARACTERS_PER_TOKEN // 5)
    turns = [(sample, turn) for sample in made.dataset for turn in turns_of(sample.metadata or {})]
    texts = [text for sample, turn in turns for text in _texts_of(sample, turn, response, rubrics, given)]
    return texts * (made.epochs or 1)


def judged_texts(logs: Sequence[str]) -> list[Text]:
    """The responses in logs of our benchmarks, judged or not; those too short to be judged are left out.

    Raises:
        ValueError: If a log is not found or did not finish, or a rubric is unknown or has changed since.
    """
    texts: list[Text] = []
    for path in find_logs(logs):
        log = read_log_file(path)
        if log.status != "success":
            raise ValueError(f"{path}: status is {log.status!r}, expected success; finish it with inspect eval-retry")
        if log.eval.task_args.get("judge_sees_image"):
            raise ValueError(f"{path}: judge_sees_image is true, and pictures are shown by `inspect score` alone")
        rubrics = _rubrics(log.eval.task_args)
        for sample in log.samples or []:
            rubric = rubrics.get(sample.metadata.get("rubric", ""))
            if rubric is None or rubric.hash != sample.metadata["rubric_hash"]:
                raise ValueError(
                    f"{path}, sample {sample.id}: its rubric is unknown or has changed since the log was written; run "
                    "the task again"
                )
            for turn in turns_of(sample.metadata):
                response, _ = answer_of(output_of(turn, sample.output), sample.metadata)
                if not is_no_response(response):
                    texts += _texts_of(sample, turn, response, rubrics, log.eval.task_args)
    return texts


def forecast_table(texts: Sequence[Text], model: str, repeats: int, prices: Prices) -> str:
    """Calls, tokens and cost of judging, online and in batches, as a Markdown table with a line on its sources.

    As if nothing were read from a provider's cache.
    """
    calls, usage, _ = judging_forecast(texts, model, repeats)
    rows = []
    for way in ("online", "batch"):
        cost = cost_usd(model, usage, way == "batch", prices)
        usd = "price unknown" if cost is None else f"{cost:.2f}"
        rows.append((way, calls, usage["input_tokens"], usage["output_tokens"], usd))
    lines = [
        table(rows, "way", "calls", "input", "output", "USD"),
        f"{model}, prices as of {prices.as_of}; tokens are characters / {CHARACTERS_PER_TOKEN}, without prompt caching",
    ]
    if model.rsplit("/", 1)[-1] not in prices.models:
        lines.append(f"no price for {model}; write one into a YAML file and pass it with --prices")
    return "\n".join(lines)


def judging_forecast(texts: Sequence[Text], model: str, repeats: int = 1) -> Forecast:
    """Calls, tokens and cost of judging texts so many times, as if nothing were read from a provider's cache."""
    asked = [judge_messages(text.rubric, text.user_prompt, text.response) for text in texts]
    characters = sum(len(message.text) for messages in asked for message in messages)
    output_tokens = sum(verdict_tokens(len(text.rubric.criteria)) for text in texts)
    return forecast(len(texts) * repeats, characters * repeats, output_tokens * repeats, model)


def batch_judgments(texts: Sequence[Text], settings: JudgeSettings) -> BatchOutcome:
    """Asks a judge about the texts through provider batches; the replies are in the call store afterwards.

    Raises:
        ValueError: If the model cannot be asked in batches.
    """
    store, progress = open_store(settings.store), partial(click.echo, err=True)
    judges = model_judges(settings, store)
    calls = [judge.call(text.rubric, text.user_prompt, text.response) for text in texts for judge in judges]
    return asyncio.run(ask_in_batches(store, calls, poll_seconds=POLL_SECONDS, progress=progress))


def score_commands(logs: Sequence[str], judge: JudgeSettings) -> list[str]:
    """The commands that score each log from the call store, written so that they can be pasted."""
    commands = []
    for path in find_logs(logs):
        settings = [f"call_store={judge.store}"]
        spec = read_log_file(path, header_only=True).eval
        given = spec.task_args
        protocol = given.get("protocol") or PRESETS[given.get("preset", "core")].protocol
        wanted = [("rubrics", _with_switch(given), "all"), ("also", given.get("also") or "", "")]
        wanted += [("protocol", protocol, "criteria"), ("judge_repeats", str(judge.repeats), "1")]
        for name, value, default in [*wanted, ("prompt_version", judge.prompt_version, PROMPT_VERSION)]:
            if value != default:
                settings += [f"{name}={value if isinstance(value, str) else ','.join(value)}"]
        of_attacks = spec.task.endswith("judge_robustness")
        if of_attacks and judge.repeats > 1:
            raise ValueError(f"{path}: judge_robustness judges a text once; leave out --repeats")
        scorer = f"cpt_tasks/{'attack' if of_attacks else 'rubric'}_judge"
        roles = [f"grader={judge.model}"]
        commands.append(_score(path, scorer, settings, roles, "overwrite", "--output-file", judged_path(path)))
        # the other score that such a log has, which the first command takes out
        select_by = given.get("select_by", "report_judge")
        if of_attacks:
            commands.append(_score(judged_path(path), "cpt_tasks/judge_failure", [], [], "append", "--overwrite"))
        elif select_by != "report_judge":
            shared = [one for one in settings if not one.startswith("judge_repeats")]
            scorer, asked = "cpt_tasks/selection_judge", [f"select_by={select_by}", *shared]
            commands.append(_score(judged_path(path), scorer, asked, [], "append", "--overwrite"))
    return commands


def _score(path: str, scorer: str, settings: Sequence[str], roles: Sequence[str], action: str, *output: str) -> str:
    words = ["inspect", "score", path, "--scorer", scorer, *(word for one in settings for word in ("-S", one))]
    words += ["--model", "none", *(word for one in roles for word in ("--model-role", one))]
    return shlex.join([*words, "--action", action, *output])


def _with_switch(task_args: Mapping[str, Any]) -> str:
    """The rubrics that a task's arguments name, and the one that is switched to if it is none of them."""
    rubrics, other = task_args.get("rubrics") or "all", task_args.get("switch_to")
    named = rubrics if isinstance(rubrics, str) else ",".join(rubrics)
    return f"{named},{other}" if other and rubrics_of(other)[0] not in rubrics_of(named) else named


def judged_path(path: str) -> str:
    """Where the judged form of a log or file goes: beside it, and not over one that was judged before."""
    stem, ending = splitext(path)
    return f"{stem}-again{ending}" if stem.endswith("judged") else f"{stem}.judged{ending}"


def _rubrics(task_args: Mapping[str, Any]) -> dict[str, Rubric]:
    """The rubrics that a task's arguments name, and those of the library, by id."""
    named = [load_rubrics(task_args[name]) for name in ("rubrics", "also", "switch_to") if task_args.get(name)]
    return {rubric.id: rubric for rubrics in (load_rubrics("all"), *named) for rubric in rubrics}


def _texts_of(
    sample: Sample | EvalSample,
    metadata: Mapping[str, Any],
    response: str,
    rubrics: Mapping[str, Rubric],
    task_args: Mapping[str, Any],
) -> list[Text]:
    """What the scorer `rubric_judge` asks about a response: by its own rubric first, then by the further ones."""
    given = sample.input
    last_turn = given if isinstance(given, str) else [turn.text for turn in given if turn.role == "user"][-1]
    user_prompt = metadata.get("user_prompt", last_turn)
    also = task_args.get("also")
    further = metadata.get("also", [rubric.id for rubric in load_rubrics(also)] if also else [])
    wanted = dict.fromkeys([metadata["rubric"], *further])
    return [Text(rubrics[rubric_id], user_prompt, response) for rubric_id in wanted]
