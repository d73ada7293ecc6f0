"""Answers a judge's questions from a file of recorded verdicts, in the format of OpenAI's batches.

    cpt judge questions LOG --model recorded/NAME --out questions.jsonl
    python recipes/experiments/answer_from_record.py questions.jsonl recorded.jsonl --out answers.jsonl
    cpt judge answers answers.jsonl LOG --model recorded/NAME

A line of the record has `verdicts`, by version of the judge's prompt: `reply`, the judge's whole reply, and `question`,
the first 16 hex digits of the SHA-256 of the message that it replied to; a line of one reply has the two itself. So no
verdict is taken for one under another wording of the judge's prompt or of a rubric.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any


def answers(questions: list[Any], record: list[Any]) -> list[dict[str, Any]]:
    """The answers to those questions that the record holds a reply to."""
    verdicts = [verdict for row in record for verdict in row.get("verdicts", {"": row}).values()]
    replies = {verdict["question"]: verdict["reply"] for verdict in verdicts}
    rows = []
    for question in questions:
        message = question["body"]["messages"][-1]["content"]
        reply = replies.get(hashlib.sha256(message.encode()).hexdigest()[:16])
        if reply is not None:
            choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
            body = {"model": question["body"]["model"], "choices": [choice]}
            rows.append({"custom_id": question["custom_id"], "response": {"status_code": 200, "body": body}})
    return rows


def rows_of(path: Path) -> list[Any]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8-sig").split("\n") if line]


def main() -> None:
    """Writes the answers, and says how many questions have one; exits with 1 if none has."""
    parser = argparse.ArgumentParser(description="Answer a judge's questions from recorded verdicts.")
    parser.add_argument("questions", type=Path, help="file that `cpt judge questions` wrote, in the format openai")
    parser.add_argument("record", type=Path, help="JSON lines with `verdicts`, or `question` and `reply`, see above")
    parser.add_argument("--out", type=Path, required=True, help="file to write (JSONL)")
    options = parser.parse_args()
    questions = rows_of(options.questions)
    rows = answers(questions, rows_of(options.record))
    if questions and not rows:
        parser.exit(
            1, f"{options.record}: no reply to these questions, which ask in other words than the recorded ones\n"
        )
    options.out.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8", newline="\n")
    print(f"{options.out}: {len(rows)} of {len(questions)} questions answered from {options.record}")


if __name__ == "__main__":
    main()
