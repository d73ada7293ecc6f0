"""A judge's questions as files, and its answers back into the call store: `cpt judge questions` and `answers`."""

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path

from cpt_tasks.judge_logs.spend import judged_path, judged_texts, score_commands
from cpt_tasks.judge_logs.texts import Text, model_judges, read_texts
from judges import PROMPT_VERSION, JudgeSettings, is_no_response
from model_calls import Call, CallStore, open_store
from model_calls.questions import Answered, QuestionFormat, Written, read_answers, write_questions
from rubrics.files import check_is_utf8


def write_judge_questions(
    path: Path, judged: Sequence[str], settings: JudgeSettings, format: QuestionFormat
) -> Written:
    """Writes what a judge would be asked about logs or `.jsonl` files of texts now.

    Raises:
        ValueError: If a log or text cannot be read, or the model has no place in the format.
    """
    store = open_store(settings.store)
    calls = _calls(_texts(judged), settings, store)
    return asyncio.run(write_questions(path, calls, store, format))


def read_judge_answers(path: Path, judged: Sequence[str], settings: JudgeSettings) -> tuple[Answered, int]:
    """Puts answers to these questions into the call store; returns also how many verdicts cannot be used.

    Of those the next attempt stands open, as if the judge had been asked online.

    Raises:
        ValueError: If a log or text cannot be read, or the file is in UTF-16.
    """
    with path.open("rb") as file:
        check_is_utf8(file.read(4), f"{path}: ")
    store, texts = open_store(settings.store), _texts(judged)
    answered = last = asyncio.run(read_answers(path, _calls(texts, settings, store), store))
    while last.answered:  # the file may hold the next attempts too
        last = asyncio.run(read_answers(path, _calls(texts, settings, store), store))
        answered.answered, answered.unknown = answered.answered + last.answered, last.unknown
    still_open = {call.key for call in _calls(texts, settings, store) if call.key not in store}
    return answered, len(still_open) - answered.missing


def judging_commands(judged: Sequence[str], settings: JudgeSettings) -> list[str]:
    """The command that takes the verdicts on each log or file of texts from the call store."""
    logs, files = _told_apart(judged)
    if files and settings.repeats > 1:
        raise ValueError(f"{files[0]}: texts of a file are judged once; leave out --repeats")
    commands = score_commands(logs, settings) if logs else []
    judge = ["--judge", settings.model, "--store", settings.store]
    if settings.prompt_version != PROMPT_VERSION:
        judge += ["--prompt-version", settings.prompt_version]
    for file in files:
        commands.append(shlex.join(["cpt", "judge", "texts", file, *judge, "--out", judged_path(file)]))
    return commands


def _texts(judged: Sequence[str]) -> list[Text]:
    logs, files = _told_apart(judged)
    texts = judged_texts(logs) if logs else []
    for file in files:
        texts += [text for text in read_texts(Path(file)) if not is_no_response(text.response)]
    return texts


def _calls(texts: Sequence[Text], settings: JudgeSettings, store: CallStore) -> list[Call]:
    judges = model_judges(settings, store)
    return [
        call
        for text in texts
        for judge in judges
        for call in judge.calls_so_far(store, text.rubric, text.user_prompt, text.response)
    ]


def _told_apart(judged: Sequence[str]) -> tuple[list[str], list[str]]:
    """Logs, and files of texts."""
    logs = [path for path in judged if not path.endswith(".jsonl")]
    return logs, [path for path in judged if path not in logs]
