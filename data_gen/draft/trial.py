"""Tries system prompts: a model writes texts from them alone, and the judged texts must come out in order.

Only train user prompts are asked, of both splits of wordings. The texts stay in the call store and are no training
data: heldout wordings never reach that.
"""

from functools import partial
from itertools import islice

import pandas as pd

from data_gen.generate.teachers import Teacher
from judges import Judge, JudgeFailure
from model_calls import Call, CallStore, ask
from model_calls.call import chat_of
from model_calls.side_by_side import side_by_side
from model_calls.visible import visible
from rubrics import Rubric, ScoreLevel, load_user_prompts
from rubrics.texts import whole_characters

N_USER_PROMPTS = 6
MIN_GAP = 10.0  # score points between the means of adjacent levels
_TOLERANCE = 1e-9  # a gap of exactly the least passes, whatever its last bit


def plan_texts(rubric: Rubric) -> list[tuple[ScoreLevel, str, str]]:
    """Level, system prompt and user prompt of the texts of a trial, level by level.

    Within a level, wordings and user prompts advance together, so that each wording is used, each user prompt equally
    often, and no pair of them twice: 7 wordings and 6 user prompts give 12 texts.
    """
    asked = list(islice(load_user_prompts("train", rubric.family).values(), N_USER_PROMPTS))
    texts = []
    for level in ScoreLevel:
        wordings = [*rubric.wordings(level, "train"), *rubric.wordings(level, "heldout")]
        count = -(-len(wordings) // len(asked)) * len(asked)
        texts += [(level, wordings[n % len(wordings)], asked[n % len(asked)]) for n in range(count)]
    return texts


async def try_wordings(rubric: Rubric, writer: Teacher, judge: Judge, store: CallStore, seed: int) -> pd.DataFrame:
    """Writes and judges the texts of `plan_texts`: a row each with `level`, `score` (0-100) and `note`.

    A text that was refused, is empty or too short, or could not be judged has no score; its note says so.

    Raises:
        ValueError: If a local writer's chat template does not show it the system prompt.
    """

    async def row(level: ScoreLevel, system_prompt: str, user_prompt: str) -> tuple[ScoreLevel, float | None, str]:
        messages = chat_of(system_prompt, user_prompt)
        reply, _ = await ask(store, Call(writer.model, messages, replicate=f"fidelity {seed}"))
        text = whole_characters(visible(reply.text)[0]).strip()
        if reply.stop_reason == "content_filter" or not text:
            return level, None, "refused or left empty by the writer"
        try:
            judgment = await judge.judge(rubric, user_prompt, text)
        except JudgeFailure as failure:
            return level, None, f"not judged: {failure.mode}"
        return (level, None, f"not read: {judgment.reason}") if judgment.reason else (level, judgment.score, "")

    from model_calls.inspect_private import local_chat

    texts = plan_texts(rubric)
    rendered = local_chat(writer.model.api, chat_of(*texts[0][1:]))  # of an API model it cannot be looked at
    if rendered is not None and texts[0][1] not in rendered:
        raise ValueError(
            f"{writer.name}: the chat template leaves out the system turn, expected one that shows it; take an "
            "adapter folder of recipes/dpo_lora.py, whose template is repaired, or another --writer"
        )
    rows = await side_by_side([partial(row, *text) for text in texts], len(texts))
    return pd.DataFrame(rows, columns=["level", "score", "note"]).astype({"score": float})


def means(frame: pd.DataFrame) -> "pd.Series[float]":
    """Mean score by level, in ascending order of the levels; NaN where none has a score."""
    return frame.groupby("level").score.mean().reindex(list(ScoreLevel))


def passed(frame: pd.DataFrame) -> bool:
    """Whether the means of adjacent levels are in order and `MIN_GAP` apart; a level without a score does not pass."""
    return bool((means(frame).diff().iloc[1:] >= MIN_GAP - _TOLERANCE).all())


def means_text(frame: pd.DataFrame) -> str:
    """`low 12.5, moderate 61.0, extremely_high -`; a level without scores has a dash."""
    return ", ".join(f"{level} {'-' if pd.isna(mean) else f'{mean:.1f}'}" for level, mean in means(frame).items())


def table(frame: pd.DataFrame) -> str:
    """Texts, texts with a score and their mean by level, what was not scored, and what is expected of the means."""
    levels = frame.groupby("level", sort=False).score.agg(texts="size", scored="count", mean="mean")
    notes = frame.note[frame.note != ""].value_counts()
    lines = [
        levels.to_string(float_format="{:.1f}".format),
        *(f"{count} texts {note}" for note, count in notes.items()),
    ]
    return "\n".join([*lines, f"expected: the mean scores in order and {MIN_GAP:g} points apart"])
