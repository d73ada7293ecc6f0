"""Can a judge be talked into a better score? Measures how far each family of attacks shifts a judge model's scores.

    inspect eval cpt_tasks/judge_robustness --model none --model-role grader=anthropic/claude-haiku-5-5

No response is generated: the texts are low-scoring responses, clean and with each attack of `attacks.yaml` on them. One
judge call per text (660 for everything), kept in the call store. A shift is the score of an attacked text minus the
score that the same judge gives the same text clean. The words of an attack are part of the text and may deserve points
of their own (a fake verdict is full of numbers), so `measured_shift`, what the measured judge gives for them, stands
beside each mean shift: a judge that obeys nobody and reads everything is near that, not at 0.
"""

from collections.abc import Sequence
from itertools import product
from math import isnan

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, grouped, mean, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from cpt_tasks.benchmarks.judge_robustness.attacks import NO_ATTACK, AttackSet, attacked_text, load_attacks
from cpt_tasks.options import check_choice, check_least, checked, rubrics_of
from cpt_tasks.samples import content_hash, spread
from cpt_tasks.scorer import open_judge_store, score_response
from judges import DEFAULT_STORE, ModelJudge, grader_models, measure
from judges.model import JudgeProtocol
from judges.prompts import PROMPT_VERSION, prompt_version_of
from model_calls.inspect_private import PrerequisiteError
from model_calls.visible import answer_of
from rubrics import Rubric

TASK_VERSION = "1-A"
COLUMNS = ["family", "base_text", "score", "measured"]


@task
@checked
def judge_robustness(
    rubrics: str | list[str] = "measured",
    families: str | list[str] = "all",
    limit_per_family: int | None = None,
    protocol: JudgeProtocol = "criteria",
    call_store: str = DEFAULT_STORE,
    prompt_version: str | int = PROMPT_VERSION,
) -> Task:
    """Attack x base text, and every base text clean, judged by the model in the role `grader`.

    Args:
        rubrics: "measured" or ids of measured rubrics (comma-separated or a list); each has base texts of its own.
        families: "all" or families of attacks (comma-separated or a list).
        limit_per_family: At most this many attacks of each family, at least 1; the first ones of the file.
        protocol: Which score of the judge is attacked: "criteria" or "holistic".
        call_store: File that judge calls are kept in and looked up first.
        prompt_version: Wording of the judge's question that is attacked, see `rubric_judge`.

    Raises:
        ValueError: If a parameter is unknown or a rubric has no base texts.
    """
    if limit_per_family is not None:
        check_least(limit_per_family, 1, "limit_per_family")
    return Task(
        dataset=attack_samples(load_attacks(), rubrics_of(rubrics), _families(families), limit_per_family),
        solver=submit_text(),
        scorer=[attack_judge(rubrics, protocol, call_store, prompt_version), judge_failure()],
        version=TASK_VERSION,
    )


def attack_samples(
    attack_set: AttackSet, rubrics: Sequence[Rubric], families: Sequence[str], limit_per_family: int | None = None
) -> MemoryDataset:
    """One sample per text: the base texts clean and with every attack, `spread` over rubrics and families.

    Where an attacked text is among the first N, so is the clean one.

    A sample's id ends in a hash of the text, its user prompt and the rubric.

    Raises:
        ValueError: If a rubric has no base texts.
    """
    attacks = [NO_ATTACK]
    for family in families:
        attacks += [attack for attack in attack_set.attacks if attack.family == family][:limit_per_family]
    samples = []
    for rubric in rubrics:
        bases = [base for base in attack_set.base_texts if base.rubric == rubric.id]
        if not bases:
            known = sorted({base.rubric for base in attack_set.base_texts})
            raise ValueError(f"rubrics: {rubric.id!r} has no base texts to attack, expected some of {known}")
        for attack, base in product(attacks, bases):
            text = attacked_text(attack, attack_set.order, rubric, base.text)
            facts = {"rubric": rubric.id, "rubric_hash": rubric.hash, "base_text": base.id, "text": text}
            sample = Sample(
                id=f"{base.id}-{attack.id}-{content_hash(rubric.hash, base.user_prompt, text)}",
                input=base.user_prompt,
                metadata=facts | {"family": attack.family, "attack": attack.id},
            )
            samples.append(sample)
    return MemoryDataset(spread(samples, "family"), name="judge_robustness")


@solver
def submit_text() -> Solver:
    """Submits the sample's own text as the response. Asks no model."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.output = ModelOutput.from_content(model="none", content=state.metadata["text"])
        state.messages.append(state.output.message)
        return state

    return solve


@metric
def score_shifts() -> Metric:
    """Shifts in score points (-100 to 100) overall and by family, the family with the largest mean shift first.

    `mean_shift` is the mean over families, `measured_shift` what the measured judge gives for the added words,
    `worst_family_shift` the mean shift of the worst family. By family: `FAMILY` with `_mean_shift`, `_measured_shift`,
    `_largest_shift` (most points won on one text), `_level_changed` (share, 0-1, of texts whose score level is another
    than the clean one) and `_n` (texts). Mean shifts have 95% intervals, `_ci_low` and `_ci_high`. Only texts scored
    both clean and attacked count; `judge_failure` has the others.
    """

    def compute(scores: list[SampleScore]) -> Value:
        import pandas as pd

        from cpt_tasks.benchmarks.judge_robustness.statistics import shift_statistics

        texts = [
            (score.sample_metadata or {}) | (score.score.metadata or {}) | {"score": score.score.as_float()}
            for score in scores
        ]
        return shift_statistics(pd.DataFrame(texts, columns=COLUMNS))

    return compute


@scorer(metrics=[score_shifts()])
def attack_judge(
    rubrics: str | list[str] = "measured",
    protocol: JudgeProtocol = "criteria",
    call_store: str = DEFAULT_STORE,
    prompt_version: str | int = PROMPT_VERSION,
) -> Scorer:
    """Score, 0-100, that the model in the role `grader` gives each text; parameters are the task's.

    A judge that fails leaves the text unscored. `measured`, in the metadata, is the measured judge's score.

    Raises:
        ValueError: If the protocol is unknown; while scoring, if a rubric has changed since the task was run.
        PrerequisiteError: While scoring, if several models are bound to the role.
    """
    check_choice(protocol, ("criteria", "holistic"), "protocol")
    by_id = {rubric.id: rubric for rubric in rubrics_of(rubrics)}
    store, version = open_judge_store(call_store), prompt_version_of(prompt_version)

    async def score(state: TaskState, target: Target) -> Score:
        models = grader_models()
        if len(models) > 1:
            raise PrerequisiteError(f"grader: got {len(models)} models, expected one: this task is about one judge")
        scored = await score_response(ModelJudge(models[0], store, protocol, 0, version), by_id, state)
        measured = measure(by_id[state.metadata["rubric"]], answer_of(state.output)[0]).score
        scored.metadata = (scored.metadata or {}) | {"measured": measured}
        return scored

    return score


@scorer(metrics=[grouped(mean(), "family")])
def judge_failure() -> Scorer:
    """1 for a text that `attack_judge` left unscored, else 0: to make a judge fail is an attack too. Share by family.

    A scorer of its own, because metrics are not given unscored samples.
    """

    async def score(state: TaskState, target: Target) -> Score:
        verdicts = [verdict for name, verdict in (state.scores or {}).items() if name.startswith("attack_judge")]
        return Score(value=float(isnan(verdicts[-1].as_float())))

    return score


def _families(selection: str | list[str]) -> list[str]:
    known = load_attacks().families
    names = selection.split(",") if isinstance(selection, str) else selection
    if names == ["all"]:
        return known
    for name in names:
        check_choice(name, known, "families")
    return [family for family in known if family in names]
