"""Questions out to an engine elsewhere, and its answers back in: JSONL in the format of OpenAI's batches.

    {"custom_id": KEY, "method": "POST", "url": "/v1/chat/completions", "body": {"model", "messages", "max_tokens", …}}

KEY is the key of the call, so an answer finds its question whatever the order. The format is what `vllm run-batch`
reads and writes; rows with a `generated_text`, as Ray Data's processors give them, are answers as well.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_gen.generation.generate import Asking
from data_gen.generation.plan import Question
from data_gen.generation.teacher_calls import Teacher, row_of

if TYPE_CHECKING:
    from model_calls import Call, CallStore, Reply

ANSWERS_PER_SYNC = 500
_STOP_REASONS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter"}
_USAGE = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
# what inspect's providers take for reasoning, not for the answer, where an engine leaves both in one text
_THOUGHT = re.compile(r"\A.*?</think>\s*", re.DOTALL)


def write_questions(path: Path, teacher: Teacher, questions: Iterable[Question], store: "CallStore") -> int:
    """Writes the questions that the store has no reply to, each call once; returns how many.

    The file is put in place once all are written.
    """
    written: set[str] = set()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        for question in questions:
            call = teacher.call(question)
            if call.key not in store and call.key not in written:
                written.add(call.key)
                file.write(json.dumps(_request(teacher, call), ensure_ascii=False) + "\n")
    unfinished.replace(path)
    return len(written)


def _request(teacher: Teacher, call: "Call") -> dict[str, Any]:
    messages = [{"role": message.role, "content": message.text} for message in call.messages]
    body = {"model": teacher.model.name, "messages": messages} | call.params
    return {"custom_id": call.key, "method": "POST", "url": "/v1/chat/completions", "body": body}


@dataclass
class Answers:
    """A file of answers. Only keys and positions are kept in memory; of two answers to one question the first counts.

    Attributes:
        path: The JSONL file.
        problems: Lines that are no answer, by kind.
        used: Keys of those that a question was found for.

    Raises:
        ValueError: If there is no such file.
    """

    path: Path
    problems: Counter[str] = field(default_factory=Counter)
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise ValueError(f"--answers {self.path}: not found, expected a file of answers in JSONL")
        self._starts: dict[str, int] = {}
        start = 0
        with self.path.open("rb") as file:
            for line in file:
                if (key := self._key(line)) is not None:
                    self._starts.setdefault(key, start)
                start += len(line)
        self._file = self.path.open("rb")

    def __len__(self) -> int:
        return len(self._starts)

    def reply(self, call: "Call") -> "Reply | None":
        """The answer to a call as the call store keeps it, or None if there is none."""
        if call.key not in self._starts:
            return None
        self.used.add(call.key)
        self._file.seek(self._starts[call.key])
        return _reply(call, json.loads(self._file.readline()))

    def _key(self, line: bytes) -> str | None:
        try:
            answer = json.loads(line)
            _text_of(answer)
            return str(answer["custom_id"])
        except _EngineError as error:
            self.problems[str(error)] += 1
        except (ValueError, KeyError, TypeError, IndexError):
            self.problems["not an answer: no custom_id, or no text"] += 1
        return None


class _EngineError(Exception):
    """The engine says that it could not answer."""


def _completion(answer: dict[str, Any]) -> dict[str, Any]:
    if answer.get("error"):
        raise _EngineError(f"error of the engine: {str(answer['error'])[:100]}")
    response = answer.get("response") or {}
    if response.get("status_code", 200) != 200:
        raise _EngineError(f"error of the engine: status {response['status_code']}")
    completion: dict[str, Any] = response.get("body") or response
    return completion


def _text_of(answer: dict[str, Any]) -> str:
    completion = _completion(answer)
    text = completion["choices"][0]["message"]["content"] if completion else answer["generated_text"]
    if not isinstance(text, str | None):
        raise TypeError
    return _THOUGHT.sub("", text or "", count=1)


def _reply(call: "Call", answer: dict[str, Any]) -> "Reply":
    from model_calls import Reply

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
        text=_text_of(answer),
        stop_reason=_STOP_REASONS.get(str(finish), "unknown"),
        usage={kind: usage[name] for name, kind in _USAGE.items() if isinstance(usage.get(name), int)},
        request_id=str(answer.get("id", "")),
        created=time.isoformat(timespec="seconds"),
    )


async def import_answers(asking: Asking, teacher: Teacher, questions: Iterator[Question], answers: Answers) -> int:
    """Puts answers into the call store and writes the rows of the questions that have one; returns the others' number.

    A reply that the store has already wins over an answer.
    """
    unanswered = 0
    block: list[tuple[Question, Reply]] = []

    async def flush() -> None:
        new = {reply.key: reply for _, reply in block if reply.key not in asking.store}
        await asking.store.put(*new.values())
        for question, reply in block:
            asking.file.append(row_of(teacher, question, reply))
            asking.progress.step()
        block.clear()

    for question in questions:
        call = teacher.call(question)
        reply = asking.store.get(call.key) or answers.reply(call)
        if reply is None:
            unanswered += 1
            continue
        block.append((question, reply))
        if len(block) >= ANSWERS_PER_SYNC:
            await flush()
    await flush()
    return unanswered
