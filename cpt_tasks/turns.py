"""A conversation as one sample: its metadata lists the turns, and its score holds a judgment of each.

What a turn says (rubric, level, user prompt, ...) stands over what the sample says; the model's output of it is added
when it was written. A sample of other benchmarks is read as one turn.
"""

from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from typing import Any

from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score
from inspect_ai.solver import TaskState
from inspect_ai.util import collect

TURNS = "turns"  # in the metadata of samples and of their scores
OUTPUT = "output"  # of a turn


def turns_of(metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The metadata of each turn of a conversation, over those of its sample; of another sample its own alone."""
    whole = {name: value for name, value in metadata.items() if name != TURNS}
    return [whole | turn for turn in metadata.get(TURNS, [{}])]


def output_of(turn: Mapping[str, Any], last: ModelOutput) -> ModelOutput:
    """What the model wrote in a turn, nothing in one that was not reached; `last` is the output of the sample."""
    if "turn" not in turn:
        return last
    return ModelOutput.model_validate(turn.get(OUTPUT, {}))


async def score_turns(score: Callable[[TaskState], Awaitable[Score]], state: TaskState) -> Score:
    """One score for a sample: of a conversation with a value `turn_N` for each turn, nan where the judge failed.

    `score` judges one response. The records of the turns stand in the metadata in a list.
    """
    if TURNS not in state.metadata:
        return await score(state)
    turns = []
    for facts in turns_of(state.metadata):
        turn = copy(state)
        turn.output, turn.metadata = output_of(facts, state.output), facts
        turns.append(turn)
    scores = dict(enumerate(await collect(*(score(turn) for turn in turns)), 1))
    return Score(
        value={f"turn_{number}": one.as_float() for number, one in scores.items()},
        answer="\n\n".join(f"turn {number}: {one.answer}" for number, one in scores.items()),
        explanation="\n\n".join(f"turn {number}: {one.explanation}" for number, one in scores.items()),
        metadata={TURNS: [one.metadata for one in scores.values()]},
    )


def score_of_turn(score: Score | None, number: int | None) -> Score | None:
    """What the score of a sample says of a turn, from 1; None as the number is for a sample without turns.

    Raises:
        ValueError: If a person edited the score of a conversation.
    """
    if score is None or number is None:
        return score
    if score.history or not isinstance(score.value, dict):
        raise ValueError(
            "got the scores of a conversation edited by a person, expected the judge's own; invalidate the sample "
            "instead, which leaves it out"
        )
    records = (score.metadata or {})[TURNS]
    return Score(value=score.value[f"turn_{number}"], metadata=records[number - 1])
