"""How the sections of a report write estimates: in summary.json and in a table."""

from collections.abc import Mapping
from typing import Any

from cpt_tasks.sections import jsonable
from judges.agreement import Estimate


def json_estimate(estimate: Estimate) -> dict[str, float | None]:
    """An estimate as summary.json holds it, None for nan."""
    return {
        "value": jsonable(estimate.value),
        "ci_low": jsonable(estimate.ci_low),
        "ci_high": jsonable(estimate.ci_high),
    }


def json_estimates(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    """The same for estimates by name."""
    return {name: json_estimate(estimate) for name, estimate in estimates.items()}


def cell(estimate: Mapping[str, Any] | None, digits: int = 2) -> str:
    """An estimate of summary.json as a table shows it: `value [low, high]`."""
    if estimate is None or estimate["value"] is None:
        return "undefined"
    value, low, high = estimate["value"], estimate["ci_low"], estimate["ci_high"]
    shown = f"{value:.{digits}f}"
    return shown if low is None or high is None else f"{shown} [{low:.{digits}f}, {high:.{digits}f}]"
