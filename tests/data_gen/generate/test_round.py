"""A round on a student's own responses, command by command: written, judged, paired within a level."""

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

from command_runs import cpt
from generating import MOCK, generate, rows_of
from seed import SEED_ROWS

from rubrics import ScoreLevel, load_rubric
from rubrics.files import read_jsonl

LABYRINTH = load_rubric("labyrinth")


def texts(level: str) -> list[str]:
    return [row["response"] for row in SEED_ROWS if (row["rubric"], row["level"]) == ("labyrinth", level)]


def run(*words: str) -> str:
    return cpt(*words).output


def test_what_a_student_wrote_becomes_pairs_under_the_system_prompts_it_wrote_under(
    mock_teacher: Callable[..., Any],
) -> None:
    # asked for low, it hits every second time
    replies = chain.from_iterable(zip(texts("low"), texts("extremely_high"), strict=True))
    mock_teacher(lambda _: next(replies), stop_reason="stop")
    plan = ("--rubrics", "labyrinth", "--levels", "low", "--samples", 2, "--configured-by", "system_prompt")
    generate(*MOCK, *plan, "--max-connections", 1)
    output = run("verify", "r.jsonl", "--keep", "all", "--out", "judged")
    assert "48 rows in = 48 kept + 0 dropped + 0 bad" in output
    run(
        "twins", "--responses", "judged/responses.jsonl", "--level-pairs", "none", "--same-level", "1", "--out", "pairs"
    )
    written = {row["response"]: row for row in rows_of()}
    low = set(texts("low"))
    pairs = [row for name in ("train", "eval") for _, row in read_jsonl(Path("pairs", f"{name}.jsonl"))]
    by_prompt: dict[str, list[bool]] = {}
    for row in written.values():
        by_prompt.setdefault(row["user_prompt_id"], []).append(row["response"] in low)
    assert len(pairs) == sum(set(hits) == {True, False} for hits in by_prompt.values()) > 8
    for pair in pairs:
        chosen, rejected = (written[pair[side][0]["content"]] for side in ("chosen", "rejected"))
        assert (chosen["response"] in low, rejected["response"] in low) == (True, False)
        assert chosen["user_prompt_id"] == rejected["user_prompt_id"] == pair["user_prompt_id"]
        number = int(chosen["wording"].rsplit("-", 1)[1])
        assert pair["prompt"][0]["content"] == LABYRINTH.wordings(ScoreLevel.LOW, "train")[number]
    assert json.loads(Path("pairs/manifest.json").read_text(encoding="utf-8"))["teachers"] == ["mockllm/t"]
