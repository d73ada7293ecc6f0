"""Compares the judge of a log with human labels and corrects the model's mean score by them: `cpt judge calibrate`."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from cpt_tasks.judging import figures as judge_figures
from cpt_tasks.judging.logs import JudgedLog, Label, SampleKey
from cpt_tasks.judging.pages import interval, markdown_table, number, write_page
from judges.audit import AuditRow
from judges.calibration import Calibration, calibrate
from rubrics import ScoreLevel

SPREAD_P_VALUE = 0.01


def write_calibration(out: Path, log: JudgedLog, labels: Sequence[Label]) -> str:
    """Writes calibration.md, calibration.json, the figures and command.txt; returns the text to print.

    Labels of responses that the judge did not score cannot be used and are counted.

    Raises:
        ValueError: If fewer than three responses have both a label and a score.
    """
    by_sample: dict[SampleKey, dict[str, float]] = {}
    for label in labels:
        if not math.isnan(log.samples[label.sample].score):
            by_sample.setdefault(label.sample, {})[label.rater] = label.score
    raters = sorted({label.rater for label in labels})
    human = np.array([[scores.get(rater, np.nan) for rater in raters] for scores in by_sample.values()])
    rest = [
        sample.score for key, sample in log.samples.items() if key not in by_sample and not math.isnan(sample.score)
    ]
    found = calibrate(human, [log.samples[key].score for key in by_sample], rest)
    rows = [_row(log, key, scores) for key, scores in by_sample.items()]
    figures = judge_figures.save(
        {
            "human_against_judge": judge_figures.judged_against_reference(rows, "people", log.judge, found.link),
            "mean_score": judge_figures.means(found),
        },
        out,
    )
    unused = len({label.sample for label in labels}) - len(by_sample)
    numbers = {
        "log": log.log,
        "model": log.model,
        "judge": log.judge,
        "prompt_version": log.prompt_version,
        "raters": len(raters),
        "labelled_but_unscored": unused,
        "labelled_by_level": _by_level(log, by_sample),
        "calibration": found,
    }
    parts = _page(log, found, by_sample, len(raters), unused)
    write_page(out, "calibration", parts, numbers, figures)
    return "\n\n".join(parts[1:])


def _row(log: JudgedLog, key: SampleKey, scores: dict[str, float]) -> AuditRow:
    sample = log.samples[key]
    human = sum(scores.values()) / len(scores)
    return AuditRow(sample.rubric, sample.level, sample.prompt_id, sample.words, sample.score, (human,))


def _spread_p_value(log: JudgedLog, labelled: dict[SampleKey, dict[str, float]]) -> float:
    # of the counts by labelled or not and level; 1 where there is nothing to compare
    counts = np.zeros((2, len(ScoreLevel)))
    for key, sample in log.samples.items():
        if not math.isnan(sample.score):
            counts[int(key in labelled), sample.level.rank] += 1
    counts = counts[:, counts.sum(axis=0) > 0]
    if counts.shape[1] < 2 or not counts.sum(axis=1).all():
        return 1.0
    return float(stats.chi2_contingency(counts).pvalue)


def _by_level(log: JudgedLog, labelled: dict[SampleKey, dict[str, float]]) -> dict[str, str]:
    of_log = Counter(sample.level for sample in log.samples.values() if not math.isnan(sample.score))
    of_labels = Counter(log.samples[key].level for key in labelled)
    return {level.value: f"{of_labels[level]} of {of_log[level]}" for level in ScoreLevel if of_log[level]}


def _page(
    log: JudgedLog, found: Calibration, labelled: dict[SampleKey, dict[str, float]], raters: int, unused: int
) -> list[str]:
    shares = ", ".join(f"{level} {share}" for level, share in _by_level(log, labelled).items())
    mean, link, agreement = found.mean, found.link, found.agreement
    intro = (
        f"Judge `{log.judge}` (prompt version {log.prompt_version}) on `{log.model}` (`{log.log}`): {mean.n_labelled} "
        f"responses labelled by {raters} rater{'s' * (raters > 1)} ({shares}), {mean.n_unlabelled} without a label"
        + (f"; {unused} labelled responses left out because the judge did not score them" if unused else "")
        + "."
    )
    table = markdown_table(
        [
            ("Pearson correlation", number(agreement.pearson)),
            ("Spearman correlation", number(agreement.spearman)),
            ("ICC(2,1), absolute agreement", number(agreement.icc)),
            ("level kappa, quadratic weights", number(agreement.level_kappa)),
            ("same level, share", number(agreement.level_accuracy)),
            ("alpha between raters", number(found.human_alpha)),
            ("link: intercept, points", interval(link.intercept)),
            ("link: slope", interval(link.slope, 2)),
            ("error of the judge as it is: RMSE, MAE", f"{number(link.raw_rmse, 1)}, {number(link.raw_mae, 1)}"),
            ("error through the link, left out: RMSE, MAE", f"{number(link.rmse, 1)}, {number(link.mae, 1)}"),
        ],
        ("judge and people", ""),
    )
    means = markdown_table(
        [
            ("corrected (prediction-powered)", interval(mean.corrected)),
            ("labels only", interval(mean.labels_only)),
            ("judge only", number(mean.judge_only, 1)),
        ],
        (f"mean score of {log.model}", "0-100"),
    )
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
    warning = [] if _spread_p_value(log, labelled) > SPREAD_P_VALUE else [spread]
    return [f"# Calibration of `{log.judge}`", intro, table, "## Mean score", means, *warning, how]
