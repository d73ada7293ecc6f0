"""Earlier turns before the user prompt of a twin, for a student that is to follow a system prompt in a conversation.

A twin trained without them has only seen first answers. Each half gets user prompts of the same file with responses in
the band that its system prompt asks for; the two halves share the user prompts, and differ in the responses.
"""

from functools import cache

import numpy as np
import polars as pl

from data_gen.twins.pairing import SIDES


def history_columns(side: str, n_turns: int) -> list[str]:
    """The columns, oldest turn first, with the rows of the responses before one side of a twin."""
    return [f"history_{side}_{turn}" for turn in range(n_turns)]


def draw_history(
    twins: pl.DataFrame, frame: pl.DataFrame, prompts: pl.Series, n_turns: int, rng: np.random.Generator
) -> pl.DataFrame:
    """The twins with `history_columns` for both sides, drawn evenly without repeats; as they are for 0 turns.

    A turn has a user prompt other than the twin's, and the first response in band to it, at each of the two levels, by
    the twin's teacher.

    Args:
        twins: Of one file.
        frame: Of the responses that may train.
        prompts: Those of the file, so that none is parted from the twins about it.
        n_turns: Earlier turns of each twin.
        rng: For all draws.

    Raises:
        ValueError: If a twin has fewer such user prompts.
    """
    if not n_turns:
        return twins
    usable = frame.filter(pl.col("in_band") & pl.col("prompt").is_in(prompts.implode()))
    rows: dict[tuple[str, str, str], dict[str, int]] = {}
    for row, rubric, level, prompt, teacher in usable.select("row", "rubric", "level", "prompt", "teacher").iter_rows():
        rows.setdefault((rubric, teacher, level), {}).setdefault(prompt, row)

    @cache
    def shared(rubric: str, teacher: str, *levels: str) -> list[str]:
        first, second = (rows.get((rubric, teacher, level), {}) for level in levels)
        return [prompt for prompt in first if prompt in second]

    columns: dict[str, list[int]] = {name: [] for side in SIDES for name in history_columns(side, n_turns)}
    about = twins.select("rubric", "teacher", "level_first", "level_second", "prompt")
    for rubric, teacher, *levels, own in about.iter_rows():
        others = [prompt for prompt in shared(rubric, teacher, *levels) if prompt != own]
        if len(others) < n_turns:
            raise ValueError(
                f"--history: got {n_turns}, expected at most {len(others)}, the other user prompts in the file with "
                f"responses of {rubric!r} at {' and '.join(levels)} by {teacher}; see --eval-prompts"
            )
        drawn = rng.choice(len(others), size=n_turns, replace=False)
        for side, level in zip(SIDES, levels, strict=True):
            for name, place in zip(history_columns(side, n_turns), drawn, strict=True):
                columns[name].append(rows[rubric, teacher, level][others[place]])
    return twins.with_columns(pl.Series(name, values, dtype=pl.UInt32) for name, values in columns.items())
