"""When one call fails for good, the judgments that are under way end, as they are paid, and no other is begun."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import pytest

from cpt_tasks.judge_logs.texts import Text, judge_texts
from data_gen.verify.checks import Checks, check_rows
from judges import Panel
from judges.model import PrefixWarmer
from model_calls.online import MAX_CONNECTIONS
from model_calls.side_by_side import side_by_side
from rubrics import load_rubric

REVERIE = load_rubric("reverie")


class FailingJudge:
    """The second call fails before the others that began with it end."""

    begun = ended = 0

    async def judge(self, *_: Any) -> Any:
        self.begun += 1
        if self.begun == 2:
            await anyio.sleep(0.01)
            raise ConnectionError("credit balance is too low")
        await anyio.sleep(0.1)
        self.ended += 1


def of_texts(judge: Any) -> None:
    judge_texts([Text(REVERIE, "", "Rain.")] * 100, [judge])


def of_rows(judge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checks, "check", lambda self, row, judge: judge.judge())
    rows: Any = [object()] * 100
    check_rows(rows, Checks({}, {}, "", True, 0, None), judge, 4, lambda _: None)  # type: ignore[arg-type]


def of_panel(judge: Any) -> None:
    asyncio.run(Panel([[judge] * 3, [judge]]).judge(REVERIE, "", "Rain."))


@pytest.mark.parametrize(("run", "at_most"), [(of_texts, MAX_CONNECTIONS), (of_rows, 4), (of_panel, 4)])
def test_what_is_under_way_ends(run: Callable[..., None], at_most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = FailingJudge()
    with pytest.raises((ExceptionGroup, ConnectionError)) as caught:  # a panel fails as one judge does
        run(judge, *([monkeypatch] if run is of_rows else []))
    errors = caught.value.exceptions if isinstance(caught.value, ExceptionGroup) else [caught.value]
    assert [str(error) for error in errors] == ["credit balance is too low"]
    assert (judge.begun, judge.ended) == (at_most, at_most - 1)


def test_when_the_call_that_warms_a_prefix_fails_the_others_do_not_wait_for_one_another() -> None:
    warmer = PrefixWarmer()
    running: list[int] = []

    async def fails() -> None:
        async with warmer.turn("rubric"):
            running.append(1)
            await anyio.sleep(0.2)
            assert len(running) in (1, 8)  # one warms; then all the others run at the same time
            raise ConnectionError

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(side_by_side([fails] * 8, 8))
    assert {type(error) for error in caught.value.exceptions} == {ConnectionError}


def test_results_are_in_order_and_groups_of_errors_are_one_list() -> None:
    async def wait(number: int) -> int:
        await anyio.sleep(number / 100)
        if number > 3:
            raise ExceptionGroup("", [ValueError(number), KeyError(number)])
        return number

    assert asyncio.run(side_by_side([partial(wait, number) for number in (3, 0, 1)], 2)) == [3, 0, 1]
    assert asyncio.run(side_by_side([], 2)) == []
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(side_by_side([partial(wait, number) for number in (4, 2)], 2))
    assert [type(error) for error in caught.value.exceptions] == [ValueError, KeyError]
