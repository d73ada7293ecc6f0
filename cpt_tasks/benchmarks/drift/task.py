r"""How does a model write when no system prompt asks for anything, and did training move that?

    inspect eval cpt_tasks/drift --model hf/base -M model_path=BASE --metadata base=NAME --log-dir logs/drift
    inspect eval cpt_tasks/drift --model hf/tuned -M model_path=ADAPTER --metadata base=NAME \
        --metadata adapter=ADAPTER --log-dir logs/drift
    cpt report logs/drift --out results/drift

The report pairs an adapter with its base. Beside it belongs a check that the model still follows instructions: IFEval,
as others wrote it. With network (its data comes from a hub, one package from a repository), into the same folder, with
the same --model and --metadata:

    pip install inspect-evals git+https://github.com/josejg/instruction_following_eval
    inspect eval inspect_evals/ifeval --model hf/base -M model_path=BASE --metadata base=NAME --log-dir logs/drift

The report reads such logs as well (`report.py`). In lm-eval it is
`lm_eval --model hf --model_args pretrained=DIR --tasks ifeval --apply_chat_template`.
"""

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.scorer import Metric, SampleScore, Value, metric
from inspect_ai.solver import generate

from cpt_tasks.options import check_least, prompts_by_rubric
from cpt_tasks.rendering import check_rendering
from cpt_tasks.samples import unprompted_sample
from cpt_tasks.scorer import JudgeOption, scorer_of
from judges import DEFAULT_STORE
from judges.model import JudgeProtocol
from judges.panel import Aggregate
from rubrics import Split, load_rubrics

TASK_VERSION = "1-A"


@task
def drift(
    rubrics: str | list[str] = "core",
    user_prompts: Split = "test",
    judge: JudgeOption = "model",
    limit_per_family: int = 8,
    protocol: JudgeProtocol = "criteria",
    judge_repeats: int = 1,
    panel: Aggregate = "mean",
    call_store: str = DEFAULT_STORE,
) -> Task:
    """The user prompts of the rubrics' families without a system prompt, each response judged by every rubric.

    Parameters are those of `rubric_adherence`, but the first of `rubrics` gives the sample's score, those of the others
    stand beside it, and `limit_per_family` is at most how many user prompts of each family are asked, at least 1; the
    first ones of the split.

    Raises:
        ValueError: If a parameter is unknown or a rubric cannot be measured.
        PrerequisiteError: If judge is "model" and there is no key for it.
    """
    check_least(limit_per_family, 1, "limit_per_family")
    selected = load_rubrics(rubrics)
    texts = {
        user_prompt_id: text
        for prompts in prompts_by_rubric(selected, user_prompts, limit_per_family).values()
        for user_prompt_id, text in prompts.items()
    }
    samples = [unprompted_sample(user_prompt_id, text, selected) for user_prompt_id, text in texts.items()]
    return Task(
        dataset=MemoryDataset(samples, name="drift"),
        solver=[check_rendering(), generate()],
        scorer=scorer_of("drift", judge, rubrics, protocol, judge_repeats, panel, call_store),
        metrics=[unprompted_scores()],
        version=TASK_VERSION,
    )


@metric(scores="unreduced")
def unprompted_scores() -> Metric:
    """Mean score, 0-100, by each rubric under the rubric's id, and the number of scored responses."""

    def compute(scores: list[SampleScore]) -> Value:
        from cpt_tasks.statistics.frame import by_every_rubric, frame_of_scores

        values: dict[str, str | int | float | bool | None] = {"n_scored": len(scores)}
        if scores:
            means = by_every_rubric(frame_of_scores(scores)).groupby("judged_by", sort=False)["score"].mean()
            values |= {str(rubric): float(score) for rubric, score in means.items()}
        return values

    return compute
