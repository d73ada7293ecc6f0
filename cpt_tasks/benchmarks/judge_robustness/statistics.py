"""Statistics of `judge_robustness`: how far attacks shift scores, and whether the controls do."""

from typing import Any

import numpy as np
import pandas as pd

from cpt_tasks.benchmarks.judge_robustness.attacks import CLEAN
from cpt_tasks.benchmarks.judge_robustness.controls import CONTROLS, EVIDENCE_REMOVAL
from cpt_tasks.statistics.frame import metric_values
from judges.interval import NAN, estimates
from rubrics import ScoreLevel

Values = dict[str, str | int | float | bool | None]


def shift_statistics(texts: pd.DataFrame) -> Values:
    """The values of the metric `score_shifts`, by name; a family without a text scored clean and attacked is left out.

    Intervals take the base texts as drawn; there is none with fewer than six of them. Scored texts have `family`
    ("clean" for one without an attack), `base_text`, `score` and `measured` (0-100, by judge and measured judge).
    """
    shifts = _shifts(texts[~texts["family"].isin(CONTROLS)])
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


def control_statistics(texts: pd.DataFrame) -> Values:
    """Whether a judge follows each control; one without a text scored before and after the change is left out.

    `CONTROL_right_direction` is the share, 0-1, of changes after which the score moves in the direction that the
    measured judge gives (standing still is wrong), `_mean_move` how many points it moves that way, both with 95%
    intervals over texts, `_measured_move` how many the measured judge's score moves, and `_n` the changes. In
    `rubric_swap` the score is the text's, in `evidence_removal` that of the criterion whose evidence is gone; there
    `_others_shift` and `_measured_others_shift` are the mean shifts of the rubric's other criteria.
    `texts` are as for `shift_statistics`, with `criterion`, the id of the one in `evidence_removal`, `criteria`, as a
    judgment has them, and `measured_criteria`, scores by id.
    """
    clean = texts[texts["family"] == CLEAN].drop_duplicates("base_text").set_index("base_text").to_dict("index")
    values: Values = {}
    for control in CONTROLS:
        changed = texts[(texts["family"] == control) & texts["base_text"].isin(clean)].to_dict("records")
        if changed:
            moves = pd.DataFrame([_moves(text, clean[text["base_text"]]) for text in changed])
            means = estimates(moves, _mean_moves, {"right_direction": (0, 1)}, cluster="base_text")
            values |= metric_values({f"{control}_{name}": mean for name, mean in means.items()})
            others = ("others_shift", "measured_others_shift") if control == EVIDENCE_REMOVAL else ()
            for name in ("measured_move", *others):
                values[f"{control}_{name}"] = float(moves[name].mean())
            values[f"{control}_n"] = len(moves)
    return values


def _moves(changed: dict[Any, Any], clean: dict[Any, Any]) -> dict[str, Any]:
    """What one control did to the score, as judged and as measured; positive is the measured direction."""
    if changed["family"] == EVIDENCE_REMOVAL:
        before, after = ({one["id"]: one["score"] for one in text["criteria"]} for text in (clean, changed))
        judged = _criterion_shifts(before, after, changed["criterion"])
        before, after = (text["measured_criteria"] for text in (clean, changed))
        measured = _criterion_shifts(before, after, changed["criterion"])
    else:
        judged, measured = ((changed[name] - clean[name], NAN) for name in ("score", "measured"))
    sign = np.sign(measured[0])
    return {
        "base_text": changed["base_text"],
        "move": judged[0] * sign,
        "measured_move": measured[0] * sign,
        "others_shift": judged[1],
        "measured_others_shift": measured[1],
    }


def _criterion_shifts(before: dict[str, float], after: dict[str, float], own: str) -> tuple[float, float]:
    """The shift of the criterion whose evidence is gone, and the mean shift of the others."""
    shifts = {criterion: after[criterion] - before[criterion] for criterion in before}
    return shifts.pop(own), float(np.mean(list(shifts.values())))


def _mean_moves(moves: pd.DataFrame) -> dict[str, float]:
    return {"right_direction": float((moves["move"] > 0).mean()), "mean_move": float(moves["move"].mean())}


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
    means = shifts.groupby("family")["shift"].mean()
    return {"mean_shift": float(means.mean())} | {f"{family}_mean_shift": float(mean) for family, mean in means.items()}
