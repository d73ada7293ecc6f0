r"""How does a model write when no system prompt asks for anything, and did training move that?

    inspect eval cpt_tasks/drift --model hf/base -M model_path=BASE --metadata base=NAME --log-dir logs/drift
    inspect eval cpt_tasks/drift --model hf/tuned -M model_path=ADAPTER --metadata base=NAME \
        --metadata adapter=ADAPTER --log-dir logs/drift
    cpt report logs/drift --out results/drift

The report pairs an adapter with its base: docs/benchmarks/drift.md.
"""

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.scorer import Metric, SampleScore, Value, metric
from inspect_ai.solver import generate

from cpt_tasks.options import JudgedBy, check_least, checked, prompts_by_rubric, rubrics_of
from cpt_tasks.rendering import check_rendering
from cpt_tasks.samples import interleaved, unprompted_sample
from cpt_tasks.scorer import scorer_of
from rubrics import Split

TASK_VERSION = "1-A"


@task
@checked
def drift(
    rubrics: str | list[str] = "core",
    user_prompts: Split = "test",
    limit_per_family: int = 8,
    *,
    judging: JudgedBy,
) -> Task:
    """The user prompts of the rubrics' families without a system prompt, each response judged by every rubric.

    Parameters and errors are those of `rubric_adherence`, but the first of `rubrics` gives the sample's score, those of
    the others stand beside it, and `limit_per_family` is at most how many user prompts of each family are asked, at
    least 1; the first ones of the split.
    """
    check_least(limit_per_family, 1, "limit_per_family")
    selected = rubrics_of(rubrics)
    by_rubric = prompts_by_rubric(selected, user_prompts, limit_per_family)
    texts = dict(interleaved(prompts.items() for prompts in by_rubric.values()))
    samples = [unprompted_sample(user_prompt_id, text, selected) for user_prompt_id, text in texts.items()]
    return Task(
        dataset=MemoryDataset(samples, name="drift"),
        solver=[check_rendering(), generate()],
        scorer=scorer_of("drift", judging, samples, rubrics),
        metrics=[unprompted_scores()],
        version=TASK_VERSION,
    )


@metric(scores="unreduced")
def unprompted_scores() -> Metric:
    """Mean score, 0-100, by each rubric under the rubric's id, and the number of scored responses."""

    def compute(scores: list[SampleScore]) -> Value:
        from cpt_tasks.statistics.frame import by_every_rubric, frame_of_scores

        if not scores:
            return {"n_scored": 0}
        means = by_every_rubric(frame_of_scores(scores)).groupby("judged_by", sort=False)["score"].mean()
        return {"n_scored": len(scores)} | {str(rubric): float(score) for rubric, score in means.items()}

    return compute
