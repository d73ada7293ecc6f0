"""What a report says of `composition`."""

from typing import Any

import pandas as pd

from cpt_tasks.benchmarks.composition.statistics import BOUNDS, composition_statistics, joint_responses
from cpt_tasks.benchmarks.rubric_adherence.side_effects import INTRO as SIDE_EFFECTS_INTRO
from cpt_tasks.benchmarks.rubric_adherence.side_effects import side_effect_tables, with_side_effects
from cpt_tasks.report.run import Run
from cpt_tasks.report.section import ModelSummaries, Section
from cpt_tasks.report.text import cells, json_of
from judges.interval import estimates

INTRO = (
    "Two rubrics in one system prompt; of more pairs than `max_pairs` a seeded draw. "
    "Accuracies are shares of scores in the band asked for, of each rubric alone "
    "and in company, on the same user prompts and wordings; `interference` is together minus alone. `both_right` has "
    "both scores in their bands; `both_right_alone` is what two separate requests get. `miscalibration` (over- or "
    "undershoot along what was asked) and `orthogonality` (share of what changed that was not asked for) are those of "
    "Chang et al., arXiv 2505.23816, measured from the response without a system prompt; 0 is best.\n\n"
    + SIDE_EFFECTS_INTRO
    + " Here of what each rubric does when it is asked for alone."
)
SUBSETS = {"all": "all requests", "same_levels": "same level of both", "different_levels": "different levels"}


def summarise(run: Run, seed: int) -> dict[str, Any]:
    """`metrics` over all joint responses, `by_request` (levels equal or not), `by_pair`, and the side effects."""
    joints = joint_responses(run.frame)
    levels = joints["levels"].str.split("+", expand=True)
    is_same = levels[0] == levels[1]
    entry = {
        "n_joint": len(joints),
        "metrics": _statistics(joints)["metrics"],
        "by_request": {
            "all": _statistics(joints),
            "same_levels": _statistics(joints[is_same]),
            "different_levels": _statistics(joints[~is_same]),
        },
        "by_pair": {str(pair): _statistics(part) for pair, part in joints.groupby("rubrics", sort=False)},
    }
    return with_side_effects(entry, run, seed)


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """Statistics by request, by pair, and the matrix of side effects."""
    by_request = [
        {"model": name, "request": shown} | _row(part["by_request"][subset])
        for name, part in models.items()
        for subset, shown in SUBSETS.items()
    ]
    by_pair = [
        {"model": name, "pair": pair} | _row(statistics)
        for name, part in models.items()
        for pair, statistics in part["by_pair"].items()
    ]
    return {"By request": pd.DataFrame(by_request), "By pair": pd.DataFrame(by_pair)} | side_effect_tables(models)


def _statistics(joints: pd.DataFrame) -> dict[str, Any]:
    metrics = estimates(joints, composition_statistics, BOUNDS)
    return {"n": len(joints), "metrics": json_of(metrics)}


def _row(statistics: dict[str, Any]) -> dict[str, Any]:
    return {"n": statistics["n"]} | cells(statistics["metrics"])


SECTION = Section(
    "Composition: two rubrics at once", INTRO, summarise, tables, "cpt_tasks.benchmarks.composition.charts"
)
