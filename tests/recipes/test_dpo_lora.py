"""The recipe end to end on a tiny model, by the command a user types."""

# ruff: noqa: E402 (imports follow the importorskip and the path that they need)

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
RECIPES = Path(__file__).parents[2] / "recipes"

import dpo_lora
import torch
import trl
import yaml
from dpo_lora import main, run
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tiny_model import CHATML, make_rows, make_tokenizer, save_tiny_model, write_rows
from training import RecipeError
from training.card import base_licence
from training.figure import curve, draw_training
from training.plan import make_plan, stage_keys
from training.precision import choose_cpu_precision
from training.run_files import last_checkpoint, portable, portable_arguments, portable_values, sha256
from training.settings import BEST_KEYS, MODEL_KEYS, STAGE_KEYS, ScriptArguments, stage_settings
from training.trainer import CPTConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import ModelConfig, TrlParser

from cpt_tasks.check_adapter import check_adapter

BIN = Path(sys.executable).parent


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "model_name_or_path": "tiny",
        "dtype": "float32",
        "use_peft": True,
        "lora_r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.0,
        "lora_target_modules": ["q_proj", "v_proj"],
        "train_file": "train.jsonl",
        "eval_file": "eval.jsonl",
        "max_length": 256,
        "sft_epochs": 1,
        "sft_learning_rate": 1.0e-2,
        "sft_batch_size": 4,
        "num_train_epochs": 1,
        "learning_rate": 1.0e-2,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "use_cpu": True,
        "activation_checkpointing": False,
        "logging_steps": 1,
        "save_steps": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "sample_prompts": 2,
        "sample_tokens": 4,
        "output_dir": "out",
    } | changes


def write_config(folder: Path, name: str = "config.yaml", **changes: Any) -> str:
    (folder / name).write_text(yaml.safe_dump(settings(**changes)), encoding="utf-8")
    return name


def parse(*arguments: str) -> tuple[ScriptArguments, CPTConfig, ModelConfig]:
    script, dpo, model = TrlParser((ScriptArguments, CPTConfig, ModelConfig)).parse_args_and_config(list(arguments))
    return script, dpo, model


def make_workspace(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    save_tiny_model(folder / "tiny")
    (folder / "tiny/README.md").write_text("---\nlicense: apache-2.0\n---\n# A tiny model\n")
    write_rows(folder / "train.jsonl", make_rows(6))
    write_rows(folder / "eval.jsonl", make_rows(2, start=100))
    return folder


def environment() -> dict[str, str]:
    return os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def launch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "accelerate"), "launch", "--cpu", str(RECIPES / "dpo_lora.py"), *arguments]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=200)


def go(*arguments: str) -> None:
    """The script in this process, which saves the ten seconds of imports."""
    run(*parse(*arguments))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model, data and one finished run made by the literal command, in `out`."""
    folder = make_workspace(tmp_path_factory.mktemp("recipe") / "work")
    write_config(folder, eval_strategy="steps", eval_steps=2)
    done = launch(folder, "--config", "config.yaml", "--merge", "true")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def here(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    return workspace


def test_launch_writes_every_output(here: Path) -> None:
    names = {path.name for path in (here / "out").iterdir()}
    assert names >= {
        *("adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "chat_template.jinja"),
        *("training.png", "run_manifest.json", "log_history.json", "samples.jsonl", "README.md", "sft", "merged"),
    }
    assert "ref" not in names
    samples = [json.loads(line) for line in (here / "out/samples.jsonl").read_text().splitlines()]
    # SFT evaluates once an epoch, DPO at step 2 and at the end
    assert [(sample["stage"], sample["step"]) for sample in samples[::2]] == [("sft", 3), ("dpo", 2), ("dpo", 3)]
    assert samples[0]["prompt"][0]["role"] == "system"
    assert {path.name for path in (here / "out" / "sft").iterdir()} >= {"adapter_model.safetensors", "README.md"}


def test_sft_lowers_the_loss_and_dpo_separates_twins(here: Path) -> None:
    history = json.loads((here / "out/log_history.json").read_text())
    sft = [entry["loss"] for entry in history["sft"] if "loss" in entry]
    dpo = [entry for entry in history["dpo"] if "loss" in entry]
    assert len(sft) == len(dpo) == 3
    assert sft[-1] < sft[0]
    assert dpo[0]["loss"] == pytest.approx(0.6931, abs=1e-4)  # ln 2: at the first step the policy is the reference
    assert dpo[0]["twins/sum_margin"] == pytest.approx(0, abs=1e-5)
    assert dpo[-1]["twins/sum_margin"] > 0.01
    assert any("eval_twins/both_correct" in entry for entry in history["dpo"])


def test_reference_is_the_sft_adapter(here: Path) -> None:
    sft = load_file(here / "out/sft/adapter_model.safetensors")
    reference = load_file(Path(last_checkpoint(here / "out") or "") / "ref/adapter_model.safetensors")
    tuned = load_file(here / "out/adapter_model.safetensors")
    assert sft.keys() == reference.keys() == tuned.keys()
    assert all(torch.equal(sft[name], reference[name]) for name in sft)
    assert not any(torch.equal(sft[name], tuned[name]) for name in sft)


def test_adapter_loads_with_peft_and_equals_the_merged_model(here: Path) -> None:
    config = json.loads((here / "out/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    ids = torch.tensor([AutoTokenizer.from_pretrained("out").encode("Write passage 3 about a harbour.")])
    with torch.no_grad():
        base = AutoModelForCausalLM.from_pretrained("tiny")(ids).logits
        tuned = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("tiny"), "out")(ids).logits
        merged = AutoModelForCausalLM.from_pretrained("out/merged")(ids).logits
    assert (tuned - base).abs().max() > 1e-3
    torch.testing.assert_close(merged, tuned, rtol=0, atol=1e-5)


def test_manifest_says_what_made_the_adapter(here: Path) -> None:
    manifest = json.loads((here / "out/run_manifest.json").read_text())
    assert manifest["schema"] == json.loads((here / "out/run_state.json").read_text())["schema"] == 1
    assert manifest["argv"] == ["--config", "config.yaml", "--merge", "true"]
    assert manifest["steps"] == {"sft": 3, "dpo": 3}
    assert [report["stage"] for report in manifest["preflight"]] == ["SFT", "DPO", "SFT", "DPO"]
    assert manifest["preflight"][1]["twins"] == 6
    assert manifest["precision"] == {"autocast": "none", "cpu_bf16_speedup": None}
    assert manifest["settings"]["dpo"]["bf16"] is False
    assert manifest["chat_template_repair"] is None
    assert manifest["metrics"]["dpo"]["eval_loss"] > 0
    assert len(manifest["data"]["train"]["sha256"]) == len(manifest["base_model"]["weight_sha256"]["model.safetensors"])


def test_card_says_base_licence_data_metrics_and_command(here: Path) -> None:
    card = (here / "out/README.md").read_text()
    manifest = json.loads((here / "out/run_manifest.json").read_text())
    assert "license: apache-2.0\n" in card.split("---")[1]
    assert manifest["base_model"]["licence"] == "apache-2.0"
    assert manifest["data"]["train"]["sha256"] in card
    assert (
        f"| eval_loss | {manifest['metrics']['sft']['eval_loss']:.4g} | {manifest['metrics']['dpo']['eval_loss']:.4g}"
        in card
    )
    assert "| eval_twins/both_correct |  | " in card
    assert "    accelerate launch recipes/dpo_lora.py --config config.yaml --merge true\n" in card
    assert "arXiv" in card
    assert "base_model" not in card  # a local folder is no hub name
    assert "DPO" not in (here / "out/sft/README.md").read_text()


def test_licence_is_left_out_where_nobody_states_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert base_licence(str(tmp_path), None) is None
    (tmp_path / "README.md").write_text("# A model\n")
    assert base_licence(str(tmp_path), None) is None
    assert base_licence("nobody/such-a-model", None) is None  # offline


def test_check_passes_the_finished_adapter(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_adapter(Path("out"), None, skip_logits=False)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["ok"] * 4


def test_no_absolute_path_in_any_readable_output(workspace: Path, tmp_path: Path) -> None:
    texts = [path for path in workspace.glob("out/**/*") if path.suffix in (".json", ".jsonl", ".md", ".jinja")]
    assert len(texts) > 10
    roots = (str(workspace), str(Path.home()), sys.prefix)
    assert [path.name for path in texts if any(root in path.read_text() for root in roots)] == []
    assert portable(str(tmp_path / "x/data.jsonl")) == "data.jsonl"
    assert portable(f"--train_file={tmp_path}/data.jsonl") == "--train_file=data.jsonl"
    assert portable(str(Path.cwd() / "a/b.yaml")) == "a/b.yaml"
    assert portable("meta/model") == "meta/model"


def test_no_token_reaches_the_manifest() -> None:
    arguments = ["--hub_token", "hf_a", "--hub-token=hf_b", "--seed", "1"]
    assert portable_arguments(arguments) == ["--hub_token", "<hidden>", "--hub-token=<hidden>", "--seed", "1"]
    assert portable_values({"model_init_kwargs": {"token": "hf_c"}, "pad_token": "x"}) == {
        "model_init_kwargs": {"token": "<hidden>"},
        "pad_token": "x",
    }


def test_judged_samples_are_scored_by_level_in_log_file_and_figure(here: Path) -> None:
    rows = make_rows(2, start=100)
    rows[0]["prompt"][1]["content"] += " One\u2028line, not two\u0085."  # neither ends a line of the file
    for row in rows:
        names = {"low": "low", "high": "extremely_high"}
        row |= {"rubric": "broadcast", "level": names[row["level"]], "rejected_level": names[row["rejected_level"]]}
    write_rows(here / "judged.jsonl", rows)
    samples = ("--sample_prompts", "4", "--sample_tokens", "40", "--judge_samples", "true")
    go("--config", "config.yaml", "--eval_file", "judged.jsonl", *samples, "--output_dir", "judged")
    written = [json.loads(line) for line in (here / "judged/samples.jsonl").read_text("utf-8").split("\n") if line]
    assert {sample["step"] for sample in written if sample["stage"] == "dpo"} == {2, 3}
    assert all(0 <= sample["score"] <= 100 and sample["judge_failure"] == "" for sample in written)
    history = json.loads((here / "judged/log_history.json").read_text())["dpo"]
    for level in ("low", "extremely_high"):
        steps, values = curve(history, f"eval_score/{level}")
        assert steps == [2, 3]
        for step, value in zip(steps, values, strict=True):
            found = [
                row["score"] for row in written if (row["stage"], row["step"], row["level"]) == ("dpo", step, level)
            ]
            assert value == pytest.approx(sum(found) / len(found))
    # judging draws no random number and ends no running mean
    go("--config", "config.yaml", "--eval_file", "judged.jsonl", "--output_dir", "unjudged")
    assert sha256(here / "judged/adapter_model.safetensors") == sha256(here / "unjudged/adapter_model.safetensors")
    losses = [entry["loss"] for entry in history if "loss" in entry]
    unjudged = json.loads((here / "unjudged/log_history.json").read_text())["dpo"]
    assert losses == [entry["loss"] for entry in unjudged if "loss" in entry]


def test_missing_data_is_made_by_the_commands_of_the_configuration(here: Path) -> None:
    made = ("--train_file", "made/train.jsonl", "--output_dir", "from-made", "--dry_run", "true", "--max_length", "900")
    with pytest.raises(RecipeError, match="prepare: 'cpt twins --no-such-option' failed"):
        go("--config", "config.yaml", *made, "--prepare", "cpt twins --no-such-option")
    twins, never = "cpt twins --limit 4 --out made", "python recipes/experiments/prepare_tiny.py --no-such-option"
    go("--config", "config.yaml", *made, "--prepare", twins, never)  # stops when all is there
    assert Path("made/train.jsonl").is_file()
    go("--config", "config.yaml", *made, "--prepare", never)


@pytest.mark.parametrize(
    "command", ["rm -rf /", "cpt calls", "python recipes/dpo_lora.py", "python -c pass", "bash x/prepare_tiny.py", ""]
)
def test_a_shared_configuration_runs_none_but_our_own_commands(here: Path, command: str) -> None:
    with pytest.raises(RecipeError, match="prepare: .* is not run, expected 'cpt twins ...' or"):
        go("--config", "config.yaml", "--prepare", command)


def test_rubrics_that_cannot_be_judged_stop_a_run_before_it_starts(here: Path) -> None:
    samples = ("--sample_prompts", "2", "--judge_samples", "true", "--output_dir", "never")
    with pytest.raises(RecipeError, match="judge_samples: .*rubric 'noir' not found"):
        go("--config", "config.yaml", *samples)
    with pytest.raises(RecipeError, match="judge_samples is true without eval_file"):
        go("--config", write_config(here, "no-eval.yaml", eval_file=None), *samples)
    with pytest.raises(RecipeError, match="judge_samples is true and sample_prompts 0"):
        go("--config", "config.yaml", "--sample_prompts", "0", *samples[2:])
    assert not Path("never").exists()


def test_second_start_says_finished_and_trains_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (here / "out/adapter_model.safetensors").stat().st_mtime_ns
    go("--config", "config.yaml", "--merge", "true", "--output_dir", str(here / "out"))
    assert "finished already" in capsys.readouterr().err
    assert (here / "out/adapter_model.safetensors").stat().st_mtime_ns == before


def test_finished_folder_of_other_settings_is_refused(here: Path) -> None:
    with pytest.raises(RecipeError, match="out: holds a finished run of other data or settings"):
        go("--config", "config.yaml", "--beta", "0.2")


def test_sft_stage_is_reused_for_other_dpo_settings_and_retrained_for_others(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = (here / "out/sft/run_state.json").read_text()
    subprocess.run(["cp", "-r", "out/sft", "reused-sft"], check=True)
    Path("reused").mkdir()
    Path("reused-sft").rename("reused/sft")
    go("--config", "config.yaml", "--output_dir", "reused", "--beta", "0.2", "--eval_strategy", "no")
    assert "reused/sft: SFT stage is complete, reused" in capsys.readouterr().err
    assert Path("reused/sft/run_state.json").read_text() == state
    Path("reused/run_state.json").unlink()
    subprocess.run("rm -r reused/checkpoint-*", shell=True, check=True)
    go("--config", "config.yaml", "--output_dir", "reused", "--sft_learning_rate", "0.02", "--eval_strategy", "no")
    assert "reused/sft: SFT stage of other data or settings, trained anew" in capsys.readouterr().err
    assert Path("reused/sft/run_state.json").read_text() != state


def test_zero_dpo_epochs_leave_the_sft_adapter(here: Path) -> None:
    go("--config", "config.yaml", "--output_dir", "sft-only", "--num_train_epochs", "0", "--eval_strategy", "no")
    sft, final = (load_file(f"sft-only/{name}adapter_model.safetensors") for name in ("sft/", ""))
    assert all(torch.equal(sft[name], final[name]) for name in sft)
    manifest = json.loads(Path("sft-only/run_manifest.json").read_text())
    assert list(manifest["metrics"]) == ["sft"]


def test_zero_sft_epochs_train_dpo_against_the_base_model(here: Path) -> None:
    go("--config", "config.yaml", "--output_dir", "dpo-only", "--sft_epochs", "0", "--max_train_pairs", "2")
    assert not Path("dpo-only/sft").exists()
    assert not Path(last_checkpoint(Path("dpo-only")) or "", "ref").exists()
    manifest = json.loads(Path("dpo-only/run_manifest.json").read_text())
    assert manifest["preflight"][0]["rows"] == 4
    assert list(manifest["metrics"]) == ["dpo"]


def test_folded_template_is_trained_saved_and_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("tiny", "tiny-gemma")
    gemma = (Path(trl.__file__).parent / "chat_templates/gemma.jinja").read_text()
    make_tokenizer(gemma.replace("<end_of_turn>", "<|im_end|>")).save_pretrained("tiny-gemma")
    go("--config", "config.yaml", "--model_name_or_path", "tiny-gemma", "--output_dir", "folded", "--max_steps", "1")
    assert "chat template repaired: system text folded into the user turn" in capsys.readouterr().err
    assert json.loads(Path("folded/run_manifest.json").read_text())["chat_template_repair"].startswith(
        "system text folded"
    )
    assert "chat template was repaired: system text folded" in Path("folded/README.md").read_text()
    system, user = make_rows(1)[0]["prompt"]
    text = AutoTokenizer.from_pretrained("folded").apply_chat_template([system, user], tokenize=False)
    assert f"user\n{system['content']}\n\n{user['content']}<|im_end|>" in text
    assert check_adapter(Path("folded"), None, skip_logits=True)


def test_dry_run_prints_the_plan_and_writes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    go("--config", "config.yaml", "--output_dir", "dry", "--dry_run", "true")
    plan = json.loads(capsys.readouterr().out)
    assert plan["steps"] == {"sft": 3, "dpo": 3}
    assert not Path("dry").exists()


def test_template_that_drops_the_system_turn_stops_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_workspace(tmp_path)
    ignores_system = CHATML.replace("in messages %}", "in messages if message.role != 'system' %}")
    make_tokenizer(ignores_system).save_pretrained(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path)
    monkeypatch.setattr(sys, "argv", ["dpo_lora.py", "--config", config, "--repair_chat_template", "false"])
    with pytest.raises(SystemExit, match="dpo_lora: error: SFT preflight: row 0: the chat template drops the system"):
        main()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_peft": False}, "use_peft is false, expected true"),
        ({"per_device_train_batch_size": 3}, "per_device_train_batch_size is 3, expected an even number"),
        ({"sft_epochs": 0, "num_train_epochs": 0}, "there is nothing to train"),
        ({"eval_file": None, "eval_strategy": "steps", "eval_steps": 1}, "eval_strategy is 'steps' without eval_file"),
        ({"joint_weight": 0.5, "twin_batching": False}, "joint_weight is set with twin_batching: false"),
        ({"joint_weight": 0.5, "loss_type": ["sigmoid_norm"]}, "joint_weight is set with loss_type sigmoid_norm"),
        ({"score_offset": 0.5, "loss_type": ["ipo"]}, "score_offset goes with the losses"),
        ({"enable_thinking": False}, "enable_thinking is set, but the chat template has no such switch"),
        ({"train_file": "none.jsonl"}, "none.jsonl: no such file"),
        ({"eval_file": "train.jsonl"}, "share 6 values of pair_id (first: '0')"),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(here: Path, changes: dict[str, Any], message: str) -> None:
    path = here / "bad.yaml"
    path.write_text(yaml.safe_dump(settings(output_dir="bad", **changes)))
    with pytest.raises(RecipeError, match=re.escape(message)):
        go("--config", str(path))


# one other value of everything that must, and that must not, tell two runs apart
CHANGES_THE_RUN: dict[str, Any] = {
    "beta": 0.2,
    "seed": 1,
    "lora_r": 8,
    "learning_rate": 2e-2,
    "sft_learning_rate": 2e-2,
    "sft_epochs": 2,
    "max_length": 200,
    "joint_weight": 0.5,
    "twin_batching": False,
    "max_train_pairs": 2,
    "train_file": "other.jsonl",
    "eval_file": None,
    "weight_decay": 0.1,
    "model_name_or_path": "other",
}
SAYS_MORE = {"sample_prompts": 4, "sample_tokens": 9, "save_steps": 3, "logging_steps": 5, "report_to": "tensorboard"}
SAYS_MORE |= {"merge": True, "output_dir": "elsewhere", "eval_strategy": "epoch", "run_name": "x", "joint_weight": 0.0}
SAYS_MORE |= {
    "per_device_eval_batch_size": 2,
    "hub_model_id": "me/x",
    "dataloader_num_workers": 1,
    "save_total_limit": 1,
}


@pytest.fixture
def key_of(here: Path) -> Callable[..., str]:
    def key(**changes: Any) -> str:
        path = write_config(here, "key.yaml", **changes)
        return stage_keys(make_plan(*parse("--config", path)))[1]

    if not Path("other").exists():
        shutil.copytree("tiny", "other")
        weights = load_file("other/model.safetensors")
        save_file({name: weight * 2 for name, weight in weights.items()}, "other/model.safetensors", {"format": "pt"})
        write_rows(Path("other.jsonl"), make_rows(5))
    return key


def test_what_changes_the_result_changes_the_key_and_nothing_else_does(key_of: Callable[..., str]) -> None:
    known = key_of()
    assert [name for name, value in SAYS_MORE.items() if key_of(**{name: value}) != known] == []
    assert [name for name, value in CHANGES_THE_RUN.items() if key_of(**{name: value}) == known] == []


def test_evaluation_counts_where_it_picks_the_checkpoint(key_of: Callable[..., str]) -> None:
    best = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 2, "save_steps": 2}
    assert len({key_of(), key_of(**best), key_of(**best | {"eval_steps": 1})}) == 3


def test_a_new_field_of_a_library_changes_no_key_and_the_list_names_known_ones() -> None:
    fields = {item.name for item in dataclasses.fields(CPTConfig)}
    assert {*STAGE_KEYS, *BEST_KEYS} <= fields
    assert set(MODEL_KEYS) <= {item.name for item in dataclasses.fields(ModelConfig)}
    config = CPTConfig(output_dir="x", use_cpu=True, bf16=False, report_to="none")
    before = stage_settings(config)
    config.field_of_tomorrow = "on"  # type: ignore[attr-defined]
    assert stage_settings(config) == before


def test_full_disk_is_one_sentence_and_leaves_the_last_checkpoint(here: Path) -> None:
    arguments = ["--config", "config.yaml", "--output_dir", "full", "--sft_epochs", "0", "--num_train_epochs", "2"]
    arguments += ["--eval_strategy", "no"]
    Path("full/checkpoint-4").mkdir(parents=True)
    Path("full/checkpoint-4/optimizer.pt").symlink_to("/dev/full")  # every write to it finds no space
    with pytest.raises(RecipeError, match="full: no space left .* complete checkpoint: full/checkpoint-2"):
        go(*arguments)
    shutil.rmtree("full/checkpoint-4")
    go(*arguments)
    manifest = json.loads(Path("full/run_manifest.json").read_text())
    assert manifest["steps"] == {"dpo": 6}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "none.yaml"], "dpo_lora: error: .*none.yaml"),
        (["--config", "config.yaml", "--lora_rank", "4"], "dpo_lora: error: .*lora_rank"),
        (["--config", "unknown.yaml"], "dpo_lora: error: .*lora_rank"),
    ],
    ids=["no configuration", "unknown option", "unknown key"],
)
def test_unknown_settings_are_one_sentence(
    here: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("unknown.yaml").write_text(Path("config.yaml").read_text() + "lora_rank: 4\n")
    monkeypatch.setattr(sys, "argv", ["dpo_lora.py", *arguments])
    with pytest.raises(SystemExit, match=message):
        main()


def test_a_finished_run_can_be_uploaded_and_a_refusal_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--config", "config.yaml", "--merge", "true", "--push_to_hub", "true", "--hub_model_id", "me/x")
    pushed: list[tuple[Path, str]] = []

    def push(folder: Path, settings: Any) -> str:
        pushed.append((folder, settings.hub_model_id))
        return "https://hub/me/x"

    monkeypatch.setattr(dpo_lora, "push_folder", push)
    go(*arguments)
    assert pushed == [(Path("out"), "me/x")]
    assert capsys.readouterr().err.endswith("dpo_lora: uploaded: https://hub/me/x\n")

    def refuse(folder: Path, settings: Any) -> str:
        raise OSError("401 Client Error\nno token")

    monkeypatch.setattr(dpo_lora, "push_folder", refuse)
    with pytest.raises(RecipeError, match="not uploaded .OSError: 401 Client Error no token.; the same"):
        go(*arguments)


def test_figure_shows_both_stages_and_the_twins(here: Path, tmp_path: Path) -> None:
    assert (here / "out/training.png").read_bytes().startswith(b"\x89PNG")
    histories = json.loads((here / "out/log_history.json").read_text())
    assert curve(histories["dpo"], "eval_twins/both_correct")[0] == [2, 3]
    assert curve(histories["sft"], "loss")[0] == [1, 2, 3]
    assert not draw_training({"sft": []}, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for step, state in ((2, "{}"), (10, '{"log_history": ['), (4, "{}")):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-12").mkdir()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")


def test_cpu_precision_is_timed_only_when_asked() -> None:
    assert choose_cpu_precision("on").autocast == "bf16"
    assert choose_cpu_precision("off").autocast == "none"
    timed = choose_cpu_precision("auto")
    assert timed.cpu_bf16_speedup is not None
    assert timed.autocast == ("bf16" if timed.cpu_bf16_speedup >= 1.5 else "none")


def test_yaml_booleans_are_read_as_on_and_off(tmp_path: Path) -> None:
    for text, expected in (("on", "on"), ("off", "off"), ("auto", "auto")):
        path = tmp_path / "c.yaml"
        path.write_text(f"train_file: a\noutput_dir: b\nuse_cpu: true\nbf16: false\ncpu_bf16: {text}\n")
        assert parse("--config", str(path))[0].cpu_bf16 == expected


def test_killed_run_goes_on_to_the_same_adapter(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    write_config(tmp_path, num_train_epochs=20, save_steps=5)
    command = [sys.executable, str(RECIPES / "dpo_lora.py"), "--config", "config.yaml"]
    first = subprocess.Popen([*command, "--output_dir", "killed"], cwd=tmp_path, env=environment())
    while first.poll() is None and last_checkpoint(tmp_path / "killed") is None:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not (tmp_path / "killed/run_manifest.json").exists()
    again = subprocess.run([*command, "--output_dir", "killed"], cwd=tmp_path, env=environment(), capture_output=True)
    assert b"DPO stage goes on from killed/checkpoint-" in again.stderr
    subprocess.run([*command, "--output_dir", "whole"], cwd=tmp_path, env=environment(), check=True)
    killed, whole = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("killed", "whole"))
    assert all(torch.equal(killed[name], whole[name]) for name in whole)


def test_two_processes_train_the_same_losses_as_one(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    write_config(tmp_path, sft_epochs=0, ddp_find_unused_parameters=False)
    script = [str(RECIPES / "dpo_lora.py"), "--config", "config.yaml"]
    half = ["--per_device_train_batch_size", "2", "--per_device_eval_batch_size", "2", "--output_dir", "two"]
    torchrun = [str(BIN / "torchrun"), "--standalone", "--nproc_per_node", "2"]
    subprocess.run([*torchrun, *script, *half], cwd=tmp_path, env=environment(), check=True)
    subprocess.run([sys.executable, *script, "--output_dir", "one"], cwd=tmp_path, env=environment(), check=True)
    one, two = (json.loads((tmp_path / name / "log_history.json").read_text())["dpo"] for name in ("one", "two"))
    for key in ("loss", "twins/sum_margin", "eval_loss", "eval_twins/sum_margin"):
        left, right = ([entry[key] for entry in history if key in entry] for history in (one, two))
        assert left == pytest.approx(right, abs=1e-4)
        assert left
