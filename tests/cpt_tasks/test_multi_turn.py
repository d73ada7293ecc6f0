"""`multi_turn` on inspect with simulated students whose numbers are known, in the report, and its templates."""

from collections.abc import Callable
from typing import Any

import pytest
from inspect_ai.log import EvalLog
from students import WORDINGS, evaluated, score_by, shown_metrics, texts

from cpt_tasks.benchmarks.multi_turn.task import multi_turn

BOTH = "low,extremely_high"
LOW, HIGH = (texts()["broadcast", level] for level in BOTH.split(","))
# points from the bands when low and extremely_high are written for one another
FLIPPED = (score_by("broadcast", HIGH) - 40 + 92.5 - score_by("broadcast", LOW)) / 2


def obeys(messages: list[Any]) -> str:
    """Writes what was asked for last, be it in the system or in a user turn."""
    chat = "\n\n".join(message.text for message in messages)
    return texts()[max((chat.rfind(wording), request) for wording, request in WORDINGS.items())[1]]


def fades(messages: list[Any]) -> str:
    """Obeys for two turns, then writes the other level."""
    right = obeys(messages)
    return right if turn_of(messages) < 3 else {LOW: HIGH, HIGH: LOW}[right]


def persists(messages: list[Any]) -> str:
    """Obeys in the first turn, and then writes what stands in the history, whatever is asked."""
    return messages[-2].text if turn_of(messages) > 1 else obeys(messages)


def lags(messages: list[Any]) -> str:
    """Follows a change of turn 3 or 5 a turn late."""
    return messages[-2].text if turn_of(messages) in (3, 5) else obeys(messages)


def turn_of(messages: list[Any]) -> int:
    return sum(message.role == "user" for message in messages)


def run(model: Any, **parameters: Any) -> EvalLog:
    settings = {"rubrics": "broadcast", "levels": BOTH, "judge": "measured", "limit_per_cell": 6} | parameters
    return evaluated(multi_turn(**settings), model, max_connections=10)


@pytest.mark.parametrize(
    ("student", "accuracies", "persistence", "first_out"),
    [
        (obeys, [1, 1, 1, 1], 0, 5),
        (persists, [1, 1, 1, 1], 0, 5),
        # distances 0, 0, d, d: the slope is (0.5 d + 1.5 d) / 5
        (fades, [1, 1, 0, 0], 0.4 * FLIPPED, 3),
    ],
)
def test_how_long_a_request_holds(
    student: Callable[[list[Any]], str],
    accuracies: list[float],
    persistence: float,
    first_out: float,
    mock_model: Callable[..., Any],
) -> None:
    shown = shown_metrics(run(mock_model(student)))
    assert [shown[f"accuracy_turn_{turn}"] for turn in (1, 2, 3, 4)] == accuracies
    assert shown["persistence"] == pytest.approx(persistence)
    assert shown["first_out_of_band"] == first_out
    assert shown["n_scored"] == 2 * 6 * 4


@pytest.mark.parametrize("switch", ["system_prompt", "user"])
@pytest.mark.parametrize("history", ["own", "seed"])
@pytest.mark.parametrize(
    ("student", "there", "back"),
    [
        # accuracy after the switch, in a fresh conversation, cost of the history, turns to the band; of two turns
        (obeys, [1, 1, 0, 1], [1, 1, 0, 1]),
        (lags, [0, 1, 1, 2], [0, 1, 1, 2]),
        (persists, [0, 1, 1, 3], [1, 1, 0, 1]),
    ],
)
def test_how_a_switch_is_followed(
    student: Callable[[list[Any]], str],
    there: list[float],
    back: list[float],
    switch: str,
    history: str,
    mock_model: Callable[..., Any],
) -> None:
    plan = {"turns": 6, "switch": switch, "switch_at": "3,5", "history": history}
    shown = shown_metrics(run(mock_model(student), **plan))
    names = ("switch_accuracy", "fresh_accuracy", "history_cost", "turns_to_band")
    if (student, history) == (persists, "seed"):  # what stands in the history is in the new band a turn later
        there, back = [0, 1, 1, 2], [0, 1, 1, 2]
    assert [shown[name] for name in names] == there
    assert [shown[f"back_{name}"] for name in names] == back
