"""Calls at the same time, of which none that was begun is given up: it is paid."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

T = TypeVar("T")


async def side_by_side(jobs: Sequence[Callable[[], Awaitable[T]]], at_most: int) -> list[T]:
    """Results of the jobs, in order, of which at most so many run at a time.

    Raises:
        ExceptionGroup: Of what the jobs raised. After the first error none is begun, and those that run may end.
    """
    free, errors = anyio.Semaphore(at_most), list[Exception]()
    results = dict[int, T]()

    async def run(number: int, job: Callable[[], Awaitable[T]]) -> None:
        async with free:
            try:
                if not errors:
                    results[number] = await job()
            except Exception as error:
                errors.extend(error.exceptions if isinstance(error, ExceptionGroup) else [error])

    async with anyio.create_task_group() as group:
        for number, job in enumerate(jobs):
            group.start_soon(run, number, job)
    if errors:
        raise ExceptionGroup("calls failed", errors)
    return [results[number] for number in range(len(jobs))]
