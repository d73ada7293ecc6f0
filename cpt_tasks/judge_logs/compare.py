"""Pages that compare a judge with known scores of the same responses: measured ones, of people, of another judge."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pydantic_core import to_json
from scipy import stats

from cpt_tasks.benchmarks.rubric_adherence.statistics import macro_accuracy
from cpt_tasks.judge_logs.logs import SAMPLE, judge_name, log_name
from cpt_tasks.judge_logs.texts import Outcomes, Text, audit_rows
from cpt_tasks.report.logs import shown
from cpt_tasks.report.run import Run
from cpt_tasks.report.text import image
from cpt_tasks.statistics.table import table_of
from judges import Judgment
from judges.audit import Audit, audit
from judges.calibration import powered_mean
from judges.cost import total_usd
from judges.interval import Estimate, cluster_note
from judges.reliability import krippendorff_alpha, noise_text
from rubrics import LOW_MAX, MODERATE_MAX, ScoreLevel
from rubrics.files import write_whole

SCHEMA = 2  # of the JSON files
MIN_LABELS = 3
SPREAD_P_VALUE = 0.01
COLOURS = ("#0072B2", "#D55E00", "#009E73")  # of Okabe and Ito's palette: told apart with any colour vision
UNSCORED = "unscored by one of the judges"
# statistics of an audit by their label
LABELS = {
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "within_level_pearson": "Pearson correlation within levels",
    "icc": "ICC(2,1), absolute agreement",
    "level_kappa": "level kappa, quadratic weights",
    "level_accuracy": "same level, share",
    "order_accuracy": "levels of a prompt in order, share",
    "reference_order_accuracy": "the same by the reference",
    "slope": "points per point of the reference",
    "mae": "mean absolute difference, points",
    "length_slope": "bias per doubling of length, points",
}


def write_audit(out: Path, texts: Sequence[Text], outcomes: Outcomes, judge: str, source: str) -> str:
    """Writes the page of a judge against measured scores; returns the text to print.

    Args:
        out: Folder.
        texts: Texts judged.
        outcomes: What every asking of the judge made of each of them.
        judge: Its name.
        source: Name of the file of the texts.

    Raises:
        ValueError: If no text was judged.
    """
    everything = [outcome for of_text in outcomes for outcome in of_text]
    versions = {outcome.prompt_version for outcome in everything if isinstance(outcome, Judgment)}
    rows = audit_rows(texts, outcomes)
    numbers = {
        "source": source,
        "repeats": len(outcomes[0]),
        "prompt_version": ", ".join(sorted(versions)),
        "rubrics": {text.rubric.id: text.rubric.hash for text in texts},
        "cost_usd": total_usd(outcome.cost_usd for outcome in everything),
        "texts": rows.to_dict("records"),
    }
    intro = (
        f"Judge `{judge}` (prompt version {numbers['prompt_version']}) on texts of `{source}` whose score is known, "
        f"since text statistics measure it: rubrics {', '.join(sorted({text.rubric.id for text in texts}))}, "
        f"{numbers['repeats']} judgments of each text."
    )
    return _write_page(out, "audit", rows, judge, "measured scores", intro, [], numbers)


def write_agreement(out: Path, pairs: Sequence[tuple[Run, Run]]) -> str:
    """Writes the page of two judges of the same responses; returns the text to print.

    The first judge is the reference, so biases are those of the second. Macro accuracy of each model is that on the
    responses that both judges scored.

    Raises:
        ValueError: If no response was scored by both judges.
    """
    both = [a.frame.assign(writer=a.name).merge(b.frame[[*SAMPLE, "score"]], on=SAMPLE) for a, b in pairs]
    rows = pd.concat(both, ignore_index=True).rename(columns={"score_x": "reference", "score_y": "judged"})
    is_scored = rows["reference"].notna() & rows["judged"].notna()
    rows = rows.assign(
        text=rows.index,
        words=rows["words"].fillna(1).clip(lower=1),
        judged=rows["judged"].where(is_scored),
        failure=is_scored.map({True: "", False: UNSCORED}),
    )
    a, b = (judge_name(run) for run in pairs[0])
    if a == b:
        a, b = f"{a} (first)", f"{b} (second)"
    models = {
        str(model): (_accuracy(mine, "reference"), _accuracy(mine, "judged"))
        for model, mine in rows[is_scored].groupby("writer", sort=False)
    }
    ranks = [stats.rankdata([by_both[judge].value for by_both in models.values()]) for judge in (0, 1)]
    changed = sum(bool(first != second) for first, second in zip(*ranks, strict=True))
    table = [(model, of_a.text(), of_b.text()) for model, (of_a, of_b) in models.items()]
    more = [
        "## Models",
        "Macro accuracy on the responses that both judges scored.",
        _table(table, "model", f"by {a}", f"by {b}"),
        f"{changed} of {len(models)} models change rank.",
    ]
    logs = {run_a.name: [log_name(run_a), log_name(run_b)] for run_a, run_b in pairs}
    intro = f"Judge `{b}` against judge `{a}`, the reference, on the same responses."
    return _write_page(out, "agreement", rows, b, a, intro, more, {"logs": logs, "models": models, "changed": changed})


def write_calibration(out: Path, run: Run, labels: pd.DataFrame) -> str:
    """Writes the page of the judge of a log against people; returns the text to print.

    Labels of responses that the judge did not score cannot be used and are counted. Several raters count as their
    mean; the alpha between them is what no judge can be expected to exceed.

    Args:
        out: Folder.
        run: The judged log.
        labels: Those of `logs.read_labels`.

    Raises:
        ValueError: If fewer than three responses have both a label and a score.
    """
    scored = run.scored.set_index(SAMPLE)
    all_raters = labels.pivot(index=SAMPLE, columns="rater", values="score")
    raters = all_raters[all_raters.index.isin(scored.index)]
    if len(raters) < MIN_LABELS:
        raise ValueError(f"labels: got {len(raters)} labelled responses, expected at least {MIN_LABELS}")
    is_labelled, unused = scored.index.isin(raters.index), len(all_raters) - len(raters)
    rows = scored.loc[raters.index].rename(columns={"score": "judged"}).reset_index()
    rows = rows.assign(text=rows.index, writer="", failure="", reference=raters.mean(axis=1).to_numpy())
    mean = powered_mean(rows["reference"], rows["judged"], scored["score"][~is_labelled])
    alpha = krippendorff_alpha(raters)
    counts = pd.crosstab(is_labelled, scored["level"])
    spread = stats.chi2_contingency(counts).pvalue if min(counts.shape) > 1 else 1.0
    judge = judge_name(run)
    intro = (
        f"Judge `{judge}` on `{run.name}` (`{log_name(run)}`): {mean.n_labelled} responses labelled by "
        f"{raters.shape[1]} raters (alpha between them: {Estimate(alpha).text(3)}), {mean.n_unlabelled} without a "
        f"label; {unused} labelled responses left out because the judge did not score them."
    )
    how = (
        f"The corrected mean uses the judge with weight {mean.weight:.2f} (0 is labels only, 1 the whole judge; PPI++, "
        "arXiv 2311.01453). It is right on average however wrong the judge is, if the labelled responses are a random "
        "sample of the log's. Its interval takes responses as independent."
    )
    warning = (
        "**The labels are not spread over the levels as the log is, so they are no random sample of it and the "
        "corrected mean is not to be trusted.** Draw the responses to label at random from the whole log."
    )
    means = [
        ("corrected (prediction-powered)", mean.corrected.text(1)),
        ("labels only", mean.labels_only.text(1)),
        ("judge only", Estimate(mean.judge_only).text(1)),
    ]
    more = ["## Mean score", _table(means, f"mean score of {run.name}", "0-100"), how]
    numbers = {
        "log": log_name(run),
        "model": run.name,
        "raters": raters.shape[1],
        "human_alpha": alpha,
        "labelled_but_unscored": unused,
        "mean": mean,
    }
    more += [warning] * bool(spread <= SPREAD_P_VALUE)
    return _write_page(out, "calibration", rows, judge, "people", intro, more, numbers)


def _write_page(
    out: Path,
    name: str,
    rows: pd.DataFrame,
    judge: str,
    reference: str,
    intro: str,
    more: Sequence[str],
    numbers: Mapping[str, Any],
) -> str:
    """Writes NAME.md, NAME.json (nan as null), two figures and command.txt; returns the page without title and figures.

    `rows` are those of `judges.audit.audit`; `more` stands after the comparison, `numbers` beside it in the JSON file.
    """
    result = audit(rows)
    modes = f" ({', '.join(f'{mode} {count}' for mode, count in result.unscored.items())})" if result.unscored else ""
    note = cluster_note(rows["user_prompt_id"].nunique())
    counts = (
        f"{result.n_judgments} judgments of {result.n_texts} texts, {sum(result.unscored.values())} unscored{modes}. "
        f"Intervals: 95%, jackknife of user prompts{f'; {note}' if note else ''}."
    )
    agreement = [(label, result.statistics[statistic].text()) for statistic, label in LABELS.items()]
    bias = [(group, estimate.text(1)) for group, estimate in result.bias.items()]
    parts = [
        f"{intro} {counts}",
        "## Agreement",
        _table(agreement, "statistic", f"{judge} and {reference}"),
        "## Bias",
        f"Mean of `{judge}` - {reference}, score points, over the texts for a level or rubric.",
        _table(bias, "texts", "bias, points"),
        *([f"Repeats: {noise_text(result.noise)}."] if result.noise else []),
        *more,
    ]
    out.mkdir(parents=True, exist_ok=True)
    figures = {"against_reference": _against_reference(rows, judge, reference), "bias": _bias(result, judge, reference)}
    for stem, figure in figures.items():
        figure.savefig(out / f"{stem}.png", dpi=130)
    images = [image(stem, f"{stem}.png") for stem in figures]
    write_whole(out / f"{name}.md", "\n\n".join([f"# `{judge}` against {reference}", *parts, *images]) + "\n")
    contents = {"schema": SCHEMA, "judge": judge, "reference": reference, "comparison": result, **numbers}
    write_whole(out / f"{name}.json", to_json(contents, indent=1, inf_nan_mode="null") + b"\n")
    write_whole(out / "command.txt", f"{shlex.join(['cpt', *map(shown, sys.argv[1:])])}\n")
    where = f"page: {out / f'{name}.md'}, numbers: {out / f'{name}.json'}, figures: {out}/*.png"
    return "\n\n".join([*parts, where])


def _against_reference(rows: pd.DataFrame, judge: str, reference: str) -> Figure:
    """Every judgment against the reference score of its text, with the identity line and the cuts between levels."""
    figure = Figure(figsize=(5.2, 5.2), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 100], [0, 100], color="0.4", linewidth=1)
    for cut in (LOW_MAX, MODERATE_MAX):
        axis.axhline(cut, color="0.75", linewidth=0.8, linestyle="--", zorder=0)
        axis.axvline(cut, color="0.75", linewidth=0.8, linestyle="--", zorder=0)
    for colour, level in zip(COLOURS, ScoreLevel, strict=True):
        mine = rows[rows["level"] == level]
        axis.scatter(mine["reference"], mine["judged"], s=16, alpha=0.5, color=colour, label=level.replace("_", " "))
    axis.set(xlim=(-2, 102), ylim=(-2, 102), aspect="equal")
    axis.set_xlabel(f"{reference} (0-100)")
    axis.set_ylabel(f"score by {judge} (0-100)")
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def _bias(result: Audit, judge: str, reference: str) -> Figure:
    """Mean of judge - reference with its 95% interval: all texts, each level, each rubric."""
    figure = Figure(figsize=(6, 0.8 + 0.36 * len(result.bias)), layout="constrained")
    axis = figure.subplots()
    for row, estimate in enumerate(result.bias.values()):
        axis.plot([estimate.ci_low, estimate.ci_high], [row, row], color=COLOURS[0], linewidth=2)
        axis.plot(estimate.value, row, marker="o", color=COLOURS[0])
    axis.set_yticks(range(len(result.bias)), [group.replace("_", " ") for group in result.bias])
    axis.invert_yaxis()
    axis.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, -2), max(high, 2))  # without bias a tiny range would look like a large one
    axis.set_xlabel(f"{judge} - {reference}, points")
    return figure


def _accuracy(rows: pd.DataFrame, score: str) -> Estimate:
    return macro_accuracy.estimate(table_of(rows.assign(score=rows[score])))


def _table(rows: Sequence[tuple[str, ...]], *columns: str) -> str:
    # numbers stay text, or tabulate would write 1.000 as 1
    return str(pd.DataFrame(rows, columns=list(columns)).to_markdown(index=False, disable_numparse=True))
