"""Questions out to an engine elsewhere and its answers back in, as files in the format of OpenAI's batches.

    {"custom_id": KEY, "method": "POST", "url": "/v1/chat/completions", "body": {"model", "messages", ...}}

KEY is `Call.key`, so an answer finds its question whatever the order. `vllm run-batch` reads and writes this format.
Rows with a `generated_text`, which Ray Data's processors give, are read as answers too.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_calls.call import Call, Reply, text_of
from model_calls.store import CallStore

REPLIES_PER_COMMIT = 500
_STOP_REASONS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter"}
_USAGE = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}


@dataclass
class Answered:
    """What came of a file of answers."""

    answered: int = 0  # calls whose reply was put into the store now
    unknown: int = 0  # answers to no call that was given
    problems: Counter[str] = field(default_factory=Counter)  # lines that are no answer, by kind


def write_questions(path: Path, calls: Iterable[Call], store: CallStore) -> int:
    """Writes the calls that the store has no reply to, each once; returns how many.

    The file is put in place once all are written. Its form is the provider's, so it carries no schema number.
    """
    written: set[str] = set()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("w", encoding="utf-8", newline="\n") as file:
        for call in calls:
            if call.key not in store and call.key not in written:
                written.add(call.key)
                question = {"method": "POST", "url": "/v1/chat/completions", "body": _body(call)}
                file.write(json.dumps({"custom_id": call.key} | question) + "\n")
    unfinished.replace(path)
    return len(written)


def _body(call: Call) -> dict[str, Any]:
    messages = [{"role": message.role, "content": text_of(message)} for message in call.messages]
    params = dict(call.params)
    body: dict[str, Any] = {"model": call.model.name, "messages": messages} | params.pop("extra_body", {})
    if schema := params.pop("response_schema", None):
        schema = {"name": schema["name"], "schema": schema["json_schema"]}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if stops := params.pop("stop_seqs", None):
        body["stop"] = stops
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
                block.append(call.reply(**_answer(_parsed(file.readline()))))
                outcome.answered += 1
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
            try:
                row = _parsed(line)
                status = (row.get("response") or {}).get("status_code", 200)
                if row.get("error") or status != 200:
                    problems[f"error of the engine: {str(row.get('error') or f'status {status}')[:100]}"] += 1
                else:
                    _answer(row)
                    starts.setdefault(str(row["custom_id"]), start)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                problems["not an answer: no custom_id, or no text"] += 1
            start += len(line)
    return starts


def _parsed(line: bytes) -> Any:
    return json.loads(line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogatepass"))


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    """What a row says, by the fields of `Reply`; a KeyError, TypeError and the like if it is no answer."""
    response = row.get("response") or {}
    body = response.get("body") or response or row  # a row of Ray Data is its own body
    choice = body["choices"][0] if "choices" in body else row | {"message": {"content": row["generated_text"]}}
    text, usage, created = choice["message"]["content"], body.get("usage") or {}, body.get("created")
    if not isinstance(text, str | None):
        raise TypeError(text)
    time = datetime.fromtimestamp(created, UTC) if isinstance(created, int | float) else datetime.now(UTC)
    return {
        "served_model": str(body.get("model", "")),
        "text": text or "",
        "stop_reason": _STOP_REASONS.get(str(choice.get("finish_reason")), "unknown"),
        "usage": {kind: usage[name] for name, kind in _USAGE.items() if isinstance(usage.get(name), int)},
        "request_id": str(row.get("id", "")),
        "created": time.isoformat(timespec="seconds"),
    }
