"""Students that write what a measured rubric asks for, tasks run on them, and logs as if their judge had failed."""

import itertools
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from command_runs import strict_json, succeeds
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.scorer import Score
from seed import SEED_ROWS

from cpt_tasks.report.report import report_command
from judges import measure
from rubrics import load_rubric, load_rubrics

# the rubric `broadcast` scores them low, moderate and 100
CALM = "The procession moved along the avenue in good order while the authorities observed it from a stand. " * 3
LIVELY = (
    "The procession moves along the avenue in good order today. What a sight! If you stand near the church you hear "
    "the drums before you see them. A child waves from a balcony. You may want to follow them down to the river!"
)
SHOUT = "Look at that! You see it? You cheer! Run! You can feel it! Oh my! You there! Go! Your turn! Wow! You! Yes!"


def score_by(rubric: str, text: str) -> float:
    return measure(load_rubric(rubric), text).score


CALM_SCORE = score_by("broadcast", CALM)


@cache
def texts() -> dict[tuple[str, str], str]:
    """(rubric, level) -> a seed response in the band of that level."""
    return {(row["rubric"], row["level"]): row["response"] for row in reversed(SEED_ROWS)}


PLAIN = texts()["reverie", "low"]


WORDINGS = {
    wording: (rubric.id, level.value)
    for rubric in load_rubrics("measured")
    for level, wordings in rubric.system_prompts.items()
    for wording in (*wordings.train, *wordings.heldout)
}


def asked(messages: list[Any]) -> list[tuple[str, str]]:
    """(rubric, level) of every wording in the chat, in the order in which they stand there."""
    chat = "\n\n".join(message.text for message in messages)
    requests = [(chat.index(wording), request) for wording, request in WORDINGS.items() if wording in chat]
    return [request for _, request in sorted(requests)]


def follows(messages: list[Any]) -> str:
    """Writes what the first wording in the chat asks for; plain without any."""
    requests = asked(messages)
    return texts()[requests[0]] if requests else PLAIN


def ignores(messages: list[Any]) -> str:
    """Calm, whatever is asked."""
    return CALM


def deaf(messages: list[Any]) -> str:
    """Follows a system turn, and is plain where the wording stands in the user's."""
    return follows(messages) if messages[0].role == "system" else PLAIN


def in_turn(*replies: str) -> Callable[[list[Any]], str]:
    """A student that gives each cell the replies in turn."""
    turns: dict[str, Any] = {}

    def reply(messages: list[Any]) -> str:
        key = messages[0].text + messages[1].text
        return str(next(turns.setdefault(key, itertools.cycle(replies))))

    return reply


def verdict(score: float, rubric: str = "broadcast", reason: str = "r") -> str:
    """What a model judge replies that gives every criterion the score, and 50 as a whole."""
    criteria = [{"id": c.id, "reason": reason, "score": score} for c in load_rubric(rubric).criteria]
    return json.dumps({"criteria": criteria, "holistic_score": 50})


def evaluated(task: Any, model: Any, **options: Any) -> EvalLog:
    """The log of a task that succeeded, one sample at a time."""
    options = {"max_connections": 1, "log_realtime": False} | options
    [log] = inspect_eval(task, model=model, display="none", **options)
    assert log.status == "success", log.error
    return log


def unscore(path: str, failed: Callable[[int, Any], bool]) -> None:
    """Rewrites a log as if the judge had failed on the samples, told by their number and content."""
    log = read_eval_log(path)
    for number, sample in enumerate(log.samples or []):
        if failed(number, sample):
            sample.scores = {"rubric_judge": Score.unscored(reason="grader_failed")}
    write_eval_log(log, path)


def shown_metrics(log: EvalLog, scorer: str = "rubric_judge") -> dict[str, Any]:
    """The values that inspect shows of a scorer, by name."""
    assert log.results is not None
    [scored] = [score for score in log.results.scores if score.name.split("/")[-1] == scorer]
    return {name.split("/")[-1]: metric.value for name, metric in scored.metrics.items()}


def reported(out: Path, *paths: str, draw: bool = False) -> tuple[dict[str, Any], str, str]:
    """What `cpt report` makes of logs: summary.json, which is strict JSON, report.md, and what it prints.

    Figures and page take long, so they are made on request.
    """
    with patch("cpt_tasks.report.report.can_draw", return_value=draw):
        printed = succeeds(report_command, *paths, "--out", out)
    return strict_json(out / "summary.json"), (out / "report.md").read_text(), printed
