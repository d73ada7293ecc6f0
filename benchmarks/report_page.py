"""Size of report.html and the time a browser needs to open it, with 50 models x 2,000 samples of synthetic text.

    python -P benchmarks/report_page.py           # needs Chromium and the extras `report` and `dev`; -P: other files
    python -P benchmarks/report_page.py 5 240     # here hide packages. Other numbers of models and samples: not written

Made-up samples go through the package's own charts and page; only reading logs and computing every model's intervals
are left out. Chromium has not seen the file. Times, in seconds, end when the leaderboard answers (`open`), when all
charts are drawn (`last_chart`), and when the texts of the last model show after a click (`drill_down`).
"""

import json
import random
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from playwright.sync_api import sync_playwright

from cpt_tasks.benchmarks.rubric_adherence.report import SECTION, charts
from cpt_tasks.report.page import Part, build_page, section_view
from cpt_tasks.report.report import summarise
from cpt_tasks.report.run import Run
from rubrics import ScoreLevel

RESULTS = Path(__file__).parent.parent / "results" / "benchmarks" / "report_page.json"
LEVELS = [level.value for level in ScoreLevel]
VOCABULARY = ["".join(random.Random(n).choices("etaoinshrdlu", k=2 + n % 8)) for n in range(4000)]
FACTS = {"judge": "synthetic", "prompt_version": "1", "split": "test", "wording_split": "heldout", "user_prompts": 67}
BLANK: dict[str, Any] = {
    "stop_reason": "stop",
    "also": {},
    "target": float("nan"),
    "words": 150.0,
    "thought_words": 0.0,
    "epoch": 1,
}
BLANK |= dict.fromkeys(("wording", "reason", "with_rubric", "failure"), "") | {"edited": False}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def synthetic_run(number: int, n_samples: int) -> Run:
    """A model on 10 rubrics: responses of 150 words, and four reasons of 18 for each."""
    rng = random.Random(number)
    rows = []
    for position in range(n_samples):
        level, prompt = LEVELS[position // 10 % 3], f"prompt-{position // 30}"
        score = min(100.0, max(0.0, rng.gauss(30 + 0.6 * number * LEVELS.index(level), 22)))
        reasons = [" ".join(rng.choices(VOCABULARY, k=18)) for _ in range(4)]
        criteria = [SimpleNamespace(id=f"criterion {n}", score=50.0, reason=reason) for n, reason in enumerate(reasons)]
        row = {"rubric": f"rubric_{position % 10}", "level": level, "system_prompt": level, "score": score}
        row |= {"user_prompt_id": prompt, "user_prompt": prompt, "response": " ".join(rng.choices(VOCABULARY, k=150))}
        record = SimpleNamespace(judgment=SimpleNamespace(criteria=criteria, holistic=None))
        rows.append(BLANK | row | {"record": record})
    name, frame = f"model-{number:02d}", pd.DataFrame(rows)
    return Run(
        "rubric_adherence",
        name,
        name,
        name,
        None,
        "system_prompt",
        FACTS,
        frame,
        details={"commit": "", "log": "", "command": ""},
    )


def synthetic_page(n_models: int, n_samples: int) -> str:
    """The page; all models have the numbers of the first in its tables, and samples of their own."""
    runs = [synthetic_run(number, n_samples) for number in range(n_models)]
    summary = summarise(runs[:1])
    summary["models"] = [summary["models"][0] | {"name": run.name} for run in runs]
    models = {model["name"]: model["tasks"]["rubric_adherence"] for model in summary["models"]}
    section = section_view("rubric_adherence", SECTION, models, runs, charts(models, runs))
    return build_page([Part(summary, runs, [section])])


def open_times(path: Path) -> dict[str, float]:
    """How long a fresh browser takes, in seconds."""
    with sync_playwright() as driver:
        page = driver.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS).new_page()
        start = time.perf_counter()
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_selector("html[data-ready]")
        times = {"open": time.perf_counter() - start}
        page.wait_for_selector("html[data-drawn]")
        times["last_chart"] = time.perf_counter() - start
        start = time.perf_counter()
        page.locator("#board .open").last.click()
        page.wait_for_selector(".response")
        return times | {"drill_down": time.perf_counter() - start}


def main() -> None:
    """Builds, opens five times, prints the medians, and writes them unless the size was changed."""
    n_models, n_samples = (int(number) for number in sys.argv[1:] or (50, 2000))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(synthetic_page(n_models, n_samples), encoding="utf-8")
        seconds = pd.DataFrame([open_times(path) for _ in range(5)]).median().round(2).to_dict()
        result = {"models": n_models, "samples_per_model": n_samples, "megabytes": round(path.stat().st_size / 1e6, 2)}
    text = json.dumps({"command": "python -P benchmarks/report_page.py", **result, "seconds": seconds}, indent=1)
    print(text)
    if not sys.argv[1:]:
        RESULTS.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
