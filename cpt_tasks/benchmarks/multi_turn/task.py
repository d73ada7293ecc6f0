"""Does a system prompt hold over the turns of a conversation, and can it be changed in the middle?

    inspect eval cpt_tasks/multi_turn --model hf/local -M model_path=DIR -T judge=measured -T rubrics=measured
    inspect eval cpt_tasks/multi_turn --model anthropic/claude-haiku-5-5 -T switch=none,system_prompt,user

A conversation has several user turns under one system prompt; every answer is judged by the rubric, without what came
before it. Real system prompts must hold for many turns: numbers by turn, and how fast the answers leave the band. With
a switch the request changes in the middle and the history stays, beside a fresh conversation that asks for the same.
"""

from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any, get_args

from inspect_ai import Epochs, Task, task
from inspect_ai.scorer import Metric, SampleScore, Value, metric

from cpt_tasks.benchmarks.multi_turn.conversations import (
    History,
    Past,
    Plan,
    Switch,
    conversations,
    converse,
    read_past,
)
from cpt_tasks.options import JudgedBy, check_least, checked, levels_of, prompts_by_rubric, rubrics_of, some_of
from cpt_tasks.samples import WordingSplit
from cpt_tasks.scorer import scorer_of
from model_calls.inspect_private import command_folder
from rubrics import Split

TASK_VERSION = "1-A"


@task
@checked
def multi_turn(
    rubrics: str | list[str] = "core",
    levels: str | list[str] = "all",
    turns: int = 4,
    switch: str | list[str] = "none",
    switch_at: str | int | list[int] = 3,
    switch_to: str = "",
    history: str | list[str] = "own",
    responses: str = "",
    seed: int = 0,
    user_prompts: Split = "test",
    wording_split: WordingSplit = "heldout",
    limit_per_cell: int = 8,
    *,
    judging: JudgedBy,
) -> Task:
    """Rubric x level x script of user prompts: a conversation each, every answer judged by the rubric asked for.

    Parameters and errors are those of `rubric_adherence`, and:

    - `turns`: user turns of a conversation, at least 2.
    - `switch`: "none"; "system_prompt", which is replaced by another level's; "user", whose turn asks for it in words;
      several or "all", each an arm of its own. Every level is switched to every other.
    - `switch_at`: the turn of the switch, and optionally a later one that switches back.
    - `switch_to`: a rubric to switch to instead, at the same level.
    - `history`: "own" answers in the earlier turns, or the in-band ones of `responses` ("seed"), or both as arms.
    - `responses`: file of verified responses; "" for the seed responses that come with the package.
    - `seed`: of the order of the user prompts.
    - `limit_per_cell`: at most this many user prompts, which is also the number of scripts.
    """
    check_least(turns, 2, "turns")
    names = rubrics.split(",") if isinstance(rubrics, str) else rubrics
    selected, asked_levels = rubrics_of(names), levels_of(levels)
    others = rubrics_of(switch_to) if switch_to else []
    if len(others) > 1:
        raise ValueError(f"switch_to: got {switch_to!r}, expected one rubric")
    other = next(iter(others), None)
    judged = [*names, switch_to] if other and other not in selected else names
    switches: list[Any] = some_of(switch, get_args(Switch), "switch")
    histories: list[Any] = some_of(history, get_args(History), "history")
    places = _switch_at(switch_at, turns) if set(switches) != {"none"} else []
    if places and other is None and len(asked_levels) < 2:
        raise ValueError(f"switch: got one level, {asked_levels[0]}, expected two or more to switch between")
    for name, value, default in (("switch_to", switch_to, ""), ("switch_at", switch_at, 3)):
        if not places and value != default:
            raise ValueError(f"{name}: got {value!r} and no switch, expected -T switch=system_prompt or user")
    if responses and "seed" not in histories:
        raise ValueError(f"responses: got {responses!r} and no history of them, expected -T history=seed")
    prompts = prompts_by_rubric(selected, user_prompts, limit_per_cell)
    past: Past = {}
    if "seed" in histories:
        path = command_folder() / responses if responses else Path(str(files("data_gen"))) / "seed" / "responses.jsonl"
        texts = {text for of_rubric in prompts.values() for text in of_rubric.values()}
        past = read_past(path, [*selected, *others], asked_levels, turns, texts)
    plans = [Plan(turns, *arm, places, other, wording_split, past) for arm in product(switches, histories)]
    dataset = conversations(selected, asked_levels, prompts, plans, seed)
    return Task(
        dataset=dataset,
        solver=converse(),
        scorer=scorer_of("multi_turn", judging, dataset, judged),
        metrics=[multi_turn_scores()],
        epochs=Epochs(1, []),  # no reducer: every statistic is of single conversations
        version=TASK_VERSION,
    )


@metric(scores="unreduced")
def multi_turn_scores() -> Metric:
    """The numbers of `multi_turn` with `_ci_low` and `_ci_high`; of several arms each name begins with its arm."""

    def compute(scores: list[SampleScore]) -> Value:
        # imported here, because pandas takes a second that a run should not wait for at its start
        from cpt_tasks.benchmarks.multi_turn.statistics import arms_of, by_turn, measured
        from cpt_tasks.statistics.frame import frame_of_scores, metric_values

        values: dict[str, str | int | float | bool | None] = {}
        frame = frame_of_scores(scores)
        arms = arms_of(frame)
        for arm, rows in arms.items():
            numbers = {f"{name}_turn_{turn}": one for turn, part in by_turn(rows).items() for name, one in part.items()}
            prefix = f"{arm}: " if len(arms) > 1 else ""
            values |= {f"{prefix}{name}": one for name, one in metric_values(numbers | measured(rows)).items()}
        return {"n_scored": int(frame["score"].count()) if arms else 0} | values

    return compute


def _switch_at(selection: str | int | list[int], turns: int) -> list[int]:
    parts = selection.split(",") if isinstance(selection, str) else selection
    try:
        places = [int(part) for part in parts] if isinstance(parts, list) else [parts]
    except ValueError:
        places = []
    if len(places) not in (1, 2) or places != sorted(set(places)) or not 2 <= places[0] <= places[-1] <= turns:
        raise ValueError(
            f"switch_at: got {selection!r}, expected the turn of the switch, and optionally a later one that switches "
            f"back, from 2 to {turns}"
        )
    return places
