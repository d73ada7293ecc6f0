"""A mean score corrected by human labels: prediction-powered inference.

The judge scores every response, people a random sample of them, and the sample says how wrong the judge is on average.
Valid however bad the judge is; a good judge makes the interval shorter than the labels alone would. Intervals are 95%,
Student's t, and take responses as independent.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # its parts are imported when first used: `scipy.stats` takes a second
from numpy.typing import ArrayLike

from judges.interval import CONFIDENCE, Estimate, Floats


@dataclass(frozen=True)
class PoweredMean:
    """The mean human score of all responses, estimated three ways.

    Attributes:
        corrected: Prediction-powered: all judge scores, corrected by the labels.
        labels_only: Mean of the labels alone.
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
    return PoweredMean(
        corrected=_around(corrected, np.sqrt(variance), n - 1),
        labels_only=_around(y.mean(), np.sqrt(y.var(ddof=1) / n), n - 1),
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


def _around(value: float, error: float, freedom: int) -> Estimate:
    half_width = error * scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    return Estimate(float(value), float(value - half_width), float(value + half_width))
