"""Judges responses that stand in a file, without a benchmark or a log: `cpt judge texts`."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pandas as pd

from judges import Judge, JudgeFailure, Judgment
from rubrics import Rubric, ScoreLevel, load_rubrics


@dataclass(frozen=True)
class Text:
    """A line of the file.

    Attributes:
        row: As it stands there.
        rubric: To judge by.
        level: Level that was asked for, None if the line names none.
        prompt: User prompt; "" if the line has none.
        response: What is judged.
    """

    row: Mapping[str, Any]
    rubric: Rubric
    level: ScoreLevel | None
    prompt: str
    response: str


def read_texts(path: Path) -> list[Text]:
    """The lines of a JSONL file with `rubric` (id), `response`, and optionally `level` and `prompt`.

    A prompt is a text or a list of chat messages, whose last user turn is taken.

    Raises:
        ValueError: At the first line that cannot be judged, with file and line.
    """
    rubrics: dict[str, Rubric] = {}
    texts = []
    # not splitlines(): a text may hold characters that it takes for the end of a line
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            texts.append(_text(json.loads(line), rubrics))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path.name}:{number}: not JSON ({error})") from error
        except ValueError as error:
            raise ValueError(f"{path.name}:{number}: {error}") from error
    if not texts:
        raise ValueError(f"{path.name}: got no line, expected one JSON object per response")
    return texts


def _text(row: Any, rubrics: dict[str, Rubric]) -> Text:
    if not isinstance(row, dict):
        raise ValueError(f"got {type(row).__name__}, expected an object with rubric and response")
    for name in ("rubric", "response"):
        if not isinstance(row.get(name), str):
            raise ValueError(f"{name}: got {row.get(name)!r}, expected a text")
    if row["rubric"] not in rubrics:
        [rubrics[row["rubric"]]] = load_rubrics(row["rubric"])
    level = row.get("level")
    if level is not None and level not in [known.value for known in ScoreLevel]:
        raise ValueError(f"level: got {level!r}, expected one of {', '.join(ScoreLevel)}")
    return Text(row, rubrics[row["rubric"]], level and ScoreLevel(level), _prompt(row.get("prompt")), row["response"])


def _prompt(given: Any) -> str:
    if given is None or isinstance(given, str):
        return given or ""
    if isinstance(given, list):
        turns = [turn for turn in given if isinstance(turn, dict) and turn.get("role") == "user"]
        if turns and isinstance(turns[-1].get("content"), str):
            return str(turns[-1]["content"])
    raise ValueError("prompt: expected a text, or chat messages with a user turn")


def judge_rows(
    texts: Sequence[Text], judge: Judge, progress: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """The rows with `score`, `judge_failure` and, with a level, `in_band`.

    A score is 0-100, and None if the judge failed; how it failed is then in `judge_failure`, else "".

    Raises:
        ExceptionGroup: If a call fails for a reason that is not the judge's, such as the connection.
    """
    outcomes: dict[int, Judgment | JudgeFailure] = {}

    async def one(number: int, text: Text) -> None:
        try:
            outcomes[number] = await judge.judge(text.rubric, text.prompt, text.response)
        except JudgeFailure as failure:
            outcomes[number] = failure
        progress()

    async def all_of_them() -> None:
        async with anyio.create_task_group() as group:
            for number, text in enumerate(texts):
                group.start_soon(one, number, text)

    anyio.run(all_of_them)
    rows = []
    for number, text in enumerate(texts):
        outcome = outcomes[number]
        failure = outcome.mode if isinstance(outcome, JudgeFailure) else ""
        score = None if isinstance(outcome, JudgeFailure) else outcome.score
        row = dict(text.row) | {"score": score, "judge_failure": failure}
        if text.level is not None:
            row["in_band"] = None if score is None else ScoreLevel.of(score) is text.level
        rows.append(row)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """By rubric and level: rows, rows without a score, mean score (0-100) and share in band (0-1); nan where none."""
    cells: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        cells[row["rubric"], row.get("level") or ""].append(row)
    order = ["", *ScoreLevel]
    lines = []
    for (rubric, level), found in sorted(cells.items(), key=lambda cell: (cell[0][0], order.index(cell[0][1]))):
        scored = [row for row in found if row["score"] is not None]
        bands = [row["in_band"] for row in scored if "in_band" in row]
        lines.append(
            {
                "rubric": rubric,
                "level": level,
                "n": len(found),
                "unscored": len(found) - len(scored),
                "mean_score": sum(row["score"] for row in scored) / len(scored) if scored else math.nan,
                "in_band": sum(bands) / len(bands) if bands else math.nan,
            }
        )
    return pd.DataFrame(lines)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes JSONL, a whole file or none."""
    torn = path.with_name(path.name + ".tmp")
    torn.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    torn.replace(path)
