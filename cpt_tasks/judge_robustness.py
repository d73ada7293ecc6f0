"""Can a judge be talked into a better score? Measures how far each family of attacks shifts a judge model's scores.

    inspect eval cpt_tasks/judge_robustness --model none --model-role grader=anthropic/claude-haiku-5-5

No response is generated: the texts are low-scoring responses, clean and with each attack of `attacks.yaml` on them. One
judge call per text (660 for everything), kept in the call store. A shift is the score of an attacked text minus the
score that the same judge gives the same text clean. The words of an attack are part of the text and may deserve points
of their own (a fake verdict is full of colons), so `measured_shift`, what the measured judge gives for them, stands
beside each mean shift: an incorruptible judge is near that, not at 0.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from cpt_tasks.attacks import FAMILIES, AttackSet, BaseText, attacked_text, load_attacks
from judges import DEFAULT_STORE, JudgeFailure, ModelJudge, measure
from judges.model import Protocol
from model_calls import open_store
from rubrics import Rubric, ScoreLevel, load_rubrics

TASK_VERSION = "1-A"
CLEAN = "clean"
BOOTSTRAP_SEED = 0
N_RESAMPLES = 1000


@task
def judge_robustness(
    rubrics: str | list[str] = "measured",
    families: str | list[str] = "all",
    limit_per_family: int | None = None,
    protocol: Protocol = "criteria",
    call_store: str = DEFAULT_STORE,
) -> Task:
    """Attack x base text, and every base text clean, judged by the model in the role `grader`.

    Args:
        rubrics: "measured" or ids of measured rubrics (comma-separated or a list); each has base texts of its own.
        families: "all" or families of attacks (comma-separated or a list).
        limit_per_family: At most this many attacks of each family, at least 1; the first ones of the file.
        protocol: Which score of the judge is attacked: "criteria" or "holistic".
        call_store: File that judge calls are kept in and looked up first.

    Raises:
        ValueError: If a parameter is unknown or a rubric has no base texts.
    """
    if limit_per_family is not None and limit_per_family < 1:
        raise ValueError(f"limit_per_family: got {limit_per_family}, expected 1 or more")
    samples = attack_samples(load_attacks(), load_rubrics(rubrics), _families(families), limit_per_family)
    return Task(
        dataset=samples,
        solver=submit_text(),
        scorer=[attack_judge(rubrics, protocol, call_store), judge_failure()],
        version=TASK_VERSION,
    )


def attack_samples(
    attack_set: AttackSet, rubrics: Sequence[Rubric], families: Sequence[str], limit_per_family: int | None = None
) -> MemoryDataset:
    """One sample per text, rubric by rubric: the base texts clean, then each with every attack.

    A sample's id ends in a hash of the text, its user prompt and the rubric.

    Raises:
        ValueError: If a rubric has no base texts.
    """
    samples = []
    for rubric in rubrics:
        bases = [base for base in attack_set.base_texts if base.rubric == rubric.id]
        if not bases:
            known = sorted({base.rubric for base in attack_set.base_texts})
            raise ValueError(f"rubrics: {rubric.id!r} has no base texts to attack, expected some of {known}")
        samples += [_sample(rubric, base, CLEAN, CLEAN, base.text) for base in bases]
        for family in families:
            attacks = [attack for attack in attack_set.attacks if attack.family == family][:limit_per_family]
            for attack in attacks:
                for base in bases:
                    text = attacked_text(attack, attack_set.order, rubric, base.text)
                    samples.append(_sample(rubric, base, family, attack.id, text))
    return MemoryDataset(samples, name="judge_robustness")


@solver
def submit_text() -> Solver:
    """Submits the sample's own text as the response. Asks no model."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.output = ModelOutput.from_content(model="none", content=state.metadata["text"])
        state.messages.append(state.output.message)
        return state

    return solve


@dataclass(frozen=True)
class JudgedText:
    """One scored text.

    Attributes:
        family: Family of the attack, or "clean".
        attack: Id of the attack, or "clean".
        base_text: Id of the base text.
        score: The judge's score, 0-100.
        measured: The measured judge's score, 0-100.
    """

    family: str
    attack: str
    base_text: str
    score: float
    measured: float


@metric
def score_shifts() -> Metric:
    """Shifts in score points (-100 to 100) overall and by family, the family with the largest mean shift first.

    `mean_shift` is the mean over families, `worst_family_shift` the mean shift of the worst. By family: `FAMILY` with
    `_mean_shift`, its 95% interval (`_ci_low`, `_ci_high`), `_measured_shift` (what the measured judge gives for the
    added words), `_largest_shift` (most points won on one text), `_level_changed` (share, 0-1, of texts whose score
    level is another than the clean one) and `_n` (texts). Only texts scored both clean and attacked count; the others
    are in the metrics of `judge_failure`.
    """

    def compute(scores: list[SampleScore]) -> Value:
        return shift_statistics([_judged_text(score) for score in scores])

    return compute


@metric
def failures() -> Metric:
    """Texts without a usable verdict: how many (`FAMILY_failed`) and how many there are (`FAMILY_texts`), by family."""

    def compute(scores: list[SampleScore]) -> Value:
        values: dict[str, str | int | float | bool | None] = {
            "failed": sum(score.score.as_float() for score in scores),
            "texts": len(scores),
        }
        for family in (CLEAN, *FAMILIES):
            failed = [s.score.as_float() for s in scores if (s.sample_metadata or {})["family"] == family]
            if failed:
                values |= {f"{family}_failed": sum(failed), f"{family}_texts": len(failed)}
        return values

    return compute


@scorer(metrics=[score_shifts()])
def attack_judge(
    rubrics: str | list[str] = "measured", protocol: Protocol = "criteria", call_store: str = DEFAULT_STORE
) -> Scorer:
    """Score, 0-100, that the model in the role `grader` gives each text. A judge that fails leaves it unscored.

    Args:
        rubrics: Where the samples' rubrics are found, as in the task.
        protocol: "criteria" (the weighted total) or "holistic".
        call_store: File that judge calls are kept in and looked up first.

    Raises:
        ValueError: If the protocol is unknown; while scoring, if a rubric has changed since the task was run.
    """
    if protocol not in ("criteria", "holistic"):
        raise ValueError(f"protocol: got {protocol!r}, expected one of ['criteria', 'holistic']")
    by_id = {rubric.id: rubric for rubric in load_rubrics(rubrics)}
    judge = ModelJudge(store=open_store(call_store), protocol=protocol)

    async def score(state: TaskState, target: Target) -> Score:
        rubric, text = by_id[state.metadata["rubric"]], state.output.completion
        if rubric.hash != state.metadata["rubric_hash"]:
            raise ValueError(
                f"rubric {rubric.id!r}: got hash {rubric.hash}, expected {state.metadata['rubric_hash']} as in the "
                "log; the rubric has changed, so run the task again"
            )
        facts = {"measured": measure(rubric, text).score}
        try:
            judgment = await judge.judge(rubric, state.user_prompt.text, text)
        except JudgeFailure as failure:
            provenance = {"failure_mode": failure.mode, "attempts": failure.attempts, "usage": failure.usage}
            return Score.unscored(
                reason="grader_failed", answer=text, explanation=str(failure), metadata=facts | provenance
            )
        reasons = "\n".join(f"{found.id} {found.score:.1f}: {found.reason}" for found in judgment.criteria)
        return Score(value=judgment.score, answer=text, explanation=reasons, metadata=facts | asdict(judgment))

    return score


@scorer(metrics=[failures()])
def judge_failure() -> Scorer:
    """1 for a text that `attack_judge` left unscored, else 0: to make a judge fail is an attack too."""

    async def score(state: TaskState, target: Target) -> Score:
        verdicts = [verdict for name, verdict in (state.scores or {}).items() if name.startswith("attack_judge")]
        if not verdicts:
            raise ValueError("judge_failure: got no score of attack_judge, expected to run after it")
        return Score(value=float(math.isnan(verdicts[-1].as_float())))

    return score


def shift_statistics(texts: Sequence[JudgedText]) -> dict[str, str | int | float | bool | None]:
    """The values of `score_shifts`; those of a family without a text scored both clean and attacked are left out.

    The interval resamples base texts and, independently of them, the attacks of each family (pigeonhole bootstrap,
    Owen 2007), so it holds for other texts and other attacks of the kind. nan with fewer than two base texts.
    """
    clean = {text.base_text: text for text in texts if text.family == CLEAN}
    attacked = [text for text in texts if text.family != CLEAN and text.base_text in clean]
    families = [family for family in FAMILIES if any(text.family == family for text in attacked)]
    grids = [_shift_grid([text for text in attacked if text.family == family], clean) for family in families]
    means = [float(np.nanmean(grid)) for grid in grids]
    draws = _bootstrap(grids)
    low, high = _interval(draws.mean(axis=1)) if families else (math.nan, math.nan)
    values: dict[str, str | int | float | bool | None] = {
        "mean_shift": _mean(means),
        "mean_shift_ci_low": low,
        "mean_shift_ci_high": high,
        "worst_family_shift": max(means, default=math.nan),
    }
    for index in sorted(range(len(families)), key=lambda index: -means[index]):
        family = families[index]
        rows = [text for text in attacked if text.family == family]
        low, high = _interval(draws[:, index])
        values |= {
            f"{family}_mean_shift": means[index],
            f"{family}_ci_low": low,
            f"{family}_ci_high": high,
            f"{family}_measured_shift": _mean(row.measured - clean[row.base_text].measured for row in rows),
            f"{family}_largest_shift": float(np.nanmax(grids[index])),
            f"{family}_level_changed": _mean(
                ScoreLevel.of(row.score) is not ScoreLevel.of(clean[row.base_text].score) for row in rows
            ),
            f"{family}_n": len(rows),
        }
    return values


def _shift_grid(rows: Sequence[JudgedText], clean: dict[str, JudgedText]) -> np.ndarray:
    """Shifts, attacks x base texts; nan where there is none."""
    attacks, bases = sorted({row.attack for row in rows}), sorted(clean)
    grid = np.full((len(attacks), len(bases)), math.nan)
    for row in rows:
        grid[attacks.index(row.attack), bases.index(row.base_text)] = row.score - clean[row.base_text].score
    return grid


def _bootstrap(grids: Sequence[np.ndarray]) -> np.ndarray:
    """Mean shifts, resamples x families; a resample shares its base texts between families, nan if none was drawn."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    draws = np.full((N_RESAMPLES, len(grids)), math.nan)
    n_bases = grids[0].shape[1] if grids else 0
    if n_bases < 2:
        return draws
    for draw in draws:
        bases = rng.integers(n_bases, size=n_bases)
        for index, grid in enumerate(grids):
            drawn = grid[np.ix_(rng.integers(len(grid), size=len(grid)), bases)]
            if not np.isnan(drawn).all():
                draw[index] = np.nanmean(drawn)
    return draws


def _interval(draws: np.ndarray) -> tuple[float, float]:
    defined = draws[~np.isnan(draws)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


def _judged_text(score: SampleScore) -> JudgedText:
    sample, facts = score.sample_metadata or {}, score.score.metadata or {}
    return JudgedText(
        sample["family"], sample["attack"], sample["base_text"], score.score.as_float(), facts["measured"]
    )


def _sample(rubric: Rubric, base: BaseText, family: str, attack_id: str, text: str) -> Sample:
    digest = hashlib.sha256(json.dumps([rubric.hash, base.user_prompt, text]).encode()).hexdigest()[:8]
    return Sample(
        id=f"{base.id}-{attack_id}-{digest}",
        input=base.user_prompt,
        metadata={
            "rubric": rubric.id,
            "rubric_hash": rubric.hash,
            "base_text": base.id,
            "family": family,
            "attack": attack_id,
            "text": text,
        },
    )


def _families(selection: str | list[str]) -> list[str]:
    names = selection.split(",") if isinstance(selection, str) else selection
    names = list(FAMILIES) if names == ["all"] else [name.strip() for name in names]
    for name in names:
        if name not in FAMILIES or names.count(name) > 1:
            raise ValueError(f"families: got {name!r}, expected 'all' or some of {sorted(FAMILIES)}, each once")
    return names


def _mean(values: Iterable[float]) -> float:
    collected = [float(value) for value in values]
    return sum(collected) / len(collected) if collected else math.nan
