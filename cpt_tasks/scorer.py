"""The inspect scorer around the judges, and the metric that inspect shows while it runs."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from inspect_ai.dataset import Sample
from inspect_ai.model import Model
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState
from inspect_ai.util import collect

from cpt_tasks.options import JudgedBy, JudgeKind, check_choice, check_least, rubrics_of
from cpt_tasks.turns import score_turns, turns_of
from judges import (
    DEFAULT_JUDGE,
    DEFAULT_STORE,
    PROMPT_VERSION,
    Aggregate,
    FurtherJudgment,
    Judge,
    JudgeFailure,
    JudgeFailureRecord,
    JudgeProtocol,
    Judgment,
    MeasuredJudge,
    ModelJudge,
    Panel,
    PromptVersion,
    ScoreRecord,
    check_measurable,
    grader_models,
    judge_hash,
    outcome_of,
    picture_problem,
    prompt_version_of,
)
from judges.counting import words
from model_calls import CallStore, open_store
from model_calls.inspect_private import PrerequisiteError, command_folder
from model_calls.visible import answer_of
from rubrics import Rubric
from rubrics.pictures import load_picture

HEADLINE = (
    *("macro_accuracy", "somers_d", "band_error", "chance_accuracy"),
    *("kendall_tau_b", "kendall_tau_b_ceiling", "spearman_rho", "spearman_rho_ceiling"),
)
logger = logging.getLogger(__name__)


@metric(scores="unreduced")
def configurability() -> Metric:
    """The headline statistics, with `_ci_low` and `_ci_high` where they have them, and the number of scored samples.

    With repeated judgments also the judge's test-retest SD in score points, and the attainable accuracy: what a perfect
    student could get from a judge this noisy.

    Computed on every epoch's own score: binning a mean over epochs would count bands that no response reached. Samples
    that ask for no level are left out.
    """

    def compute(scores: list[SampleScore]) -> Value:
        # imported here, because pandas and scipy take a second that a run should not wait for at its start
        from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
        from cpt_tasks.statistics.frame import frame_of_scores, metric_values, with_level
        from cpt_tasks.statistics.table import estimates_of
        from judges.reliability import noise_values

        frame = frame_of_scores(scores)
        rows = with_level(frame)
        estimates = estimates_of(rows, {name: STATISTICS[name] for name in HEADLINE})
        values = metric_values(estimates)
        for name in HEADLINE:
            if not STATISTICS[name].has_interval:
                del values[f"{name}_ci_low"], values[f"{name}_ci_high"]
        noise = noise_values(record.judgment for record in frame.get("record", ()) if record is not None)
        return {"n_scored": len(rows)} | values | noise

    return compute


@scorer(metrics=[configurability()])
def rubric_judge(
    judge: JudgeKind = "model",
    rubrics: str | list[str] = "all",
    protocol: JudgeProtocol = "criteria",
    judge_repeats: int = 1,
    panel: Aggregate = "mean",
    call_store: str = DEFAULT_STORE,
    prompt_version: str | int = PROMPT_VERSION,
    also: str | list[str] = "",
    judge_sees_image: bool = False,
) -> Scorer:
    """Score, 0-100, of each response by the rubric its sample names; of a conversation one for each turn.

    The judgment with its provenance goes to `Score.metadata`, see `judges.ScoreRecord`. A judge that fails leaves the
    sample unscored, with the failure mode in the metadata; it is never a number.

    Args:
        judge: "model" asks the inspect models bound to the role `grader` (default: Claude); "measured" computes the
            rubric's text statistics and needs neither a model nor a key.
        rubrics: Where the samples' rubrics are found, as in the task: "all" is the library.
        protocol: Headline of a model judge: "criteria", the weighted total of the criteria, or "holistic", the judge's
            own overall score (the paper's protocol). Both are kept.
        judge_repeats: How often each model judge is asked about a response; the score is the mean.
        panel: How the scores of several models in the role `grader` become one: "mean" or "median".
        call_store: File that judge calls are kept in and looked up first.
        prompt_version: Wording of a model judge's question: "3", where descriptors are ranges of the scale, or "2",
            where they are points. Results under two wordings are not comparable.
        also: Further rubrics, selected as `rubrics`, that each scored response is judged by too; "" for none. A sample
            with ids under `also` in its metadata is judged by those instead. The score stays that of the sample's own
            rubric; the further judgments stand in `Score.metadata["also"]`.
        judge_sees_image: Whether a model judge is shown the picture that a user prompt shows; it must read pictures.

    Raises:
        ValueError: If a parameter is unknown; while scoring, if a rubric is not found or has changed since the
            responses were written.
        PrerequisiteError: If the call store cannot be used, or a panel has the same judge twice.
    """
    by_id = {rubric.id: rubric for rubric in rubrics_of(rubrics)}
    further = {rubric.id: rubric for rubric in (rubrics_of(also) if also else [])}
    version = prompt_version_of(prompt_version)
    check_choice(judge, ("measured", "model"), "judge")
    check_choice(protocol, ("criteria", "holistic"), "protocol")
    check_choice(panel, ("mean", "median"), "panel")
    check_least(judge_repeats, 1, "judge_repeats")
    store = open_judge_store(call_store) if judge == "model" else None
    repeats = judge_repeats if judge == "model" else 1

    def make_judge() -> Judge:
        if store is None:
            return MeasuredJudge()
        # roles are bound while a sample runs, not when the task is made
        models = grader_models()
        if len({judge_hash(model) for model in models}) < len(models):
            raise PrerequisiteError(
                f"grader: got {[str(model) for model in models]}, one of them twice with the same "
                "settings; ask one judge several times with judge_repeats"
            )
        return judge_of(models, store, protocol, judge_repeats, panel, version, judge_sees_image)

    async def score(state: TaskState, target: Target) -> Score:
        others = [_known(other, by_id | further) for other in state.metadata.get("also", further)]
        judge = make_judge()
        return await score_turns(lambda turn: score_response(judge, by_id, turn, repeats, others), state)

    return score


async def score_response(
    judge: Judge,
    rubrics: Mapping[str, Rubric],
    state: TaskState,
    judge_repeats: int = 1,
    others: Sequence[Rubric] = (),
) -> Score:
    """The score of a sample's visible answer, with its `ScoreRecord` as metadata; unscored if there is no output.

    `rubrics`, by id, hold the sample's own; a scored response is judged by the `others` as well. `judge_repeats` is for
    the record.

    Raises:
        ValueError: If the sample's rubric is not among the rubrics, or has changed since the sample was made.
    """
    if not state.output.choices:  # an error or a limit ended the sample before this answer
        return Score.unscored(reason="no_output", explanation="the sample ended before the model answered")
    response, thought = answer_of(state.output, state.metadata)
    rubric = _known(state.metadata["rubric"], rubrics)
    if rubric.hash != state.metadata["rubric_hash"]:
        raise ValueError(
            f"rubric {rubric.id!r}: got hash {rubric.hash}, expected {state.metadata['rubric_hash']} as in the "
            "log; the rubric has changed since these responses were written, so run the task again"
        )
    # without the instructions that some samples put in the user turn
    user_prompt = str(state.metadata.get("user_prompt", state.user_prompt.text))
    picture = load_picture(state.metadata["picture"]) if "picture" in state.metadata else None

    async def outcome_by(judged_by: Rubric) -> Judgment | JudgeFailure:
        outcome = await outcome_of(judge, judged_by, user_prompt, response, picture)
        if isinstance(outcome, JudgeFailure):
            logger.warning("%s by %s: the judge failed (%s)", state.sample_id, judged_by.id, outcome)
        return outcome

    outcome = await outcome_by(rubric)
    others = [] if isinstance(outcome, JudgeFailure) else [other for other in others if other.id != rubric.id]
    further = zip(others, await collect(*(outcome_by(other) for other in others)), strict=True)
    metadata = ScoreRecord(
        judgment=JudgeFailureRecord.of(outcome, rubric) if isinstance(outcome, JudgeFailure) else outcome,
        epoch=state.epoch,
        words=len(words(response)),
        thought_words=len(words(thought)),
        stop_reason=state.output.stop_reason,
        judge_repeats=judge_repeats,
        also={other.id: FurtherJudgment.of(one, other) for other, one in further},
    ).to_metadata()
    if isinstance(outcome, JudgeFailure):
        return Score.unscored(reason="grader_failed", answer=response, explanation=str(outcome), metadata=metadata)
    reasons = [f"{criterion.id} {criterion.score:.1f}: {criterion.reason}" for criterion in outcome.criteria]
    explanation = f"{outcome.score:.1f}: {outcome.reason}" if outcome.reason else "\n".join(reasons)
    return Score(value=outcome.score, answer=response, explanation=explanation, metadata=metadata)


def judge_of(
    models: Sequence[Model],
    store: CallStore,
    protocol: JudgeProtocol,
    judge_repeats: int = 1,
    panel: Aggregate = "mean",
    prompt_version: PromptVersion = PROMPT_VERSION,
    sees_picture: bool = False,
) -> Judge:
    """The judge that asks each of the models so many times."""
    seats = [
        [ModelJudge(model, store, protocol, repeat, prompt_version, sees_picture) for repeat in range(judge_repeats)]
        for model in models
    ]
    return seats[0][0] if len(seats) == judge_repeats == 1 else Panel(seats, panel)


def scorer_of(
    task: str,
    judging: JudgedBy,
    samples: Iterable[Sample],
    rubrics: str | list[str],
    also: str | list[str] = "",
    judge_sees_image: bool = False,
) -> Scorer | None:
    """`rubric_judge` with the parameters of a task, after checking that it can judge; None for judge "none".

    Raises:
        ValueError: If a parameter is unknown, or judge is "measured" and a rubric cannot be measured, be it that it
            measures a picture and a user prompt of the samples shows none.
        PrerequisiteError: If judge is "model" and there is no key for it.
    """
    check_choice(judging.judge, ("model", "measured", "none"), "judge")
    given: dict[str, Any] = {"rubrics": rubrics, "also": also, "judge_sees_image": judge_sees_image} | asdict(judging)
    if judging.judge == "none":
        rubric_judge(**given | {"judge": "measured"})  # checks what `inspect score` will be told
        return None
    if judging.judge == "measured":
        further = {rubric.id: rubric for rubric in (rubrics_of(also) if also else [])}
        by_id = {rubric.id: rubric for rubric in rubrics_of(rubrics)} | further
        for rubric in by_id.values():
            check_measurable(rubric)
        turns = [turn for sample in samples for turn in turns_of(sample.metadata or {}) if "picture" not in turn]
        for name in sorted({name for turn in turns for name in (turn["rubric"], *turn.get("also", further))}):
            if problem := picture_problem(by_id[name], None):
                raise ValueError(problem)
    else:
        try:
            grader_models()
        except PrerequisiteError as error:
            if "ANTHROPIC_API_KEY" not in str(error.message):
                raise
            raise PrerequisiteError(
                f"{task}: ANTHROPIC_API_KEY is not set and the default judge is {DEFAULT_JUDGE}; set it, or bind "
                "another judge with --model-role grader=PROVIDER/MODEL, or judge without a model and without a key by "
                "-T judge=measured -T rubrics=measured"
            ) from error
    return rubric_judge(**given)


def open_judge_store(path: str) -> CallStore:
    """The call store at a path, before any response is paid for.

    Raises:
        PrerequisiteError: If the file is no call store; inspect prints that without a traceback.
    """
    try:
        return open_store(command_folder() / path)
    except ValueError as error:
        raise PrerequisiteError(f"{error}: -T call_store=FILE, or -S call_store=FILE with inspect score") from error


def _known(rubric_id: str, rubrics: Mapping[str, Rubric]) -> Rubric:
    if rubric_id not in rubrics:
        raise ValueError(f"rubric: got {rubric_id!r}, expected one of {sorted(rubrics)}; pass rubrics=")
    return rubrics[rubric_id]
