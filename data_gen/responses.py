"""The rows of `responses.jsonl`: one teacher response each, with what was asked and how it was judged.

Rows are read one at a time, so a file may hold millions. A bad row is named and counted, and the good ones go on.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import click
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from judges.counting import words
from model_calls.visible import visible
from rubrics import Rubric, ScoreLevel
from rubrics.files import read_jsonl
from rubrics.load import prompt_pictures
from rubrics.pictures import Picture, load_picture
from rubrics.schema import problem_texts
from rubrics.texts import BROKEN_CHARACTER, control_token

CONTROL: Literal["control"] = "control"


class ResponseJudgment(BaseModel):
    """A judgment as it is kept beside a response; `score` is 0-100."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    score: float = Field(ge=0, le=100)
    judge: str
    prompt_version: str


class TeacherResponse(BaseModel):
    """What a teacher wrote for (user prompt, rubric, level). Files with the names before schema 2 are read too.

    A thought before the response is taken off it, and so is white space around it.

    Attributes:
        id: `content_id` of what was asked and the response, or for generated rows of the call and the rubric.
        image: File of the picture that the user prompt shows, one of `rubrics/user_prompts/pictures/`.
        rubric: Id of the rubric asked for; of a control, of the rubric it is compared under.
        rubric_hash: `Rubric.hash` at the time.
        level: Level asked for; "control" for a response asked for without rubric and level.
        wording: Wording that configured the writer, if it was a system prompt and not the rubric itself.
        thought_words: Length of the chain of thought that was taken off the response, in words; None without one.
        created: ISO 8601 date or time, or None where it was not recorded.
        usage: Tokens by kind.
        stop_reason: As inspect names it ("stop", "max_tokens", "content_filter", ...); None if not recorded.
        judgment: By the row's own rubric; `also` by other rubrics, by their id, None if not asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)
    schema_version: Literal[2] = Field(
        default=2, validation_alias=AliasChoices("schema", "schema_version"), serialization_alias="schema"
    )
    id: str
    user_prompt_id: str = Field(validation_alias=AliasChoices("user_prompt_id", "prompt_id"))
    user_prompt: str = Field(validation_alias=AliasChoices("user_prompt", "prompt"))
    image: str | None = None
    rubric: str
    rubric_hash: str
    level: ScoreLevel | Literal["control"]
    wording: str | None = Field(default=None, validation_alias=AliasChoices("wording", "system_prompt_id"))
    response: str
    thought_words: int | None = None
    teacher: str
    params: dict[str, str | int | float | bool] = Field(default_factory=dict)
    created: str | None = None
    usage: dict[str, int] = Field(default_factory=dict)
    stop_reason: str | None = None
    judgment: ResponseJudgment | None = None
    also: dict[str, ResponseJudgment] | None = None

    @property
    def picture(self) -> Picture | None:
        """The picture that the user prompt shows."""
        return load_picture(self.image) if self.image else None

    @property
    def user_prompt_key(self) -> str:
        """What is asked, text and picture: user prompts with the same are one."""
        return prompt_key(self.user_prompt) + (f" {self.image}" if self.image else "")

    @field_validator("image")
    @classmethod
    def _is_known(cls, image: str | None) -> str | None:
        return load_picture(image).file if image else None

    @model_validator(mode="before")
    @classmethod
    def _only_what_is_visible(cls, fields: Any) -> Any:
        if not isinstance(fields, dict) or not isinstance(fields.get("response"), str):
            return fields
        answer, thought = visible(fields["response"])
        about = {"thought_words": len(words(thought))} if thought else {}
        return fields | about | {"response": answer.strip()}


def check_not_written(path: Path, out: Path, names: Iterable[str]) -> None:
    """Raises ValueError if a file that is read is one of those that a command writes to the folder `out`."""
    if path.resolve() in {(out / name).resolve() for name in names}:
        raise ValueError(f"{path}: is read and would be overwritten, expected another folder for --out")


def find_unfit_text(row: TeacherResponse) -> tuple[str, str]:
    """Kind and description of what must not reach a student: a control token, a broken character; "" twice if none."""
    for what, text in (("response", row.response), ("user prompt", row.user_prompt)):
        if token := control_token(text):
            return "control_token", f"{what} has the control token {token!r}, expected plain text"
        if BROKEN_CHARACTER in text:
            return "broken_character", f"{what} has a broken character (U+FFFD), expected whole ones"
    return "", ""


def find_test_picture(row: TeacherResponse) -> str:
    """What is wrong with a row that shows a picture of a test prompt; "" for any other."""
    is_test = row.image in prompt_pictures("test").values()
    return f"shows {row.image}, the picture of a test prompt, expected one of a train prompt" if is_test else ""


class Problems:
    """Says on stderr what is wrong with rows, the first ten of each kind, unless silent; counts all in `counts`."""

    MAX_SHOWN = 10

    def __init__(self, is_silent: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self._is_silent = is_silent

    def add(self, kind: str, message: str) -> None:
        """Takes down one bad row; `message` says where, got, expected."""
        self.counts[kind] += 1
        if self._is_silent:
            return
        if self.counts[kind] <= self.MAX_SHOWN:
            click.echo(message, err=True)
        elif self.counts[kind] == self.MAX_SHOWN + 1:
            click.echo(f"more rows with the problem {kind}: counted, not shown", err=True)

    def summary(self) -> str:
        """One line, e.g. "3 bad rows skipped: 2 unknown_rubric, 1 bad_row"; "" if there were none."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.counts.most_common())
        return f"{self.counts.total()} bad rows skipped: {kinds}" if kinds else ""


def prompt_key(text: str) -> str:
    """A text in one case and with single spaces: prompts that are the same in this form are one prompt."""
    return " ".join(text.casefold().split())


def sha256_of(path: Path) -> str:
    """SHA-256 of the bytes of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_id(*parts: str | int) -> str:
    """First 16 hex digits of the SHA-256 of the parts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def iter_responses(
    paths: Iterable[Path], rubrics: Mapping[str, Rubric], problems: Problems
) -> Iterator[tuple[str, TeacherResponse]]:
    """Good rows of JSONL files, each after "FILE:LINE", in file order; bad ones go to `problems`.

    Bad is a row that is not a JSON object with the fields of `TeacherResponse` ("bad_row"), repeats an id
    ("repeated_id"), or names a rubric that is not in `rubrics`, by id, ("unknown_rubric") or that was edited since
    ("edited_rubric").

    Raises:
        ValueError: If a file is missing.
    """
    seen: set[int] = set()  # hashes, as ids are themselves: a million whole ids would take 100 MB
    hashes = {rubric_id: rubric.hash for rubric_id, rubric in rubrics.items()}  # slow to take for every row
    for path in paths:
        for number, content in read_jsonl(path, skip=lambda message: problems.add("bad_row", message)):
            where = f"{path}:{number}"
            try:
                row = TeacherResponse.model_validate(content)
            except ValidationError as error:
                problems.add("bad_row", f"{where}: {problem_texts(error)[0]}")
                continue
            if hash(row.id) in seen:
                problems.add("repeated_id", f"{where}: id {row.id!r} stands there twice, expected each id once")
            elif row.rubric not in hashes:
                problems.add("unknown_rubric", f"{where}: rubric is {row.rubric!r}, expected one of {sorted(rubrics)}")
            elif row.rubric_hash != hashes[row.rubric]:
                problems.add(
                    "edited_rubric",
                    f"{where}: written for rubric {row.rubric!r} with hash {row.rubric_hash}, expected "
                    f"{hashes[row.rubric]}: the rubric was edited since; generate the response anew, or restore it",
                )
            else:
                seen.add(hash(row.id))
                yield where, row
