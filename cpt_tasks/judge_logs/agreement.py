"""Compares two judges on the same responses: `cpt judge agreement`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from cpt_tasks.benchmarks.rubric_adherence.statistics import macro_accuracy
from cpt_tasks.judge_logs.runs import SAMPLE, judge_name, log_name
from cpt_tasks.report.run import Run
from cpt_tasks.statistics.table import table_of
from judges import figures
from judges.audit import Audit, audit
from judges.calibration import LinearLink, linear_link
from judges.interval import NAN, Estimate
from judges.pages import agreement_table, bias_table, markdown_table, number, unscored_line, write_page

UNSCORED = "unscored by one of the judges"
Pairs = Sequence[tuple[Run, Run]]


def pair_runs(side_a: Sequence[Run], side_b: Sequence[Run]) -> list[tuple[Run, Run]]:
    """The two logs of each model, in the order of the first side.

    Raises:
        ValueError: Unless each side has one judge and one log per model, both hold the same models, and the two logs
            of a model hold the same responses to the same samples, judged by the same rubrics.
    """
    first, second = _by_model(side_a), _by_model(side_b)
    if set(first) != set(second):
        raise ValueError(f"models: got {sorted(first)} and {sorted(second)}, expected the same models on both sides")
    for model, run in first.items():
        _check_same_responses(run, second[model])
    return [(run, second[model]) for model, run in first.items()]


def agreement_rows(pairs: Pairs) -> pd.DataFrame:
    """The rows of `judges.audit.audit`: the known score is that of the first judge, the writer is the model.

    Raises:
        ValueError: If no response was scored by both judges.
    """
    both = [a.frame.assign(writer=a.name).merge(b.frame[[*SAMPLE, "score"]], on=SAMPLE) for a, b in pairs]
    rows = pd.concat(both, ignore_index=True).rename(columns={"score_x": "measured", "score_y": "judged"})
    scored = rows["measured"].notna() & rows["judged"].notna()
    if not scored.any():
        raise ValueError(f"{log_name(pairs[0][0])}: got no response that both judges scored, expected at least one")
    return rows.assign(
        text=rows.index,
        words=rows["words"].fillna(1).clip(lower=1),
        judged=rows["judged"].where(scored),
        failure=scored.map({True: "", False: UNSCORED}),
    )


def write_agreement(out: Path, pairs: Pairs) -> str:
    """Writes agreement.md, agreement.json, the figures and command.txt; returns the text to print.

    The first judge is the reference, so biases are those of the second, and the link is second = intercept + slope *
    first. Macro accuracy of each model is that on the responses that both judges scored.
    """
    rows = agreement_rows(pairs)
    scored = rows.dropna(subset="judged")
    a, b = (judge_name(run) for run in pairs[0])
    if a == b:
        a, b = f"{a} (first)", f"{b} (second)"
    compared, link = audit(rows), linear_link(scored["judged"], scored["measured"])
    models: list[dict[str, Any]] = [
        {"model": model, "n": len(mine), "by_a": _accuracy(mine, "measured"), "by_b": _accuracy(mine, "judged")}
        for model, mine in scored.groupby("writer", sort=False)
    ]
    values = [[row[by].value for row in models] for by in ("by_a", "by_b")]
    is_ranked = all(len(set(of_judge)) > 1 for of_judge in values)
    numbers = {
        "logs": [{"model": run_a.name, "a": log_name(run_a), "b": log_name(run_b)} for run_a, run_b in pairs],
        "judge_a": a,
        "judge_b": b,
        "compared": compared,
        "link": link,
        "models": models,
        "ranks": [list(stats.rankdata([-value for value in of_judge])) for of_judge in values],
        "ranks_tau": float(stats.kendalltau(*values).statistic) if is_ranked else NAN,
    }
    drawn = {
        "judge_against_judge": figures.judged_against_reference(rows, b, a, link),
        "bias": figures.bias_by_group(compared, b, a),
    }
    if len(models) > 1:
        drawn["ranks"] = figures.ranks(models, a, b)
    parts = _page(numbers, compared, link)
    write_page(out, "agreement", parts, numbers, drawn)
    return "\n\n".join(parts[1:])


def _by_model(runs: Sequence[Run]) -> dict[str, Run]:
    judges = sorted(
        {
            f"{judge_name(run)} (prompt {run.protocol['prompt_version']} {run.protocol['judge_prompt_hash']}, settings "
            f"{run.protocol['judge_hash'] or 'none'}, asked {run.protocol['judge_repeats']} times)"
            for run in runs
        }
    )
    if len(judges) > 1:
        raise ValueError(f"{log_name(runs[0])}: got logs of several judges on one side, {judges}, expected one judge")
    names = [run.name for run in runs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"model {repeated[0]!r} has more than one log on one side, expected one")
    return {run.name: run for run in runs}


def _check_same_responses(run_a: Run, run_b: Run) -> None:
    where = f"{log_name(run_a)} and {log_name(run_b)}"
    how = "two judges are compared on the same responses, so judge one log again with inspect score"
    a, b = (run.frame.set_index(SAMPLE)["response"] for run in (run_a, run_b))
    for sample_id, epoch in sorted(a.index.symmetric_difference(b.index)):
        raise ValueError(f"{where}: sample {sample_id!r} epoch {epoch} is in one of them only; {how}")
    for sample_id, epoch in a.index[a != b.loc[a.index]]:
        raise ValueError(f"{where}: sample {sample_id!r} epoch {epoch} has two different responses; {how}")
    if run_a.protocol["rubrics"] != run_b.protocol["rubrics"]:
        raise ValueError(f"{where}: the rubrics have different hashes; {how}")


def _accuracy(rows: pd.DataFrame, score: str) -> Estimate:
    return macro_accuracy.estimate(table_of(rows.assign(score=rows[score])))


def _page(numbers: Mapping[str, Any], compared: Audit, link: LinearLink) -> list[str]:
    a, b, models = numbers["judge_a"], numbers["judge_b"], numbers["models"]
    intro = (
        f"Judge `{b}` against judge `{a}` on the same responses: {unscored_line(compared)}. Biases are `{b}` - `{a}`. "
        "Intervals: 95%, jackknife of user prompts."
    )
    link_line = (
        f"Linear link: `{b}` = {link.intercept.text(1)} + {link.slope.text(2)} * `{a}`; leave-one-out RMSE "
        f"{number(link.rmse, 1)}, MAE {number(link.mae, 1)} points."
    )
    ranks = list(zip(*numbers["ranks"], strict=True))
    changed = sum(rank_a != rank_b for rank_a, rank_b in ranks)
    order = (
        f"{changed} of {len(models)} models change rank; Kendall's tau-b of the two orders: "
        f"{number(numbers['ranks_tau'])}."
        if len(models) > 1
        else "One model: nothing to rank."
    )
    rows = [
        (row["model"], str(row["n"]), row["by_a"].text(), row["by_b"].text(), f"{rank_a:g}", f"{rank_b:g}")
        for row, (rank_a, rank_b) in zip(models, ranks, strict=True)
    ]
    return [
        f"# `{b}` against `{a}`",
        intro,
        "## Agreement",
        agreement_table(compared, b, a),
        link_line,
        "## Bias",
        bias_table(compared),
        "## Models judged",
        "Macro accuracy on the responses that both judges scored.",
        markdown_table(rows, ("model", "n", f"by {a}", f"by {b}", f"rank by {a}", f"rank by {b}")),
        order,
    ]
