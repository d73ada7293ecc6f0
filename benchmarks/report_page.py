"""Size of report.html and the time a browser needs to open it, with 50 models x 2,000 samples of synthetic text.

    python -P benchmarks/report_page.py                              # needs Chromium and the extras `report` and `dev`
    python -P benchmarks/report_page.py --models 5 --samples 240     # says whether it works, not how fast it is

Made-up samples go through the package's own charts and page; only reading logs and computing every model's intervals
are left out. (-P: else other files here hide packages.) Opening is timed in a headless Chromium that has not seen the file, as the leaderboard answers, as all
charts are drawn, and as the last model's texts show.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from playwright.sync_api import sync_playwright

from cpt_tasks.benchmarks.rubric_adherence.report import SECTION
from cpt_tasks.report.page import build_page, section_view
from cpt_tasks.report.page.samples import samples_of
from cpt_tasks.report.report import summarise
from cpt_tasks.report.run import Run
from rubrics import ScoreLevel

RESULTS = Path(__file__).parent.parent / "results" / "benchmarks" / "report_page.json"
LEVELS = [level.value for level in ScoreLevel]
VOCABULARY = ["".join(random.Random(n).choices("etaoinshrdlu", k=2 + n % 8)) for n in range(4000)]
PROTOCOL = {
    "task": SECTION.title,
    "judge": "synthetic",
    "prompt_version": "1",
    "split": "test",
    "wording_split": "none",
}


def synthetic_run(number: int, n_samples: int) -> Run:
    """A model on 10 rubrics: responses of 150 words, and four reasons of 18 for each."""
    rng = random.Random(number)
    rows = []
    for position in range(n_samples):
        prompt, level = f"prompt-{position // 30}", LEVELS[position // 10 % 3]
        score = min(100.0, max(0.0, rng.gauss(30 + 0.6 * number * LEVELS.index(level), 22)))
        reasons = [
            SimpleNamespace(id=name, score=50.0, reason=" ".join(rng.choices(VOCABULARY, k=18))) for name in "abcd"
        ]
        record = SimpleNamespace(judgment=SimpleNamespace(criteria=reasons, holistic=None))
        facts = {"rubric": f"rubric_{position % 10}", "level": level, "user_prompt_id": prompt, "score": score}
        texts = {"system_prompt": level, "user_prompt": prompt, "response": " ".join(rng.choices(VOCABULARY, k=150))}
        blanks = dict.fromkeys(("wording", "reason", "with_rubric", "failure"), "")
        numbers = {"target": float("nan"), "words": 150.0, "epoch": 1, "also": {}}
        rows.append({**facts, **texts, **blanks, **numbers, "stop_reason": "stop", "record": record})
    name = f"model-{number:02d}"
    protocol = PROTOCOL | {"user_prompts": n_samples // 30}
    return Run(
        "rubric_adherence",
        name,
        name,
        name,
        None,
        "system_prompt",
        protocol,
        pd.DataFrame(rows),
        details={"commit": ""},
    )


def synthetic_page(n_models: int, n_samples: int) -> str:
    """The page; all models have the numbers of the first in its tables, and samples of their own."""
    runs = [synthetic_run(number, n_samples) for number in range(n_models)]
    summary = summarise(runs[:1])
    summary["models"] = [summary["models"][0] | {"name": run.name} for run in runs]
    models = {model["name"]: model["tasks"]["rubric_adherence"] for model in summary["models"]}
    section = section_view("rubric_adherence", SECTION, models, runs, SECTION.charts(models, runs))
    return build_page(summary, [samples_of(run) for run in runs], {}, [section])


def open_times(path: Path) -> dict[str, float]:
    """Seconds until the leaderboard answers, until all charts are drawn, and until the last model's texts show."""
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        context = driver.chromium.launch_persistent_context(profile, executable_path="/usr/bin/chromium", args=flags)
        page = context.new_page()
        start = time.perf_counter()
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector("html[data-ready]")
        times = {"seconds_to_open": time.perf_counter() - start}
        page.wait_for_selector("html[data-drawn]")
        times["seconds_to_last_chart"] = time.perf_counter() - start
        start = time.perf_counter()
        page.locator("#board tbody tr").last.locator("a.open").click()
        page.wait_for_selector(".response")
        times["seconds_to_drill_down"] = time.perf_counter() - start
        context.close()
    return times


def main() -> None:
    """Builds, opens several times, and writes the result unless the size was changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--samples", type=int, default=2000, help="per model")
    parser.add_argument("--repeats", type=int, default=5, help="how often the page is opened")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(synthetic_page(arguments.models, arguments.samples), encoding="utf-8")
        opened = [open_times(path) for _ in range(arguments.repeats)]
        megabytes = round(path.stat().st_size / 1e6, 2)
    result: dict[str, Any] = {"command": "python -P benchmarks/report_page.py", "models": arguments.models}
    result |= {"samples_per_model": arguments.samples, "megabytes": megabytes}
    result |= {name: round(statistics.median(times[name] for times in opened), 2) for name in opened[0]}
    result |= {"limits": {"seconds_to_open": 3.0, "megabytes": 20.0}, "machine_load": round(os.getloadavg()[0], 1)}
    print(json.dumps(result, indent=1))
    if (arguments.models, arguments.samples) == (50, 2000):
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
