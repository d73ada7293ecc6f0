"""Pages that compare a judge with known scores of the same responses: those of people, or of another judge."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pydantic_core import to_json

from cpt_tasks.benchmarks.rubric_adherence.statistics import macro_accuracy
from cpt_tasks.judge_logs.logs import SAMPLE, judge_name
from cpt_tasks.report.run import Run, edits_of
from cpt_tasks.report.text import image, table, write_command
from cpt_tasks.statistics.table import table_of
from judges import NO_RESPONSE
from judges.audit import audit
from judges.interval import Estimate, cluster_note
from judges.reliability import krippendorff_alpha, noise_text
from rubrics import LOW_MAX, MODERATE_MAX, ScoreLevel
from rubrics.files import write_whole

SCHEMA = 2  # of the JSON files
COLOURS = ("#0072B2", "#D55E00", "#009E73")  # of Okabe and Ito's palette: told apart with any colour vision
FIGURE = "against_reference"
# statistics of an audit by their label
LABELS = {
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "within_level_pearson": "Pearson correlation within levels",
    "icc": "ICC(2,1), absolute agreement",
    "level_accuracy": "same level, share",
    "order_accuracy": "levels of a prompt in order, share",
    "slope": "points per point of the reference",
    "mae": "mean absolute difference, points",
    "length_slope": "bias per doubling of length, points",
}


def write_agreement(out: Path, pairs: Sequence[tuple[Run, Run]]) -> str:
    """Writes the page of two judges of the same responses; returns the text to print.

    The first judge is the reference, so biases are those of the second.

    Raises:
        ValueError: If no response was scored by both judges.
    """
    rows = pd.concat([_rows(b, a.frame) for a, b in pairs], ignore_index=True)
    a, b = (judge_name(run) for run in pairs[0])
    if a == b:
        a, b = f"{a} (first)", f"{b} (second)"
    intro = f"Judge `{b}` against judge `{a}`, the reference, on the same responses."
    for name, side in zip((a, b), zip(*pairs, strict=True), strict=True):
        intro += "".join(f" `{name}` on {run.name}: {edit}." for run in side for edit in edits_of(run))
    logs = {run_a.name: [run_a.details["log"], run_b.details["log"]] for run_a, run_b in pairs}
    return _write_judges(out, rows, b, a, intro, {"logs": logs})


def write_people(out: Path, run: Run, labels: pd.DataFrame) -> str:
    """Writes the same page of the judge of a log against people; returns the text to print.

    Several raters count as their mean; the alpha between them is what no judge can be expected to exceed.

    Raises:
        ValueError: If no labelled response was scored.
    """
    ratings = labels.pivot(index=SAMPLE, columns="rater", values="score")
    rows = _rows(run, ratings.mean(axis=1).rename("score").reset_index().assign(reason=""))
    alpha = krippendorff_alpha(ratings)
    intro = (
        f"Judge `{judge_name(run)}` on `{run.name}` (`{run.details['log']}`) against people, the reference: the mean "
        f"of {ratings.shape[1]} raters of {len(ratings)} responses (Krippendorff's alpha between raters: "
        f"{Estimate(alpha).text(3)}).{''.join(f' {edit.capitalize()}.' for edit in edits_of(run))}"
    )
    numbers = {"logs": {run.name: [run.details["log"]]}, "raters": ratings.shape[1], "raters_alpha": alpha}
    return _write_judges(out, rows, judge_name(run), "people", intro, numbers)


def _rows(run: Run, reference: pd.DataFrame) -> pd.DataFrame:
    """The rows of an audit, one per response of the run that has a score in the reference."""
    rows = run.frame.rename(columns={"score": "judged", "reason": "judged_reason"}).assign(writer=run.name)
    names = {"score": "reference", "reason": "reference_reason"}
    return rows.merge(reference[[*SAMPLE, *names]].rename(columns=names), on=SAMPLE)


def _write_judges(
    out: Path, rows: pd.DataFrame, judge: str, reference: str, intro: str, numbers: Mapping[str, Any]
) -> str:
    """The page of a judge of logs, with the macro accuracy of each model on the responses that both scored."""
    is_scored = rows["reference"].notna() & rows["judged"].notna()
    rows = rows.assign(
        text=rows.index,
        words=rows["words"].fillna(1).clip(lower=1),
        judged=rows["judged"].where(is_scored),
        failure=is_scored.map({True: "", False: "unscored by one of the judges"}),
    )
    models = {
        str(model): [
            macro_accuracy.estimate(table_of(mine.assign(score=mine[by], reason=mine[f"{by}_reason"])))
            for by in ("reference", "judged")
        ]
        for model, mine in rows[is_scored].groupby("writer", sort=False)
    }
    unread = (rows[["reference_reason", "judged_reason"]] == NO_RESPONSE).any(axis=1)
    if unread.any():
        intro += f" {unread.sum()} responses that a judge had nothing to read of count in the table of models alone."
    ranks = pd.DataFrame([[estimate.value for estimate in by_both] for by_both in models.values()]).rank()
    changed = int((ranks.nunique(axis=1) > 1).sum())
    more = [
        "## Models",
        "Macro accuracy on the responses that both judges scored.",
        table(
            [(model, *(estimate.text() for estimate in by_both)) for model, by_both in models.items()],
            *("model", f"by {reference}", f"by {judge}"),
        ),
        f"{changed} of {len(models)} models change rank.",
    ]
    return write_page(
        out,
        "agreement",
        rows[~unread],
        judge,
        reference,
        intro,
        more,
        {**numbers, "models": models, "changed": changed},
    )


def write_page(
    out: Path,
    name: str,
    rows: pd.DataFrame,
    judge: str,
    reference: str,
    intro: str,
    more: Sequence[str],
    numbers: Mapping[str, Any],
) -> str:
    """Writes NAME.md, NAME.json (nan as null), a figure and command.txt; returns the page without title and figure.

    `rows` are those of `judges.audit.audit`; `more` stands after the comparison, `numbers` beside it in the JSON file.
    """
    result = audit(rows)
    modes = f" ({', '.join(f'{mode} {count}' for mode, count in result.unscored.items())})" if result.unscored else ""
    note = cluster_note(rows.dropna(subset="judged")["user_prompt_id"].nunique())
    counts = (
        f"{result.n_judgments} judgments of {result.n_texts} texts, {sum(result.unscored.values())} unscored{modes}. "
        f"Intervals: 95%, jackknife of user prompts{f'; {note}' if note else ''}."
    )
    agreement = [(label, result.statistics[statistic].text()) for statistic, label in LABELS.items()]
    parts = [
        f"{intro} {counts}",
        "## Agreement",
        table(agreement, "statistic", f"{judge} and {reference}"),
        "## Bias",
        f"Mean of `{judge}` - {reference}, score points, over the texts for a level or rubric.",
        table([(group, estimate.text(1)) for group, estimate in result.bias.items()], "texts", "bias, points"),
        *([f"Repeats: {noise_text(result.noise)}."] if result.noise else []),
        *more,
    ]
    out.mkdir(parents=True, exist_ok=True)
    figure = BytesIO()
    _against_reference(rows, judge, reference).savefig(figure, dpi=130)
    write_whole(out / f"{FIGURE}.png", figure.getvalue())
    page = [f"# `{judge}` against {reference}", *parts, image(FIGURE, f"{FIGURE}.png")]
    write_whole(out / f"{name}.md", "\n\n".join(page) + "\n")
    contents = {"schema": SCHEMA, "judge": judge, "reference": reference, "comparison": result, **numbers}
    write_whole(out / f"{name}.json", to_json(contents, indent=1, inf_nan_mode="null") + b"\n")
    write_command(out)
    where = f"page: {out / f'{name}.md'}, numbers: {out / f'{name}.json'}, figure: {out / f'{FIGURE}.png'}"
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
