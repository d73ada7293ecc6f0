"""How the sections of a report write estimates: in summary.json and in a table."""

from collections.abc import Mapping
from typing import Any

from cpt_tasks.metrics.samples_saved import CensoredEstimate
from cpt_tasks.sections import jsonable
from judges.interval import Estimate

PARTS = ("value", "ci_low", "ci_high")


def json_estimate(estimate: Estimate) -> dict[str, float | None]:
    """An estimate as summary.json holds it, None for nan."""
    return {part: jsonable(getattr(estimate, part)) for part in PARTS}


def json_estimates(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    """The same for estimates by name."""
    return {name: json_estimate(estimate) for name, estimate in estimates.items()}


def censored_json(estimate: CensoredEstimate) -> dict[str, Any]:
    """As `json_estimate`, and in `censored` which of the numbers are bounds: "at_most" or "at_least"."""
    return {part: jsonable(getattr(estimate, part)) for part in PARTS} | {"censored": dict(estimate.censored)}


def cell(found: Mapping[str, Any] | None, digits: int = 2) -> str:
    """An estimate of summary.json as a table shows it: `value [low, high]`; bounds carry <= or >=."""
    if found is None or found["value"] is None:
        return "undefined"
    signs = {"at_most": "<=", "at_least": ">="}
    censored: Mapping[str, str] = found.get("censored", {})
    value, low, high = (
        None if found[part] is None else f"{signs.get(censored.get(part, ''), '')}{found[part]:.{digits}f}"
        for part in PARTS
    )
    return str(value) if low is None or high is None else f"{value} [{low}, {high}]"
