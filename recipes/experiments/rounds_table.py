"""What each stage buys: the base model, SFT, DPO on twins and every round after it, over the seeds of a run.

python recipes/experiments/rounds_table.py results/smollm2-135m    # reads seed-*/rounds/, writes rounds.md there
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd
import scipy
from inspect_ai.log import read_eval_log

STATISTICS = {"macro_accuracy": "accuracy", "somers_d": "order", "band_error": "calibration"}
STATISTICS |= {"kendall_tau_b": "tau-b", "kendall_tau_b_ceiling": "tau-b at most"}
PREFERRED = "eval_twins/both_correct"  # in the history of a stage's DPO
COMPARED, REFERENCE = ("accuracy", "order"), "twins"  # in which others are compared by seed, and with what
HEAD = """\
# What each stage buys

{answers} answers a stage and seed, to rubrics, levels and test prompts under heldout wordings. `accuracy` is the share
of answers in the band asked for (.33 on average if the level is ignored), `order` Somers' d of levels and scores,
`calibration` the mean distance from the band in points (0 is best), `tau-b at most` what ties allow. `twins right`,
where stages were evaluated on twins, is the share of these (the same in each seed) in which DPO moved both preferences
towards the response of their own system prompt; .25 if each went its way by chance.
Means over seeds {seeds}, with Student's t intervals over them (none over one), which can pass 1; `by seed` is the
accuracy of each, and differences are between stages of one seed. `minutes` is what the stage's own training and texts
took (SFT counts with twins), the median over seeds, without evaluation, on the machines that the commands in
`seed-*/rounds/stages.json` name, and none if it was interrupted. The judge that selected the pairs of rounds also
scores here.
"""
CHOSEN = """
`chosen`: in each seed, the round with the best accuracy on train prompts under train wordings, of equal ones the
first. {}.
"""


def row_means(values: pd.DataFrame) -> pd.DataFrame:
    """Means of the rows with 95% t intervals, none over a single column; undefined where a value is."""
    mean = values.mean(axis=1, skipna=False)
    reach = values.sem(axis=1, skipna=False) * scipy.stats.t.ppf(0.975, len(values.columns) - 1)
    return pd.DataFrame({"value": mean, "ci_low": mean - reach, "ci_high": mean + reach})


def show(estimate: pd.Series, sign: str = "") -> str:
    """`0.48 [0.41, 0.55]`; with `sign` "+", as a difference."""
    if pd.isna(estimate["value"]):
        return "undefined"
    value, low, high = (f"{number:{sign}.2f}" for number in estimate)
    return value if pd.isna(estimate["ci_low"]) else f"{value} [{low}, {high}]"


def folders_of(parser: argparse.ArgumentParser, run: Path) -> list[Path]:
    """The results of every seed of a run, in order."""
    folders = sorted(path.parent for path in run.glob("seed-*/rounds/summary.json"))
    if not folders:
        parser.error(f"{run}: got no seed-*/rounds/summary.json, expected those of recipes/experiments/rounds.mk")
    return folders


def values_by_stage(folder: Path) -> pd.DataFrame:
    """Statistics by stage, in the order of the report of one seed."""
    models = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["models"]
    rows = {model["name"]: model["tasks"]["rubric_adherence"]["metrics"] for model in models}
    return pd.DataFrame({name: {one: row[one]["value"] for one in STATISTICS} for name, row in rows.items()}).T


def on_train(folder: Path) -> dict[str, float]:
    """Accuracy on train prompts by round, where more than one was made; logs of an earlier run may lie there too."""
    stages = json.loads((folder / "stages.json").read_text(encoding="utf-8"))
    paths = [path for path in sorted(folder.glob("logs/rounds/on-train-*.eval")) if f"rounds/{path.stem}" in stages]
    logs = {path.stem.replace("on-train", "round"): read_eval_log(str(path), header_only=True) for path in paths}
    return {name: log.results.scores[0].metrics["macro_accuracy"].value for name, log in logs.items() if log.results}


def best_round(folder: Path) -> str | None:
    """The round that is most accurate on train prompts, of equal ones the first; None where only one was made."""
    accuracies = on_train(folder)
    return max(accuracies, key=lambda name: accuracies[name], default=None)


def with_chosen(values: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Values by stage of the results of a seed, and in row `chosen` those of the best round."""
    if best := best_round(folder):
        values.loc["chosen"] = values.loc[best]
    return values


def minutes_of(folder: Path) -> pd.Series:
    """Minutes by what they made: an adapter, with the texts of a round; those of evaluations go to `rounds`, no row."""
    stages = json.loads((folder / "stages.json").read_text(encoding="utf-8"))
    owners = ["twins" if name == "train" else name.partition("/")[0] for name in stages]
    seconds = pd.Series([stage["seconds"] for stage in stages.values()], dtype=float)
    return seconds.groupby(owners).sum(skipna=False) / 60


def preferred(folder: Path) -> pd.Series:
    """By stage the share, 0-1, of twins right in the last evaluation of its DPO; stages without it are left out."""
    shares: dict[str, float] = {}
    for path in folder.glob("**/training/log_history.json"):
        stage = REFERENCE if path.parents[1] == folder else path.parents[1].name
        for step in json.loads(path.read_text(encoding="utf-8"))["dpo"]:
            shares[stage] = step.get(PREFERRED, shares.get(stage, float("nan")))
    return pd.Series(shares, dtype=float).dropna()


def table_of(folders: list[Path]) -> str:
    """One row a stage; intervals over seeds."""
    runs = [with_chosen(values_by_stage(folder), folder) for folder in folders]
    columns, reference = {}, REFERENCE if REFERENCE in runs[0].index else runs[0].index[0]
    for one, title in STATISTICS.items():
        by_seed = pd.concat([run[one] for run in runs], axis=1).loc[runs[0].index]
        columns[title] = row_means(by_seed).apply(show, axis=1)
        if one == "macro_accuracy":
            columns["by seed"] = by_seed.map("{:.3f}".format).apply(", ".join, axis=1)
        if title in COMPARED and len(by_seed) > 1:
            gain = row_means(by_seed - by_seed.loc[reference]).drop(reference)
            columns[f"{title} - {reference}"] = gain.apply(show, axis=1, sign="+").reindex(by_seed.index)
    shares = pd.concat([preferred(folder) for folder in folders], axis=1)
    if len(shares) > 1:
        columns["twins right"] = row_means(shares).apply(show, axis=1).reindex(runs[0].index)
    minutes = pd.concat([minutes_of(folder) for folder in folders], axis=1).median(axis=1)
    columns["minutes"] = minutes.reindex(runs[0].index).map("{:.0f}".format, na_action="ignore")
    return pd.DataFrame(columns).fillna("").rename_axis("stage").to_markdown(disable_numparse=True)


def main() -> None:
    """Writes the table over all seeds of a run."""
    parser = argparse.ArgumentParser(description="Write what each stage buys, over the seeds of a run.")
    parser.add_argument("run", type=Path, help="folder with seed-*/rounds/ of rounds.mk")
    parser.add_argument("--seeds", nargs="*", help="seeds to read (default: all that are there)")
    folder, wanted = vars(parser.parse_args()).values()
    folders = [path for path in folders_of(parser, folder) if not wanted or path.parent.name[5:] in wanted]
    summary = json.loads((folders[0] / "summary.json").read_text(encoding="utf-8"))
    answers = summary["models"][0]["tasks"]["rubric_adherence"]["n"]
    seeds = [path.parent.name[5:] for path in folders]
    page = HEAD.format(answers=answers, seeds=", ".join(seeds))
    if any(trained := [on_train(path) for path in folders]):
        of_seeds = [", ".join(f"{name} {value:.3f}" for name, value in one.items()) for one in trained]
        page += CHOSEN.format("; ".join(f"seed {seed}: {one}" for seed, one in zip(seeds, of_seeds, strict=True)))
    page += "\n" + table_of(folders) + "\n"
    (folder / "rounds.md").write_text(page, encoding="utf-8", newline="\n")
    print(page)


if __name__ == "__main__":
    main()
