"""Responses that stand in a file of JSON lines: read, and judged without a benchmark or a log."""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pandas as pd

from judges.judgment import Judge, JudgeFailure, Judgment, outcome_of
from rubrics import Rubric, ScoreLevel, load_rubrics
from rubrics.files import read_jsonl

CONTROL = "control"  # level of a text that was asked for without rubric and level
LEVELS = (*ScoreLevel, CONTROL)


@dataclass(frozen=True)
class Text:
    """A line of the file.

    Attributes:
        row: As it stands there.
        rubric: To judge by.
        level: Level that was asked for, "control" for none; "" if the line does not say.
        user_prompt: Text of the user prompt; "" if the line has none.
        user_prompt_id: Its id; without one a hash of its text.
        writer: Who wrote the response: `teacher` of the line, or "".
        response: What is judged.
    """

    row: Mapping[str, Any]
    rubric: Rubric
    level: str
    user_prompt: str
    user_prompt_id: str
    writer: str
    response: str


def read_texts(path: Path, only: Sequence[Rubric] = ()) -> list[Text]:
    """The lines of a JSONL file with `rubric` (id), `response`, and optionally the rest of a responses file.

    A user prompt is a text or a list of chat messages, whose last user turn is taken. The names `prompt` and
    `prompt_id`, from before version 0.2, are read too.

    Args:
        path: The file.
        only: Lines of other rubrics are left out; none given takes all lines, of rubrics of the library.

    Raises:
        ValueError: At the first line that cannot be judged, with file and line; if there is no line at all, or none of
            a rubric in `only`.
    """
    rubrics = {rubric.id: rubric for rubric in only}
    texts = []
    for number, row in read_jsonl(path):
        if not only or row.get("rubric") in rubrics:
            try:
                texts.append(_text(row, rubrics))
            except ValueError as error:
                raise ValueError(f"{path.name}:{number}: {error}") from error
    missing = sorted(set(rubrics) - {text.rubric.id for text in texts})
    if missing:
        raise ValueError(f"{path.name}: no text of rubric {missing[0]!r}, expected at least one")
    if not texts:
        raise ValueError(f"{path.name}: got no line, expected one JSON object per response")
    return texts


def draw_texts(texts: Sequence[Text], limit: int, seed: int) -> list[Text]:
    """The texts of `limit` user prompts per rubric, drawn at random; all levels of a prompt stay together."""
    prompts: dict[str, set[str]] = {}
    for text in texts:
        prompts.setdefault(text.rubric.id, set()).add(text.user_prompt_id)
    rng = random.Random(seed)
    kept = {rubric: set(rng.sample(sorted(ids), min(limit, len(ids)))) for rubric, ids in sorted(prompts.items())}
    return [text for text in texts if text.user_prompt_id in kept[text.rubric.id]]


async def judge_texts(
    texts: Sequence[Text], askings: Sequence[Judge], progress: Callable[[], None] = lambda: None
) -> list[list[Judgment | JudgeFailure]]:
    """What every asking of a judge makes of every text, in their order; `progress` is called after each judgment.

    Raises:
        ExceptionGroup: If a call fails for a reason that is not the judge's, such as the connection.
    """
    outcomes: dict[tuple[int, int], Judgment | JudgeFailure] = {}

    async def ask(number: int, repeat: int) -> None:
        text = texts[number]
        outcomes[number, repeat] = await outcome_of(askings[repeat], text.rubric, text.user_prompt, text.response)
        progress()

    async with anyio.create_task_group() as group:
        for number in range(len(texts)):
            for repeat in range(len(askings)):
                group.start_soon(ask, number, repeat)
    return [[outcomes[number, repeat] for repeat in range(len(askings))] for number in range(len(texts))]


def judged_row(text: Text, outcome: Judgment | JudgeFailure) -> dict[str, Any]:
    """The row with `score`, `judge_failure` and, with a score level, `in_band`.

    A score is 0-100, and None if the judge failed; how it failed is then in `judge_failure`, else "".
    """
    score = outcome.score if isinstance(outcome, Judgment) else None
    failure = outcome.mode if isinstance(outcome, JudgeFailure) else ""
    row = {**text.row, "score": score, "judge_failure": failure}
    if text.level in list(ScoreLevel):
        row["in_band"] = None if score is None else ScoreLevel.of(score) == text.level
    return row


def score_table(rows: pd.DataFrame) -> pd.DataFrame:
    """By rubric and level: rows, rows without a score, mean score (0-100) and share in band (0-1); nan where none.

    Args:
        rows: Those of `judged_row`.
    """
    nothing = pd.Series(None, rows.index, dtype=object)
    table = rows.assign(
        level=pd.Categorical(rows.get("level", nothing).fillna(""), ["", *LEVELS]),
        score=rows["score"].astype(float),
        in_band=rows.get("in_band", nothing).astype(float),
    )
    return table.groupby(["rubric", "level"], as_index=False, observed=True).agg(
        n=("score", "size"),
        unscored=("score", lambda scores: scores.isna().sum()),
        mean_score=("score", "mean"),
        in_band=("in_band", "mean"),
    )


def _text(row: Mapping[str, Any], rubrics: dict[str, Rubric]) -> Text:
    for name in ("rubric", "response"):
        if not isinstance(row.get(name), str):
            raise ValueError(f"{name}: got {row.get(name)!r}, expected a text")
    if row["rubric"] not in rubrics:
        [rubrics[row["rubric"]]] = load_rubrics(row["rubric"])
    level = row.get("level") or ""
    if level not in ("", *LEVELS):
        raise ValueError(f"level: got {level!r}, expected one of {', '.join(LEVELS)}")
    user_prompt = _user_prompt(row.get("user_prompt", row.get("prompt")))
    return Text(
        row=row,
        rubric=rubrics[row["rubric"]],
        level=level,
        user_prompt=user_prompt,
        user_prompt_id=str(row.get("user_prompt_id", row.get("prompt_id", _digest(user_prompt)))),
        writer=str(row.get("teacher", "")),
        response=row["response"],
    )


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _user_prompt(given: Any) -> str:
    if given is None or isinstance(given, str):
        return given or ""
    if isinstance(given, list):
        turns = [turn for turn in given if isinstance(turn, dict) and turn.get("role") == "user"]
        if turns and isinstance(turns[-1].get("content"), str):
            return str(turns[-1]["content"])
    raise ValueError("user_prompt: expected a text, or chat messages with a user turn")
