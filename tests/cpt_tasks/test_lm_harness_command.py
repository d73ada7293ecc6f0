"""`cpt-lm-eval`, and the commands of `cpt_tasks/lm_harness/README.md` as they are written there, on a tiny model."""

import inspect
import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval")
from inspect_ai.model import get_model
from lm_eval.tasks import TaskManager
from students import evaluated
from tiny_model import save_tiny_model

from cpt_tasks.benchmarks.best_of_n.task import best_of_n
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.lm_harness import command, include_path
from cpt_tasks.lm_harness.documents import Settings, settings_of
from cpt_tasks.report.logs import read_run
from judges.interval import jsonable

README = Path(__file__).parents[2] / "cpt_tasks" / "lm_harness" / "README.md"
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    for line in re.sub(r"\\\n\s*", "", block).splitlines()
]
MAX_TOKENS = 40
ADHERENCE, BEST = "cpt_rubric_adherence", "cpt_best_of_n"


def command_of(program: str, task: str) -> str:
    [line] = [line for line in COMMANDS if line.startswith(program) and f"--tasks {task}" in line]
    return line


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
    log = evaluated(task, model, max_tokens=MAX_TOKENS)
    responses = {row["doc"]["id"]: row["resps"][0][0] for row in samples}
    assert responses == {sample.id: sample.output.completion for sample in log.samples or []}
    rows = read_run(log.location).asked
    assert rows["score"].nunique() > 2  # responses worth comparing
    for name, statistic in STATISTICS.items():
        assert jsonable(numbers[f"{name},none"]) == jsonable(statistic(rows)), name
    [line] = re.findall(r"\|macro_accuracy +\|.*", shown)
    assert re.search(r"\|± +\|0\.\d+\|", line), line


@pytest.mark.slow
def test_best_of_n_of_an_adapter_samples_and_plain_lm_eval_finds_the_tasks(folder: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "BASE")
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(folder / "ADAPTER")
    command = command_of("cpt-lm-eval", "cpt_best_of_n").replace("--output_path out", "--output_path best")
    run(command.replace("top_k=0", f"top_k=0,max_gen_toks={MAX_TOKENS}"), folder)
    numbers, samples = results(folder / "best", "cpt_best_of_n")
    assert numbers["n_distinct,none"] > 3
    assert {len(row["filtered_resps"][0]) for row in samples} == {4}
    assert numbers["band_hit@1,none"] <= numbers["band_hit@2,none"] <= numbers["band_hit@4,none"]
    command = command_of("lm_eval run", "cpt_rubric_adherence").replace("--output_path out", "--output_path plain")
    run(f"{command} --limit 3 --gen_kwargs max_gen_toks={MAX_TOKENS}", folder)
    assert results(folder / "plain", "cpt_rubric_adherence")[0]["n_scored,none"] == 3


def test_the_command_adds_to_what_is_given_and_does_not_replace_it() -> None:
    def included(**given: Any) -> dict[str, Any]:
        return vars(command.included(Namespace(**({"include_path": None, "config": None} | given))))

    ours = {"include_path": include_path(), "config": None}
    assert included() == ours | {"apply_chat_template": True}
    assert included(config="run.yaml") == ours | {"config": "run.yaml"}
    both = {"include_path": [include_path(), "theirs"], "apply_chat_template": "named"}
    assert included(include_path="theirs", apply_chat_template="named") == ours | both


def test_the_command_without_lm_eval_names_the_extra_and_with_a_flag_the_folder_of_the_tasks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cpt-lm-eval", "--tasks", ADHERENCE, "--metadata", "rubric=measured"])
    with pytest.raises(SystemExit, match="^cpt-lm-eval: --metadata rubric: unknown, expected one of call_store"):
        command.main()
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install 'cpt-tasks\\[lm-eval\\]'"):
        command.main()
    monkeypatch.setattr(sys, "argv", ["cpt-lm-eval", "--include-path"])
    command.main()
    folder = Path(capsys.readouterr().out.strip())
    assert {path.name for path in folder.iterdir()} == {"_cpt_task", "cpt_best_of_n.yaml", "cpt_rubric_adherence.yaml"}


def test_defaults_are_those_of_the_inspect_tasks() -> None:
    defaults = {name: p.default for name, p in inspect.signature(rubric_adherence).parameters.items()}
    settings = vars(Settings())
    assert settings_of({}) == settings_of({"preset": "core"}) != settings_of({"preset": "full"})
    assert settings_of({"paraphrases": "train"}) == settings_of({"wording_split": "train"}) != settings_of({})
    shared = {name for name in settings.keys() & defaults.keys() if defaults[name] is not None}
    assert len(shared) == 8
    assert {name: settings[name] for name in shared} == {name: defaults[name] for name in shared}
    of_best = inspect.signature(best_of_n).parameters
    task = TaskManager(include_path=include_path(), include_defaults=False).load([BEST])["tasks"][BEST]
    assert task.config.repeats == task.settings.n_samples == of_best["n"].default
    assert task.settings.limit_per_cell == of_best["limit_per_cell"].default
