"""Texts of known score for the measured rubrics, and students that write them as the system prompt asks."""

from functools import cache
from pathlib import Path
from typing import Any

from rubrics import Rubric, load_rubrics
from rubrics.files import read_jsonl

SEED = Path(__file__).parents[2] / "data_gen" / "seed" / "responses.jsonl"


@cache
def texts() -> dict[tuple[str, str], str]:
    """(rubric, level) -> a seed response in the band of that level."""
    rows = [row for _, row in read_jsonl(SEED)]
    return {(row["rubric"], row["level"]): row["response"] for row in reversed(rows)}


@cache
def _measured() -> tuple[Rubric, ...]:
    return tuple(load_rubrics("measured"))


def asked(messages: list[Any]) -> list[tuple[str, str]]:
    """(rubric, level) of every wording in the chat, in the order in which they stand there."""
    chat = "\n\n".join(message.text for message in messages)
    requests = [
        (chat.index(wording), (rubric.id, level.value))
        for rubric in _measured()
        for level, wordings in rubric.system_prompts.items()
        for wording in (*wordings.train, *wordings.heldout)
        if wording in chat
    ]
    return [request for _, request in sorted(requests)]
