"""The inspect scorer around the judges, and the inspect metrics around `metrics.py`."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from cpt_tasks.metrics import STATISTICS, Judged, Statistic, clustered_bootstrap
from judges import DEFAULT_STORE, Judge, JudgeFailure, Judgment, MeasuredJudge, ModelJudge, Panel, grader_models
from judges.agreement import noise_report
from judges.measures import words
from judges.model import Protocol
from judges.panel import Aggregate
from model_calls import open_store
from rubrics import ScoreLevel, load_rubrics

JudgeKind = Literal["model", "measured"]
BOOTSTRAP_SEED = 0
logger = logging.getLogger(__name__)

HEADLINE = ("macro_accuracy", "chance_accuracy", "kendall_tau_b", "spearman_rho", "order_accuracy")


@metric(scores="unreduced")
def configurability() -> Metric:
    """The headline statistics of `metrics.py` with `_ci_low` and `_ci_high`, and the number of scored samples.

    With repeated judgments also the judge's test-retest SD in score points, and the attainable accuracy: what a perfect
    student could get from a judge this noisy.

    Computed on every epoch's own score: binning a mean over epochs would count bands that no response reached.
    """

    def compute(scores: list[SampleScore]) -> Value:
        rows = [judged_row(score.sample_metadata or {}, score.score) for score in scores]
        wanted: list[Statistic] = [STATISTICS[name] for name in HEADLINE]
        estimates = clustered_bootstrap(rows, wanted, np.random.default_rng(BOOTSTRAP_SEED))
        values: dict[str, str | int | float | bool | None] = {"n_scored": len(rows)}
        for name, estimate in zip(HEADLINE, estimates, strict=True):
            values |= {name: estimate.value, f"{name}_ci_low": estimate.ci_low, f"{name}_ci_high": estimate.ci_high}
        ratings = [row for score in scores for row in repeated_ratings(score.score.metadata or {})]
        if ratings:
            noise = noise_report(ratings)
            values |= {"judge_test_retest_sd": noise.sd, "attainable_accuracy": noise.attainable_of_mean}
        return values

    return compute


@scorer(metrics=[configurability()])
def rubric_judge(
    judge: JudgeKind = "model",
    rubrics: str | list[str] = "all",
    protocol: Protocol = "criteria",
    judge_repeats: int = 1,
    panel: Aggregate = "mean",
    call_store: str = DEFAULT_STORE,
) -> Scorer:
    """Score, 0-100, of each response by the rubric its sample names.

    The judgment with its provenance goes to `Score.metadata`. A judge that fails leaves the sample unscored, with the
    failure mode in the metadata; it is never a number.

    Args:
        judge: "model" asks the inspect models bound to the role `grader` (default: Claude); "measured" computes the
            rubric's text statistics and needs neither a model nor a key.
        rubrics: Where the samples' rubrics are found, as in the task: "all" is the library.
        protocol: Headline of a model judge: "criteria", the weighted total of the criteria, or "holistic", the judge's
            own overall score (the paper's protocol). Both are kept.
        judge_repeats: How often each model judge is asked about a response, at least 1; the score is the mean. The
            response is written once.
        panel: How the scores of several models in the role `grader` become one: "mean" or "median".
        call_store: File that judge calls are kept in and looked up first; one process at a time may use it.

    Raises:
        ValueError: If a parameter is unknown; while scoring, if a rubric is not found or has changed since the
            responses were written.
        StoreLockedError: If another process uses the call store.
    """
    by_id = {rubric.id: rubric for rubric in load_rubrics(rubrics)}
    make_judge = _judge_maker(judge, protocol, judge_repeats, panel, call_store)

    async def score(state: TaskState, target: Target) -> Score:
        if state.metadata["rubric"] not in by_id:
            raise ValueError(
                f"rubric: got {state.metadata['rubric']!r}, expected one of {sorted(by_id)}; pass rubrics="
            )
        rubric = by_id[state.metadata["rubric"]]
        response = state.output.completion
        facts = {"epoch": state.epoch, "words": len(words(response)), "stop_reason": state.output.stop_reason}
        if rubric.hash != state.metadata["rubric_hash"]:
            raise ValueError(
                f"rubric {rubric.id!r}: got hash {rubric.hash}, expected {state.metadata['rubric_hash']} as in the "
                "log; the rubric has changed since these responses were written, so run the task again"
            )
        try:
            judgment = await make_judge().judge(rubric, state.user_prompt.text, response)
        except JudgeFailure as failure:
            logger.warning("%s: the judge failed (%s); the sample stays unscored", state.sample_id, failure)
            provenance = {"failure_mode": failure.mode, "attempts": failure.attempts, "usage": failure.usage}
            return Score.unscored(
                reason="grader_failed", answer=response, explanation=str(failure), metadata=facts | provenance
            )
        return Score(
            value=judgment.score,
            answer=response,
            explanation=_explanation(judgment),
            metadata=facts | asdict(judgment),
        )

    return score


def _judge_maker(
    judge: JudgeKind, protocol: Protocol, judge_repeats: int, panel: Aggregate, call_store: str
) -> Callable[[], Judge]:
    checks = {
        "judge": (judge, ("measured", "model")),
        "protocol": (protocol, ("criteria", "holistic")),
        "panel": (panel, ("mean", "median")),
    }
    for parameter, (value, choices) in checks.items():
        if value not in choices:
            raise ValueError(f"{parameter}: got {value!r}, expected one of {list(choices)}")
    if judge_repeats < 1:
        raise ValueError(f"judge_repeats: got {judge_repeats}, expected 1 or more")
    if judge == "measured":
        return MeasuredJudge
    store = open_store(call_store)  # a store in use by another process is refused before any response is paid for

    def make() -> Judge:
        # roles are bound while a sample runs, not when the task is made
        seats = [
            [ModelJudge(model, store, protocol, repeat) for repeat in range(judge_repeats)] for model in grader_models()
        ]
        return seats[0][0] if len(seats) == judge_repeats == 1 else Panel(seats, panel)

    return make


def judged_row(metadata: dict[str, str], score: Score) -> Judged:
    """The row that statistics are computed on, from a sample's metadata and its score."""
    return Judged(
        rubric=metadata["rubric"],
        level=ScoreLevel(metadata["level"]),
        user_prompt=metadata["prompt_id"],
        score=score.as_float(),
        words=(score.metadata or {})["words"],
    )


def repeated_ratings(metadata: Mapping[str, Any]) -> list[list[float]]:
    """The askings of each judge about one response, 0-100 or nan, from its `Score.metadata`; [] where there was one."""
    by_judge: dict[str, list[float]] = {}
    for rating in metadata.get("ratings") or []:
        score = rating["score"]
        by_judge.setdefault(rating["judge"], []).append(math.nan if score is None else score)
    return [scores for scores in by_judge.values() if len(scores) > 1]


def _explanation(judgment: Judgment) -> str:
    if judgment.reason:
        return f"{judgment.score:.1f}: {judgment.reason}"
    return "\n".join(f"{criterion.id} {criterion.score:.1f}: {criterion.reason}" for criterion in judgment.criteria)
