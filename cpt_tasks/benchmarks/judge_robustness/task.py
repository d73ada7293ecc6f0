"""Can a judge be talked into a better score, and does it follow its rubric and the text? Shifts of a judge's scores.

    inspect eval cpt_tasks/judge_robustness --model none --model-role grader=anthropic/claude-haiku-5-5

No response is generated: the texts are low-scoring responses, clean and with each attack of `attacks.yaml` on them. One
judge call per text (724 for everything), kept in the call store. A shift is the score of an attacked text minus the
score that the same judge gives the same text clean. The words of an attack are part of the text and may deserve points
of their own (a fake verdict is full of numbers), so `measured_shift`, what the measured judge gives for them, stands
beside each mean shift: a judge that obeys nobody and reads everything is near that, not at 0. The controls of
`controls.py` are changes that a judge must follow.
"""

from collections.abc import Sequence
from math import isnan

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, grouped, mean, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from cpt_tasks.benchmarks.judge_robustness.attacks import (
    CLEAN,
    NO_ATTACK,
    Attack,
    AttackSet,
    BaseText,
    attacked_text,
    load_attacks,
)
from cpt_tasks.benchmarks.judge_robustness.controls import (
    CONTROLS,
    EVIDENCE_REMOVAL,
    RUBRIC_SWAP,
    criterion_scores,
    evidence_removals,
    rubric_swaps,
)
from cpt_tasks.options import check_choice, check_least, checked, rubrics_of, some_of
from cpt_tasks.samples import content_hash, interleaved, spread
from cpt_tasks.scorer import open_judge_store, score_response
from judges import DEFAULT_STORE, PROMPT_VERSION, JudgeProtocol, ModelJudge, grader_models, measure, prompt_version_of
from model_calls.inspect_private import PrerequisiteError
from model_calls.visible import answer_of
from rubrics import Rubric

TASK_VERSION = "2-A"
COLUMNS = ["family", "base_text", "score", "measured", "criterion", "criteria", "measured_criteria"]


@task
@checked
def judge_robustness(
    rubrics: str | list[str] = "measured",
    families: str | list[str] = "all",
    texts_per_attack: int | None = None,
    limit_per_family: int | None = None,
    protocol: JudgeProtocol = "criteria",
    call_store: str = DEFAULT_STORE,
    prompt_version: str | int = PROMPT_VERSION,
) -> Task:
    """Attack x base text, every base text clean, and the controls, judged by the model in the role `grader`.

    Args:
        rubrics: "measured" or ids of measured rubrics (comma-separated or a list); each has base texts of its own; a
            swap needs two.
        families: "all" or families of attacks and controls (comma-separated or a list).
        texts_per_attack: On how many base texts each attack is put, at least 1: they take the texts in turn, so that 1
            (130 judgments instead of 724) has every attack and every text too. None for all.
        limit_per_family: At most this many attacks of each family, at least 1, the first ones of the file; the controls
            take as many base texts and as many control texts of each rubric.
        protocol: Which score of the judge is attacked: "criteria" or "holistic".
        call_store: File that judge calls are kept in and looked up first.
        prompt_version: Wording of the judge's question that is attacked, see `rubric_judge`.

    Raises:
        ValueError: If a parameter is unknown or a rubric has no base texts.
    """
    for name, given in (("texts_per_attack", texts_per_attack), ("limit_per_family", limit_per_family)):
        if given is not None:
            check_least(given, 1, name)
    attack_set = load_attacks()
    known = [*attack_set.families, *CONTROLS]
    named = some_of(families, known, "families")
    selected = [family for family in known if family in named]
    return Task(
        dataset=attack_samples(attack_set, rubrics_of(rubrics), selected, texts_per_attack, limit_per_family),
        solver=submit_text(),
        scorer=[attack_judge(rubrics, protocol, call_store, prompt_version), judge_failure()],
        version=TASK_VERSION,
    )


def attack_samples(
    attack_set: AttackSet,
    rubrics: Sequence[Rubric],
    families: Sequence[str],
    texts_per_attack: int | None = None,
    limit_per_family: int | None = None,
) -> MemoryDataset:
    """One sample per text: base texts clean and with attacks, `spread` over rubrics and families; then the controls.

    Where an attacked or changed text is among the first N, so is the clean one. A sample's id ends in a hash of the
    text, its user prompt and the rubric.

    Raises:
        ValueError: If a rubric has no base texts.
    """
    by_id = {rubric.id: rubric for rubric in rubrics}
    known = {base.rubric for base in attack_set.base_texts}
    for name in by_id:
        if name not in known:
            raise ValueError(f"rubrics: {name!r} has no base texts to attack, expected some of {sorted(known)}")
    bases = interleaved([base for base in attack_set.base_texts if base.rubric == name] for name in by_id)
    pairs = [(NO_ATTACK, base) for base in bases]
    attacks: list[Attack] = []
    for family in families:
        attacks += [attack for attack in attack_set.attacks if attack.family == family][:limit_per_family]
    for start, attack in enumerate(attacks):
        in_turn = [*bases[start % len(bases) :], *bases[: start % len(bases)]][:texts_per_attack]
        pairs += [(attack, base) for base in bases if base in in_turn]
    samples = []
    for attack, base in sorted(pairs, key=lambda pair: list(by_id).index(pair[1].rubric)):
        rubric = by_id[base.rubric]
        text = attacked_text(attack, attack_set.order, rubric, base.text)
        samples.append(_sample(base, rubric, text, attack.family, attack.id))
    samples = spread(samples, "family")
    if texts_per_attack is not None:
        samples.sort(key=lambda sample: sample.metadata["family"] != CLEAN)  # type: ignore[index]
    return MemoryDataset(
        samples + _control_samples(attack_set, rubrics, families, limit_per_family), name="judge_robustness"
    )


def _control_samples(
    attack_set: AttackSet, rubrics: Sequence[Rubric], families: Sequence[str], limit: int | None
) -> list[Sample]:
    """The control texts clean, then base and control texts swapped, then control texts without evidence."""
    if not set(families) & set(CONTROLS):
        return []
    by_id = {rubric.id: rubric for rubric in rubrics}
    low, middle = (
        [base for name in by_id for base in [one for one in texts if one.rubric == name][:limit]]
        for texts in (attack_set.base_texts, attack_set.control_texts)
    )
    swaps = rubric_swaps([*low, *middle], rubrics) if RUBRIC_SWAP in families else []
    removals = evidence_removals(middle, rubrics) if EVIDENCE_REMOVAL in families else []
    return [_sample(base, by_id[base.rubric], base.text, NO_ATTACK.family, NO_ATTACK.id) for base in middle] + [
        _sample(one.base, one.rubric, one.text, one.kind, one.criterion or one.rubric.id, criterion=one.criterion)
        for one in [*swaps, *removals]
    ]


def _sample(base: BaseText, rubric: Rubric, text: str, family: str, attack: str, **metadata: str) -> Sample:
    facts = {"rubric": rubric.id, "rubric_hash": rubric.hash, "base_text": base.id, "text": text}
    return Sample(
        id=f"{base.id}-{attack}-{content_hash(rubric.hash, base.user_prompt, text)}",
        input=base.user_prompt,
        metadata=facts | {"family": family, "attack": attack} | metadata,
    )


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

    The controls `rubric_swap` and `evidence_removal` stand apart, with what `control_statistics` says of them.
    """

    def compute(scores: list[SampleScore]) -> Value:
        import pandas as pd

        from cpt_tasks.benchmarks.judge_robustness.statistics import control_statistics, shift_statistics

        texts = [
            (score.sample_metadata or {}) | (score.score.metadata or {}) | {"score": score.score.as_float()}
            for score in scores
        ]
        frame = pd.DataFrame(texts, columns=COLUMNS)
        return shift_statistics(frame) | control_statistics(frame)

    return compute


@scorer(metrics=[score_shifts()])
def attack_judge(
    rubrics: str | list[str] = "measured",
    protocol: JudgeProtocol = "criteria",
    call_store: str = DEFAULT_STORE,
    prompt_version: str | int = PROMPT_VERSION,
) -> Scorer:
    """Score, 0-100, that the model in the role `grader` gives each text; parameters are the task's.

    A judge that fails leaves the text unscored. `measured` and `measured_criteria`, in the metadata, are the measured
    judge's scores.

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
        rubric, text = by_id[state.metadata["rubric"]], answer_of(state.output, state.metadata)[0]
        measured = {"measured": measure(rubric, text).score, "measured_criteria": criterion_scores(rubric, text)}
        scored.metadata = (scored.metadata or {}) | measured
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
