"""The benchmark of steps on a GPU, as far as a machine without one can tell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/gpu_steps.py"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_smoke_run_trains_every_case_whose_packages_are_there(tmp_path: Path) -> None:
    out = tmp_path / "gpu_steps.json"
    subprocess.run([sys.executable, SCRIPT, "--cpu-smoke", "--out", out, "--minutes", "20"], check=True)
    cases = json.loads(out.read_text())["cases"]
    assert len(cases) == 8
    for case in cases:
        assert case["result"] == "ran" or case["result"].endswith("is not installed"), case
        if case["result"] == "ran":
            assert (case["estimated_gib"], case["peak_memory_gib"]) == (1.5, None)  # CUDA's share; nothing measured
            assert case["losses"]["dpo"][0] > 0 and len(case["losses"]["dpo"]) == 3
            assert case["tokens_per_step"] == 2 * 4 * 128
