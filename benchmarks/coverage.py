"""How often do 95% intervals hold the truth? Simulated benchmarks of known truth.

    make coverage        # python benchmarks/coverage.py --out results/benchmarks/coverage.json, about 20 minutes

The interval was chosen on other populations (Gaussian scores in steps of five, truncated at the ends of the scale) and
seeds. Here a score is 100 times the logistic function of a latent value: a level's place, an effect of the user prompt,
one of prompt and rubric, and Student-t noise with 4 degrees of freedom; a share of the responses is empty.
Rubrics are fixed, prompts are drawn. The truth is the statistic on 3,000 prompts.
"""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from cpt_tasks.benchmarks.rubric_adherence.report import COLUMNS
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
from cpt_tasks.statistics.table import Table
from judges.interval import jackknife, leave_one_out
from rubrics import ScoreLevel
from rubrics.files import write_whole

SLACK = 0.005  # half of the last digit of a report: with the ties of a sample the end of tau-b varies by less
SHOWN = (*COLUMNS, "calibration_slope")
TRUTH_PROMPTS = 3_000
DESIGNS = [(user_prompts, rubrics) for user_prompts in (5, 8, 24) for rubrics in (1, 4, 18)]
# Latent value at each level (logistic(-0.4) is 40 points, logistic(2.5) is 92.5), scale of the noise, share of empty
# responses.
STUDENTS = {
    "weak": ((0.2, 0.4, 0.6), 1.6, 0.2),
    "strong": ((-2.2, 0.9, 3.4), 0.8, 0.02),
    "perfect": ((-2.6, 1.0, 4.6), 0.35, 0.0),
}
PAIRS = {"weak, strong": ("weak", "strong"), "strong, perfect": ("strong", "perfect")}


def effects(n_prompts: int, n_rubrics: int, rng: np.random.Generator) -> np.ndarray:
    """What user prompts add to the latent value, (n_prompts, n_rubrics, 1): skewed, shared by compared models."""
    of_prompt = 0.5 * (rng.exponential(size=(n_prompts, 1, 1)) - 1)
    return of_prompt + rng.normal(0, 0.3, (n_prompts, n_rubrics, 1))


def table_of(student: str, effect: np.ndarray, rng: np.random.Generator) -> Table:
    """A response of the student to every prompt, rubric and level."""
    places, noise, empty = STUDENTS[student]
    n_prompts, n_rubrics, _ = effect.shape
    shape = (n_prompts, n_rubrics, len(ScoreLevel))
    latent = np.array(places) + effect + noise * rng.standard_t(4, shape)
    answered = (rng.random(shape) >= empty).ravel()
    scores = np.where(answered, np.round(100 / (1 + np.exp(-latent)), 1).ravel(), 0.0)
    prompt, rubric, level = (index.ravel() for index in np.indices(shape))
    return Table(rubric, level, prompt, scores, np.full(scores.size, 50.0), answered, n_rubrics, n_prompts)


def with_pairs(values: dict[str, Any]) -> dict[str, Any]:
    """Values of the students, and the differences of the pairs."""
    return values | {name: values[second] - values[first] for name, (first, second) in PAIRS.items()}


def simulate(n_prompts: int, n_rubrics: int, datasets: int, seed: int) -> list[dict[str, Any]]:
    """Share of intervals that hold the truth, by student or pair and statistic, over so many simulated benchmarks."""
    rng = np.random.default_rng([seed, n_prompts, n_rubrics])
    effect = effects(TRUTH_PROMPTS, 1, rng)  # rubrics are alike, so one stands for all
    ones = np.ones((1, TRUTH_PROMPTS))
    truths = {
        student: pd.Series({one: STATISTICS[one].weighted(table_of(student, effect, rng), ones)[0] for one in SHOWN})
        for student in STUDENTS
    }
    truth = with_pairs(truths)
    outcomes: dict[tuple[str, str], list[float]] = {}
    for _ in range(datasets):
        effect = effects(n_prompts, n_rubrics, rng)
        tables = {student: table_of(student, effect, rng) for student in STUDENTS}
        for one in SHOWN:
            estimates = {name: STATISTICS[one].estimate(table) for name, table in tables.items()}
            weights = leave_one_out(n_prompts)
            left_out = with_pairs({name: STATISTICS[one].weighted(table, weights) for name, table in tables.items()})
            estimates |= {name: jackknife(left_out[name]) for name in PAIRS}
            for name, estimate in estimates.items():
                holds = estimate.ci_low - SLACK <= truth[name][one] <= estimate.ci_high + SLACK
                outcomes.setdefault((name, one), []).append(np.nan if np.isnan(estimate.ci_low) else float(holds))
    return [
        {
            "user_prompts": n_prompts,
            "rubrics": n_rubrics,
            "students": name,
            "statistic": one,
            "coverage": None if np.isnan(held).all() else round(float(np.nanmean(held)), 4),
            "without_interval": round(float(np.isnan(held).mean()), 4),
        }
        for (name, one), held in outcomes.items()
    ]


@click.command()
@click.option("--datasets", default=200, show_default=True, help="Simulated benchmarks per cell of the table.")
@click.option("--seed", default=20261126, show_default=True, help="Seed of the simulation.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the numbers, JSON.")
def main(datasets: int, seed: int, out: Path | None) -> None:
    """Print the coverage of 95% intervals in percent (2 standard errors of an entry of 95 are 3.1 at 200 data sets)."""
    rows: list[dict[str, Any]] = []
    for n_prompts, n_rubrics in DESIGNS:
        click.echo(f"{n_prompts} user prompts, {n_rubrics} rubrics", err=True)
        rows += simulate(n_prompts, n_rubrics, datasets, seed)
    frame = pd.DataFrame(rows).astype({"coverage": float})
    table = frame.pivot(index=["user_prompts", "rubrics", "students"], columns="statistic", values="coverage")
    shown = table[list(SHOWN)].mul(100).round().reset_index()
    click.echo(shown.to_markdown(index=False, missingval="-"))
    if out is not None:
        content = {"schema": 1, "datasets": datasets, "seed": seed, "confidence": 0.95, "rows": rows}
        write_whole(out, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
