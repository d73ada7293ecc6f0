"""Judges rows in file order: by the measured judge in several processes, or by a model, many calls at a time."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import Any

from data_gen.responses import TeacherResponse
from data_gen.verify.checks import Checked, Checks
from judges import Judge, JudgeFailure, Judgment, check_measurable, measure
from rubrics import Rubric

CHUNK_ROWS = 256
CHUNKS_PER_WORKER = 3
# rows taken up ahead of the oldest that is not judged yet, per connection: one slow reply must not stop the others
ROWS_PER_CONNECTION = 4
NOT_MEASURABLE = "not_measurable"

CheckedRow = tuple[TeacherResponse, Checked]


def check_by_measures(rows: Iterable[TeacherResponse], checks: Checks, workers: int = 1) -> Iterator[CheckedRow]:
    """Every row with what came out for it, in the order given, judged by the measured judge.

    Args:
        rows: A few chunks of 256 are in memory at a time.
        checks: What to check.
        workers: Processes; 1 checks in this one. The result is the same.

    Raises:
        ValueError: If a rubric of `checks.also_by` lacks measures, a package is missing, or a worker ended.
    """
    for rubric in checks.also_by:
        check_measurable(rubric)
    source = iter(rows)
    chunks = iter(lambda: list(islice(source, CHUNK_ROWS)), [])
    if workers == 1:
        for chunk in chunks:
            yield from zip(chunk, _check_chunk(checks, chunk), strict=True)
        return
    # not forked: rensa's threads, if this process has any, would be missing in the copy, and it would wait for ever
    fresh = get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=fresh, initializer=_start_worker, initargs=(checks,)) as pool:
            futures = ((chunk, pool.submit(_check_in_worker, chunk)) for chunk in chunks)
            for chunk, future in _some_ahead(futures, workers * CHUNKS_PER_WORKER):
                yield from zip(chunk, future.result(), strict=True)
    except BrokenProcessPool as error:
        raise ValueError("a worker process ended, out of memory perhaps; try fewer --workers") from error


def check_by_model(
    rows: Iterable[TeacherResponse], checks: Checks, judge: Judge, max_connections: int
) -> Iterator[CheckedRow]:
    """Every row with what came out for it, in the order given, judged by a model.

    Args:
        rows: A few hundred are in memory at a time.
        checks: What to check.
        judge: Keeps and looks up its calls itself.
        max_connections: Most calls in flight at a time.

    Raises:
        Exception: What the provider's client raises when its retries are used up. What was answered is in the store.
    """
    limited = _Limited(judge, max_connections)
    with asyncio.Runner() as runner:  # its end cancels what still runs
        loop = runner.get_loop()
        tasks = ((row, loop.create_task(checks.check(row, limited))) for row in rows)
        for row, task in _some_ahead(tasks, max_connections * ROWS_PER_CONNECTION):
            yield row, loop.run_until_complete(task)


class _Limited:
    """A judge that is asked so many questions at a time."""

    def __init__(self, judge: Judge, most: int):
        self._judge, self._free = judge, asyncio.Semaphore(most)

    async def judge(self, rubric: Rubric, user_prompt: str, response: str) -> Judgment:
        async with self._free:
            return await self._judge.judge(rubric, user_prompt, response)


def _some_ahead(started: Iterator[Any], ahead: int) -> Iterator[Any]:
    """The same things in the same order, each asked for `ahead` places before it is handed on."""
    waiting: deque[Any] = deque()
    for one in started:
        waiting.append(one)
        if len(waiting) >= ahead:
            yield waiting.popleft()
    yield from waiting


class _Measured:
    """The measured judge; a rubric without measures is a failure to judge, as any other."""

    async def judge(self, rubric: Rubric, user_prompt: str, response: str) -> Judgment:
        try:
            return measure(rubric, response)
        except ValueError as error:
            mode: Any = NOT_MEASURABLE  # of this command alone
            raise JudgeFailure(mode, str(error).split(", expected")[0]) from error


def _check_chunk(checks: Checks, rows: list[TeacherResponse]) -> list[Checked]:
    async def check_all() -> list[Checked]:
        return [await checks.check(row, judge) for row in rows]

    judge = _Measured()
    return asyncio.run(check_all())


_worker_checks: Checks | None = None


def _start_worker(checks: Checks) -> None:
    global _worker_checks
    _worker_checks = checks


def _check_in_worker(rows: list[TeacherResponse]) -> list[Checked]:
    assert _worker_checks is not None  # _start_worker ran
    return _check_chunk(_worker_checks, rows)
