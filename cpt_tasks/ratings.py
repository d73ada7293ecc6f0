"""The lines of `judges.noise` from the metadata of scores."""

from collections.abc import Iterable, Mapping
from typing import Any

from judges import Rating, noise


def noise_lines(facts: Iterable[Mapping[str, Any]]) -> list[str]:
    """As `noise.noise_lines`."""
    return noise.noise_lines(_ratings(facts))


def noise_values(facts: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """As `noise.noise_values`."""
    return noise.noise_values(_ratings(facts))


def _ratings(facts: Iterable[Mapping[str, Any]]) -> list[list[Rating]]:
    return [[Rating.model_validate(rating) for rating in fact.get("ratings") or ()] for fact in facts]
