"""The askings behind scores that were judged more than once, from `Score.metadata`, and what they say of the judge."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from judges.agreement import noise_report

Table = list[list[float]]


def repeats(facts: Iterable[Mapping[str, Any]]) -> dict[str, Table]:
    """For each judge that was asked more than once: its scores, 0-100 or nan, (responses, repeats).

    Judges of one name are told apart by their seat. Responses that were not sent to a judge are left out.
    """
    facts = list(facts)
    tables: dict[int, Table] = {}
    for ratings in _ratings(facts):
        for seat in sorted({rating["seat"] for rating in ratings}):
            mine = [rating for rating in ratings if rating["seat"] == seat]
            if len(mine) > 1:
                tables.setdefault(seat, []).append([_score(rating) for rating in mine])
    names = _names(facts)
    return {names.get(seat, f"judge {seat}"): table for seat, table in tables.items()}


def panel(facts: Iterable[Mapping[str, Any]]) -> Table:
    """Scores of the judges of a panel, 0-100 or nan, (responses, judges), repeats averaged; [] for a single judge."""
    table: Table = []
    for ratings in _ratings(facts):
        seats = sorted({rating["seat"] for rating in ratings})
        if len(seats) > 1:
            table.append([_mean([_score(rating) for rating in ratings if rating["seat"] == seat]) for seat in seats])
    return table


def noise_lines(facts: Iterable[Mapping[str, Any]]) -> list[str]:
    """What repeats and panels say about the judges, a statement per line; [] where each response was judged once."""
    facts = list(facts)
    tables = repeats(facts)
    lines = []
    for judge, table in tables.items():
        prefix = f"{judge}: " if len(tables) > 1 else ""
        lines += [f"{prefix}{line}" for line in noise_report(table).lines()]
    between = panel(facts)
    if between:
        found = noise_report(between)
        lines.append(
            f"{found.n_ratings} judges of {found.n_items} responses: ICC(2,1) {found.icc:.3f}, Krippendorff's alpha "
            f"{found.alpha:.3f}, level kappa {found.level_kappa:.3f}, SD between judges {found.sd:.1f} points"
        )
    return lines


def noise_values(facts: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The same for inspect: test-retest SD and attainable accuracy of a single judge, ICC and alpha of a panel."""
    facts = list(facts)
    values: dict[str, float] = {}
    tables = list(repeats(facts).values())
    if len(tables) == 1:
        noise = noise_report(tables[0])
        values |= {"judge_test_retest_sd": noise.sd, "attainable_accuracy": noise.attainable_of_mean}
    between = panel(facts)
    if between:
        noise = noise_report(between)
        values |= {"panel_icc": noise.icc, "panel_alpha": noise.alpha}
    return values


def _ratings(facts: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    return [list(fact["ratings"]) for fact in facts if fact.get("ratings")]


def _names(facts: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for ratings in _ratings(facts):
        for rating in ratings:
            if rating["score"] is not None:  # a judge that failed every asking of a response has no name there
                found.setdefault(rating["seat"], rating["judge"])
    taken = list(found.values())
    return {seat: f"{name} (seat {seat + 1})" if taken.count(name) > 1 else name for seat, name in found.items()}


def _score(rating: Mapping[str, Any]) -> float:
    score = rating["score"]
    return math.nan if score is None else float(score)


def _mean(scores: list[float]) -> float:
    known = [score for score in scores if not math.isnan(score)]
    return sum(known) / len(known) if known else math.nan
