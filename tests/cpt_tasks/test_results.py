"""The committed results: logs give them again, the README shows them; coverage; no log says where it was made."""

import json
import re
import runpy
import shlex
import subprocess
from pathlib import Path

import pytest
from inspect_ai.log import read_eval_log

from cpt_tasks.report.logs import find_logs, read_run
from cpt_tasks.report.report import summarise

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", ["smollm2-135m", "smollm2-135m/curve"])
def test_logs_give_every_number_of_a_committed_report_again(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    report = Path("results") / folder
    logs = shlex.split((report / "command.txt").read_text(encoding="utf-8"))[2:-2]  # cpt report LOGS --out FOLDER
    again = json.dumps(summarise([read_run(path) for path in find_logs(logs)]))
    # to nine decimals: on another processor a sum may end in other digits
    ours, committed = (
        json.loads(text, parse_float=lambda number: round(float(number), 9))["models"]
        for text in (again, (report / "summary.json").read_text(encoding="utf-8"))
    )
    assert ours == committed


def test_the_numbers_and_answers_of_the_readme_are_those_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [".ci/readme.py", "--check"])
    runpy.run_path(str(ROOT / ".ci" / "readme.py"), run_name="__main__")  # exits with a sentence if they are not


def test_what_make_demo_writes_is_not_committed() -> None:
    listed = ["git", "ls-files", "results/demo", "results/demo-smoke"]
    assert subprocess.check_output(listed, cwd=ROOT) == b""


def test_intervals_of_regular_students_hold_the_truth_where_a_report_prints_them() -> None:
    # `make coverage`: 200 data sets a cell, so two standard errors of a coverage of 95% are 3 points
    rows = json.loads((ROOT / "results" / "benchmarks" / "coverage.json").read_text(encoding="utf-8"))["rows"]
    assert all(row["without_interval"] == 1 for row in rows if row["user_prompts"] == 5)
    regular = [
        row for row in rows if row["user_prompts"] == 24 and "perfect" not in row["students"] and row["rubrics"] < 18
    ]
    assert len(regular) == 2 * 3 * 6
    assert sum(0.89 <= row["coverage"] <= 0.98 for row in regular) >= 0.9 * len(regular)


def test_what_pages_say_of_multi_turn_and_of_coverage_is_in_their_results() -> None:
    files = ("README.md", "report.md", "seed_history/report.md")
    page, *reports = ((ROOT / "results/multi_turn" / name).read_text("utf-8") for name in files)
    said = re.findall(r"(?<![\d.])-?\.\d\d", page)
    assert len(said) > 20
    assert [one for one in said if one.replace(".", "0.") not in "".join(reports)] == []
    switch: dict[str, str] = {}
    for folder, whose in (("", "own"), ("seed_history/", "seed")):
        summary = json.loads((ROOT / f"results/multi_turn/{folder}summary.json").read_text(encoding="utf-8"))
        for model in summary["models"]:
            metrics = model["tasks"]["multi_turn"]["arms"][f"switch system_prompt, history {whose}"]["metrics"]
            numbers = (metrics[name]["value"] for name in ("switch_accuracy", "fresh_accuracy", "history_cost"))
            after, fresh, cost = (f"{number:.2f}".removeprefix("0") for number in numbers)
            key = f"{model['name'].removeprefix('smollm2-135m')} {whose}"
            switch |= {key: after, f"{key} fresh": fresh, f"{key} cost": cost}
    text = " ".join(page.split())
    for sentence in (
        "in the new band in {-tuned own}, of a fresh conversation in {-tuned own fresh}.",
        "follows a new system prompt in {-tuned-history own} (fresh {-tuned-history own fresh})",
        "history falls from {-tuned own cost} to {-tuned-history own cost}.",
        "no better for that ({-tuned seed})",
        "earlier turns it follows in {-tuned-history seed}.",
    ):
        assert re.sub(r"\{([^}]+)\}", lambda name: switch[name[1]], sentence) in text
    rows = json.loads((ROOT / "results" / "benchmarks" / "coverage.json").read_text(encoding="utf-8"))["rows"]
    for prompts, worst in ((24, (0.94, 0.82)), (8, (0.92, 0.79))):
        of_prompts = [row for row in rows if row["user_prompts"] == prompts]
        assert sum(row["coverage"] for row in of_prompts) / len(of_prompts) == pytest.approx(0.95, abs=0.005)
        for name, expected in zip(("macro_accuracy", "band_error"), worst, strict=True):
            lowest = min(row["coverage"] for row in of_prompts if row["statistic"] == name)
            assert lowest == pytest.approx(expected, abs=0.0051)


def test_no_committed_log_says_where_it_was_made() -> None:
    for path in sorted(ROOT.glob("results/**/*.eval")):
        header = read_eval_log(str(path), header_only=True)
        assert not re.search(r"/(?:work|root|home)/", header.model_dump_json()), path
        revision = header.eval.revision
        assert revision is None or not revision.origin.startswith(("/", "file:")), path
