"""Checks responses one by one: what their text alone says against them, then their judgment.

The order of the checks is the order of `REASONS`. Whatever needs no judge comes first, so that no judgment is paid for
of a response that would be dropped anyway. What takes other responses into account is in `selection.py`.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from multiprocessing import get_context
from typing import Literal, NamedTuple, get_args

from data_gen.responses import CONTROL, TeacherResponse
from data_gen.verification.contamination import Contamination
from data_gen.verification.near_duplicates import band_hashes, choose_rows_per_band, shingles
from data_gen.verification.text_filters import (
    find_other_language,
    find_refusal,
    find_rubric_mention,
    find_shortness,
    find_truncation,
)
from judges import check_measurable, measure
from rubrics import Rubric, ScoreLevel

Reason = Literal[
    "refused",
    "truncated",
    "too_short",
    "language",
    "mentions_rubric",
    "contaminated",
    "unjudged",
    "out_of_band",
    "near_duplicate",
    "not_best",
    "over_per_cell",
]
REASONS: tuple[Reason, ...] = get_args(Reason)
NOT_MEASURABLE = "not_measurable"
CHUNK_ROWS = 256
CHUNKS_PER_WORKER = 3


@dataclass(frozen=True)
class Settings:
    """What to check.

    Attributes:
        rubrics: By id; those of all rows.
        also_by: Rubrics that every row is judged by as well.
        language: ISO 639-1 code that responses must have; "" takes any.
        keep_all: Whether a score outside the band of the level is no reason to drop a row.
        near: Jaccard from which two responses are near duplicates, 0.2-1; 0 keeps them.
        benchmark: Prompts that must not turn up, by id.
        benchmark_ids: Ids of user prompts that stand for benchmark prompts.
    """

    rubrics: Mapping[str, Rubric]
    also_by: tuple[Rubric, ...] = ()
    language: str = "en"
    keep_all: bool = False
    near: float = 0.8
    benchmark: Mapping[str, str] = field(default_factory=dict)
    benchmark_ids: frozenset[str] = frozenset()


class Checked(NamedTuple):
    """What came out for one row.

    Attributes:
        reason: Why it is dropped; None if nothing in the row itself speaks against it.
        detail: More on the reason; of an unjudged row, "MODE: what happened".
        score: 0-100, or None if it was not judged.
        also: Scores by other rubrics, by their id.
        also_unjudged: Ids of other rubrics by which it could not be judged.
        bands: Its `band_hashes`; empty if the row is dropped, or near duplicates are kept.
    """

    reason: Reason | None
    detail: str = ""
    score: float | None = None
    also: Mapping[str, float] = {}
    also_unjudged: tuple[str, ...] = ()
    bands: bytes = b""


Located = tuple[str, TeacherResponse]
LocatedCheck = tuple[str, TeacherResponse, Checked]


class RowChecks:
    """The checks of a row that need no other row."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._contamination = Contamination(settings.benchmark, settings.benchmark_ids)
        self._rows_per_band = choose_rows_per_band(settings.near) if settings.near else 0
        self._not_measurable = {rubric.id: _not_measurable(rubric) for rubric in settings.rubrics.values()}

    def before_judging(self, row: TeacherResponse) -> Checked | None:
        """The first reason to drop a row without asking a judge, or None."""
        if detail := find_refusal(row.response, row.stop_reason):
            return Checked("refused", detail)
        if detail := find_truncation(row.stop_reason):
            return Checked("truncated", detail)
        if detail := find_shortness(row.response):
            return Checked("too_short", detail)
        if self.settings.language and (detail := find_other_language(row.response, self.settings.language)):
            return Checked("language", detail)
        if detail := find_rubric_mention(row.response, self.settings.rubrics[row.rubric]):
            return Checked("mentions_rubric", detail)
        if detail := self._contamination.find(row.user_prompt_id, row.user_prompt, row.response):
            return Checked("contaminated", detail)
        return None

    def after_judging(self, row: TeacherResponse, score: float) -> Checked:
        """Whether a score, 0-100, lies in the band of the row's level; a control has none."""
        if self.settings.keep_all or row.level == CONTROL or ScoreLevel.of(score) is row.level:
            return Checked(None, score=score)
        low, high = row.level.band
        band = f"from {low:g}" if row.level is ScoreLevel.LOW else f"above {low:g}"
        return Checked("out_of_band", f"scored {score:g}, expected {band} to {high:g} for {row.level.value}", score)

    def measured(self, rows: Sequence[TeacherResponse]) -> list[Checked]:
        """All checks, by the measured judge, in the order of the rows."""
        return self.with_bands(rows, [self._measured(row) for row in rows])

    def with_bands(self, rows: Sequence[TeacherResponse], checked: Sequence[Checked]) -> list[Checked]:
        """The same, with `band_hashes` for those that pass."""
        if not self._rows_per_band:
            return list(checked)
        passed = [shingles(row.response) for row, one in zip(rows, checked, strict=True) if one.reason is None]
        bands = iter(band_hashes(passed, self._rows_per_band)) if passed else iter(())
        return [one._replace(bands=next(bands).tobytes()) if one.reason is None else one for one in checked]

    def _measured(self, row: TeacherResponse) -> Checked:
        if dropped := self.before_judging(row):
            return dropped
        if problem := self._not_measurable[row.rubric]:
            return Checked("unjudged", f"{NOT_MEASURABLE}: {problem}")
        checked = self.after_judging(row, measure(self.settings.rubrics[row.rubric], row.response).score)
        if checked.reason or not self.settings.also_by:
            return checked
        others = [rubric for rubric in self.settings.also_by if rubric.id != row.rubric]
        return checked._replace(also={rubric.id: measure(rubric, row.response).score for rubric in others})


def check_by_measures(rows: Iterable[Located], settings: Settings, workers: int = 1) -> Iterator[LocatedCheck]:
    """Every row after what came out for it, in the order given, judged by the measured judge.

    Args:
        rows: Rows with "FILE:LINE"; a few chunks of 256 are in memory at a time.
        settings: What to check.
        workers: Processes; 1, or no more rows than one chunk holds, checks in this one. The result is the same.

    Raises:
        ValueError: If a rubric of `settings.also_by` lacks measures, or a package is missing.
    """
    for rubric in settings.also_by:
        check_measurable(rubric)
    chunks = _chunks(rows)
    first, second = next(chunks, []), next(chunks, [])
    chunks = chain([first], [second] * bool(second), chunks)
    if workers == 1 or not second:
        checks = RowChecks(settings)
        for chunk in chunks:
            yield from _beside(chunk, checks.measured([row for _, row in chunk]))
        return
    waiting: deque[tuple[list[Located], Future[list[Checked]]]] = deque()
    # not forked: rensa's threads, if this process has any, would be missing in the copy, and it would wait for ever
    fresh = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=fresh, initializer=_start_worker, initargs=(settings,)) as pool:
        for chunk in chunks:
            waiting.append((chunk, pool.submit(_check_chunk, [row for _, row in chunk])))
            if len(waiting) > workers * CHUNKS_PER_WORKER:
                oldest, future = waiting.popleft()
                yield from _beside(oldest, future.result())
        for oldest, future in waiting:
            yield from _beside(oldest, future.result())


def _beside(chunk: Sequence[Located], checked: Sequence[Checked]) -> Iterator[LocatedCheck]:
    for (where, row), one in zip(chunk, checked, strict=True):
        yield where, row, one


def _chunks(rows: Iterable[Located]) -> Iterator[list[Located]]:
    source = iter(rows)
    while chunk := list(islice(source, CHUNK_ROWS)):
        yield chunk


def _not_measurable(rubric: Rubric) -> str:
    try:
        check_measurable(rubric)
    except ValueError as error:
        return str(error).split(", expected")[0]
    return ""


_worker_checks: RowChecks | None = None


def _start_worker(settings: Settings) -> None:
    global _worker_checks
    os.environ["RAYON_NUM_THREADS"] = "1"  # the processes share the cores already
    _worker_checks = RowChecks(settings)


def _check_chunk(rows: list[TeacherResponse]) -> list[Checked]:
    assert _worker_checks is not None  # _start_worker ran
    return _worker_checks.measured(rows)
