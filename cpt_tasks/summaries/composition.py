"""How a report reads a log of `composition`."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from cpt_tasks.composition import joint_responses
from cpt_tasks.metrics.composition import Joint, composition_statistics
from cpt_tasks.sections import ModelSummaries, Section
from cpt_tasks.summaries.estimates import cell, json_estimates
from cpt_tasks.summaries.leakage import INTRO as LEAKAGE_INTRO
from cpt_tasks.summaries.leakage import leakage_figure, leakage_tables, with_leakage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cpt_tasks.runs import ModelRun

INTRO = (
    "Two rubrics in one system prompt; of more pairs than `max_pairs` a seeded draw. "
    "Accuracies are shares of scores in the band asked for, of each rubric alone "
    "and in company, on the same user prompts and wordings; `interference` is together minus alone. `both_right` has "
    "both scores in their bands; `both_right_alone` is what two separate requests get. `miscalibration` (over- or "
    "undershoot along what was asked) and `orthogonality` (share of what changed that was not asked for) are those of "
    "Chang et al., arXiv 2505.23816, measured from the response without a system prompt; 0 is best.\n\n"
    + LEAKAGE_INTRO
    + " Here of what each rubric does when it is asked for alone."
)
SUBSETS = {"all": "all requests", "same_levels": "same level of both", "different_levels": "different levels"}


def summarise(run: "ModelRun", n_resamples: int, seed: int) -> dict[str, Any]:
    """`metrics` over all joint responses, `by_request` (levels equal or not), `by_pair`, and the leakage matrix."""
    joints = joint_responses((sample.metadata, score) for sample, score in run.samples)

    def statistics(chosen: list[Joint]) -> dict[str, Any]:
        return {"n": len(chosen), "metrics": json_estimates(composition_statistics(chosen, n_resamples, seed))}

    pairs = list(dict.fromkeys(joint.rubrics for joint in joints))
    entry = {
        "n_joint": len(joints),
        "metrics": statistics(joints)["metrics"],
        "by_request": {
            "all": statistics(joints),
            "same_levels": statistics([joint for joint in joints if joint.levels[0] is joint.levels[1]]),
            "different_levels": statistics([joint for joint in joints if joint.levels[0] is not joint.levels[1]]),
        },
        "by_pair": {"+".join(pair): statistics([joint for joint in joints if joint.rubrics == pair]) for pair in pairs},
    }
    return with_leakage(entry, run, n_resamples, seed)


def tables(models: ModelSummaries) -> dict[str, pd.DataFrame]:
    """Statistics by request, by pair, and the leakage matrix."""
    by_request = [
        {"model": name, "request": shown} | _row(found["by_request"][subset])
        for name, found in models.items()
        for subset, shown in SUBSETS.items()
    ]
    by_pair = [
        {"model": name, "pair": pair} | _row(statistics)
        for name, found in models.items()
        for pair, statistics in found["by_pair"].items()
    ]
    return {"By request": pd.DataFrame(by_request), "By pair": pd.DataFrame(by_pair)} | leakage_tables(models)


def figures(models: ModelSummaries) -> "dict[str, Figure]":
    """Accuracy alone and together, and the leakage matrix."""
    drawn = {"composition": _alone_and_together(models)}
    if any(found.get("leakage") for found in models.values()):
        drawn["composition_leakage"] = leakage_figure(models)
    return drawn


def _row(statistics: dict[str, Any]) -> dict[str, Any]:
    return {"n": statistics["n"]} | {name: cell(estimate) for name, estimate in statistics["metrics"].items()}


def _alone_and_together(models: ModelSummaries) -> "Figure":
    import matplotlib.pyplot as plt

    from cpt_tasks.figures import COLOURS

    bars = {"accuracy_alone": "alone", "accuracy_together": "together", "both_right": "both right"}
    subsets = {subset: shown for subset, shown in SUBSETS.items() if subset != "all"}
    figure, axes = plt.subplots(
        1, len(subsets), figsize=(1.6 + 3.2 * len(subsets), 3.6), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (subset, shown) in zip(axes[0], subsets.items(), strict=True):
        for number, (name, found) in enumerate(models.items()):
            width = 0.8 / len(models)
            for place, metric in enumerate(bars):
                estimate = found["by_request"][subset]["metrics"][metric]
                if estimate["value"] is None:
                    continue
                where = place + (number - (len(models) - 1) / 2) * width
                axis.bar(where, estimate["value"], width * 0.9, color=COLOURS[number % len(COLOURS)], label=name)
                if estimate["ci_low"] is not None:
                    axis.plot([where, where], [estimate["ci_low"], estimate["ci_high"]], color="0.2", linewidth=1)
        axis.set_xticks(range(len(bars)), list(bars.values()))
        axis.set_ylim(0, 1)
        axis.set_title(shown, fontsize=10)
    axes[0][0].set_ylabel("share in the band asked for")
    handles, labels = axes[0][-1].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside upper center", ncols=len(models), frameon=False)
    return figure


SECTION = Section("Composition: two rubrics at once", INTRO, summarise, tables, figures)
