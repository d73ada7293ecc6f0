"""Judges all responses of a task at once, each verdict a JSON text for `filtered_resps`."""

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from inspect_ai.model import get_model

from cpt_tasks.lm_harness.documents import CannotRunError, Document, Settings
from cpt_tasks.scorer import judge_of
from judges import (
    DEFAULT_JUDGE,
    Judge,
    JudgeFailure,
    JudgeFailureRecord,
    Judgment,
    MeasuredJudge,
    check_measurable,
    judge_model,
    outcome_of,
)
from judges.counting import words
from model_calls import open_store
from model_calls.inspect_private import PrerequisiteError
from model_calls.visible import THOUGHT_OPENED, visible
from rubrics import Rubric, load_rubrics

CALL_FAILED, JUDGE_STOPPED = "call_failed", "judge_stopped"
logger = logging.getLogger(__name__)


def make_judge(settings: Settings, rubrics: Sequence[Rubric]) -> Judge:
    """The judge; CannotRunError if a rubric cannot be measured, a key is missing, or the call store is no store."""
    name = DEFAULT_JUDGE if settings.judge == "model" else settings.judge
    try:
        if settings.judge == "measured":
            for rubric in rubrics:
                check_measurable(rubric)
            return MeasuredJudge()
        # not shared with another task of the run: its client would belong to an event loop that is closed
        model = judge_model(get_model(name, memoize=False))
        store, version = open_store(settings.call_store), settings.prompt_version
        return judge_of([model], store, settings.protocol, settings.judge_repeats, prompt_version=version)
    except PrerequisiteError as error:
        key = re.search(r"[A-Z_]+_API_KEY", str(error.message))
        problem = f"{key.group()} is not set" if key else " ".join(str(error.message).split())
        raise CannotRunError(
            f"{problem} and the judge is {name}; bind another with --metadata judge=PROVIDER/MODEL, or judge without a "
            "model and without a key by judge=measured rubrics=measured"
        ) from error
    except ValueError as error:
        raise CannotRunError(f"--metadata judge: {error}") from error


def judge_responses(
    settings: Settings, responses: Sequence[tuple[Document, str]], rubrics: Sequence[Rubric] | None = None
) -> list[str]:
    """A verdict by the rubrics, default those of the settings, for each response, in their order, as JSON.

    Holds `response` (the visible answer), `words`, `thought_words`, and `score` (0-100) with the rest of the
    `Judgment`; where the judge failed, `score` is null and `failure_mode` says how. A call that could not be made is
    such a failure, too: lm_eval would lose every response with an exception, and calls that were answered are in the
    call store.
    """
    rubrics = rubrics or load_rubrics(settings.rubrics)
    by_id = {rubric.id: rubric for rubric in rubrics}
    judge = make_judge(settings, rubrics)

    async def judge_all() -> list[dict[str, Any]]:
        # as many at a time as inspect lets connections to a model be open
        asked = [(by_id[document["rubric"]], document, response) for document, response in responses]
        return await asyncio.gather(*(_verdict(judge, *one) for one in asked))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        verdicts = asyncio.run(judge_all())  # which Ctrl-C ends
    else:
        with ThreadPoolExecutor(1) as pool:  # in a thread of its own: that of a notebook has a loop running
            verdicts = pool.submit(lambda: asyncio.run(judge_all())).result()
    if stopped := next((verdict for verdict in verdicts if verdict.get("failure_mode") == JUDGE_STOPPED), None):
        # what the judge gave before, such as scores on another scale, counts no more
        verdicts = [
            verdict | {key: stopped[key] for key in ("score", "failure_mode", "failure")} for verdict in verdicts
        ]
    failed = [verdict for verdict in verdicts if verdict["score"] is None]
    if failed:
        modes = Counter(verdict["failure_mode"] for verdict in failed).most_common()
        counts = ", ".join(f"{count} {mode}" for mode, count in modes)
        said = "the judge failed on %d of %d responses, which stay unscored (%s); the first: %s"
        logger.warning(said, len(failed), len(verdicts), counts, failed[0]["failure"])
    return [json.dumps(verdict, ensure_ascii=False) for verdict in verdicts]


async def _verdict(judge: Judge, rubric: Rubric, document: Document, response: str) -> dict[str, Any]:
    record: Judgment | JudgeFailureRecord
    response, thought = visible(response, THOUGHT_OPENED in document)
    try:
        outcome = await outcome_of(judge, rubric, document["user_prompt"], response)
        record = JudgeFailureRecord.of(outcome, rubric) if isinstance(outcome, JudgeFailure) else outcome
    except Exception as error:  # whatever a provider's client raises: see judge_responses
        detail = f"{type(error).__name__}: {error}"
        mode = JUDGE_STOPPED if isinstance(error, PrerequisiteError) else CALL_FAILED
        record = JudgeFailureRecord(failure_mode=mode, failure=detail, rubric_hash=rubric.hash)
    lengths = {"words": len(words(response)), "thought_words": len(words(thought))}
    return {"response": response, "score": None, "reason": ""} | lengths | record.model_dump()
