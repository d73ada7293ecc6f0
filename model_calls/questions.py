"""Questions out to an engine elsewhere and its answers back in, as files in the format of OpenAI's batches.

    {"custom_id": KEY, "method": "POST", "url": "/v1/chat/completions", "body": {"model", "messages", ...}}

KEY is `Call.key`, so an answer finds its question whatever the order. `vllm run-batch` reads and writes this format.
Rows with a `generated_text`, which Ray Data's processors give, are read as answers too.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from model_calls.call import Call, Reply
from model_calls.store import CallStore

REPLIES_PER_COMMIT = 500
_STOP_REASONS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter"}
_USAGE = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
# what inspect's providers take for reasoning, not for the answer, where an engine leaves both in one text
_THOUGHT = re.compile(r"\A.*?</think>\s*", re.DOTALL)


@dataclass
class Answered:
    """What came of a file of answers.

    Attributes:
        answered: Calls whose reply was put into the store now.
        unanswered: Calls without a reply.
        unknown: Answers to no call that lacked one.
        problems: Lines that are no answer, by kind.
    """

    answered: int = 0
    unanswered: int = 0
    unknown: int = 0
    problems: Counter[str] = field(default_factory=Counter)


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
    body: dict[str, Any] = {
        "model": call.model.name,
        "messages": [{"role": message.role, "content": message.text} for message in call.messages],
    }
    params = dict(call.params)
    body |= params.pop("extra_body", {})
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
    used, block = set[str](), dict[str, Reply]()
    with path.open("rb") as file:
        starts = dict(reversed(list(_starts(file, outcome.problems))))
        for call in calls:
            used.add(call.key)
            if call.key in store or call.key in block:
                continue
            if call.key not in starts:
                outcome.unanswered += 1
                continue
            file.seek(starts[call.key])
            block[call.key] = _reply(call, _parsed(file.readline()))
            outcome.answered += 1
            if len(block) >= REPLIES_PER_COMMIT:
                await store.put(*block.values())
                block.clear()
    await store.put(*block.values())
    outcome.unknown = len(starts.keys() - used)
    return outcome


def _starts(file: IO[bytes], problems: Counter[str]) -> Iterator[tuple[str, int]]:
    """Key and position of every answer in a file."""
    start = 0
    for line in file:
        try:
            answer = _parsed(line)
            status = (answer.get("response") or {}).get("status_code", 200)
            if answer.get("error") or status != 200:
                problems[f"error of the engine: {str(answer.get('error') or f'status {status}')[:100]}"] += 1
            elif isinstance(_text(answer), str | None):
                yield str(answer["custom_id"]), start
            else:
                raise TypeError
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            problems["not an answer: no custom_id, or no text"] += 1
        start += len(line)


def _parsed(line: bytes) -> Any:
    return json.loads(line.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogatepass"))


def _text(answer: dict[str, Any]) -> Any:
    completion = _completion(answer)
    return completion["choices"][0]["message"]["content"] if completion else answer["generated_text"]


def _completion(answer: dict[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = answer.get("response") or {}
    return response.get("body") or response


def _reply(call: Call, answer: dict[str, Any]) -> Reply:
    completion = _completion(answer) or answer
    finish = completion["choices"][0].get("finish_reason") if "choices" in completion else answer.get("finish_reason")
    usage = completion.get("usage") or {}
    created = completion.get("created")
    time = datetime.fromtimestamp(created, UTC) if isinstance(created, int | float) else datetime.now(UTC)
    return Reply(
        key=call.key,
        model=str(call.model),
        served_model=str(completion.get("model", "")),
        params=call.params,
        messages_hash=call.messages_hash,
        replicate=call.replicate,
        text=_THOUGHT.sub("", _text(answer) or "", count=1),
        stop_reason=_STOP_REASONS.get(str(finish), "unknown"),
        usage={kind: usage[name] for name, kind in _USAGE.items() if isinstance(usage.get(name), int)},
        request_id=str(answer.get("id", "")),
        created=time.isoformat(timespec="seconds"),
    )
