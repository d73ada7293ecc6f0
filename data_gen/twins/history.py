"""Earlier turns before the user prompt of a twin, for a student that is to follow a system prompt in a conversation.

A twin trained without them has only seen first answers. Both rows of a twin get the same earlier turns, in band at one
of its two levels. So before one row they are as its system prompt asks, before the other as another one had asked, and
nothing but the system prompt says which response is chosen: to hold and to switch are trained at once.
"""

import numpy as np
import polars as pl

HISTORY = "history_"  # and the number of the turn, the oldest first: columns with the rows of the responses


def draw_history(
    twins: pl.DataFrame, frame: pl.DataFrame, prompts: pl.Series, n_turns: int, rng: np.random.Generator
) -> pl.DataFrame:
    """The twins with a column for every earlier turn, see `HISTORY`; as they are for 0 turns.

    A turn has a user prompt other than the twin's and the first response in band to it at one of the twin's levels, by
    its teacher. Levels and user prompts are drawn evenly, user prompts without repeats, out of `prompts`, those of the
    file of the twins.

    Raises:
        ValueError: If a twin has fewer such user prompts.
    """
    if not n_turns:
        return twins
    usable = frame.filter(pl.col("in_band") & pl.col("prompt").is_in(prompts.implode()))
    rows: dict[tuple[str, str, str], dict[str, int]] = {}
    for row, rubric, level, prompt, teacher in usable.select("row", "rubric", "level", "prompt", "teacher").iter_rows():
        rows.setdefault((rubric, teacher, level), {}).setdefault(prompt, row)
    drawn: list[list[int]] = []
    about = twins.select("rubric", "teacher", "level_first", "level_second", "prompt")
    for rubric, teacher, *levels, own in about.iter_rows():
        level = levels[rng.integers(len(levels))]
        others = [row for prompt, row in rows.get((rubric, teacher, level), {}).items() if prompt != own]
        if len(others) < n_turns:
            raise ValueError(
                f"--history: got {n_turns}, expected at most {len(others)}, the other user prompts in the file with "
                f"responses of {rubric!r} at {level} by {teacher}; see --eval-prompts"
            )
        drawn.append(rng.choice(others, size=n_turns, replace=False).tolist())
    turns = pl.DataFrame(drawn, [(f"{HISTORY}{turn}", pl.UInt32) for turn in range(n_turns)], orient="row")
    return pl.concat([twins, turns], how="horizontal")
