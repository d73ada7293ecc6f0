"""Which judges are taken for graders on another scale, by hand."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from judges.scale import ScaleWatch
from model_calls.inspect_private import PrerequisiteError


def stops_at(verdicts: Sequence[tuple[float, float]], texts: Sequence[int] = range(1000)) -> int | None:
    """At which of the verdicts, each (both criteria, holistic), the judge is stopped; from 1."""
    watch = ScaleWatch("m/j")
    for number, (text, (criteria, holistic)) in enumerate(zip(texts, verdicts, strict=False), start=1):
        try:
            watch.look(text, [criteria, criteria], criteria, holistic)
        except PrerequisiteError:
            return number
    return None


@pytest.mark.parametrize(
    ("verdicts", "number"),
    [
        pytest.param([(8.5, 8.5)] * 30, 20, id="8.5 everywhere"),
        pytest.param([(0.85, 0.85)] * 30, 20, id="0.85 everywhere"),
        pytest.param([(2, 3), (5, 6), (8, 9), (9, 10)] * 5, 20, id="0-10, texts of all levels"),
        pytest.param([(0, 0.1), (0.5, 0.5), (1, 0.9), (0.7, 0.8)] * 5, 20, id="0-1, texts of all levels"),
        # the seventh text of the higher levels brings the 20th score between 5 and 10
        pytest.param([(1, 2)] * 40 + [(7, 8), (6, 7)] * 5, 47, id="0-10, low texts first"),
        pytest.param([(8, 80)] * 30, 20, id="criteria 0-10, holistic 0-100"),
        # judges of 0-100
        pytest.param([(85, 80)] * 30, None, id="good texts"),
        pytest.param([(0, 5), (2, 5), (5, 8), (10, 10)] * 50, None, id="weak texts: one value between 5 and 10"),
        pytest.param([(10, 10)] * 100, None, id="10 everywhere"),
        pytest.param([(1, 0)] * 100, None, id="1 of 100 everywhere"),
        pytest.param([(6, 7), (8, 9)] * 9 + [(8, 12)] + [(6, 7), (8, 9)] * 50, None, id="one score above 10"),
        pytest.param([(85, 80)] * 20 + [(6, 7), (8, 9)] * 50, None, id="weak texts at the end"),
        pytest.param([(2, 20), (40, 50), (60, 60)] * 20, None, id="a third differs tenfold"),
        pytest.param([(6, 7), (8, 9)] * 9, None, id="fewer than twenty verdicts"),
    ],
)
def test_a_scale_is_recognised_by_its_marks_and_not_by_low_scores_alone(verdicts: Any, number: int | None) -> None:
    assert stops_at(verdicts) == number


def test_one_text_over_and_over_is_no_evidence() -> None:
    assert stops_at([(8, 8)] * 400, [number % 19 for number in range(400)]) is None


@pytest.mark.parametrize(
    ("verdicts", "warnings"),
    [
        ([(5, 5)] * 25, ["m/j: in its first 20 verdicts no score exceeds 10 of 100"]),
        ([(1, 0)] * 25, ["m/j: in its first 20 verdicts no score exceeds 1 of 100"]),
        ([(8, 80)], ["m/j: the criteria come to 8 and the holistic score is 80, as if on two scales"]),
        (
            [(0.5, 50), (70, 8)],
            ["m/j: the criteria come to 0.5 and the holistic score is 50", "m/j: the criteria come"],
        ),
        ([(30, 60), (0, 10), (0, 0), (5, 20), (5, 5)] * 10, []),
    ],
)
def test_what_may_be_another_scale_is_a_warning(
    verdicts: Any, warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert stops_at(verdicts) is None
    assert len(caplog.messages) == len(warnings)
    assert all(message.startswith(start) for message, start in zip(caplog.messages, warnings, strict=True))
