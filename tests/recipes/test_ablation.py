"""The ablation: its runs differ in the objective only, and its table adds up by hand."""

# ruff: noqa: E402 (imports follow the importorskip and the path that they need)

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import yaml
from ablation import CONFIG, STUDENTS, TRL, VARIANTS, plan
from ablation_table import STATISTICS, lines_of, metrics_of, over_seeds, page, show
from prepare_tiny import prepare
from run_commands import training_code
from tiny_model import make_rows, write_rows
from training.settings import ScriptArguments, check_settings
from training.trainer import CPTConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, ModelConfig, TrlParser
from trl import ScriptArguments as TrlArguments

ROOT = Path(__file__).parents[2]
OBJECTIVE = {"--twin_batching", "--joint_weight", "--score_offset", "--loss_type", "--loss_weights", "--beta"}


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def flags(command: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in command[command.index("--config") :]:
        if word.startswith("--"):
            name = word
            found[name] = []
        else:
            found[name].append(word)
    return found


@pytest.mark.parametrize("model", sorted(STUDENTS))
def test_variants_share_start_data_budget_and_judging_and_differ_in_the_objective(model: str) -> None:
    stages = {stage.name: stage for stage in plan(model, 3)}
    seen: set[str] = set()
    for stage in stages.values():
        assert set(stage.needs) <= seen
        assert all(Path(path).is_file() for path in stage.inputs)
        seen.add(stage.name)
    ours = {name: flags(stages[name].command) for name in VARIANTS if name != TRL}
    common = [{key: flag for key, flag in found.items() if key not in OBJECTIVE} for found in ours.values()]
    for found in common:
        del found["--output_dir"]
    assert all(found == common[0] for found in common)
    objectives = [{key: flag for key, flag in found.items() if key in OBJECTIVE} for found in ours.values()]
    assert len({json.dumps(found) for found in objectives}) == len(ours)
    plain = flags(stages[TRL].command)
    shared = ("--config", "--model_name_or_path", "--seed", "--max_steps", "--learning_rate")
    assert {key: plain[key] for key in shared} == {key: common[0][key] for key in shared}
    [folder], [train_file] = plain["--dataset_name"], common[0]["--train_file"]
    assert Path(train_file).parent == Path(folder)
    assert plain["--bf16"] == [str(common[0]["--cpu_bf16"] == ["on"])]
    asked = [stages[f"{name}/judged"].command for name in ("start", *VARIANTS)]
    settings = [command[command.index("-T") : command.index("--log-dir")] for command in asked]
    assert len({tuple(word for word in command if word not in VARIANTS) for command in settings}) == 1


def test_trl_and_ours_read_the_same_file_and_every_objective_is_valid() -> None:
    keys = set(yaml.safe_load(Path(CONFIG).read_text(encoding="utf-8")))
    assert keys <= {item.name for kind in (DPOConfig, ModelConfig) for item in fields(kind)}
    parser = TrlParser([ScriptArguments, CPTConfig, ModelConfig])
    trls = TrlParser([TrlArguments, DPOConfig, ModelConfig])
    for stage in plan("tiny", 0):
        if stage.name in VARIANTS:
            given = list(stage.command[stage.command.index("--config") :])
            script, dpo, model = (trls if stage.name == TRL else parser).parse_args_and_config(given)
            assert dpo.max_steps == STUDENTS["tiny"].steps
            if stage.name != TRL:
                check_settings(script, dpo, model)


def test_intervals_over_seeds_worked_by_hand() -> None:
    # mean 0.5, SD 0.1, t(0.975, 2) = 4.3027: 4.3027 * 0.1 / sqrt(3) = 0.2484
    found = over_seeds([0.4, 0.5, 0.6])
    assert [found[name] for name in ("value", "ci_low", "ci_high")] == pytest.approx([0.5, 0.2516, 0.7484], abs=1e-4)
    assert over_seeds([0.4]) == {"value": 0.4, "ci_low": None, "ci_high": None}
    assert over_seeds([0.5, 0.5])["ci_low"] == 0.5
    assert show(over_seeds([0.4, None, 0.6])) == "undefined"


def test_differences_are_between_runs_of_one_seed(tmp_path: Path) -> None:
    def run(name: str, twins: float, other: float) -> Path:
        models = []
        for variant in ("start", *VARIANTS):
            value = twins if variant == "twins" else other
            metrics = {name: {"value": value, "ci_low": value, "ci_high": value} for name in STATISTICS}
            models.append({"name": variant, "metrics": metrics})
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps({"models": models}))
        return tmp_path / name

    # other - twins is -0.1 for both seeds, so its interval has no width though the values differ by 0.4
    lines = {line["variant"]: line for line in lines_of([run("tiny-0", 0.3, 0.2), run("tiny-1", 0.7, 0.6)])}
    difference = lines["shuffled"]["differences"]["macro_accuracy"]
    assert list(difference.values()) == pytest.approx([-0.1, -0.1, -0.1])
    assert lines["twins"]["values"]["macro_accuracy"]["value"] == pytest.approx(0.5)
    assert lines["twins"]["differences"] == {}
    students: dict[str, Any] = {"tiny": {"about": "2 seeds", "lines": list(lines.values())}}
    [row] = [line for line in page(students).splitlines() if line.startswith("| shuffled ")]
    assert row.split(" | ")[-1] == "-0.10 [-0.10, -0.10] |"


def test_numbers_are_shown_with_their_interval() -> None:
    assert show({"value": 0.5, "ci_low": 0.4, "ci_high": 0.61}) == "0.50 [0.40, 0.61]"
    assert show({"value": 0.05, "ci_low": -0.1, "ci_high": 0.2}, "+") == "+0.05 [-0.10, +0.20]"
    assert show({"value": 0.5, "ci_low": None, "ci_high": None}) == "0.50"
    assert show(None) == ""


def test_the_tiny_model_trains_on_responses_and_its_folder_loads(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "train.jsonl", make_rows(4))
    prepare(path, seed=1, epochs=1, out=tmp_path / "tiny")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tiny")
    rendered = tokenizer.apply_chat_template(make_rows(1)[0]["prompt"], tokenize=False, add_generation_prompt=True)
    assert make_rows(1)[0]["prompt"][0]["content"] in rendered
    assert rendered.endswith("<|im_start|>assistant\n")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "tiny")
    assert model.config.vocab_size == len(tokenizer)
    log = json.loads((tmp_path / "tiny" / "prepared.json").read_text(encoding="utf-8"))["log"]
    assert log[-1]["train_loss"] > 0


def test_only_scripts_that_train_make_a_training_start_again() -> None:
    code = {Path(path).name for path in training_code()}
    assert {"dpo_lora.py", "twin_trainer.py", "objectives.py", "completion_head.py", "pairs.py"} <= code
    assert not code & {"ablation.py", "end_to_end.py", "run_commands.py"}


def test_the_committed_table_is_what_the_committed_runs_give() -> None:
    committed = json.loads((ROOT / "results/ablations/ablation.json").read_text(encoding="utf-8"))
    folders = [ROOT / "results/ablations" / f"tiny-{seed}" for seed in committed["tiny"]["seeds"]]
    assert len(folders) >= 5
    assert lines_of(folders) == committed["tiny"]["lines"]
    smollm2 = metrics_of(ROOT / "results/ablations/smollm2-42")
    assert {line["variant"]: line["values"] for line in committed["smollm2"]["lines"]} == smollm2
    assert page(committed) == (ROOT / "results/ablations/report.md").read_text(encoding="utf-8")
