"""The inspect scorer around the judges, and the inspect metrics around `metrics.py`."""

from dataclasses import asdict
from typing import Literal

import numpy as np
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState

from cpt_tasks.metrics import STATISTICS, Judged, Statistic, clustered_bootstrap
from judges import Judge, JudgeFailure, Judgment, MeasuredJudge, ModelJudge
from judges.measures import words
from rubrics import ScoreLevel, load_rubrics

JudgeKind = Literal["model", "measured"]
BOOTSTRAP_SEED = 0

HEADLINE = ("macro_accuracy", "chance_accuracy", "kendall_tau_b", "spearman_rho", "order_accuracy")


@metric(scores="unreduced")
def configurability() -> Metric:
    """The headline statistics of `metrics.py` with `_ci_low` and `_ci_high`, and the number of scored samples.

    Computed on every epoch's own score: binning a mean over epochs would count bands that no response reached.
    """

    def compute(scores: list[SampleScore]) -> Value:
        rows = [judged_row(score.sample_metadata or {}, score.score) for score in scores]
        wanted: list[Statistic] = [STATISTICS[name] for name in HEADLINE]
        estimates = clustered_bootstrap(rows, wanted, np.random.default_rng(BOOTSTRAP_SEED))
        values: dict[str, str | int | float | bool | None] = {"n_scored": len(rows)}
        for name, estimate in zip(HEADLINE, estimates, strict=True):
            values |= {name: estimate.value, f"{name}_ci_low": estimate.ci_low, f"{name}_ci_high": estimate.ci_high}
        return values

    return compute


@scorer(metrics=[configurability()])
def rubric_judge(judge: JudgeKind = "model", rubrics: str | list[str] = "all") -> Scorer:
    """Score, 0-100, of each response by the rubric its sample names.

    The judgment with its provenance goes to `Score.metadata`. A judge that fails leaves the sample unscored, with the
    failure mode in the metadata; it is never a number.

    Args:
        judge: "model" asks the inspect model bound to the role `grader` (default: Claude); "measured" computes the
            rubric's text statistics and needs neither a model nor a key.
        rubrics: Where the samples' rubrics are found, as in the task: "all" is the library.

    Raises:
        ValueError: If a parameter is unknown; while scoring, if a rubric is not found or has changed since the
            responses were written.
    """
    by_id = {rubric.id: rubric for rubric in load_rubrics(rubrics)}
    judges: dict[JudgeKind, Judge] = {"model": ModelJudge(), "measured": MeasuredJudge()}
    if judge not in judges:
        raise ValueError(f"judge: got {judge!r}, expected one of {sorted(judges)}")

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
            judgment = await judges[judge].judge(rubric, state.user_prompt.text, response)
        except JudgeFailure as failure:
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


def judged_row(metadata: dict[str, str], score: Score) -> Judged:
    """The row that statistics are computed on, from a sample's metadata and its score."""
    return Judged(
        rubric=metadata["rubric"],
        level=ScoreLevel(metadata["level"]),
        user_prompt=metadata["prompt_id"],
        score=score.as_float(),
        words=(score.metadata or {})["words"],
    )


def _explanation(judgment: Judgment) -> str:
    if judgment.reason:
        return f"{judgment.score:.1f}: {judgment.reason}"
    return "\n".join(f"{criterion.id} {criterion.score:.1f}: {criterion.reason}" for criterion in judgment.criteria)
