"""What are n samples worth? The best of k responses, by level, exactly, against what they cost.

    inspect eval cpt_tasks/best_of_n -T n=16 --model anthropic/claude-haiku-5-5
    inspect eval cpt_tasks/best_of_n -T n=16 --model hf/local -M model_path=DIR -T judge=measured -T rubrics=measured

The cells are those of `rubric_adherence`; each is sampled n times, as inspect's epochs, so the model must sample: a
greedy one gives n times the same. The report (`cpt report`) computes the expected best of k from the scores of all
samples, see `statistics`. A judge that selects and reports is an oracle: a second one, `-T select_by=...`, selects
while the first still reports.
"""

from typing import Literal, get_args

from inspect_ai import Epochs, Task, task
from inspect_ai.model import Model, get_model, model_roles
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState, generate

from cpt_tasks.benchmarks.rubric_adherence.task import adherence_grid
from cpt_tasks.options import JudgedBy, check_choice, check_least, checked, rubrics_of
from cpt_tasks.rendering import check_rendering
from cpt_tasks.samples import Prompting, WordingSplit
from cpt_tasks.scorer import open_judge_store, score_response, scorer_of
from judges import (
    DEFAULT_STORE,
    PROMPT_VERSION,
    JudgeProtocol,
    MeasuredJudge,
    ModelJudge,
    check_measurable,
    judge_model,
    prompt_version_of,
)
from model_calls.inspect_private import PrerequisiteError
from rubrics import Split

TASK_VERSION = "1-A"
SELECTOR_ROLE = "selector"
SelectBy = Literal["report_judge", "measured", "model"]


@metric(scores="unreduced")
def band_hit() -> Metric:
    """`band_hit@1` and `band_hit@n`, 0-1: the chance that one, and that the best of n, is in the band; over cells.

    For the display while it runs: a mean over all cells, best by this score itself. nan without a scored sample.
    """

    def compute(scores: list[SampleScore]) -> Value:
        # imported here, because pandas takes a second that a run should not wait for at its start
        from cpt_tasks.benchmarks.best_of_n.statistics import best_of_k_cells
        from cpt_tasks.statistics.frame import frame_of_scores, with_level
        from judges.interval import NAN

        rows = with_level(frame_of_scores(scores))
        if rows.empty:
            return {"band_hit@1": NAN, "band_hit@n": NAN, "n_scored": 0}
        cells = best_of_k_cells(rows, int(rows["sample_id"].value_counts().max()))
        # a cell with fewer scored samples ends with the best of those
        hits = cells.filter(like="band_hit@").ffill(axis=1).mean()
        return {"band_hit@1": float(hits.iloc[0]), "band_hit@n": float(hits.iloc[-1]), "n_scored": len(rows)}

    return compute


@scorer(metrics=[band_hit()])
def selection_judge(
    select_by: Literal["measured", "model"] = "measured",
    rubrics: str | list[str] = "all",
    protocol: JudgeProtocol = "criteria",
    call_store: str = DEFAULT_STORE,
    prompt_version: str | int = PROMPT_VERSION,
) -> Scorer:
    """Score, 0-100, by which `best_of_n` selects; `rubric_judge` reports. Fails as `rubric_judge` does.

    `select_by` is "measured", or "model" for the one model bound to the role `selector`; the other parameters are those
    of `rubric_judge`.

    Raises:
        ValueError: If a parameter is unknown or a rubric cannot be measured.
        PrerequisiteError: While scoring, as `selector_model`.
    """
    check_choice(select_by, ("measured", "model"), "select_by")
    check_choice(protocol, ("criteria", "holistic"), "protocol")
    version = prompt_version_of(prompt_version)
    by_id = {rubric.id: rubric for rubric in rubrics_of(rubrics)}
    for rubric in by_id.values() if select_by == "measured" else ():
        check_measurable(rubric)
    store = open_judge_store(call_store) if select_by == "model" else None

    async def score(state: TaskState, target: Target) -> Score:
        judge = MeasuredJudge() if store is None else ModelJudge(selector_model(), store, protocol, 0, version)
        return await score_response(judge, by_id, state)

    return score


def selector_model() -> Model:
    """The inspect model bound to the role `selector`, with the settings of a judge.

    Raises:
        PrerequisiteError: Unless exactly one model is bound to it.
    """
    if not isinstance(model_roles().get(SELECTOR_ROLE), Model):
        raise PrerequisiteError(
            "best_of_n: none or several bound to the role selector, expected one model; bind it with --model-role "
            "selector=PROVIDER/MODEL, or select without a model by -T select_by=measured"
        )
    return judge_model(get_model(role=SELECTOR_ROLE))


@task
@checked
def best_of_n(
    n: int = 8,
    rubrics: str | list[str] = "core",
    levels: str | list[str] = "all",
    user_prompts: Split = "test",
    wording_split: WordingSplit = "heldout",
    prompting: Prompting = "system_prompt",
    limit_per_cell: int = 4,
    select_by: SelectBy = "report_judge",
    *,
    judging: JudgedBy,
) -> Task:
    """Rubric x level x user prompt, n responses each, judged by the rubric.

    `n` is the number of samples per cell, at least 2; powers of two make the fullest curves. `select_by` is the judge
    that picks the best of k: "report_judge" the same one, which gives an upper bound; "measured", or "model" for the
    model bound to the role `selector`, another one. The other parameters are those of `rubric_adherence`.

    Raises:
        ValueError: If a parameter is unknown or a rubric cannot be measured.
        PrerequisiteError: If there is no key for the judge, or no model in the role `selector`.
    """
    check_least(n, 2, "n")
    check_choice(select_by, get_args(SelectBy), "select_by")
    dataset = adherence_grid(rubrics, levels, user_prompts, wording_split, prompting, limit_per_cell, wordings=1)
    reporter = scorer_of("best_of_n", judging, dataset, rubrics)
    scorers = [] if reporter is None else [reporter]
    if select_by != "report_judge":
        asked = (judging.protocol, judging.call_store, judging.prompt_version)
        scorers.append(selection_judge(select_by, rubrics, *asked))
    if select_by == "model":
        selector_model()  # before any response is paid for
    return Task(
        dataset=dataset,
        solver=[check_rendering(), generate()],
        scorer=scorers or None,
        metrics=[band_hit()] if scorers else None,
        # no reducer: every statistic is of single samples
        epochs=Epochs(n, []),
        version=TASK_VERSION,
    )
