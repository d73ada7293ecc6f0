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
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.lm_harness import command, include_path
from cpt_tasks.lm_harness.documents import Settings, settings_of

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
    """A folder with the README's BASE: a tiny model whose greedy answers differ from prompt to prompt; and ADAPTER."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("lm_eval")
    save_tiny_model(folder / "BASE")
    model = AutoModelForCausalLM.from_pretrained(folder / "BASE", dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter *= 8  # as it is initialised, it says one token for ever
    model.save_pretrained(folder / "BASE")
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(folder / "ADAPTER")
    return folder


def run(program: str, task: str, folder: Path, changes: dict[str, str], more: str = "") -> tuple[str, Any, list[Any]]:
    """What the README's command prints, its numbers and samples, with parts of it replaced."""
    command = command_of(program, task)
    for old, new in changes.items():
        command = command.replace(old, new)
    command += f" {more} --gen_kwargs max_gen_toks={MAX_TOKENS}{',top_k=0' if task == BEST else ''}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    out = folder / command.split("--output_path ")[1].split()[0]
    [result], [samples] = out.glob("*/results_*.json"), out.glob(f"*/samples_{task}_*.jsonl")
    rows = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    return done.stdout, json.loads(result.read_text(encoding="utf-8"))["results"][task], rows


@pytest.mark.slow
def test_a_real_model_gives_the_same_responses_in_both_harnesses(folder: Path) -> None:
    changes = {",peft=ADAPTER": "", "rubrics=measured limit_per_cell=4": "rubrics=broadcast limit_per_cell=2"}
    shown, _, samples = run("cpt-lm-eval", ADHERENCE, folder, changes)
    model = get_model("hf/local", model_path=str(folder / "BASE"), do_sample=False, dtype="float32", memoize=False)
    task = rubric_adherence("broadcast", judge="measured", limit_per_cell=2)
    log = evaluated(task, model, max_tokens=MAX_TOKENS)
    responses = {row["doc"]["id"]: row["resps"][0][0] for row in samples}
    assert responses == {sample.id: sample.output.completion for sample in log.samples or []}
    assert len(set(responses.values())) > 2  # worth comparing
    [line] = re.findall(r"\|macro_accuracy +\|.*", shown)
    assert re.search(r"\|± +\|0\.\d+ *\|", line), line


@pytest.mark.slow
def test_best_of_n_of_an_adapter_samples_and_plain_lm_eval_finds_the_tasks(folder: Path) -> None:
    _, numbers, samples = run("cpt-lm-eval", BEST, folder, {"--output_path out": "--output_path best"})
    assert numbers["n_distinct,none"] > 3
    assert {len(row["filtered_resps"][0]) for row in samples} == {4}
    assert numbers["band_hit@1,none"] <= numbers["band_hit@2,none"] <= numbers["band_hit@4,none"]
    plain = run("lm_eval run", ADHERENCE, folder, {"--output_path out": "--output_path plain"}, "--limit 3")
    assert plain[1]["n_scored,none"] == 3


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
    def defaults(task: Any) -> dict[str, Any]:
        parameters = {name: parameter.default for name, parameter in inspect.signature(task).parameters.items()}
        return {name: one for name, one in parameters.items() if one is not None}

    settings = Settings().model_dump()
    shared = settings.keys() & defaults(rubric_adherence).keys()
    assert len(shared) == 8
    assert settings | {name: defaults(rubric_adherence)[name] for name in shared} == settings
    assert settings_of({}) == settings_of({"preset": "core"}) != settings_of({"preset": "full"})
    assert [settings_of({"preset": name}).judge for name in ("core", "measured")] == ["model", "measured"]
    assert settings_of({"prompt_version": 2}) == settings_of({"prompt_version": "2"}) != settings_of({})
    assert settings_of({"wording_split": "train"}) != settings_of({})
    task = TaskManager(include_path=include_path(), include_defaults=False).load([BEST])["tasks"][BEST]
    assert task.config.repeats == task.settings.n_samples == defaults(best_of_n)["n"]
    assert task.settings.limit_per_cell == defaults(best_of_n)["limit_per_cell"]
