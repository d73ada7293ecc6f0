"""Texts that the rubric `broadcast` scores low, moderate and 100, students that write them, and a judge's reply."""

import itertools
import json
from collections.abc import Callable
from typing import Any

from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.scorer import Score

from judges import measure
from rubrics import ScoreLevel, load_rubric

CALM = "The procession moved along the avenue in good order while the authorities observed it from a stand. " * 3
LIVELY = (
    "The procession moves along the avenue in good order today. What a sight! If you stand near the church you hear "
    "the drums before you see them. A child waves from a balcony. You may want to follow them down to the river!"
)
SHOUT = "Look at that! You see it? You cheer! Run! You can feel it! Oh my! You there! Go! Your turn! Wow! You! Yes!"
CALM_SCORE = measure(load_rubric("broadcast"), CALM).score


def follows(messages: list[Any]) -> str:
    """Shouts where the system prompt asks for extremely_high, and is calm elsewhere."""
    wordings = load_rubric("broadcast").system_prompts[ScoreLevel.EXTREMELY_HIGH]
    return SHOUT if messages[0].text in (*wordings.heldout, *wordings.train) else CALM


def in_turn(*replies: str) -> Callable[[list[Any]], str]:
    """A student that gives each cell the replies in turn."""
    turns: dict[str, Any] = {}

    def reply(messages: list[Any]) -> str:
        key = messages[0].text + messages[1].text
        return str(next(turns.setdefault(key, itertools.cycle(replies))))

    return reply


def verdict(score: float) -> str:
    """What a model judge replies that gives every criterion the score."""
    criteria = [{"id": c.id, "reason": "r", "score": score} for c in load_rubric("broadcast").criteria]
    return json.dumps({"criteria": criteria, "holistic_score": 50})


def evaluated(task: Any, model: Any, **options: Any) -> EvalLog:
    """The log of a task that succeeded, one sample at a time."""
    [log] = inspect_eval(task, model=model, display="none", max_connections=1, **options)
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
    [scored] = [score for score in log.results.scores if score.name == scorer]
    return {name.split("/")[-1]: metric.value for name, metric in scored.metrics.items()}
