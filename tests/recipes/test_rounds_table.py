"""The table of what each stage buys, of summaries whose numbers are known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "recipes/experiments/rounds_table.py"


def write_seed(folder: Path, accuracies: dict[str, float], seconds: dict[str, float]) -> None:
    metrics = {"somers_d": {"value": 0.5}, "band_error": {"value": 9.0}, "kendall_tau_b": {"value": 0.25}}
    models = [
        {
            "name": name,
            "tasks": {"rubric_adherence": {"n": 288, "metrics": {**metrics, "macro_accuracy": {"value": value}}}},
        }
        for name, value in accuracies.items()
    ]
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps({"schema": 2, "models": models}), encoding="utf-8")
    stages = {name: {"command": "x", "seconds": spent} for name, spent in seconds.items()}
    (folder / "stages.json").write_text(json.dumps(stages), encoding="utf-8")


def run(folder: Path, code: int = 0) -> str:
    done = subprocess.run([sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def rows_of(page: str) -> dict[str, list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for line in lines if (cells := [cell.strip() for cell in line.strip("|").split("|")])}


def test_means_over_seeds_have_t_intervals_and_minutes_are_those_of_training_and_texts(tmp_path: Path) -> None:
    seconds = {"train": 600.0, "round-1/responses": 60.0, "round-1/train": 120.0, "rounds/base": 999.0}
    for seed, last in ((0, 0.8), (1, 0.82), (2, 0.84)):
        accuracies = {"base": 0.33, "sft": 0.4, "twins": 0.6, "round-1": last}
        write_seed(tmp_path / f"seed-{seed}/rounds", accuracies, seconds)
    page = run(tmp_path)
    assert (tmp_path / "rounds.md").read_text(encoding="utf-8") in page
    rows = rows_of(page)
    assert list(rows) == ["stage", "base", "sft", "twins", "round-1"]
    # mean .82, standard error .02 / sqrt(3), t of 2 degrees 4.303: reach .0497
    assert rows["round-1"] == [
        "0.82 [0.77, 0.87]", "0.80, 0.82, 0.84", "0.50 [0.50, 0.50]", "9.00 [9.00, 9.00]", "0.25 [0.25, 0.25]", "3",
    ]  # fmt: skip
    assert [rows[name][-1] for name in ("base", "sft", "twins")] == ["", "", "10"]
    assert "288 cells" in page
    assert "over seeds 0, 1, 2" in page


def test_one_seed_has_no_interval_and_none_is_said(tmp_path: Path) -> None:
    write_seed(tmp_path / "seed-0/rounds", {"twins": 0.6}, {"train": 30.0})
    assert rows_of(run(tmp_path))["twins"][:2] == ["0.60", "0.60"]
    assert "expected those of recipes/experiments/rounds.mk" in run(tmp_path / "nothing", code=2)
