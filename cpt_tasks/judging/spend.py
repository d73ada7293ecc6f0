"""What judging will cost, and judging through provider batches: the work of `cpt judge forecast` and `batch`."""

import asyncio
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

import pandas as pd
import yaml
from inspect_ai.log import read_eval_log
from inspect_ai.model import ChatMessage, ChatMessageUser

from cpt_tasks.rubric_adherence import PRESETS, adherence_grid
from cpt_tasks.runs import find_logs
from judges import judge_call, judge_messages, judge_model
from judges.cost import Prices, cost_usd
from judges.judgment import is_no_response
from model_calls import open_store
from model_calls.batch import BatchOutcome, ask_in_batches
from rubrics import Rubric, load_rubrics

CHARACTERS_PER_TOKEN = 4
MIN_CACHED_TOKENS = 1024  # Claude Sonnet; others start at 512 to 4096 tokens
GRID_PARAMETERS = (
    "rubrics",
    "levels",
    "user_prompts",
    "paraphrases",
    "prompting",
    "limit_per_cell",
    "wordings",
    "preset",
    "also",
)


@dataclass(frozen=True)
class TextToJudge:
    """A response to be judged, written or (in a forecast) still to come."""

    rubric: Rubric
    user_prompt: str
    response: str


def planned_texts(parameters: Sequence[str], response_tokens: int) -> list[TextToJudge]:
    """The responses that `rubric_adherence` will judge, each of the given length.

    Args:
        parameters: NAME=VALUE, as for `inspect eval -T`.
        response_tokens: Tokens per response, at least 1.

    Raises:
        ValueError: If a parameter or its value is unknown.
    """
    given = {}
    for parameter in parameters:
        name, found, value = parameter.partition("=")
        if not found or name not in GRID_PARAMETERS:
            raise ValueError(f"-T {parameter}: expected NAME=VALUE with a name out of {sorted(GRID_PARAMETERS)}")
        try:
            given[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"-T {parameter}: {value!r} is not YAML") from error
    if not isinstance(given.get("limit_per_cell", 1), int):
        raise ValueError(f"-T limit_per_cell: got {given['limit_per_cell']!r}, expected a whole number from 1")
    also = given.pop("also", "")
    further = load_rubrics(also) if also else []
    samples = adherence_grid(**given)
    selection = given["rubrics"] if "rubrics" in given else PRESETS[given.get("preset", "core")].rubrics
    rubrics = {rubric.id: rubric for rubric in load_rubrics(selection)}
    response = "word " * max(15, response_tokens * CHARACTERS_PER_TOKEN // 5)
    return [
        TextToJudge(rubric, _user_prompt(sample.input), response)
        for sample in samples
        for rubric in _judging(rubrics[(sample.metadata or {})["rubric"]], further)
    ]


def judged_texts(logs: Sequence[str]) -> list[TextToJudge]:
    """The responses in logs of `rubric_adherence`, judged or not; those too short to be judged are left out.

    Raises:
        ValueError: If a log is not found or did not finish, or a rubric is unknown or has changed since.
    """
    found = []
    for path in find_logs(logs):
        log = read_eval_log(path)
        if log.status != "success":
            raise ValueError(f"{path}: status is {log.status!r}, expected success; finish it with inspect eval-retry")
        rubrics = {rubric.id: rubric for rubric in load_rubrics(log.eval.task_args.get("rubrics") or "all")}
        given = log.eval.task_args.get("also", "")
        also = {rubric.id: rubric for rubric in (load_rubrics(given) if given else [])}
        for sample in log.samples or []:
            rubric = rubrics.get(sample.metadata.get("rubric", ""))
            if rubric is None or rubric.hash != sample.metadata["rubric_hash"]:
                raise ValueError(
                    f"{path}, sample {sample.id}: its rubric is unknown or has changed since the log was written; run "
                    "the task again"
                )
            if not is_no_response(sample.output.completion):
                asked = sample.metadata.get("user_prompt", _user_prompt(sample.input))
                further = [(rubrics | also)[other] for other in sample.metadata.get("also", also)]
                found += [TextToJudge(each, asked, sample.output.completion) for each in _judging(rubric, further)]
    return found


def _judging(own: Rubric, further: Sequence[Rubric]) -> list[Rubric]:
    """The rubrics that a response is judged by: its own first."""
    return [own, *(rubric for rubric in further if rubric.id != own.id)]


def forecast(
    texts: Sequence[TextToJudge], model: str, repeats: int, criterion_tokens: int, thinking_tokens: int, prices: Prices
) -> str:
    """A table of calls, tokens and cost of judging, by way of asking, as Markdown with a line on its sources."""
    prefix: dict[str, int] = {}
    calls: Counter[str] = Counter()
    tails = output = 0
    for text in texts:
        prefix_tokens, tail_tokens = _tokens(text)
        prefix[text.rubric.id] = prefix_tokens
        calls[text.rubric.id] += repeats
        tails += tail_tokens * repeats
        output += (criterion_tokens * (len(text.rubric.criteria) + 1) + thinking_tokens) * repeats
    whole = sum(prefix[rubric] * count for rubric, count in calls.items())
    cached = {rubric for rubric in calls if prefix[rubric] >= MIN_CACHED_TOKENS}
    write = sum(prefix[rubric] for rubric in cached)
    read = sum(prefix[rubric] * (calls[rubric] - 1) for rubric in cached)
    plain = {"input_tokens": whole + tails, "output_tokens": output}
    with_cache = {
        "input_tokens": whole + tails - write - read,
        "input_tokens_cache_write": write,
        "input_tokens_cache_read": read,
        "output_tokens": output,
    }
    ways = {"online, no cache": (plain, False), "online": (with_cache, False), "batch": (plain, True)}
    rows = []
    for way, (usage, batch) in ways.items():
        dollars = cost_usd(model, usage, batch, prices)
        rows.append(
            {
                "way": way,
                "calls": calls.total(),
                "input": usage["input_tokens"],
                "cache write": usage.get("input_tokens_cache_write", 0),
                "cache read": usage.get("input_tokens_cache_read", 0),
                "output": usage["output_tokens"],
                "USD": "price unknown" if dollars is None else f"{dollars:.2f}",
            }
        )
    short = sorted(set(calls) - cached)
    lines = [f"{model}, prices as of {prices.as_of}; tokens are characters / {CHARACTERS_PER_TOKEN}"]
    if short:
        lines.append(
            f"{len(short)} of {len(calls)} rubrics are shorter than the {MIN_CACHED_TOKENS} tokens from which a "
            f"provider caches a prefix ({', '.join(short[:6])}{', ...' * (len(short) > 6)})"
        )
    if model.rsplit("/", 1)[-1] not in prices.models:
        lines.append(f"no price for {model}; write one into a YAML file and pass it with --prices")
    return "\n".join([str(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)), *lines])


def batch_judgments(
    texts: Sequence[TextToJudge],
    model: str,
    repeats: int,
    call_store: str,
    poll_seconds: float,
    progress: Callable[[str], None],
) -> BatchOutcome:
    """Asks a judge about the texts through provider batches; the replies are in the call store afterwards.

    Raises:
        ValueError: If the model cannot be asked in batches.
    """
    judge = judge_model(model)
    calls = [
        judge_call(judge, text.rubric, text.user_prompt, text.response, repeat, attempt=1)
        for text in texts
        for repeat in range(repeats)
    ]
    store = open_store(call_store)
    return asyncio.run(ask_in_batches(store, calls, poll_seconds=poll_seconds, progress=progress))


def score_commands(logs: Sequence[str], model: str, repeats: int, call_store: str) -> list[str]:
    """The command that scores each log from the call store, written so that it can be pasted."""
    commands = []
    for path in find_logs(logs):
        settings = ["-S", f"call_store={call_store}"]
        given = read_eval_log(path, header_only=True).eval.task_args
        for name, default in (("rubrics", "all"), ("also", "")):
            value = given.get(name) or default
            if value != default:
                settings += ["-S", f"{name}={value if isinstance(value, str) else ','.join(value)}"]
        if repeats > 1:
            settings += ["-S", f"judge_repeats={repeats}"]
        path = unquote(urlparse(path).path)
        output = ["--output-file", str(Path(path).with_suffix(".judged.eval"))]
        scorer = ["inspect", "score", path, "--scorer", "cpt_tasks/rubric_judge", *settings]
        commands.append(
            shlex.join(
                [*scorer, "--model", "none", "--model-role", f"grader={model}", "--action", "overwrite", *output]
            )
        )
    return commands


def _tokens(text: TextToJudge) -> tuple[int, int]:
    [message] = judge_messages(text.rubric, text.user_prompt, text.response)
    rubric_block, response_block = (getattr(block, "text", "") for block in message.content)
    return len(rubric_block) // CHARACTERS_PER_TOKEN, len(response_block) // CHARACTERS_PER_TOKEN


def _user_prompt(messages: str | list[ChatMessage]) -> str:
    if isinstance(messages, str):
        return messages
    return next(message.text for message in reversed(messages) if isinstance(message, ChatMessageUser))
