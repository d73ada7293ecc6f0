"""The commands of `cpt_tasks/lm_harness/README.md` as they are written there, on a tiny model, beside inspect's."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")
from inspect_ai import eval as inspect_eval
from inspect_ai.model import get_model
from tiny_model import save_tiny_model

from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.report.logs import read_run
from judges.interval import jsonable

README = Path(__file__).parents[2] / "cpt_tasks" / "lm_harness" / "README.md"
COMMANDS = [
    command
    for block in re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    for command in re.sub(r"\\\n\s*", "", block).splitlines()
]
MAX_TOKENS = 40


def command_of(program: str, task: str) -> str:
    [result] = [command for command in COMMANDS if command.startswith(program) and f"--tasks {task}" in command]
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's BASE: a tiny model whose greedy answers differ from prompt to prompt."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("lm_eval")
    save_tiny_model(folder / "BASE")
    model = AutoModelForCausalLM.from_pretrained(folder / "BASE", dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter *= 8  # as it is initialised, it says one token for ever
    model.save_pretrained(folder / "BASE")
    return folder


@pytest.fixture
def with_adapter(folder: Path) -> Path:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "BASE")
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(folder / "ADAPTER")
    return folder


def run(command: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, shell=True, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def results(folder: Path, task: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    [result] = folder.glob("*/results_*.json")
    [samples] = folder.glob(f"*/samples_{task}_*.jsonl")
    numbers = json.loads(result.read_text(encoding="utf-8"))["results"][task]
    return numbers, [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]


def test_a_real_model_gets_the_same_responses_and_numbers_in_both_harnesses(folder: Path) -> None:
    command = command_of("cpt-lm-eval", "cpt_rubric_adherence")
    command = command.replace(",peft=ADAPTER", "").replace(
        "rubrics=measured limit_per_cell=4", "rubrics=broadcast limit_per_cell=2"
    )
    shown = run(f"{command} --gen_kwargs max_gen_toks={MAX_TOKENS}", folder)
    numbers, samples = results(folder / "out", "cpt_rubric_adherence")
    model = get_model("hf/local", model_path=str(folder / "BASE"), do_sample=False, dtype="float32", memoize=False)
    task = rubric_adherence("broadcast", judge="measured", limit_per_cell=2)
    [log] = inspect_eval(task, model=model, max_tokens=MAX_TOKENS, max_connections=1, display="none")
    assert log.status == "success", log.error
    responses = {row["doc"]["id"]: row["resps"][0][0] for row in samples}
    assert responses == {sample.id: sample.output.completion for sample in log.samples or []}
    rows = read_run(log.location).asked
    assert rows["score"].nunique() > 2  # responses worth comparing
    for name, statistic in STATISTICS.items():
        assert jsonable(numbers[f"{name},none"]) == jsonable(statistic(rows)), name
    [line] = re.findall(r"\|macro_accuracy +\|.*", shown)
    assert re.search(r"\|± +\|0\.\d+\|", line), line


@pytest.mark.slow
def test_best_of_n_of_a_real_model_samples(with_adapter: Path) -> None:
    command = command_of("cpt-lm-eval", "cpt_best_of_n").replace("--output_path out", "--output_path best")
    run(command.replace("top_k=0", f"top_k=0,max_gen_toks={MAX_TOKENS}"), with_adapter)
    numbers, samples = results(with_adapter / "best", "cpt_best_of_n")
    assert numbers["n_distinct,none"] > 3
    assert {len(row["filtered_resps"][0]) for row in samples} == {4}
    assert numbers["band_hit@1,none"] <= numbers["band_hit@2,none"] <= numbers["band_hit@4,none"]


@pytest.mark.slow
def test_plain_lm_eval_finds_the_tasks(with_adapter: Path) -> None:
    command = command_of("lm_eval run", "cpt_rubric_adherence").replace("--output_path out", "--output_path plain")
    run(f"{command} --limit 3 --gen_kwargs max_gen_toks={MAX_TOKENS}", with_adapter)
    assert results(with_adapter / "plain", "cpt_rubric_adherence")[0]["n_scored,none"] == 3
