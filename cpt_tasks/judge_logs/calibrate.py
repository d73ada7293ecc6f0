"""Compares the judge of a log with human labels and corrects the model's mean score by them: `cpt judge calibrate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from cpt_tasks.judge_logs.runs import SAMPLE, judge_name, log_name
from cpt_tasks.report.run import Run
from judges import figures
from judges.calibration import LinearLink, PoweredMean, linear_link, powered_mean
from judges.interval import Estimate
from judges.pages import AGREEMENT, markdown_table, number, write_page
from judges.reliability import agreement, krippendorff_alpha
from rubrics import ScoreLevel

MIN_LABELS = 3
SPREAD_P_VALUE = 0.01


def write_calibration(out: Path, run: Run, labels: pd.DataFrame) -> str:
    """Writes calibration.md, calibration.json, the figures and command.txt; returns the text to print.

    Labels of responses that the judge did not score cannot be used and are counted. Several raters count as their
    mean; the alpha between them is what no judge can be expected to exceed.

    Args:
        out: Folder.
        run: The judged log.
        labels: Those of `read_labels`.

    Raises:
        ValueError: If fewer than three responses have both a label and a score.
    """
    scored = run.scored.set_index(SAMPLE)
    by_rater = labels.pivot(index=SAMPLE, columns="rater", values="score")
    raters = by_rater[by_rater.index.isin(scored.index)]
    if len(raters) < MIN_LABELS:
        raise ValueError(f"labels: got {len(raters)} labelled responses, expected at least {MIN_LABELS}")
    human, labelled = raters.mean(axis=1), scored.loc[raters.index]
    is_labelled = scored.index.isin(raters.index)
    link = linear_link(human, labelled["score"])
    mean = powered_mean(human, labelled["score"], scored["score"][~is_labelled])
    about = {
        "log": log_name(run),
        "model": run.name,
        "judge": judge_name(run),
        "prompt_version": run.protocol["prompt_version"],
        "raters": raters.shape[1],
        "labelled_but_unscored": len(by_rater) - len(raters),
        "labelled_by_level": _by_level(labelled["level"], scored["level"]),
    }
    agreed = agreement(human, labelled["score"]) | {"human_alpha": krippendorff_alpha(raters)}
    rows = pd.DataFrame({"level": labelled["level"], "measured": labelled["score"], "judged": human})
    means = {"corrected": mean.corrected, "labels only": mean.labels_only, "judge only": Estimate(mean.judge_only)}
    drawn = {
        "human_against_judge": figures.judged_against_reference(rows, "people", about["judge"], link),
        "mean_score": figures.estimates(means, "mean score of the model (0-100)"),
    }
    counts = pd.crosstab(is_labelled, scored["level"])
    spread = stats.chi2_contingency(counts).pvalue if min(counts.shape) > 1 else 1.0
    parts = _page(about, agreed, link, mean, is_sample=spread > SPREAD_P_VALUE)
    write_page(out, "calibration", parts, about | {"agreement": agreed, "link": link, "mean": mean}, drawn)
    return "\n\n".join(parts[1:])


def _by_level(labelled: "pd.Series[str]", scored: "pd.Series[str]") -> dict[str, str]:
    levels = [level for level in ScoreLevel if (scored == level).any()]
    return {level.value: f"{(labelled == level).sum()} of {(scored == level).sum()}" for level in levels}


def _page(
    about: Mapping[str, Any], agreed: Mapping[str, float], link: LinearLink, mean: PoweredMean, is_sample: bool
) -> list[str]:
    shares = ", ".join(f"{level} {share}" for level, share in about["labelled_by_level"].items())
    raters, unused = about["raters"], about["labelled_but_unscored"]
    left_out = f"; {unused} labelled responses left out because the judge did not score them" if unused else ""
    intro = (
        f"Judge `{about['judge']}` (prompt version {about['prompt_version']}) on `{about['model']}` "
        f"(`{about['log']}`): {mean.n_labelled} responses labelled by {raters} rater{'s' * (raters != 1)} ({shares}), "
        f"{mean.n_unlabelled} without a label{left_out}."
    )
    table = [(label, number(agreed[name])) for label, name in AGREEMENT.items()]
    table += [
        ("alpha between raters", number(agreed["human_alpha"])),
        ("link: intercept, points", link.intercept.text(1)),
        ("link: slope", link.slope.text(2)),
        ("error of the judge as it is: RMSE, MAE", f"{number(link.raw_rmse, 1)}, {number(link.raw_mae, 1)}"),
        ("error through the link, left out: RMSE, MAE", f"{number(link.rmse, 1)}, {number(link.mae, 1)}"),
    ]
    means = [
        ("corrected (prediction-powered)", mean.corrected.text(1)),
        ("labels only", mean.labels_only.text(1)),
        ("judge only", number(mean.judge_only, 1)),
    ]
    spread = (
        "**The labels are not spread over the levels as the log is, so they are no random sample of it and the "
        "corrected mean is not to be trusted.** Draw the responses to label at random from the whole log."
    )
    how = (
        f"The corrected mean uses the judge with weight {number(mean.weight, 2)} (0 is labels only, 1 the whole judge; "
        "PPI++, arXiv 2311.01453). It is right on average however wrong the judge is, if the labelled responses are a "
        "random sample of the log's: see above how many of each level were labelled. Intervals are 95% and take "
        "responses as independent."
    )
    return [
        f"# Calibration of `{about['judge']}`",
        intro,
        markdown_table(table, ("judge and people", "")),
        "## Mean score",
        markdown_table(means, (f"mean score of {about['model']}", "0-100")),
        *([] if is_sample else [spread]),
        how,
    ]
