"""Compares two judges on the same responses: `cpt judge swap`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from cpt_tasks.judging import figures as judge_figures
from cpt_tasks.judging.logs import JudgedLog, JudgedSample, SampleKey
from cpt_tasks.judging.pages import (
    agreement_table,
    bias_table,
    interval,
    markdown_table,
    number,
    unscored_line,
    write_page,
)
from cpt_tasks.metrics import Judged, clustered_bootstrap
from cpt_tasks.metrics.adherence import macro_accuracy
from judges.agreement import Estimate
from judges.audit import Audit, AuditRow, audit
from judges.calibration import LinearLink, linear_link

UNSCORED = "unscored by one of the judges"


@dataclass(frozen=True)
class ModelPair:
    """Macro accuracy, 0-1, of one model by judge A and by judge B, on the responses both scored."""

    model: str
    n: int
    by_a: Estimate
    by_b: Estimate


@dataclass(frozen=True)
class Swap:
    """Two judges on the same responses; A is the reference, so biases are B - A.

    Attributes:
        judge_a: Judge of the first logs.
        judge_b: Judge of the second logs.
        compared: Audit of B with the scores of A as the known scores.
        link: Linear link B = intercept + slope * A.
        models: Each model by both judges, in the order of the first logs.
        ranks_tau: Kendall's tau-b of the models' macro accuracies by A and by B; nan with one model or only ties.
    """

    judge_a: str
    judge_b: str
    compared: Audit
    link: LinearLink
    models: list[ModelPair]
    ranks_tau: float


def pair_logs(side_a: Sequence[JudgedLog], side_b: Sequence[JudgedLog]) -> list[tuple[JudgedLog, JudgedLog]]:
    """The two logs of each model, in the order of the first side.

    Raises:
        ValueError: Unless each side has one judge and one log per model, both hold the same models, and the two logs
            of a model hold the same responses to the same samples, judged by the same rubrics.
    """
    first, second = _by_model(side_a), _by_model(side_b)
    for side in (side_a, side_b):
        judges = sorted(
            {
                f"{log.judge} (prompt version {log.prompt_version}, settings {log.protocol['judge_hash'] or 'none'}, "
                f"asked {log.protocol['judge_repeats']} times)"
                for log in side
            }
        )
        if len(judges) > 1:
            raise ValueError(f"{side[0].log}: got logs of several judges on one side, {judges}, expected one judge")
    if set(first) != set(second):
        raise ValueError(f"models: got {sorted(first)} and {sorted(second)}, expected the same models on both sides")
    for model, log in first.items():
        _check_same_responses(log, second[model])
    return [(log, second[model]) for model, log in first.items()]


def compare(pairs: Sequence[tuple[JudgedLog, JudgedLog]], seed: int = 0) -> Swap:
    """Agreement, link, bias and ranks from the pairs of `pair_logs`.

    Raises:
        ValueError: If no response was scored by both judges.
    """
    rows = _rows(pairs)
    both = [(row.measured, row.judged[0]) for row in rows if row.judged]
    if not both:
        raise ValueError(f"{pairs[0][0].log}: got no response that both judges scored, expected at least one")
    judge_a, judge_b = pairs[0][0].judge, pairs[0][1].judge
    models = [_model_pair(log_a, log_b, seed) for log_a, log_b in pairs]
    values_a, values_b = [pair.by_a.value for pair in models], [pair.by_b.value for pair in models]
    several = len(set(values_a)) > 1 and len(set(values_b)) > 1
    x, y = np.array(both).T
    return Swap(
        judge_a=judge_a if judge_a != judge_b else f"{judge_a} (first)",
        judge_b=judge_b if judge_a != judge_b else f"{judge_b} (second)",
        compared=audit(rows, seed),
        link=linear_link(y, x),
        models=models,
        ranks_tau=float(stats.kendalltau(values_a, values_b).statistic) if several else math.nan,
    )


def write_swap(out: Path, pairs: Sequence[tuple[JudgedLog, JudgedLog]], seed: int = 0) -> str:
    """Writes swap.md, swap.json, the figures and command.txt; returns the text to print."""
    found = compare(pairs, seed)
    rows = _rows(pairs)
    a, b = found.judge_a, found.judge_b
    drawn = {
        "judge_against_judge": judge_figures.judged_against_reference(rows, b, a, found.link),
        "bias": judge_figures.bias_by_group(found.compared, b, a),
    }
    if len(found.models) > 1:
        models = [(pair.model, pair.by_a, pair.by_b) for pair in found.models]
        drawn["ranks"] = judge_figures.ranks(models, a, b)
    figures = judge_figures.save(drawn, out)
    logs = [{"model": log_a.model, "a": log_a.log, "b": log_b.log} for log_a, log_b in pairs]
    parts = _page(found, seed)
    write_page(out, "swap", parts, {"seed": seed, "logs": logs, "swap": found}, figures)
    return "\n\n".join(parts[1:])


def _by_model(logs: Sequence[JudgedLog]) -> dict[str, JudgedLog]:
    names = [log.model for log in logs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"model {repeated[0]!r} has more than one log on one side, expected one")
    return {log.model: log for log in logs}


def _check_same_responses(log_a: JudgedLog, log_b: JudgedLog) -> None:
    where = f"{log_a.log} and {log_b.log}"
    how = "two judges are compared on the same responses, so judge one log again with inspect score"
    apart: set[SampleKey] = set(log_a.samples) ^ set(log_b.samples)
    if apart:
        sample_id, epoch = min(apart)
        raise ValueError(f"{where}: sample {sample_id!r} epoch {epoch} is in one of them only; {how}")
    for key, sample in log_a.samples.items():
        if sample.response != log_b.samples[key].response:
            raise ValueError(f"{where}: sample {key[0]!r} epoch {key[1]} has two different responses; {how}")
    if log_a.protocol["rubrics"] != log_b.protocol["rubrics"]:
        raise ValueError(f"{where}: the rubrics have different hashes; {how}")


def _rows(pairs: Sequence[tuple[JudgedLog, JudgedLog]]) -> list[AuditRow]:
    return [
        _row(log_a.samples[key], log_b.samples[key], log_a.model) for log_a, log_b in pairs for key in log_a.samples
    ]


def _row(a: JudgedSample, b: JudgedSample, model: str) -> AuditRow:
    scored = not (math.isnan(a.score) or math.isnan(b.score))
    judged, failures = ((b.score,), ()) if scored else ((), (UNSCORED,))
    return AuditRow(a.rubric, a.level, a.prompt_id, a.words, a.score, judged, failures, model)


def _model_pair(log_a: JudgedLog, log_b: JudgedLog, seed: int) -> ModelPair:
    both = [key for key in log_a.samples if not math.isnan(log_a.samples[key].score + log_b.samples[key].score)]

    def accuracy(log: JudgedLog) -> Estimate:
        rows = [
            Judged(sample.rubric, sample.level, sample.prompt_id, sample.score, sample.words)
            for sample in (log.samples[key] for key in both)
        ]
        [found] = clustered_bootstrap(rows, [macro_accuracy], np.random.default_rng(seed))
        return found

    return ModelPair(log_a.model, len(both), accuracy(log_a), accuracy(log_b))


def _page(found: Swap, seed: int) -> list[str]:
    a, b = found.judge_a, found.judge_b
    intro = (
        f"Judge `{b}` against judge `{a}` on the same responses: {unscored_line(found.compared)}. Biases are `{b}` - "
        f"`{a}`. Intervals: 95%, bootstrap of user prompts, seed {seed}."
    )
    link = (
        f"Linear link: `{b}` = {interval(found.link.intercept)} + {interval(found.link.slope, 2)} * `{a}`; "
        f"leave-one-out RMSE {number(found.link.rmse, 1)}, MAE {number(found.link.mae, 1)} points."
    )
    ranks_a = stats.rankdata([-pair.by_a.value for pair in found.models])
    ranks_b = stats.rankdata([-pair.by_b.value for pair in found.models])
    models = [
        (pair.model, str(pair.n), interval(pair.by_a, 2), interval(pair.by_b, 2), f"{rank_a:g}", f"{rank_b:g}")
        for pair, rank_a, rank_b in zip(found.models, ranks_a, ranks_b, strict=True)
    ]
    changed = int((ranks_a != ranks_b).sum())
    order = (
        f"{changed} of {len(models)} models change rank; Kendall's tau-b of the two orders: {number(found.ranks_tau)}."
        if len(models) > 1
        else "One model: nothing to rank."
    )
    return [
        f"# `{b}` against `{a}`",
        intro,
        "## Agreement",
        agreement_table(found.compared, b, a),
        link,
        "## Bias",
        bias_table(found.compared),
        "## Models judged",
        "Macro accuracy on the responses that both judges scored.",
        markdown_table(models, ("model", "n", f"by {a}", f"by {b}", f"rank by {a}", f"rank by {b}")),
        order,
    ]
