"""Ties a judge to people: agreement with human labels, a linear link, and a mean score corrected by the labels.

The correction is prediction-powered inference: the judge scores every response, people a random sample of them, and the
sample says how wrong the judge is on average. Valid however bad the judge is; a good judge makes the interval shorter
than the labels alone would.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # its parts are imported when first used: `scipy.stats` takes a second
from numpy.typing import ArrayLike

from judges.agreement import NAN, Agreement, Estimate, Floats, agree, krippendorff_alpha

CONFIDENCE = 0.95
MIN_LABELS = 3


@dataclass(frozen=True)
class LinearLink:
    """Least squares `human = intercept + slope * judge`, with 95% intervals from Student's t.

    Attributes:
        intercept: Score points; 0 for a judge on the human scale.
        slope: Score points per score point; 1 for a judge on the human scale.
        rmse: Root mean squared leave-one-out error of the link, score points.
        mae: Mean absolute leave-one-out error of the link, score points.
        raw_rmse: Root mean squared difference of human and judge, score points: the error without the link.
        raw_mae: Mean absolute difference of human and judge, score points.
    """

    intercept: Estimate
    slope: Estimate
    rmse: float
    mae: float
    raw_rmse: float
    raw_mae: float


@dataclass(frozen=True)
class PoweredMean:
    """The mean human score of all responses, estimated three ways.

    Attributes:
        corrected: Prediction-powered: all judge scores, corrected by the labels.
        labels_only: Mean of the labels alone, with Student's interval.
        judge_only: Mean of all judge scores, uncorrected.
        weight: How much the judge counts (lambda), 0-1: 0 is labels only.
        n_labelled: Responses with a label.
        n_unlabelled: Responses with a judge score only.
    """

    corrected: Estimate
    labels_only: Estimate
    judge_only: float
    weight: float
    n_labelled: int
    n_unlabelled: int


@dataclass(frozen=True)
class Calibration:
    """What human labels say about a judge.

    Attributes:
        agreement: Of human (mean over raters) and judge, on the labelled responses.
        human_alpha: Krippendorff's alpha (interval) between the raters: no judge can be expected above it. nan without
            responses that two people rated.
        link: Linear link.
        mean: Mean score of the model, corrected.
    """

    agreement: Agreement
    human_alpha: float
    link: LinearLink
    mean: PoweredMean


def calibrate(human: ArrayLike, judge: ArrayLike, judge_unlabelled: ArrayLike) -> Calibration:
    """Agreement, link and corrected mean.

    Args:
        human: Human scores, 0-100, shape (n_labelled, n_raters), nan where a rater did not rate.
        judge: Judge scores, 0-100, of the same responses, shape (n_labelled,).
        judge_unlabelled: Judge scores, 0-100, of the responses without a label; may be empty.

    Raises:
        ValueError: If fewer than three responses are labelled, or a response has no label or no judge score.
    """
    raters = np.asarray(human, dtype=float)
    scores = np.asarray(judge, dtype=float)
    if len(raters) < MIN_LABELS:
        raise ValueError(f"labels: got {len(raters)} labelled responses, expected at least {MIN_LABELS}")
    if raters.ndim != 2 or np.isnan(raters).all(axis=1).any():
        raise ValueError("labels: got a response without a label, expected shape (n_labelled, n_raters)")
    means = raters.mean(axis=1, where=~np.isnan(raters))
    return Calibration(
        agreement=agree(means, scores),
        human_alpha=krippendorff_alpha(raters),
        link=linear_link(means, scores),
        mean=powered_mean(means, scores, judge_unlabelled),
    )


def linear_link(human: ArrayLike, judge: ArrayLike) -> LinearLink:
    """Linear link of two vectors of scores, 0-100, of the same responses; at least three.

    With a constant judge there is no link: intercept, slope and their errors are nan. The leave-one-out errors are
    exact, residual / (1 - leverage); nan when one response alone decides the slope (leverage 1). The intervals take
    the labels as independent with errors of equal spread.
    """
    y, x = np.asarray(human, dtype=float), np.asarray(judge, dtype=float)
    raw = y - x
    raw_rmse, raw_mae = float(np.sqrt((raw**2).mean())), float(np.abs(raw).mean())
    if np.ptp(x) == 0:
        nothing = Estimate(NAN, NAN, NAN)
        return LinearLink(nothing, nothing, NAN, NAN, raw_rmse, raw_mae)
    fit = scipy.stats.linregress(x, y)
    t = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(x) - 2)
    leverage = 1 / len(x) + (x - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
    free = 1 - leverage
    left_out = (y - fit.intercept - fit.slope * x) / np.where(free > 1e-9, free, NAN)
    return LinearLink(
        intercept=_around(fit.intercept, t * fit.intercept_stderr),
        slope=_around(fit.slope, t * fit.stderr),
        rmse=float(np.sqrt((left_out**2).mean())),
        mae=float(np.abs(left_out).mean()),
        raw_rmse=raw_rmse,
        raw_mae=raw_mae,
    )


def powered_mean(human: ArrayLike, judge: ArrayLike, judge_unlabelled: ArrayLike) -> PoweredMean:
    """Mean human score of all responses by prediction-powered inference with power tuning.

    With labels y, judge scores f of the n labelled responses and F of the N others, the estimate is
    lambda * mean(F) + mean(y - lambda * f), its variance lambda^2 var(F) / N + var(y - lambda * f) / n, and
    lambda = cov(y, f) / ((1 + n / N) var(f and F)), clipped to 0-1. Without unlabelled responses, or with a constant
    judge, lambda is 0 and what remains is the mean of the labels.

    Assumes that the labelled responses are a random sample and that responses are independent. Departs from the
    papers' normal quantile: Student's t with n - 1 degrees of freedom and unbiased variances, since people label tens
    of responses, not thousands.

    Source: PPI, arXiv 2301.09633; power tuning, PPI++, arXiv 2311.01453, section 6. Written out because `ppi-python`
    brings numba, statsmodels, scikit-learn and gdown along.
    """
    y, f = np.asarray(human, dtype=float), np.asarray(judge, dtype=float)
    rest = np.asarray(judge_unlabelled, dtype=float)
    n, everything = len(y), np.concatenate([f, rest])
    weight = _weight(y, f, rest)
    corrected = float((y - weight * f).mean())
    variance = float((y - weight * f).var(ddof=1)) / n
    if weight:
        corrected += weight * float(rest.mean())
        variance += weight**2 * float(rest.var(ddof=1)) / len(rest)
    t = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)
    return PoweredMean(
        corrected=_around(corrected, t * np.sqrt(variance)),
        labels_only=_around(y.mean(), t * np.sqrt(y.var(ddof=1) / n)),
        judge_only=float(everything.mean()),
        weight=weight,
        n_labelled=n,
        n_unlabelled=len(rest),
    )


def _weight(y: Floats, f: Floats, rest: Floats) -> float:
    everything = np.concatenate([f, rest])
    if len(rest) < 2 or np.ptp(everything) == 0:
        return 0.0
    # 1 / n, as ppi-python; the pooled variance is over both parts
    covariance = ((y - y.mean()) * (f - f.mean())).mean()
    return float(np.clip(covariance / ((1 + len(y) / len(rest)) * everything.var(ddof=1)), 0, 1))


def _around(value: float, half_width: float) -> Estimate:
    return Estimate(float(value), float(value - half_width), float(value + half_width))
