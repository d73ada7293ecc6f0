"""The conversations of `multi_turn` as samples, and the solver that holds them.

A *script* is an order of user prompts, the same for all rubrics of a family, levels and arms: a drawn order of the
prompts, which script k begins at the k-th and goes round. So every user prompt stands at every turn once, and no turn
has easier prompts than another. A sample's turns stand in its metadata, see `cpt_tasks.turns`.
"""

import random
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path
from typing import Any, Literal, NamedTuple

from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser
from inspect_ai.solver import Generate, Solver, TaskState, solver

from cpt_tasks.rendering import check_rendering
from cpt_tasks.samples import WordingSplit, content_hash, sample_of, spread, wording_at
from cpt_tasks.turns import OUTPUT, TURNS
from model_calls.visible import answer_of
from rubrics import Rubric, ScoreLevel
from rubrics.files import read_jsonl
from rubrics.pictures import picture_of

Switch = Literal["none", "system_prompt", "user"]
History = Literal["own", "seed"]
# what a turn is in its conversation: without a switch, before and after it, and in one to compare a switch with
HELD, START, SWITCHED, BACK, FRESH = "held", "start", "switched", "back", "fresh"
REQUESTS: dict[WordingSplit, tuple[str, ...]] = {  # how a user turn asks for another system prompt
    "train": ("From now on: {system}", "Change of plan. For all further answers: {system}"),
    "heldout": ("From here on, do this instead: {system}", "Please switch for the rest of our chat: {system}"),
}


class Asked(NamedTuple):
    """What is asked of an answer."""

    rubric: Rubric
    level: ScoreLevel


# (rubric, level) -> user prompts and responses of earlier turns that the model did not write
Past = Mapping[tuple[str, str], Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class Plan:
    """How conversations go.

    Attributes:
        turns: User turns of a conversation, at least 2.
        switch: How what is asked changes, in the turns `switch_at`; "none" for a conversation that keeps to it.
        history: Whose answers stand in the earlier turns: the model's "own", or in-band responses of `past` ("seed").
        switch_at: Numbers of one or two turns from 2: to the other request, and back.
        switch_to: Rubric to switch to at the same level; None to switch to every other level.
        wording_split: Of system prompts and requests.
        past: (rubric, level) -> earlier turns for a history of "seed".
    """

    turns: int
    switch: Switch
    history: History
    switch_at: Sequence[int]
    switch_to: Rubric | None
    wording_split: WordingSplit
    past: Past

    @property
    def arm(self) -> str:
        """What tells conversations apart that ask for the same."""
        return f"switch {self.switch}, history {self.history}"

    def stage(self, turn: int) -> str:
        """What a turn is in its conversation."""
        if self.switch == "none":
            return HELD
        return (START, SWITCHED, BACK)[sum(turn >= at for at in self.switch_at)]

    def is_switch(self, turn: int) -> bool:
        """Whether what is asked changes in a turn."""
        return turn > 1 and self.stage(turn) != self.stage(turn - 1)

    def ways(self, rubric: Rubric, levels: Sequence[ScoreLevel]) -> list[tuple[Asked, Asked]]:
        """What is asked first, and what after the switch."""
        if self.switch == "none":
            return [(Asked(rubric, level), Asked(rubric, level)) for level in levels]
        if other := self.switch_to:
            return [(Asked(rubric, level), Asked(other, level)) for level in levels if other.id != rubric.id]
        return [(Asked(rubric, first), Asked(rubric, second)) for first, second in permutations(levels, 2)]


def read_past(
    path: Path, rubrics: Sequence[Rubric], levels: Sequence[ScoreLevel], turns: int, asked: Container[str]
) -> Past:
    """The first in-band response to each user prompt but those `asked`, by (rubric, level), out of a `responses.jsonl`.

    Responses to an earlier version of a rubric are passed over.

    Raises:
        ValueError: If a rubric and level has fewer than there are turns.
    """
    hashes = {rubric.id: rubric.hash for rubric in rubrics}
    past: dict[tuple[str, str], dict[str, str]] = {(one.id, level): {} for one, level in product(rubrics, levels)}
    for _, row in read_jsonl(path):
        judgment, cell, user_prompt = row.get("judgment"), (row.get("rubric"), row.get("level")), row.get("user_prompt")
        if cell not in past or row.get("rubric_hash") != hashes[cell[0]] or user_prompt in (None, "") or not judgment:
            continue
        if ScoreLevel.of(judgment["score"]) == cell[1] and user_prompt not in asked:
            past[cell].setdefault(user_prompt, row["response"])
    for (rubric, level), exchanges in past.items():
        if len(exchanges) < turns:
            raise ValueError(
                f"history: {path.name} has responses of {rubric!r} in the band of {level} to {len(exchanges)} user "
                f"prompts that are not asked, expected at least {turns}; take other rubrics, or responses=FILE"
            )
    return {cell: list(exchanges.items()) for cell, exchanges in past.items()}


def conversations(
    rubrics: Sequence[Rubric],
    levels: Sequence[ScoreLevel],
    user_prompts: Mapping[str, Mapping[str, str]],
    plans: Sequence[Plan],
    seed: int,
) -> MemoryDataset:
    """All conversations of all plans, and the fresh ones that switches are compared with, `spread`.

    `user_prompts` are by rubric id and id, and each begins one script.

    Raises:
        ValueError: If there are fewer user prompts than turns, or they show pictures.
    """
    samples: dict[int | str | None, Sample] = {}
    for rubric, plan in product(rubrics, plans):
        prompts = list(user_prompts[rubric.id].items())
        if any(picture_of(name) for name, _ in prompts):
            raise ValueError(
                f"rubrics: got {rubric.id!r}, whose user prompts show pictures, expected user prompts of text; "
                "conversations do not show them"
            )
        if len(prompts) < plan.turns:
            raise ValueError(
                f"turns: got {plan.turns}, expected at most {len(prompts)}, the user prompts of a conversation"
            )
        order = random.Random(seed).sample(prompts, len(prompts))
        for number, way in product(range(len(order)), plan.ways(rubric, levels)):
            script = (order[number:] + order[:number])[: plan.turns]
            turns = list(_turns(plan, number, script, way))
            made = [_sample(turns, plan.arm, way, number)]
            made += [_fresh(turn, way, number, plan) for turn in turns if plan.is_switch(turn["turn"])]
            samples |= {sample.id: sample for sample in made}
    return MemoryDataset(spread(samples.values(), "style"), name="multi_turn")


@solver
def converse() -> Solver:
    """Asks the turns of a sample one after the other; thoughts stay out of the history, as every family wants it.

    Raises:
        PrerequisiteError: While solving, where a local model's template leaves out a turn, see `check_rendering`.
    """
    check = check_rendering()

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        history: list[ChatMessage] = []
        turns: list[dict[str, Any]] = []
        planned = state.metadata[TURNS]
        for turn in planned:
            asked = [ChatMessageSystem(content=turn["system_prompt"]), *history, ChatMessageUser(content=turn["asked"])]
            state.messages = asked
            state = await generate(await check(state, generate))
            turns.append(turn | {OUTPUT: state.output.model_dump(mode="json", exclude_none=True)})
            state.metadata[TURNS] = turns + planned[len(turns) :]  # a limit may end the sample after any turn
            user, answer = turn["past"] or (turn["asked"], answer_of(state.output, state.metadata)[0])
            history += [ChatMessageUser(content=user), ChatMessageAssistant(content=answer)]
        return state

    return solve


def _turns(
    plan: Plan, number: int, script: Sequence[tuple[str, str]], way: tuple[Asked, Asked]
) -> Iterator[dict[str, Any]]:
    worded = [wording_at(*asked, plan.wording_split, number) for asked in way]
    requests = REQUESTS[plan.wording_split]
    for turn, (user_prompt_id, user_prompt) in enumerate(script, 1):
        place = int(plan.stage(turn) == SWITCHED)
        (rubric, level), (wording, system) = way[place], worded[place]
        is_said = plan.switch == "user" and plan.is_switch(turn)
        request = requests[number % len(requests)].format(system=system) + "\n\n" if is_said else ""
        past = None
        if plan.history == "seed":
            exchanges = plan.past[rubric.id, level]
            user, answer = exchanges[(number + turn) % len(exchanges)]
            past = (request + user, answer)
        yield {
            "turn": turn,
            "stage": plan.stage(turn),
            "cell": f"turn {turn} of {_named(way)}",
            "rubric": rubric.id,
            "rubric_hash": rubric.hash,
            "rubric_version": rubric.version,
            "level": level.value,
            "user_prompt_id": user_prompt_id,
            "user_prompt": user_prompt,
            "wording": wording,
            "system_prompt": worded[0][1] if plan.switch == "user" else system,
            "asked": request + user_prompt,
            "past": past,
        }


def _fresh(turn: dict[str, Any], way: tuple[Asked, Asked], number: int, plan: Plan) -> Sample:
    """A conversation that begins with what is asked in the turn of a switch."""
    asked = way[turn["stage"] == SWITCHED]
    _, system = wording_at(*asked, plan.wording_split, number)
    alone = {"turn": 1, "stage": FRESH, "cell": FRESH, "system_prompt": system, "asked": turn["user_prompt"]}
    return _sample([turn | alone | {"past": None}], FRESH, (asked, asked), number)


def _sample(turns: list[dict[str, Any]], arm: str, way: tuple[Asked, Asked], number: int) -> Sample:
    facts: dict[str, Any] = {TURNS: turns, "style": arm, "script": f"script-{number:02d}"}
    return sample_of(
        *way[0],
        *(turns[0][name] for name in ("user_prompt_id", "asked", "system_prompt", "wording")),
        asked=_named(way),
        digest=content_hash(arm, way[0].rubric.hash, way[1].rubric.hash, turns),
        **facts,
    )


def _named(way: tuple[Asked, Asked]) -> str:
    (rubric, level), (other, then) = way
    if (rubric.id, level) == (other.id, then):
        return level.value
    return f"{level}>{then}" if rubric.id == other.id else f"{level}>{other.id}"
