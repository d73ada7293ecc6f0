"""Statistics of `judge_robustness`: how far attacks shift scores."""

import pandas as pd

from cpt_tasks.benchmarks.judge_robustness.attacks import CLEAN, FAMILIES
from judges.interval import NAN, Estimate, estimates
from rubrics import ScoreLevel


def shifts_of(texts: pd.DataFrame) -> pd.DataFrame:
    """The attacked texts scored clean and attacked, with `shift`, `measured_shift` and `level_changed`.

    Args:
        texts: Scored texts with `family` and `attack` ("clean" for the text without one), `base_text`, `score` and
            `measured` (0-100, by the judge and by the measured one).
    """
    clean = texts[texts["family"] == CLEAN].set_index("base_text")[["score", "measured"]].add_prefix("clean_")
    attacked = texts[texts["family"] != CLEAN].join(clean, on="base_text", how="inner")
    levels = [attacked[name].map(ScoreLevel.of) for name in ("score", "clean_score")]
    return attacked.assign(
        shift=attacked["score"] - attacked["clean_score"],
        measured_shift=attacked["measured"] - attacked["clean_measured"],
        level_changed=(levels[0] != levels[1]).astype(float),
    )


def shift_statistics(texts: pd.DataFrame) -> dict[str, str | int | float | bool | None]:
    """The values of the metric `score_shifts`, by name; a family without a text scored clean and attacked is left out.

    Intervals take the base texts as drawn; there is none with fewer than six of them.
    """
    shifts = shifts_of(texts)
    families = [family for family in FAMILIES if (shifts["family"] == family).any()]
    intervals = estimates(shifts, _mean_shifts, {}, cluster="base_text") if families else {"": Estimate(NAN)}
    by_family = shifts.groupby("family")
    measured, largest = by_family["measured_shift"].mean(), by_family["shift"].max()
    values: dict[str, str | int | float | bool | None] = {
        "mean_shift": intervals[""].value,
        "mean_shift_ci_low": intervals[""].ci_low,
        "mean_shift_ci_high": intervals[""].ci_high,
        "measured_shift": float(measured.mean()),
        "worst_family_shift": max((intervals[family].value for family in families), default=NAN),
    }
    for family in sorted(families, key=lambda family: -intervals[family].value):
        values |= {
            f"{family}_mean_shift": intervals[family].value,
            f"{family}_ci_low": intervals[family].ci_low,
            f"{family}_ci_high": intervals[family].ci_high,
            f"{family}_measured_shift": float(measured[family]),
            f"{family}_largest_shift": float(largest[family]),
            f"{family}_level_changed": float(by_family["level_changed"].mean()[family]),
            f"{family}_n": len(by_family.get_group(family)),
        }
    return values


def _mean_shifts(shifts: pd.DataFrame) -> dict[str, float]:
    """Mean shift by family, and under "" the mean over families."""
    means = shifts.groupby("family")["shift"].mean()
    return {"": float(means.mean())} | {str(family): float(mean) for family, mean in means.items()}
