"""How often do 95% intervals hold the truth? Simulated benchmarks of known truth.

    make coverage        # python benchmarks/coverage.py --out results/benchmarks/coverage.json, about 20 minutes

The interval was chosen on other populations (Gaussian scores in steps of five, truncated at the ends of the scale) and
seeds. Here a score is 100 times the logistic function of a latent value: a level's place, an effect of the user prompt,
one of prompt and rubric, and Student-t noise with 4 degrees of freedom; a share of the responses is empty.
Rubrics are fixed, prompts are drawn. The truth is the statistic on 3,000 prompts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from cpt_tasks.benchmarks.rubric_adherence.report import TABLE_STATISTICS
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
from cpt_tasks.statistics.table import Table
from judges.interval import Estimate, jackknife, leave_one_out
from rubrics import ScoreLevel
from rubrics.files import write_whole

N_LEVELS = len(ScoreLevel)
TRUTH_PROMPTS = 3_000
PROMPTS, RUBRICS = (5, 8, 24), (1, 4, 18)


@dataclass(frozen=True)
class Student:
    """A population of scores.

    Attributes:
        places: Latent value at low, moderate and extremely high; logistic(-0.4) is 40 points, logistic(2.5) is 92.5.
        noise: Scale of the noise.
        empty: Share of responses without a word.
    """

    places: tuple[float, float, float]
    noise: float
    empty: float


STUDENTS = {
    "weak": Student((0.2, 0.4, 0.6), 1.6, 0.2),
    "strong": Student((-2.2, 0.9, 3.4), 0.8, 0.02),
    "perfect": Student((-2.6, 1.0, 4.6), 0.35, 0.0),
}
PAIRS = {"weak, strong": ("weak", "strong"), "strong, perfect": ("strong", "perfect")}


def effects(n_prompts: int, n_rubrics: int, rng: np.random.Generator) -> np.ndarray:
    """What user prompts add to the latent value, (n_prompts, n_rubrics, 1): skewed, shared by compared models."""
    of_prompt = 0.5 * (rng.exponential(size=(n_prompts, 1, 1)) - 1)
    return of_prompt + rng.normal(0, 0.3, (n_prompts, n_rubrics, 1))


def table_of(student: Student, effect: np.ndarray, rng: np.random.Generator) -> Table:
    """A response of the student to every prompt, rubric and level."""
    n_prompts, n_rubrics, _ = effect.shape
    shape = (n_prompts, n_rubrics, N_LEVELS)
    latent = np.array(student.places) + effect + student.noise * rng.standard_t(4, shape)
    answered = rng.random(shape) >= student.empty
    scores = np.where(answered, np.round(100 / (1 + np.exp(-latent)), 1), 0.0)
    prompt, rubric, level = (index.ravel() for index in np.indices(shape))
    words = np.full(scores.size, 50.0)
    return Table(rubric, level, prompt, scores.ravel(), words, answered.ravel(), n_rubrics, n_prompts)


def difference(first: Table, second: Table, name: str) -> Estimate:
    """Second minus first, with its interval."""
    weights = leave_one_out(first.n_clusters)
    values = [STATISTICS[name].weighted(table, weights) for table in (first, second)]
    return jackknife(values[1] - values[0])


def truths(n_rubrics: int, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Every statistic of every student, and the differences of the pairs."""
    weights = np.ones((1, TRUTH_PROMPTS))
    effect = effects(TRUTH_PROMPTS, 1, rng)  # rubrics are alike, so one stands for all
    single = {
        name: {
            one: float(STATISTICS[one].weighted(table_of(student, effect, rng), weights)[0]) for one in TABLE_STATISTICS
        }
        for name, student in STUDENTS.items()
    }
    pairs = {
        name: {one: single[second][one] - single[first][one] for one in TABLE_STATISTICS}
        for name, (first, second) in PAIRS.items()
    }
    return single | pairs


def simulate(n_prompts: int, n_rubrics: int, datasets: int, seed: int) -> list[dict[str, Any]]:
    """Share of intervals that hold the truth, by student or pair and statistic, over so many simulated benchmarks."""
    rng = np.random.default_rng([seed, n_prompts, n_rubrics])
    truth = truths(n_rubrics, rng)
    outcomes: dict[tuple[str, str], list[float]] = {}
    for _ in range(datasets):
        effect = effects(n_prompts, n_rubrics, rng)
        tables = {name: table_of(student, effect, rng) for name, student in STUDENTS.items()}
        for one in TABLE_STATISTICS:
            estimates: Mapping[str, Estimate] = {
                name: STATISTICS[one].estimate(table) for name, table in tables.items()
            } | {name: difference(tables[first], tables[second], one) for name, (first, second) in PAIRS.items()}
            for name, estimate in estimates.items():
                holds = estimate.ci_low <= truth[name][one] <= estimate.ci_high
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


def shown(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Coverage in percent, statistics as columns; "-" where no interval is printed."""
    frame = pd.DataFrame(rows)
    frame["coverage"] = [f"{100 * value:.0f}" if value == value else "-" for value in frame["coverage"].astype(float)]
    index = ["user_prompts", "rubrics", "students"]
    return frame.pivot(index=index, columns="statistic", values="coverage")[list(TABLE_STATISTICS)].reset_index()


@click.command()
@click.option("--datasets", default=400, show_default=True, help="Simulated benchmarks per cell of the table.")
@click.option("--seed", default=20261126, show_default=True, help="Seed of the simulation.")
@click.option("--limit", type=int, help="At most this many (user prompts, rubrics) designs, for a try.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the numbers, JSON.")
def main(datasets: int, seed: int, limit: int | None, out: Path | None) -> None:
    """Print the coverage of 95% intervals in percent (2 standard errors of an entry of 95 are 2.2 at 400 data sets)."""
    rows: list[dict[str, object]] = []
    for n_prompts, n_rubrics in [(p, r) for p in PROMPTS for r in RUBRICS][:limit]:
        click.echo(f"{n_prompts} user prompts, {n_rubrics} rubrics", err=True)
        rows += simulate(n_prompts, n_rubrics, datasets, seed)
    click.echo(shown(rows).to_markdown(index=False))
    if out is not None:
        content = {"schema": 1, "datasets": datasets, "seed": seed, "confidence": 0.95, "rows": rows}
        write_whole(out, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
