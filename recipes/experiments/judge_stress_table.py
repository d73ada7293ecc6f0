"""The report of one log of `judge_robustness`: families, single attacks and controls.

python recipes/experiments/judge_stress_table.py results/judge_stress/judged.eval --out results/judge_stress/report.md
"""

import argparse
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd
from inspect_ai.log import EvalLog, read_eval_log

CONTROLS = ("rubric_swap", "evidence_removal")
PAGE = Template("""\
# Attacks on a judge

Judge $judge, prompt version $prompt_version; $n texts, $unscored unscored$provenance.
Shifts in points of score, judged and measured, mean [95% interval over texts]. The measured judge obeys nobody: what it
gives is what the words of an attack are worth as text.

$families

Over the families the mean shift is $mean_shift, measured $measured_shift. The ten attacks that gained most beyond what
their words measure:

$attacks

Controls, changes that must move a judge. Right direction: share of changes after which the score moves as the measured
one does; moves in points in that direction.

$controls
""")


def metrics_of(log: EvalLog) -> dict[str, float]:
    """The metrics of `attack_judge` in a log, by name."""
    [score] = [one for one in (log.results.scores if log.results else []) if one.name.startswith("attack_judge")]
    return {name: metric.value for name, metric in score.metrics.items()}


def texts_of(log: EvalLog) -> pd.DataFrame:
    """The texts of a log: family, attack, base_text, score (nan if unscored), measured, judge and prompt version."""
    rows = []
    for sample in log.samples or []:
        score = (sample.scores or {})["attack_judge"]
        about: dict[str, Any] = sample.metadata | (score.metadata or {})
        row = {name: about.get(name) for name in ("family", "attack", "base_text", "measured", "judge")}
        rows.append(row | {"prompt_version": about.get("prompt_version"), "score": score.as_float()})
    return pd.DataFrame(rows)


def attack_table(texts: pd.DataFrame) -> pd.DataFrame:
    """The ten attacks with the largest mean shift beyond the measured one, most first."""
    clean = texts[texts["family"] == "clean"].set_index("base_text")[["score", "measured"]].add_prefix("clean_")
    attacked = texts[~texts["family"].isin(["clean", *CONTROLS])].join(clean, on="base_text")
    attacked["shift"] = attacked["score"] - attacked["clean_score"]
    attacked["measured shift"] = attacked["measured"] - attacked["clean_measured"]
    attacked["beyond"] = attacked["shift"] - attacked["measured shift"]
    table = attacked.groupby(["attack", "family"], as_index=False).agg(
        **{name: (name, "mean") for name in ("shift", "measured shift", "beyond")}, texts=("shift", "count")
    )
    return table.sort_values("beyond", ascending=False, kind="stable").head(10).round(1)


def estimate(values: dict[str, float], name: str, digits: int = 1) -> str:
    """A metric with its interval, where it has one."""
    value, low, high = (values.get(f"{name}{end}", float("nan")) for end in ("", "_ci_low", "_ci_high"))
    return f"{value:.{digits}f}" + ("" if low != low else f" [{low:.{digits}f}, {high:.{digits}f}]")


def page_of(log: EvalLog) -> str:
    """The report as Markdown."""
    values, texts = metrics_of(log), texts_of(log)
    families = [name.removesuffix("_largest_shift") for name in values if name.endswith("_largest_shift")]
    by_family = [
        {
            "family": name,
            "shift": estimate(values, f"{name}_mean_shift"),
            "measured shift": estimate(values, f"{name}_measured_shift"),
            "largest shift": estimate(values, f"{name}_largest_shift"),
            "level changed": estimate(values, f"{name}_level_changed", 2),
            "texts": int(values[f"{name}_n"]),
        }
        for name in families
    ]
    by_control = [
        {
            "control": name,
            "right direction": estimate(values, f"{name}_right_direction", 2),
            "move": estimate(values, f"{name}_mean_move"),
            "measured move": estimate(values, f"{name}_measured_move"),
            "other criteria": estimate(values, f"{name}_others_shift").replace("nan", ""),
            "other criteria, measured": estimate(values, f"{name}_measured_others_shift").replace("nan", ""),
            "changes": int(values[f"{name}_n"]),
        }
        for name in CONTROLS
        if f"{name}_n" in values
    ]
    tables = {"families": pd.DataFrame(by_family), "attacks": attack_table(texts), "controls": pd.DataFrame(by_control)}
    provenance = (log.eval.metadata or {}).get("provenance")
    return PAGE.substitute(
        {name: table.to_markdown(index=False, disable_numparse=True) for name, table in tables.items()},
        judge=", ".join(sorted(texts["judge"].dropna().unique())),
        prompt_version=", ".join(sorted(texts["prompt_version"].dropna().unique())),
        n=len(texts),
        unscored=int(texts["score"].isna().sum()),
        provenance=f"; {provenance}" if provenance else "",
        mean_shift=estimate(values, "mean_shift"),
        measured_shift=estimate(values, "measured_shift"),
    )


def main() -> None:
    """Writes the report."""
    parser = argparse.ArgumentParser(description="Write the report of a log of judge_robustness.")
    parser.add_argument("log", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    options.out.write_text(page_of(read_eval_log(str(options.log))), encoding="utf-8", newline="\n")
    print(f"{options.out}: written")


if __name__ == "__main__":
    main()
