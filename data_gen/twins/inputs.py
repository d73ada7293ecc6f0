"""What may train: every response is checked, numbered and laid down as Parquet, the texts aside from the numbers.

First stage of `cpt twins`. Pairing then works on columns of numbers (`frame`), and the texts stay on disk until a twin
is written (`texts`), so that a million responses fit into little memory.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from data_gen.responses import CONTROL, Problems, ResponseJudgment, TeacherResponse
from rubrics import Rubric, ScoreLevel, all_user_prompts

ROWS_PER_PART = 5_000
_JUDGMENTS = pl.List(pl.Struct({"rubric": pl.Int16, "judge": pl.Int32, "score": pl.Float64}))
NUMBERS: dict[str, pl.DataType] = {
    "row": pl.UInt32(),
    "rubric": pl.Int16(),
    "rank": pl.Int8(),
    "score": pl.Float64(),
    "prompt": pl.Int32(),
    "teacher": pl.Int32(),
    "judge": pl.Int32(),
    "also": _JUDGMENTS,
}
TEXTS: dict[str, pl.DataType] = dict.fromkeys(
    ("id", "user_prompt_id", "user_prompt", "teacher_name", "response"), pl.String()
)


@dataclass(frozen=True)
class Responses:
    """The responses that may train, numbered from 0 (`row`) in the order they came.

    Attributes:
        frame: Columns `NUMBERS`; `rubric` is a place in `rubrics`, `rank` that of the level, `prompt` that of the first
            user prompt id; `also` holds the judgments by other rubrics, in order of their numbers.
        texts: `row` and the columns `TEXTS`.
        rubrics: Those wanted, sorted by id.
        prompts: Ids of the user prompts.
        prompt_keys: For each prompt, the number of the first one with the same text but for case and white space: what
            must not be parted between train and eval.
        teachers: Who wrote the responses.
        judges: Who judged them, with the version of the judge's prompt.
        passed_over: Responses that were not wanted, by "control" or the id of a rubric that is not in `rubrics`.
    """

    frame: pl.DataFrame
    texts: pl.LazyFrame
    rubrics: list[Rubric]
    prompts: list[str]
    prompt_keys: list[int]
    teachers: list[str]
    judges: list[str]
    passed_over: Counter[str]


class _Reader:
    def __init__(self, rubrics: Mapping[str, Rubric], problems: Problems, folder: Path, with_also: bool) -> None:
        self.rubrics = [rubrics[rubric_id] for rubric_id in sorted(rubrics)]
        self.problems, self.folder, self.with_also = problems, folder, with_also
        self.rubric_numbers = {rubric.id: number for number, rubric in enumerate(self.rubrics)}
        self.teachers: dict[str, int] = {}
        self.judges: dict[str, int] = {}
        self.prompts: dict[str, int] = {}
        self.prompt_keys: list[int] = []
        self.passed_over: Counter[str] = Counter()
        self._texts: list[int] = []  # a hash for each prompt: a million whole ones would not fit
        self._first_with: dict[int, int] = {}
        self._test_prompts = all_user_prompts("test")
        self._test_texts = {normalised(text) for text in self._test_prompts.values()}
        self._rows: list[tuple[Any, ...]] = []
        self._count = 0

    def take(self, where: str, row: TeacherResponse) -> None:
        if row.level == CONTROL or row.rubric not in self.rubric_numbers:
            self.passed_over[CONTROL if row.level == CONTROL else row.rubric] += 1
            return
        problem = self._problem(row, self.rubrics[self.rubric_numbers[row.rubric]])
        if problem is not None:
            self.problems.add(problem[0], f"{where}: {problem[1]}")
            return
        assert row.judgment is not None  # _problem looked
        also = self._also(row) if self.with_also else []
        self._rows.append(
            (
                self._count,
                self.rubric_numbers[row.rubric],
                ScoreLevel(row.level).rank,
                row.judgment.score,
                self.prompts[row.user_prompt_id],
                self.teachers.setdefault(row.teacher, len(self.teachers)),
                self._judge(row.judgment),
                also,
                *(row.id, row.user_prompt_id, row.user_prompt, row.teacher, row.response),
            )
        )
        self._count += 1
        if len(self._rows) == ROWS_PER_PART:
            self.write_part()

    def write_part(self) -> None:
        part = pl.DataFrame(self._rows, schema=NUMBERS | TEXTS, orient="row")
        part.write_parquet(self.folder / f"{self._count - len(self._rows):012d}.parquet")  # by its first row
        self._rows.clear()

    def _problem(self, row: TeacherResponse, rubric: Rubric) -> tuple[str, str] | None:
        """Kind and message, and a number for a new prompt if there is none."""
        if not row.response.strip():
            return "empty_response", "response is empty, expected a text"
        if any(
            _has_lone_surrogate(text)
            for text in (row.id, row.user_prompt_id, row.user_prompt, row.teacher, row.response)
        ):
            return "half_character", "has half of a character (a lone surrogate), expected text that UTF-8 can hold"
        known = self.prompts.get(row.user_prompt_id)
        same = known is not None and self._texts[known] == hash(row.user_prompt)
        if not same and (row.user_prompt_id in self._test_prompts or normalised(row.user_prompt) in self._test_texts):
            return "test_prompt", f"answers the test prompt {row.user_prompt[:60]!r}, expected a train prompt"
        if not rubric.system_prompts:
            return (
                "no_system_prompts",
                f"rubric {rubric.id!r} has no system prompts, expected some for each level; write them with "
                "`cpt rubric prompts`",
            )
        if row.judgment is None:
            return "not_verified", "has no judgment, expected one; run `cpt verify` on the file first"
        if ScoreLevel.of(row.judgment.score) is not row.level:
            return "out_of_band", f"scored {row.judgment.score:g}, expected the band of {row.level}"
        if known is None:
            self.prompts[row.user_prompt_id] = len(self.prompts)
            self._texts.append(hash(row.user_prompt))
            key = self._first_with.setdefault(hash(normalised(row.user_prompt)), len(self.prompt_keys))
            self.prompt_keys.append(key)
        elif not same:
            return (
                "prompt_mismatch",
                f"user_prompt_id {row.user_prompt_id!r} stood for another text before, got {row.user_prompt[:60]!r}, "
                "expected one text for each id",
            )
        return None

    def _also(self, row: TeacherResponse) -> list[dict[str, Any]]:
        kept = []
        for rubric_id, judgment in (row.also or {}).items():
            number = self.rubric_numbers.get(rubric_id)
            if number is not None and rubric_id != row.rubric and self.rubrics[number].system_prompts:
                kept.append({"rubric": number, "judge": self._judge(judgment), "score": judgment.score})
        return kept

    def _judge(self, judgment: ResponseJudgment) -> int:
        name = f"{judgment.judge}, prompt version {judgment.prompt_version}"
        return self.judges.setdefault(name, len(self.judges))


def read_responses(
    rows: Iterable[tuple[str, TeacherResponse]],
    rubrics: Mapping[str, Rubric],
    problems: Problems,
    folder: Path,
    with_also: bool = False,
) -> Responses:
    """The responses that may train; what may not is named in `problems`.

    Args:
        rows: Responses, each after the place to name in a problem.
        rubrics: Rubrics whose responses are wanted, by id.
        problems: Where responses that may not train are named.
        folder: Where the texts are kept, as long as the result is in use.
        with_also: Whether to keep the judgments by other rubrics, for compositions.
    """
    reader = _Reader(rubrics, problems, folder, with_also)
    for where, row in rows:
        reader.take(where, row)
    reader.write_part()
    parts = pl.scan_parquet(folder / "*.parquet")
    numbers = [name for name in NUMBERS if with_also or name != "also"]
    return Responses(
        frame=parts.select(numbers).collect(),
        texts=parts.select("row", *TEXTS),
        rubrics=reader.rubrics,
        prompts=list(reader.prompts),
        prompt_keys=reader.prompt_keys,
        teachers=list(reader.teachers),
        judges=list(reader.judges),
        passed_over=reader.passed_over,
    )


def normalised(text: str) -> str:
    """A user prompt without the differences that do not make it another one: case and white space."""
    return " ".join(text.casefold().split())


def _has_lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
