"""Which wordings do judged responses miss the band of? What `cpt rubric lint --responses FILE` shows.

A row needs `rubric`, `level`, `wording` (such as heldout-0) and a score, as files of `cpt verify` and `cpt judge texts`
and the frame of a log (`cpt_tasks.statistics.frame`) have them.
"""

from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, ValidationError

from rubrics.files import read_jsonl
from rubrics.levels import MAX_SCORE, MIN_SCORE, ScoreLevel
from rubrics.lint import Finding
from rubrics.schema import Rubric, problem_texts

MIN_RESPONSES = 2
MAX_IN_BAND = 1 / 3
NO_RESPONSE = "no_response"
TODAY = 0  # version of rows that say none
# alone, or after rubric and level as in a teacher's rows; of two rubrics at once or of a whole rubric it is none
_WORDING = r"^(?:\w+-\w+-)?((?:train|heldout)-\d+)$"


class JudgedRow(BaseModel):
    """What is read of a row. The score, 0-100, is None if the judge failed; a row without version is of today's."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    rubric: str
    rubric_version: int = TODAY
    level: str | None = None
    wording: str | None = Field(default=None, validation_alias=AliasChoices("wording", "system_prompt_id"))
    score: Annotated[float, Field(ge=MIN_SCORE, le=MAX_SCORE, allow_inf_nan=False)] | None = Field(
        default=None, validation_alias=AliasChoices("score", AliasPath("judgment", "score"))
    )
    no_response: bool = False
    reason: str = ""


def read_judged(path: Path) -> pd.DataFrame:
    """The rows of a JSONL file that were asked for by one wording of a level: the fields of `JudgedRow`.

    Raises:
        ValueError: At the first row with a wrong value, with file and line; if no row has a wording and a score.
    """
    rows = []
    for number, content in read_jsonl(path):
        try:
            rows.append(JudgedRow.model_validate(content).model_dump())
        except ValidationError as error:
            raise ValueError(f"{path.name}:{number}: {problem_texts(error)[0]}") from error
    frame = pd.DataFrame(rows, columns=list(JudgedRow.model_fields)).astype({"score": float})
    # a rubric of one's own is named by its file
    frame["rubric"] = frame["rubric"].map(lambda name: Path(name).stem if name.endswith(".yaml") else name)
    frame["wording"] = frame["wording"].astype(str).str.extract(_WORDING)
    asked = frame[frame["level"].isin(list(ScoreLevel)) & frame["wording"].notna()]
    if asked["score"].isna().all():
        raise ValueError(
            f"{path.name}: got no row with level, wording and score, expected some; responses that were written with "
            "the rubric in view have no wording, and `cpt judge texts` scores the others"
        )
    return asked


def judged_wordings(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each wording, and for all wordings of a level and split together (`wording` is the split).

    `n` are scored responses, `in_band` the share (0-1) of them in their level's band, where no response is in none;
    `mean_score` is of the others. `unscored` are those that the judge failed on.
    """
    answered = ~rows["no_response"] & (rows["reason"] != NO_RESPONSE)
    in_band = (rows["score"].map(ScoreLevel.of, na_action="ignore") == rows["level"]) & answered
    rows = rows.assign(
        level=pd.Categorical(rows["level"], list(ScoreLevel), ordered=True),
        in_band=in_band.astype(float).where(rows["score"].notna()),
        answered=rows["score"].where(answered),
    )
    together = rows.assign(wording=rows["wording"].str.partition("-")[0])
    return (
        pd.concat([together, rows])
        .groupby(["rubric", "rubric_version", "level", "wording"], as_index=False, observed=True)
        .agg(
            n=("score", "count"),
            unscored=("score", lambda scores: scores.isna().sum()),
            mean_score=("answered", "mean"),
            in_band=("in_band", "mean"),
        )
    )


def misses(table: pd.DataFrame, rubric: Rubric) -> list[Finding]:
    """The wordings and levels of a rubric, as it is today, whose band most responses in `judged_wordings` miss."""
    findings = []
    is_today = (table["rubric"] == rubric.id) & table["rubric_version"].isin([rubric.version, TODAY])
    missed = table[is_today & (table["n"] >= MIN_RESPONSES) & (table["in_band"] <= MAX_IN_BAND)]
    for row in missed.to_dict("records"):
        message = (
            f"got {round(row['n'] * (1 - row['in_band']))} of {row['n']} responses out of band, mean score "
            f"{row['mean_score']:.1f}, expected fewer than two of three; if a reader too takes the wording for another "
            "level, rewrite it and add 1 to the rubric's version"
        )
        where = f"system_prompts.{row['level']}.{row['wording'].replace('-', '.')}"
        findings.append(Finding("warning", "misses_band", where, message))
    return findings
