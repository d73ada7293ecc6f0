"""Texts to be judged without a benchmark: the lines of a file, read and judged."""

import asyncio
import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
import pandas as pd

from judges import (
    MEASURED,
    NO_RESPONSE,
    Judge,
    JudgeFailure,
    JudgeSettings,
    Judgment,
    MeasuredJudge,
    ModelJudge,
    check_measurable,
    judge_model,
    outcome_of,
    picture_problem,
)
from model_calls import CallStore, open_store
from model_calls.online import MAX_CONNECTIONS
from model_calls.side_by_side import side_by_side
from model_calls.visible import visible
from rubrics import Rubric, ScoreLevel, load_rubric, load_rubrics
from rubrics.files import read_jsonl
from rubrics.pictures import Picture, load_picture

CONTROL = "control"  # level of a text that was asked for without rubric and level
LEVELS = ("", *ScoreLevel, CONTROL)
Outcomes = Sequence[Sequence[Judgment | JudgeFailure]]


@dataclass(frozen=True)
class Text:
    """A response to be judged, written or (in a forecast) still to come; "" for what is not known of it.

    `response` is the visible answer: a chain of thought before it is in `row`, the line of the file, alone. `level` is
    the one asked for, "control" for none.
    """

    rubric: Rubric
    user_prompt: str
    response: str
    level: str = ""
    user_prompt_id: str = ""
    writer: str = ""
    picture: Picture | None = None
    row: Mapping[str, Any] = field(default_factory=dict)


def read_texts(path: Path, own: str | None = None) -> list[Text]:
    """The lines of a JSONL file with `rubric` (id), `response`, and optionally the rest of a responses file.

    A user prompt is a text or a list of chat messages, whose last user turn is taken; `image` names its picture. The
    names `prompt` and `prompt_id`, from before version 0.2, are read too. `own` selects rubrics that are not of the
    library, as `load_rubrics` takes them.

    Raises:
        ValueError: At the first line that cannot be judged, with file and line; if there is no line at all.
    """
    rubrics = {rubric.id: rubric for rubric in load_rubrics(own)} if own else {}
    texts = []
    for number, row in read_jsonl(path):
        try:
            texts.append(_text(row, rubrics))
        except ValueError as error:
            raise ValueError(f"{path.name}:{number}: {error}") from error
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


def check_measured(texts: Sequence[Text]) -> None:
    """Raises ValueError unless text statistics can measure every rubric of the texts."""
    for rubric in {text.rubric.id: text.rubric for text in texts}.values():
        check_measurable(rubric)


def judges_of(settings: JudgeSettings) -> list[Judge]:
    """Every asking of a judge."""
    if settings.model == MEASURED:
        return [MeasuredJudge()] * settings.repeats
    return [*model_judges(settings, open_store(settings.store))]


def model_judges(settings: JudgeSettings, store: CallStore) -> list[ModelJudge]:
    """Every asking of a model that judges."""
    model, version = judge_model(settings.model), settings.prompt_version
    return [ModelJudge(model, store, repeat=repeat, prompt_version=version) for repeat in range(settings.repeats)]


def judge_texts(texts: Sequence[Text], askings: Sequence[Judge]) -> list[list[Judgment | JudgeFailure]]:
    """What every asking of a judge makes of every text, in their order, with a progress bar on stderr.

    Raises:
        ExceptionGroup: If a call fails for a reason that is not the judge's, such as the connection.
    """

    async def ask(judge: Judge, text: Text) -> Judgment | JudgeFailure:
        outcome = await outcome_of(judge, text.rubric, text.user_prompt, text.response, text.picture)
        bar.update(1)
        return outcome

    jobs = [partial(ask, judge, text) for text in texts for judge in askings]
    with click.progressbar(length=len(jobs), label="judging", file=sys.stderr) as bar:
        outcomes = asyncio.run(side_by_side(jobs, MAX_CONNECTIONS))
    return [outcomes[start : start + len(askings)] for start in range(0, len(jobs), len(askings))]


def judged_row(text: Text, outcome: Judgment | JudgeFailure) -> dict[str, Any]:
    """The line with `score` (0-100, None if the judge failed), `judge_failure` ("") and, with a level, `in_band`.

    `no_response` says that nothing was there to be judged: in no band.
    """
    score, failure = (None, outcome.mode) if isinstance(outcome, JudgeFailure) else (outcome.score, "")
    is_empty = isinstance(outcome, Judgment) and outcome.reason == NO_RESPONSE
    row = {**text.row, "score": score, "judge_failure": failure, "no_response": is_empty}
    if text.level in list(ScoreLevel):
        row["in_band"] = None if score is None else not is_empty and ScoreLevel.of(score) == text.level
    return row


def score_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """By rubric and level of judged rows: n, unscored, no_response, mean score of the others, share in band (0-1)."""
    cells = [
        (row["rubric"], row.get("level") or "", row["score"], row["no_response"], row.get("in_band")) for row in rows
    ]
    table = pd.DataFrame(cells, columns=["rubric", "level", "score", "no_response", "in_band"])
    table = table.astype({"score": float, "in_band": float, "level": pd.CategoricalDtype(list(LEVELS))})
    table["answered"] = table["score"].mask(table["no_response"])
    return table.groupby(["rubric", "level"], as_index=False, observed=True).agg(
        n=("score", "size"),
        unscored=("score", lambda scores: scores.isna().sum()),
        no_response=("no_response", "sum"),
        mean_score=("answered", "mean"),
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
        rubrics[row["rubric"]] = load_rubric(row["rubric"])
    picture = load_picture(row["image"]) if row.get("image") else None
    if problem := picture_problem(rubrics[row["rubric"]], picture):
        raise ValueError(problem)
    user_prompt = _user_prompt(row.get("user_prompt", row.get("prompt")))
    digest = hashlib.blake2b(user_prompt.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return Text(
        rubric=rubrics[row["rubric"]],
        user_prompt=user_prompt,
        response=visible(row["response"])[0],
        level=level,
        user_prompt_id=str(row.get("user_prompt_id", row.get("prompt_id", digest))),
        writer=str(row.get("teacher", "")),
        picture=picture,
        row=row,
    )


def _user_prompt(given: Any) -> str:
    if isinstance(given, list):
        turns = [turn.get("content") for turn in given if isinstance(turn, dict) and turn.get("role") == "user"]
        given = turns[-1] if turns else given
    if isinstance(given, list) and all(isinstance(part, dict) and "type" in part for part in given):
        given = "".join(str(part.get("text", "")) for part in given)
    if given is not None and not isinstance(given, str):
        raise ValueError("user_prompt: expected a text, or chat messages with a user turn")
    return given or ""
