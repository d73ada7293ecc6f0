"""Estimates as summary.json holds them and as tables show them."""

from collections.abc import Mapping
from typing import Any

from cpt_tasks.metrics.samples_saved import CensoredEstimate
from cpt_tasks.sections import jsonable
from judges.agreement import Estimate

PARTS = ("value", "ci_low", "ci_high")


def estimate_json(estimate: Estimate) -> dict[str, float | None]:
    """`{value, ci_low, ci_high}`, None for nan."""
    return {part: jsonable(getattr(estimate, part)) for part in PARTS}


def censored_json(estimate: CensoredEstimate) -> dict[str, Any]:
    """As `estimate_json`, and in `censored` which of the numbers are bounds: "at_most" or "at_least"."""
    return {part: jsonable(getattr(estimate, part)) for part in PARTS} | {"censored": dict(estimate.censored)}


def estimate_cell(found: Mapping[str, Any], digits: int = 2) -> str:
    """`value [low, high]`; `value` without an interval; "undefined" without a value. Bounds carry <= or >=."""
    signs = {"at_most": "<=", "at_least": ">="}
    censored: Mapping[str, str] = found.get("censored", {})
    value, low, high = (
        None if found[part] is None else f"{signs.get(censored.get(part, ''), '')}{found[part]:.{digits}f}"
        for part in PARTS
    )
    if value is None:
        return "undefined"
    return value if low is None or high is None else f"{value} [{low}, {high}]"
