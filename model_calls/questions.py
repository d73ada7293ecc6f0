"""Questions out to an engine elsewhere and its answers back in, as files in the format of a provider's batches.

    openai     {"custom_id": KEY, "method": "POST", "url": "/v1/chat/completions", "body": {"model", "messages", ...}}
    anthropic  {"custom_id": KEY, "params": {"model", "messages", ...}}

KEY is `Call.key`, so an answer finds its question whatever the order. `vllm run-batch` reads and writes the first.
Answers are recognised by their shape, line by line: those of either provider, and rows with a `generated_text`, which
Ray Data's processors give.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from model_calls.call import Call, Reply, content_of, provider_of
from model_calls.online import reply_of
from model_calls.store import CallStore

if TYPE_CHECKING:
    from anthropic.types import Message

QuestionFormat = Literal["openai", "anthropic"]
FORMATS: tuple[QuestionFormat, ...] = ("openai", "anthropic")
REPLIES_PER_COMMIT = 500
_STOP_REASONS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter"}
# of what an answer in Anthropic's format may lack
_MESSAGE: dict[str, Any] = {"id": "", "type": "message", "role": "assistant", "model": "", "stop_reason": None}
_MESSAGE |= {"stop_sequence": None, "usage": {"input_tokens": 0, "output_tokens": 0}}
_USAGE = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}


def so_many(count: int, thing: str) -> str:
    """`1 line`, `2 lines`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


@dataclass
class Written:
    """What came of writing questions."""

    count: int = 0
    betas: list[str] = field(default_factory=list)  # features that Anthropic wants named when the batch is created

    def __str__(self) -> str:
        header = f", to be sent with the header `anthropic-beta: {','.join(self.betas)}`" if self.betas else ""
        return f"{so_many(self.count, 'question')}{header}"


@dataclass
class Answered:
    """What came of a file of answers."""

    answered: int = 0  # calls whose reply was put into the store now
    unknown: int = 0  # answers to no call that was given
    missing: int = 0  # calls that the store has no reply to afterwards
    problems: Counter[str] = field(default_factory=Counter)  # lines that are no answer, by kind


async def write_questions(
    path: Path, calls: Iterable[Call], store: CallStore, format: QuestionFormat = "openai"
) -> Written:
    """Writes the calls that the store has no reply to, each once. Nothing is sent.

    In Anthropic's format a question is the request that the online path would send. The file is put in place once all
    are written. Its form is the provider's, so it carries no schema number.

    Raises:
        ValueError: If a call has no place in the format: Anthropic's is for models on its own service.
    """
    outcome, written = Written(), set[str]()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8", newline="\n") as file:
            for call in calls:
                if call.key not in store and call.key not in written:
                    written.add(call.key)
                    question, betas = await _question(call, format)
                    outcome.betas = list(dict.fromkeys([*outcome.betas, *betas]))
                    file.write(json.dumps({"custom_id": call.key} | question) + "\n")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    outcome.count = len(written)
    return outcome


async def _question(call: Call, format: QuestionFormat) -> tuple[dict[str, Any], tuple[str, ...]]:
    from model_calls.inspect_private import request_body  # so late, so that `--help` does not wait for inspect

    if format == "anthropic":
        params, betas = await request_body(call)
        return {"params": params}, betas
    return {"method": "POST", "url": "/v1/chat/completions", "body": _body(call)}, ()


def _body(call: Call) -> dict[str, Any]:
    messages = [{"role": message.role, "content": content_of(message)} for message in call.messages]
    params = dict(call.params)
    body: dict[str, Any] = {"model": call.model.name, "messages": messages} | params.pop("extra_body", {})
    if schema := params.pop("response_schema", None):
        schema = {"name": schema["name"], "schema": schema["json_schema"]}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if stops := params.pop("stop_seqs", None):
        body["stop"] = stops
    if provider_of(call.model) == "openai" and "max_tokens" in params:
        params["max_completion_tokens"] = params.pop("max_tokens")  # models that reason refuse the older name
    return body | params


async def read_answers(path: Path, calls: Iterable[Call], store: CallStore) -> Answered:
    """Puts answers into the store, as if the model had been asked here.

    A reply that the store has already wins over an answer, and the first of two answers over the second. Only keys
    and positions of the file are kept in memory.
    """
    outcome = Answered()
    starts = _starts(path, outcome.problems)
    asked, block = set[str](), list[Reply]()
    with path.open("rb") as file:
        for call in calls:
            if call.key in starts and call.key not in asked and call.key not in store:
                file.seek(starts[call.key])
                block.append(await _reply(call, _answer(_parsed(file.readline()))))
                outcome.answered += 1
            elif call.key not in asked and call.key not in store:
                outcome.missing += 1
            asked.add(call.key)
            if len(block) == REPLIES_PER_COMMIT:
                await store.put(*block)
                block.clear()
    await store.put(*block)
    outcome.unknown = len(starts.keys() - asked)
    return outcome


def _starts(path: Path, problems: Counter[str]) -> dict[str, int]:
    """Where the first answer to each call starts in a file, by key."""
    starts, start = dict[str, int](), 0
    with path.open("rb") as file:
        for line in file:
            if not line.strip():
                start += len(line)
                continue
            try:
                row = _parsed(line)
                if error := _error(row):
                    problems[f"error of the engine: {error[:100]}"] += 1
                else:
                    _answer(row)
                    starts.setdefault(str(row["custom_id"]), start)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                problems["not an answer: no custom_id, or no text"] += 1
            start += len(line)
    return starts


def _parsed(line: bytes) -> Any:
    return json.loads(line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogatepass"))


def _error(row: dict[str, Any]) -> str:
    """What the engine says went wrong, "" for an answer."""
    if result := row.get("result"):
        if result["type"] == "succeeded":
            return ""
        error = (result.get("error") or {}).get("error") or {}
        return ": ".join(str(part) for part in (result["type"], error.get("type"), error.get("message")) if part)
    status = (row.get("response") or {}).get("status_code", 200)
    return str(row.get("error") or ("" if status == 200 else f"status {status}"))


def _answer(row: dict[str, Any]) -> "Message | dict[str, Any]":
    """Anthropic's message, or what a row says by the fields of `Reply`; a KeyError and the like if it is no answer."""
    if result := row.get("result"):
        from anthropic.types import Message

        return Message.model_validate(_MESSAGE | result["message"])
    response = row.get("response") or {}
    body = response.get("body") or response or row  # a row of Ray Data is its own body
    choice = body["choices"][0] if "choices" in body else row | {"message": {"content": row["generated_text"]}}
    text: Any = choice["message"]["content"]
    created: Any = body.get("created")
    if not isinstance(text, str | None):
        raise TypeError(text)
    try:
        time = datetime.fromtimestamp(float(created), UTC)
    except (TypeError, ValueError, OverflowError, OSError):  # none, or not in seconds
        time = datetime.now(UTC)
    usage = body.get("usage") or {}
    return {
        "served_model": str(body.get("model", "")),
        "text": text or "",
        "stop_reason": _STOP_REASONS.get(str(choice.get("finish_reason")), "unknown"),
        "usage": {kind: usage[name] for name, kind in _USAGE.items() if isinstance(usage.get(name), int)},
        "request_id": str(row.get("id") or ""),
        "created": time.isoformat(timespec="seconds"),
    }


async def _reply(call: Call, answer: "Message | dict[str, Any]") -> Reply:
    if isinstance(answer, dict):
        return call.reply(**answer)
    from inspect_ai.model import model_output_from_anthropic

    return reply_of(call, await model_output_from_anthropic(answer), attempts=1, batch=True)
