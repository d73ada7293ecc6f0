"""Statistics of `judge_robustness`: how far attacks shift scores."""

import pandas as pd

from cpt_tasks.benchmarks.judge_robustness.attacks import CLEAN
from cpt_tasks.statistics.frame import metric_values
from judges.interval import NAN, estimates
from rubrics import ScoreLevel


def shift_statistics(texts: pd.DataFrame) -> dict[str, str | int | float | bool | None]:
    """The values of the metric `score_shifts`, by name; a family without a text scored clean and attacked is left out.

    Intervals take the base texts as drawn; there is none with fewer than six of them.

    Args:
        texts: Scored texts with `family` ("clean" for the text without an attack), `base_text`, `score` and `measured`
            (0-100, by the judge and by the measured one).
    """
    shifts = _shifts(texts)
    means = estimates(shifts, _mean_shifts, {}, cluster="base_text")
    overall = {"mean_shift": means.pop("mean_shift")}
    families = shifts.groupby("family").agg(
        measured_shift=("measured_shift", "mean"),
        largest_shift=("shift", "max"),
        level_changed=("level_changed", "mean"),
        n=("shift", "size"),
    )
    by_family = families.to_dict("index")
    values = metric_values(overall) | {
        "measured_shift": float(families["measured_shift"].mean()),
        "worst_family_shift": max((mean.value for mean in means.values()), default=NAN),
    }
    for name, mean in sorted(means.items(), key=lambda entry: -entry[1].value):
        family = name.removesuffix("_mean_shift")
        values |= metric_values({name: mean})
        values |= {f"{family}_{column}": value for column, value in by_family[family].items()}
    return values


def _shifts(texts: pd.DataFrame) -> pd.DataFrame:
    """The attacked texts scored clean and attacked, with `shift`, `measured_shift` and `level_changed`."""
    clean = texts[texts["family"] == CLEAN].set_index("base_text")[["score", "measured"]].add_prefix("clean_")
    attacked = texts[texts["family"] != CLEAN].join(clean, on="base_text", how="inner")
    levels = [attacked[name].map(ScoreLevel.of) for name in ("score", "clean_score")]
    return attacked.assign(
        shift=attacked["score"] - attacked["clean_score"],
        measured_shift=attacked["measured"] - attacked["clean_measured"],
        level_changed=(levels[0] != levels[1]).astype(float),
    )


def _mean_shifts(shifts: pd.DataFrame) -> dict[str, float]:
    """Mean over families, and by family."""
    means = shifts.groupby("family")["shift"].mean()
    return {"mean_shift": float(means.mean())} | {f"{family}_mean_shift": float(mean) for family, mean in means.items()}
