"""Texts to be judged without a benchmark: the lines of a file, read and judged."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import click
import pandas as pd

from judges import (
    MEASURED,
    Judge,
    JudgeFailure,
    Judgment,
    MeasuredJudge,
    ModelJudge,
    judge_model,
    measure,
    outcome_of,
)
from judges.interval import NAN
from judges.measures import words
from judges.model import JudgeProtocol
from model_calls import open_store
from rubrics import Rubric, ScoreLevel, load_rubrics
from rubrics.files import read_jsonl

CONTROL = "control"  # level of a text that was asked for without rubric and level
LEVELS = ("", *ScoreLevel, CONTROL)
Outcomes = Sequence[Sequence[Judgment | JudgeFailure]]


@dataclass(frozen=True)
class Text:
    """A response to be judged, written or (in a forecast) still to come.

    Attributes:
        rubric: To judge by.
        user_prompt: Text of the user prompt; "" if it is not known.
        response: What is judged.
        level: Level that was asked for, "control" for none; "" if it is not known.
        user_prompt_id: Its id; without one a hash of its text.
        writer: Who wrote the response, or "".
        row: The line of the file that it stands in.
    """

    rubric: Rubric
    user_prompt: str
    response: str
    level: str = ""
    user_prompt_id: str = ""
    writer: str = ""
    row: Mapping[str, Any] = field(default_factory=dict)


def read_texts(path: Path, only: Sequence[Rubric] = ()) -> list[Text]:
    """The lines of a JSONL file with `rubric` (id), `response`, and optionally the rest of a responses file.

    The names `prompt` and `prompt_id`, from before version 0.2, are read too.

    Args:
        path: The file. A user prompt is a text or a list of chat messages, whose last user turn is taken.
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


def first_prompts(texts: Sequence[Text], limit: int) -> list[Text]:
    """The texts of the first `limit` user prompts of each rubric, at all levels."""
    prompts: dict[str, dict[str, None]] = {}
    for text in texts:
        prompts.setdefault(text.rubric.id, {})[text.user_prompt_id] = None
    kept = {rubric: list(ids)[:limit] for rubric, ids in prompts.items()}
    return [text for text in texts if text.user_prompt_id in kept[text.rubric.id]]


def judges_of(name: str, store: str, repeats: int = 1, protocol: JudgeProtocol = "criteria") -> list[Judge]:
    """Every asking of a judge, "measured" or an inspect model, that keeps its calls in a store."""
    if name == MEASURED:
        return [MeasuredJudge()] * repeats
    model, calls = judge_model(name), open_store(store)
    return [ModelJudge(model, calls, protocol, repeat) for repeat in range(repeats)]


async def judge_texts(texts: Sequence[Text], askings: Sequence[Judge]) -> list[list[Judgment | JudgeFailure]]:
    """What every asking of a judge makes of every text, in their order, with a progress bar on stderr.

    Raises:
        ExceptionGroup: If a call fails for a reason that is not the judge's, such as the connection.
    """
    outcomes: dict[tuple[int, int], Judgment | JudgeFailure] = {}

    async def ask(number: int, repeat: int) -> None:
        text = texts[number]
        outcomes[number, repeat] = await outcome_of(askings[repeat], text.rubric, text.user_prompt, text.response)
        bar.update(1)

    with click.progressbar(length=len(texts) * len(askings), label="judging", file=sys.stderr) as bar:
        async with anyio.create_task_group() as group:
            for number in range(len(texts)):
                for repeat in range(len(askings)):
                    group.start_soon(ask, number, repeat)
    return [[outcomes[number, repeat] for repeat in range(len(askings))] for number in range(len(texts))]


def judged_row(text: Text, outcome: Judgment | JudgeFailure) -> dict[str, Any]:
    """The line with `score` (0-100, None if the judge failed), `judge_failure` ("") and, with a level, `in_band`."""
    score = outcome.score if isinstance(outcome, Judgment) else None
    failure = outcome.mode if isinstance(outcome, JudgeFailure) else ""
    row = {**text.row, "score": score, "judge_failure": failure}
    if text.level in list(ScoreLevel):
        row["in_band"] = None if score is None else ScoreLevel.of(score) == text.level
    return row


def audit_rows(texts: Sequence[Text], outcomes: Outcomes) -> pd.DataFrame:
    """The rows of an audit: one per text and asking.

    The known score is measured anew: the one in the file may be of an older version of the rubric.
    """
    rows = []
    for number, (text, of_text) in enumerate(zip(texts, outcomes, strict=True)):
        row = {
            "text": number,
            "rubric": text.rubric.id,
            "writer": text.writer,
            "level": text.level or CONTROL,
            "user_prompt_id": text.user_prompt_id,
            "words": max(1, len(words(text.response))),
            "reference": measure(text.rubric, text.response).score,
            "judged": NAN,
            "failure": "",
        }
        for outcome in of_text:
            result = {"judged": outcome.score} if isinstance(outcome, Judgment) else {"failure": outcome.mode}
            rows.append(row | result)
    return pd.DataFrame(rows)


def score_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """By rubric and level of judged rows: n, unscored, mean score (0-100) and share in band (0-1); nan where none."""
    cells = [(row["rubric"], row.get("level") or "", row["score"], row.get("in_band")) for row in rows]
    table = pd.DataFrame(cells, columns=["rubric", "level", "score", "in_band"])
    table = table.astype({"score": float, "in_band": float, "level": pd.CategoricalDtype(list(LEVELS))})
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
    level = row.get("level") or ""
    if level not in LEVELS:
        raise ValueError(f"level: got {level!r}, expected one of {', '.join(LEVELS[1:])}")
    if row["rubric"] not in rubrics:
        [rubrics[row["rubric"]]] = load_rubrics(row["rubric"])
    user_prompt = _user_prompt(row.get("user_prompt", row.get("prompt")))
    digest = hashlib.blake2b(user_prompt.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return Text(
        rubric=rubrics[row["rubric"]],
        user_prompt=user_prompt,
        response=row["response"],
        level=level,
        user_prompt_id=str(row.get("user_prompt_id", row.get("prompt_id", digest))),
        writer=str(row.get("teacher", "")),
        row=row,
    )


def _user_prompt(given: Any) -> str:
    if isinstance(given, list):
        turns = [turn.get("content") for turn in given if isinstance(turn, dict) and turn.get("role") == "user"]
        given = turns[-1] if turns else given
    if given is not None and not isinstance(given, str):
        raise ValueError("user_prompt: expected a text, or chat messages with a user turn")
    return given or ""
