"""Size of report.html and the time a browser needs to open it, with 50 models x 2,000 samples of synthetic text.

    python benchmarks/report_page.py                              # needs Chromium and the extras `report` and `dev`
    python benchmarks/report_page.py --models 5 --samples 240     # says whether it works, not how fast it is

The page is built by the package's own builder from made-up records; only reading logs and the bootstrap are left out.
Opening is timed in a headless Chromium that has not seen the file: until the leaderboard answers, and until all charts
are drawn. The machine's load when it was measured stands with the result.
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)  # else this file hides names of the package

from cpt_tasks.report_page import build_page  # noqa: E402
from cpt_tasks.report_page.records import Criterion, Record, RunRecords  # noqa: E402

from rubrics import ScoreLevel  # noqa: E402

RESULTS = ROOT / "results" / "benchmarks" / "report_page.json"
CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
RUBRICS = [f"rubric_{number}" for number in range(10)]
CRITERIA = ["imagery", "rhythm", "restraint", "address"]
LIMITS = {"seconds_to_open": 3.0, "megabytes": 20.0}


def words_of(rng: random.Random, vocabulary: list[str], n: int) -> str:
    """A text of n words that compresses about like prose."""
    return " ".join(rng.choices(vocabulary, k=n))


def synthetic_run(number: int, n_samples: int, vocabulary: list[str]) -> RunRecords:
    """One model's records: a response of 150 words and four reasons of 18 for each."""
    rng = random.Random(number)
    levels = list(ScoreLevel)
    records = []
    for position in range(n_samples):
        level = levels[position // len(RUBRICS) % len(levels)]
        score = min(100.0, max(0.0, rng.gauss(30 + 30 * level.rank * number / 50, 22)))
        prompt = position // (len(RUBRICS) * len(levels))
        criteria = tuple(
            Criterion(name, round(rng.uniform(0, 100), 1), words_of(rng, vocabulary, 18)) for name in CRITERIA
        )
        records.append(
            Record(
                rubric=RUBRICS[position % len(RUBRICS)],
                level=level.value,
                prompt_id=f"prompt-{prompt}",
                wording=f"heldout-{position % 3}",
                epoch=1,
                score=score,
                words=150,
                note="",
                system_prompt=f"Write at level {level.value} by wording {position % 3}.",
                user_prompt=f"Describe scene {prompt} of the city.",
                response=words_of(rng, vocabulary, 150),
                criteria=criteria,
                holistic=None,
            )
        )
    return RunRecords("rubric_adherence", f"model-{number:02d}", records)


def synthetic_summary(runs: list[RunRecords]) -> dict[str, Any]:
    """A summary in the shape of summary.json; its values are made up."""

    def around(value: float) -> dict[str, float]:
        return {"value": round(value, 6), "ci_low": round(value - 0.03, 6), "ci_high": round(value + 0.03, 6)}

    models = []
    for number, run in enumerate(runs):
        share = number / len(runs)
        names = ("macro_accuracy", "kendall_tau_b", "spearman_rho", "order_accuracy", "gain", "weighted_kappa")
        metrics = {name: around(0.3 + 0.5 * share) for name in names} | {"chance_accuracy": around(1 / 3)}
        by_level = {
            level.value: {
                "n": len(run.records) // 3, "unscored": 0, "no_response": 0, "truncated": 0,
                "metrics": {"accuracy": around(share), "mean_score": around(20 + 70 * share * level.rank / 2)},
            }
            for level in ScoreLevel
        }  # fmt: skip
        by_rubric = {rubric: {"n": 10, "metrics": {"macro_accuracy": around(share)}} for rubric in RUBRICS}
        curve = [
            {"target": target, "trained": False, "mean": 50 + share * (target - 50), "n": 80}
            | {"ci_low": 45 + share * (target - 50), "ci_high": 55 + share * (target - 50)}
            for target in (10, 30, 50, 70, 90)
        ]
        dose = {"n": 400, "unscored": 0, "metrics": {"gain": around(share)}, "curve": curve}
        tasks = {"dose_response": dose | {"style": "number", "by_rubric": {}}}
        models.append(
            {
                "name": run.model, "base": run.model, "adapter": None, "prompting": "system_prompt",
                "n": len(run.records), "unscored": 0, "details": {"log": f"{run.model}.eval"},
                "metrics": metrics, "by_rubric": by_rubric, "by_level": by_level, "tasks": tasks,
            }
        )  # fmt: skip
    run_facts = {
        "task": "rubric_adherence",
        "judge": "synthetic",
        "prompt_version": "1",
        "seed": 0,
        "n_resamples": 1000,
    }
    return {"run": run_facts, "models": models}


def synthetic_page(n_models: int, n_samples: int) -> str:
    """The page of that many models and samples; the same numbers give the same page."""
    rng = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgk"
    vocabulary = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(4000)]
    runs = [synthetic_run(number, n_samples, vocabulary) for number in range(n_models)]
    return build_page(synthetic_summary(runs), runs, {}, [])


def open_times(path: Path) -> dict[str, float]:
    """Seconds until the leaderboard answers, until a drill-down of the last model shows, until all charts are drawn."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, tempfile.TemporaryDirectory() as profile:
        context = driver.chromium.launch_persistent_context(profile, executable_path=CHROMIUM, args=FLAGS)
        page = context.new_page()
        start = time.perf_counter()
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector("html[data-ready]")
        opened = time.perf_counter() - start
        page.wait_for_selector("html[data-drawn]")
        drawn = time.perf_counter() - start
        start = time.perf_counter()
        page.locator("#board tbody tr").last.locator("a.open").click()
        page.wait_for_selector(".response")
        found = {"seconds_to_open": opened, "seconds_to_last_chart": drawn}
        found["seconds_to_drill_down"] = time.perf_counter() - start
        context.close()
    return found


def main() -> None:
    """Builds, opens several times, and writes the result unless the size was changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--samples", type=int, default=2000, help="per model")
    parser.add_argument("--repeats", type=int, default=5, help="how often the page is opened")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        start = time.perf_counter()
        path.write_text(synthetic_page(arguments.models, arguments.samples), encoding="utf-8")
        built = time.perf_counter() - start
        opened = [open_times(path) for _ in range(arguments.repeats)]
        size = path.stat().st_size
    times = {name: [round(found[name], 2) for found in opened] for name in opened[0]}
    result = {
        "command": "python benchmarks/report_page.py",
        "models": arguments.models,
        "samples_per_model": arguments.samples,
        "megabytes": round(size / 1e6, 2),
        "seconds_to_build": round(built, 1),
        **{name: {"median": statistics.median(values), "all": values} for name, values in times.items()},
        "limits": LIMITS,
        "machine": {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "system": platform.system()},
        "versions": {name: version(name) for name in ("vl-convert-python", "playwright")},
    }
    print(json.dumps(result, indent=1))
    if (arguments.models, arguments.samples) == (50, 2000):
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
