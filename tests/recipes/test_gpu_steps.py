"""The benchmark of steps on a GPU, as far as a machine without one can tell."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch
from training.pairs import load_pairs
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

SCRIPT = Path(__file__).parents[2] / "benchmarks/gpu_steps.py"


@pytest.fixture(scope="module")
def gpu_steps() -> Any:
    spec = spec_from_file_location("gpu_steps", SCRIPT)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# as their model cards say; the first is that of the model that prepare_smollm2.py unpacks
@pytest.mark.parametrize(
    ("shape", "parameters"),
    [("SmolLM2-135M", 134_515_008), ("Qwen3-4B", 4_022_468_096), ("Mistral-Nemo-12B", 12_247_782_400)],
)
def test_shapes_have_the_size_of_the_released_models(gpu_steps: Any, shape: str, parameters: int) -> None:
    architecture, _, sizes = gpu_steps.SHAPES[shape]
    tied = {"tie_word_embeddings": architecture != "mistral"}
    config = AutoConfig.for_model(
        architecture, pad_token_id=0, **dict(zip(gpu_steps.SIZES.split(), sizes, strict=True)), **tied
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert sum(weight.numel() for weight in model.parameters()) == parameters


def test_rows_are_twins_that_fill_the_longest_max_length(gpu_steps: Any, tmp_path: Path) -> None:
    gpu_steps.make_inputs("Qwen3-4B", tmp_path, on_cpu=True)
    rows = load_pairs(str(tmp_path / "train.jsonl"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert len(rows) == 2 * gpu_steps.TWINS
    assert min(len(tokenizer.encode(row["chosen"][0]["content"])) for row in rows) >= 2048


def test_a_command_fails_with_its_cause_and_not_with_what_its_launcher_says(gpu_steps: Any) -> None:
    code = "import sys; print('ValueError: 3'); sys.exit('subprocess.CalledProcessError: Command failed')"
    assert gpu_steps.run([sys.executable, "-c", code], 60).failure == "ValueError: 3"
    assert gpu_steps.run([sys.executable, "-c", "import os; print(1); os._exit(3)"], 60).failure == "1"
    assert gpu_steps.run([sys.executable, "-c", "print('ValueError: only said')"], 60).failure is None


def test_a_command_that_takes_too_long_is_killed_with_the_sessions_that_it_started(gpu_steps: Any) -> None:
    code = "import subprocess; subprocess.run(['sleep', '60'], start_new_session=True)"
    begun = time.monotonic()
    assert gpu_steps.run([sys.executable, "-c", code], 2).failure == "not done within 2 seconds"
    assert time.monotonic() - begun < 30  # what it started would have held the pipe for 60


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--out", tmp_path / "x.json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("gpu_steps: torch finds no CUDA device here, expected one; --cpu-smoke")
    assert not (tmp_path / "x.json").exists()


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
