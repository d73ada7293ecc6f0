"""Judged responses as one pandas frame, read once from a log: what every statistic and report is computed on.

One row per sample and epoch, of a conversation one per turn, in the order of the log; a sample that no judge scored is
there with a score of nan, one that a person invalidated is not there.

| column | |
|---|---|
| sample_id, epoch | as in the log, of a conversation with the turn at its end; epochs count from 1 |
| conversation | id of the sample, without the turn |
| turn, script, stage | see `multi_turn`, turns count from 1; elsewhere "" |
| rubric, rubric_hash, rubric_version | rubric asked for; its version is 1 in logs that do not say |
| level | score level asked for, or "none" where the system prompt asks for no level |
| target | numeric target, 0-100, nan without one |
| user_prompt_id, user_prompt, system_prompt | what was asked, as id and text |
| wording, position, style, cell | which wording, turn, style or kind of request; "" where a benchmark has only one |
| template_head | what the chat template writes before a chat without a system prompt; None where it cannot be seen |
| with_rubric, with_level | the second rubric asked for and its level, "" without one |
| response, words | the visible answer and its length |
| thought_words | length of the chain of thought before it |
| output_tokens, stop_reason | of both; tokens are nan where the provider does not say |
| score | judgment by `rubric`, 0-100, nan if unscored |
| edited | whether a person edited the score (inspect's `edit_score`); `record` is the judge's |
| invalidated | whether a person invalidated the sample (inspect's `invalidate_samples`) |
| selection | score by the judge that selects (best_of_n), nan without one |
| reason | "no_response" where nothing was read and the score is 0, else "": see `answered` |
| failure | how the judge failed, "error" if the sample was not judged, else "" |
| also | further rubric -> judgment, 0-100, nan if that failed |
| record, selection_record | all that the scorers wrote, `ScoreRecord` and judgment of `judges`, or None |

`inspect_ai.analysis.samples_df` reads the same logs into columns of paths; the typed record of the judge, the check of
one judgment per sample and the names before version 0.2 would come on top, so this reads the samples directly.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from inspect_ai.log import EvalLog, EvalSample, read_eval_log
from inspect_ai.scorer import SampleScore, Score

from cpt_tasks.samples import NO_LEVEL
from cpt_tasks.turns import output_of, score_of_turn, turns_of
from judges import NO_RESPONSE, Judgment, ScoreRecord, read_judgment
from judges.counting import words
from judges.interval import NAN, Estimate
from model_calls.visible import answer_of
from rubrics import MAX_SCORE, MIN_SCORE, ScoreLevel

SCORER = "rubric_judge"
SELECTOR = "selection_judge"
_TEXT_COLUMNS = [
    *("rubric", "rubric_hash", "level", "user_prompt_id", "wording", "position", "style", "cell"),
    *("with_rubric", "with_level", "script", "stage"),
]
# names in logs written before version 0.2
_OLD_NAMES = {"user_prompt_id": "prompt_id", "wording": "paraphrase"}


def read_log(path: str) -> pd.DataFrame:
    """The frame of an .eval log; raises as `frame_of`."""
    return frame_of(read_eval_log(path))


def frame_of(log: EvalLog, invalidated: bool = False) -> pd.DataFrame:
    """The frame of a log, if asked for with its invalidated samples.

    Raises:
        ValueError: If a sample was judged more than once, or with its chain of thought, or a person's edit of its score
            is not from 0 to 100.
    """
    rows = []
    for sample in log.samples or []:
        if invalidated or sample.invalidation is None:
            turns = turns_of(sample.metadata)
            try:
                score = _score_of(sample)
                rows += [_row(sample, turn, score_of_turn(score, turn.get("turn"))) for turn in turns]
            except ValueError as error:
                if sample.invalidation is not None:  # its score counts for nothing
                    rows += [_row(sample, turn, None) for turn in turns]
                    continue
                raise ValueError(f"{Path(log.location).name}, sample {sample.id!r}: {error}") from error
    return pd.DataFrame(rows)


def frame_of_scores(scores: Iterable[SampleScore]) -> pd.DataFrame:
    """The columns that a metric of inspect needs, from the scores it is given."""
    return pd.DataFrame(
        [
            _named(score.sample_id, turn) | _judged_columns(turn, score_of_turn(score.score, turn.get("turn")))
            for score in scores
            for turn in turns_of(score.sample_metadata or {})
        ]
    )


def metric_values(estimates: Mapping[str, Estimate]) -> dict[str, str | int | float | bool | None]:
    """Estimates as a metric of inspect gives them: by name, with `_ci_low` and `_ci_high`."""
    values: dict[str, str | int | float | bool | None] = {}
    for name, estimate in estimates.items():
        values |= {name: estimate.value, f"{name}_ci_low": estimate.ci_low, f"{name}_ci_high": estimate.ci_high}
    return values


def with_level(frame: pd.DataFrame) -> pd.DataFrame:
    """The scored rows that ask for a score level: those that statistics of adherence are computed on."""
    return frame[frame["score"].notna() & (frame["level"] != NO_LEVEL)] if len(frame) else frame


def answered(frame: pd.DataFrame) -> pd.Series:
    """Which rows hold a response. The others are a miss at every level, and in no statistic of scores."""
    return frame["reason"] != NO_RESPONSE


def in_band(frame: pd.DataFrame) -> pd.Series:
    """Which scored rows hold a response whose score is in the band asked for."""
    return (frame["score"].map(ScoreLevel.of) == frame["level"]) & answered(frame)


def by_every_rubric(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per judgment of a response, own and further, that did not fail: `judged_by` has the `score`."""
    rows = [
        row | {"judged_by": rubric, "score": score}
        for row in frame[answered(frame)].to_dict("records")
        for rubric, score in ({row["rubric"]: row["score"]} | row["also"]).items()
        if not math.isnan(score)
    ]
    return pd.DataFrame(rows, columns=[*frame.columns, "judged_by"])


def _score_of(sample: EvalSample) -> Score | None:
    """The judge's score of a sample, nan if the judge failed; None if it was not judged."""
    scores = {name: score for name, score in (sample.scores or {}).items() if name.split("/")[-1].startswith(SCORER)}
    if len(scores) > 1:
        raise ValueError(
            f"judged more than once ({sorted(scores)}), expected one judgment per sample; score the log again with "
            "inspect score --action overwrite --output-file FILE"
        )
    return next(iter(scores.values()), None)


def _named(sample_id: object, turn: Mapping[str, Any]) -> dict[str, Any]:
    number = turn.get("turn")
    suffix = "" if number is None else f"-turn-{number}"
    return {"sample_id": f"{sample_id}{suffix}", "conversation": str(sample_id), "turn": number or ""}


def _row(sample: EvalSample, turn: Mapping[str, Any], score: Score | None) -> dict[str, Any]:
    output = output_of(turn, sample.output)
    named = {name.split("/")[-1]: other for name, other in (sample.scores or {}).items()}
    selected = _judged_metadata(named[SELECTOR]) if SELECTOR in named else None
    usage = output.usage
    judged, (response, thought) = _judged_columns(turn, score), answer_of(output, sample.metadata)
    if judged["record"] is None:
        judged |= {"words": float(len(words(response))), "thought_words": float(len(words(thought)))}
    elif (judged["thought_words"] == 0 and words(thought)) or (judged["words"] and not response):
        raise ValueError(
            "was judged with its chain of thought or a provider's error, as by an earlier version, expected its answer "
            "alone; score the log again with inspect score --action overwrite --output-file FILE"
        )
    return {
        **_named(sample.id, turn),
        **judged,
        "epoch": sample.epoch,
        "template_head": sample.metadata.get("template_head"),
        "system_prompt": turn.get("system_prompt", _turn(sample, "system")),
        "user_prompt": turn.get("asked", _turn(sample, "user")),
        "response": response,
        "output_tokens": NAN if usage is None else float(usage.output_tokens),
        "stop_reason": output.stop_reason if output.choices else "unknown",
        "invalidated": sample.invalidation is not None,
        "selection": _points(named.get(SELECTOR)),
        "selection_record": read_judgment(selected) if selected else None,
    }


def _judged_columns(metadata: Mapping[str, Any], score: Score | None) -> dict[str, Any]:
    written = {} if score is None else _judged_metadata(score)
    record = ScoreRecord.from_metadata(written) if written else None
    judgment = None if record is None else record.judgment
    texts = {name: str(metadata.get(name, metadata.get(_OLD_NAMES.get(name, name), ""))) for name in _TEXT_COLUMNS}
    target = metadata.get("target")
    also = {} if record is None else record.also
    # of the log, not of the record: a person may have edited it
    value, edits = _points(score), [] if score is None else score.history
    # the first entry of a history is the judge's own, unless it is the only one
    edited = any(edit.value != "UNCHANGED" for edit in edits[1:] or edits)
    failure = "error" if judgment is None else getattr(judgment, "failure_mode", "")
    return texts | {
        "rubric_version": int(metadata.get("rubric_version", 1)),
        "score": value,
        "edited": edited,
        "reason": judgment.reason if isinstance(judgment, Judgment) and not edited else "",
        "failure": failure if math.isnan(value) else "",
        "epoch": 1 if record is None else record.epoch,
        "target": float(target) if isinstance(target, int | float) else NAN,
        "words": NAN if record is None else float(record.words),
        "thought_words": NAN if record is None else float(record.thought_words),
        "also": {rubric: NAN if entry.score is None else entry.score for rubric, entry in also.items()},
        "record": record,
    }


def _points(score: Score | None) -> float:
    """The score in points, 0-100, nan where there is none."""
    try:
        points = NAN if score is None else score.as_float()
    except ValueError:
        points = math.inf
    if score is not None and not (math.isnan(points) or MIN_SCORE <= points <= MAX_SCORE):
        raise ValueError(
            f"got a score edited to {score.value!r}, expected a number from {MIN_SCORE:g} to {MAX_SCORE:g}"
        )
    return points


def _judged_metadata(score: Score) -> Mapping[str, Any]:
    """What the scorer wrote, which a person's edit may have replaced; empty for a score that a person added."""
    written = score.history[0].metadata if score.history else score.metadata
    is_added = len(score.history) == 1
    return {} if is_added or not isinstance(written, dict) else written


def _turn(sample: EvalSample, role: str) -> str:
    if isinstance(sample.input, str):
        return sample.input if role == "user" else ""
    return "\n\n".join(message.text for message in sample.input if message.role == role)
