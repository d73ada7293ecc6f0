"""What may train: every response is checked and laid down as Parquet, so that a million fit into little memory.

First stage of `cpt twins`. Pairing then works on a frame without texts, which stay on disk until a twin is written.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import polars as pl

from data_gen.responses import CONTROL, Problems, TeacherResponse, find_test_picture, find_unfit_text, prompt_key
from rubrics import Rubric, ScoreLevel, all_user_prompts

ROWS_PER_PART = 5_000
UNJUDGED = "none, the level is the one asked for"
LEVELS = pl.Enum([level.value for level in ScoreLevel])
_NUMBERS: dict[str, Any] = {
    "row": pl.UInt32,
    "rubric": pl.String,
    "level": LEVELS,
    "score": pl.Float64,
    "user_prompt_id": pl.String,
    "prompt": pl.String,
    "teacher": pl.String,
    "judge": pl.String,
    "wording": pl.String,
    "in_band": pl.Boolean,
}
_TEXTS: dict[str, Any] = {"id": pl.String, "user_prompt": pl.String, "image": pl.String, "response": pl.String}


@dataclass(frozen=True)
class Responses:
    """The responses that may train, numbered from 0 (`row`) in the order they came.

    Attributes:
        frame: `row, rubric, level, score, user_prompt_id, prompt, teacher, judge` (with the version of its prompt),
            `wording` (what it was written under, or None) and `in_band`. `prompt` is the id of the first user prompt
            with the same picture and, but for case and white space, text: what is not parted between train and eval.
        texts: On disk, `row, user_prompt_id, id, user_prompt, image, response`.
        passed_over: Responses that were not wanted, by "control" or the id of a rubric.
        has_pictures: Whether any user prompt shows one. Then all rows of the files have the form for pictures; a
            text-only file has no trace of them.
    """

    frame: pl.DataFrame
    texts: pl.LazyFrame
    passed_over: Counter[str]
    has_pictures: bool


def read_responses(
    rows: Iterable[tuple[str, TeacherResponse]],
    rubrics: Mapping[str, Rubric],
    problems: Problems,
    folder: Path,
    any_band: bool = False,
    unjudged: bool = False,
) -> Responses:
    """The responses to `rubrics`, by id, that may train; their texts are in `folder`, as long as the result is in use.

    Each row comes after the place to name in a problem. `any_band` reads those out of the band of their level too,
    `unjudged` those without a judgment, as in band and with the score None.
    """
    passed_over = Counter[str]()
    kept = _kept(rows, _Checks(rubrics, any_band, unjudged), problems, passed_over)
    parts = iter(lambda: list(islice(kept, ROWS_PER_PART)), [])
    for number, part in enumerate(chain([[]], parts)):  # the first is empty, so that there is one
        table = pl.DataFrame(part, schema=_NUMBERS | _TEXTS, orient="row")
        table.write_parquet(folder / f"{number:09d}.parquet")
    scan = pl.scan_parquet(folder / "*.parquet")
    has_pictures = scan.select(pl.col("image").is_not_null().any()).collect().item()
    texts = scan.select("row", "user_prompt_id", *_TEXTS)
    return Responses(scan.select(*_NUMBERS).collect(), texts, passed_over, has_pictures)


def _kept(
    rows: Iterable[tuple[str, TeacherResponse]],
    checks: "_Checks",
    problems: Problems,
    passed_over: Counter[str],
) -> Iterator[tuple[Any, ...]]:
    count = 0
    for where, row in rows:
        if row.level == CONTROL or row.rubric not in checks.rubrics:
            passed_over[CONTROL if row.level == CONTROL else row.rubric] += 1
            continue
        if problem := checks.problem(row):
            problems.add(problem[0], f"{where}: {problem[1]}")
            continue
        judged = row.judgment
        judge = f"{judged.judge}, prompt version {judged.prompt_version}" if judged else UNJUDGED
        score = judged.score if judged else None
        about = (row.rubric, str(row.level), score, row.user_prompt_id, checks.first_id(row), row.teacher)
        in_band = judged is None or ScoreLevel.of(judged.score) is row.level
        yield (count, *about, judge, row.wording, in_band, row.id, row.user_prompt, row.image, row.response)
        count += 1


class _Checks:
    """Whether a response may train; a prompt id keeps the text it came with first."""

    def __init__(self, rubrics: Mapping[str, Rubric], any_band: bool, unjudged: bool) -> None:
        self.rubrics = rubrics
        self._any_band, self._unjudged = any_band, unjudged
        self._test_prompts = all_user_prompts("test")
        self._test_texts = {prompt_key(text) for text in self._test_prompts.values()}
        self._text_of: dict[str, int] = {}  # hashes: a million whole texts would not fit
        self._first_with: dict[int, str] = {}

    def problem(self, row: TeacherResponse) -> tuple[str, str] | None:
        """Kind and message of what is wrong; None if nothing is."""
        if not row.response.strip():
            return "empty_response", "response is empty, expected a text"
        if (unfit := find_unfit_text(row))[0]:
            return unfit
        if row.user_prompt_id in self._test_prompts or row.user_prompt_key in self._test_texts:
            return "test_prompt", f"answers the test prompt {row.user_prompt[:60]!r}, expected a train prompt"
        if problem := find_test_picture(row):
            return "test_prompt", problem
        if not self.rubrics[row.rubric].system_prompts:
            fix = "write them with `cpt rubric prompts`"
            return "no_system_prompts", f"rubric {row.rubric!r} has no system prompts, expected some per level; {fix}"
        if row.judgment is None and not self._unjudged:
            return "not_verified", "has no judgment, expected one; run `cpt verify` on the file first"
        if row.judgment and not self._any_band and ScoreLevel.of(row.judgment.score) is not row.level:
            return "out_of_band", f"scored {row.judgment.score:g}, expected the band of {row.level}"
        text = hash((row.user_prompt, row.image))
        if self._text_of.setdefault(row.user_prompt_id, text) != text:
            got = f"stood for another text before, got {row.user_prompt[:60]!r}"
            return (
                "prompt_mismatch",
                f"user_prompt_id {row.user_prompt_id!r} {got}, expected one text for each id; give a new text a new id",
            )
        return None

    def first_id(self, row: TeacherResponse) -> str:
        """Id of the first user prompt with this picture, and text but for case and white space."""
        return self._first_with.setdefault(hash(row.user_prompt_key), row.user_prompt_id)
