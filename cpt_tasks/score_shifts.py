"""Statistics of `judge_robustness`: how far attacks shift scores. Pure numpy; no harness, no model, no file."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cpt_tasks.attacks import FAMILIES
from rubrics import ScoreLevel

CLEAN = "clean"
BOOTSTRAP_SEED = 0
N_RESAMPLES = 1000


@dataclass(frozen=True)
class JudgedText:
    """One scored text.

    Attributes:
        family: Family of the attack, or "clean".
        attack: Id of the attack, or "clean".
        base_text: Id of the base text.
        score: The judge's score, 0-100.
        measured: The measured judge's score, 0-100.
    """

    family: str
    attack: str
    base_text: str
    score: float
    measured: float


def shift_statistics(texts: Sequence[JudgedText]) -> dict[str, str | int | float | bool | None]:
    """The values of the metric `score_shifts`, by name; a family without a text scored clean and attacked is left out.

    The interval resamples base texts and, independently of them, the attacks of each family (pigeonhole bootstrap,
    Owen 2007), so it holds for other texts and other attacks of the kind. nan with fewer than two base texts.
    """
    clean = {text.base_text: text for text in texts if text.family == CLEAN}
    attacked = [text for text in texts if text.family != CLEAN and text.base_text in clean]
    families = [family for family in FAMILIES if any(text.family == family for text in attacked)]
    grids = [_shift_grid([text for text in attacked if text.family == family], clean) for family in families]
    means = [float(np.nanmean(grid)) for grid in grids]
    measured = [
        _mean(text.measured - clean[text.base_text].measured for text in attacked if text.family == family)
        for family in families
    ]
    draws = _bootstrap(grids)
    low, high = _interval(draws.mean(axis=1)) if families else (math.nan, math.nan)
    values: dict[str, str | int | float | bool | None] = {
        "mean_shift": _mean(means),
        "mean_shift_ci_low": low,
        "mean_shift_ci_high": high,
        "measured_shift": _mean(measured),
        "worst_family_shift": max(means, default=math.nan),
    }
    for index in sorted(range(len(families)), key=lambda index: -means[index]):
        family = families[index]
        rows = [text for text in attacked if text.family == family]
        low, high = _interval(draws[:, index])
        values |= {
            f"{family}_mean_shift": means[index],
            f"{family}_ci_low": low,
            f"{family}_ci_high": high,
            f"{family}_measured_shift": measured[index],
            f"{family}_largest_shift": float(np.nanmax(grids[index])),
            f"{family}_level_changed": _mean(
                ScoreLevel.of(row.score) is not ScoreLevel.of(clean[row.base_text].score) for row in rows
            ),
            f"{family}_n": len(rows),
        }
    return values


def _shift_grid(rows: Sequence[JudgedText], clean: dict[str, JudgedText]) -> np.ndarray:
    """Shifts, attacks x base texts; nan where there is none."""
    attacks, bases = sorted({row.attack for row in rows}), sorted(clean)
    grid = np.full((len(attacks), len(bases)), math.nan)
    for row in rows:
        grid[attacks.index(row.attack), bases.index(row.base_text)] = row.score - clean[row.base_text].score
    return grid


def _bootstrap(grids: Sequence[np.ndarray]) -> np.ndarray:
    """Mean shifts, resamples x families; a resample shares its base texts between families, nan if none was drawn."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    draws = np.full((N_RESAMPLES, len(grids)), math.nan)
    n_bases = grids[0].shape[1] if grids else 0
    if n_bases < 2:
        return draws
    for draw in draws:
        bases = rng.integers(n_bases, size=n_bases)
        for index, grid in enumerate(grids):
            drawn = grid[np.ix_(rng.integers(len(grid), size=len(grid)), bases)]
            if not np.isnan(drawn).all():
                draw[index] = np.nanmean(drawn)
    return draws


def _interval(draws: np.ndarray) -> tuple[float, float]:
    defined = draws[~np.isnan(draws)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, [0.025, 0.975])
    return float(low), float(high)


def _mean(values: Iterable[float]) -> float:
    collected = [float(value) for value in values]
    return sum(collected) / len(collected) if collected else math.nan
